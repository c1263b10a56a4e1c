/**
 * API keys: `ew_<kind>_<key id>_<43 base62 characters>`, the last part 32 random bytes. Only a SHA-256 of the whole key is ever
 * kept; a plain hash is enough because nobody can guess 256 random bits.
 */

/** Fresh random bytes; handed in so that rules own no source of randomness. */
export type RandomBytes = (count: number) => Uint8Array<ArrayBuffer>;

export const KEY_PREFIXES = {
  secret: "sk",
  publishable: "pk",
  operator: "op",
  userTokenSecret: "ts",
  lease: "jl",
} as const;
export type MintableKind = keyof typeof KEY_PREFIXES;

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const API_KEY = /^ew_(sk|pk)_([0-9A-Za-z]{4,32})_[0-9A-Za-z]{43}$/;

/** Bytes as one big-endian number in base 62, padded with zeros to the width that every value of that size fits. */
export function base62(bytes: Uint8Array): string {
  let rest = 0n;
  for (const byte of bytes) rest = (rest << 8n) | BigInt(byte);
  const width = Math.ceil((bytes.length * 8) / Math.log2(62)); // 32 bytes: 43 characters, 8 bytes: 11
  let text = "";
  for (let place = 0; place < width; place++) {
    text = BASE62.charAt(Number(rest % 62n)) + text;
    rest /= 62n;
  }
  return text;
}

/** A new key and its id. The key is shown once and never stored as it is. */
export function mintKey(kind: MintableKind, random: RandomBytes): { id: string; key: string } {
  const id = base62(random(8));
  return { id, key: `ew_${KEY_PREFIXES[kind]}_${id}_${base62(random(32))}` };
}

/** `app_`, `job_`, .. and 64 random bits. */
export function mintId(kind: "app" | "job" | "we" | "ws", random: RandomBytes): string {
  return `${kind}_${base62(random(8))}`;
}

/** Kind and id of a tenant's key, or undefined where the text is no such key. The operator's key is compared whole instead. */
export function parseKey(text: string): { kind: "secret" | "publishable"; id: string } | undefined {
  const match = API_KEY.exec(text);
  if (!match) return undefined;
  return { kind: match[1] === "sk" ? "secret" : "publishable", id: match[2] ?? "" };
}

/** SHA-256 of the UTF-8 text, 32 bytes. */
export async function digest(text: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

/** Lower-case hex. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** What is stored of a key: SHA-256, hex. */
export async function hashKey(key: string): Promise<string> {
  return hex(await digest(key));
}
