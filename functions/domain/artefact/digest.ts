/** SHA-256 as lower-case hex, and the version that an artefact's files give it. */
import type { Manifest } from "./manifest.ts";

export function toHex(bytes: ArrayBuffer | Uint8Array): string {
  let text = "";
  for (const byte of bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes))
    text += byte.toString(16).padStart(2, "0");
  return text;
}

export async function sha256Hex(content: ArrayBuffer | Uint8Array | string): Promise<string> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return toHex(await crypto.subtle.digest("SHA-256", bytes));
}

/** m_ and the first 12 hex digits of the sha256 over the `path sha256\n` lines, sorted by path in code unit order. */
export async function versionOf(files: Manifest["files"]): Promise<string> {
  const lines = files.map((file) => `${file.path} ${file.sha256}\n`).sort();
  return `m_${(await sha256Hex(lines.join(""))).slice(0, 12)}`;
}
