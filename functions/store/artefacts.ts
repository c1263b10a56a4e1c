/**
 * Artefact files and row tables in R2. Objects are named by their content and never change, so the data centre's cache stands
 * before R2; whoever uses the bytes checks their sha256 either way.
 */
import { waitUntil } from "cloudflare:workers";
import { sha256Hex } from "../domain/artefact/digest.ts";
import type { Manifest } from "../domain/artefact/manifest.ts";

const CACHE_ORIGIN = "https://artefacts.invalid"; // never fetched: the cache wants a URL as its key
const CACHED_FOR = "public, max-age=31536000, immutable";

/** A file is shared by all models of one app, never by two apps. */
export function fileKey(app: number, sha256: string): string {
  return `app/${app}/files/${sha256}`;
}

/** Whether the bytes have the sha256 (or its first half) with which the key ends. */
async function isIntact(key: string, bytes: ArrayBuffer): Promise<boolean> {
  const name = /[0-9a-f]{32,64}$/.exec(key)?.[0];
  return name !== undefined && (await sha256Hex(bytes)).startsWith(name);
}

/**
 * An object of MODELS whose key is named by its content; undefined when it is in neither place. Damaged bytes are neither taken
 * from the cache nor put into it, where they would outlive the repair; out of the store they come as they are, for the
 * reader's own check to name.
 */
export async function readImmutable(env: Env, key: string): Promise<ArrayBuffer | undefined> {
  const url = `${CACHE_ORIGIN}/${key}`;
  const cached = await (await caches.default.match(url))?.arrayBuffer();
  if (cached !== undefined && (await isIntact(key, cached))) return cached;
  const object = await env.MODELS.get(key);
  if (object === null) return undefined;
  const bytes = await object.arrayBuffer();
  if (await isIntact(key, bytes)) {
    waitUntil(caches.default.put(url, new Response(bytes, { headers: { "cache-control": CACHED_FOR } })));
  }
  return bytes;
}

/** A registered artefact of an app. `read` rejects when the object is gone. */
export function artefactSource(env: Env, app: number, manifest: Manifest) {
  const hashes = new Map(manifest.files.map((file) => [file.path, file.sha256]));
  return {
    manifest,
    async read(path: string): Promise<ArrayBuffer> {
      const sha256 = hashes.get(path);
      const bytes = sha256 === undefined ? undefined : await readImmutable(env, fileKey(app, sha256));
      if (bytes === undefined) throw new Error(`${path} of ${manifest.modelVersion} is not in the store`);
      return bytes;
    },
  };
}

/** Puts a file whose sha256 the caller has declared; the store checks it. Undefined: the content has another one. */
export async function putFile(
  env: Env,
  app: number,
  sha256: string,
  content: ReadableStream | Uint8Array,
): Promise<{ readonly bytes: number } | undefined> {
  try {
    const { size } = await env.MODELS.put(fileKey(app, sha256), content, { sha256 });
    return { bytes: size };
  } catch (error) {
    if (isChecksumMismatch(error)) return undefined;
    throw error;
  }
}

function isChecksumMismatch(error: unknown): boolean {
  return error instanceof Error && /SHA-256 checksum|\b10037\b/i.test(error.message);
}

/** Row table of an artefact: item number of every row, 0 for an id that the app lacks. u32, little-endian. */
export async function putRows(
  env: Env,
  table: { app: number; modelVersion: string; epoch: number; rows: Uint32Array },
): Promise<string> {
  const bytes = new Uint8Array(table.rows.buffer, table.rows.byteOffset, table.rows.byteLength);
  const name = (await sha256Hex(bytes)).slice(0, 32);
  const key = `app/${table.app}/rows/${table.modelVersion}/e${table.epoch}-${name}`;
  await env.MODELS.put(key, bytes);
  return key;
}

/** The epoch of item numbers that a row table was resolved in. */
export function epochOfRows(rowsKey: string): number {
  return Number(/\/e(\d+)-[0-9a-f]{32}$/.exec(rowsKey)?.[1] ?? 0);
}

/** @throws Error when the table is gone or is not what its name says. */
export async function readRows(env: Env, rowsKey: string): Promise<Uint32Array> {
  const bytes = await readImmutable(env, rowsKey);
  if (bytes === undefined) throw new Error(`the row table ${rowsKey} is not in the store`);
  if (!(await isIntact(rowsKey, bytes))) throw new Error(`the row table ${rowsKey} is damaged`);
  return new Uint32Array(bytes);
}
