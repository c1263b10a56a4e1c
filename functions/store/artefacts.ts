/**
 * Artefact files and row tables in R2. Objects are named by their content and never change, so the data centre's cache stands
 * before R2; bytes of either are compared with their sha256.
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

/** Whether the bytes have the sha256 (or its first half) with which the key ends, an extension aside. */
async function isIntact(key: string, bytes: ArrayBuffer): Promise<boolean> {
  const name = /([0-9a-f]{32,64})(?:\.\w+)?$/.exec(key)?.[1];
  return name !== undefined && (await sha256Hex(bytes)).startsWith(name);
}

export interface Read {
  readonly bytes: ArrayBuffer;
  /** Whether they have the sha256 that the key names. */
  readonly intact: boolean;
}

/**
 * An object of MODELS whose key is named by its content; undefined when it is in neither place. Damaged bytes are neither taken
 * from the cache nor put into it, where they would outlive the repair; out of the store they come as they are, for the
 * reader to name.
 */
export async function readImmutable(env: Env, key: string): Promise<Read | undefined> {
  const url = `${CACHE_ORIGIN}/${key}`;
  const cached = await (await caches.default.match(url))?.arrayBuffer();
  if (cached !== undefined && (await isIntact(key, cached))) return { bytes: cached, intact: true };
  const object = await env.MODELS.get(key);
  if (object === null) return undefined;
  const bytes = await object.arrayBuffer();
  const intact = await isIntact(key, bytes);
  if (intact) waitUntil(caches.default.put(url, new Response(bytes, { headers: { "cache-control": CACHED_FOR } })));
  return { bytes, intact };
}

/** Reads an object by its key, as `readImmutable` does. */
export type Reader = (key: string) => Promise<Read | undefined>;

/**
 * A reader for an isolate that needs all of `keys` at once: they are one entry of the cache, so that one look-up brings them.
 * Begins to read at once.
 */
export function readerOf(env: Env, keys: readonly string[]): Reader {
  const url = `${CACHE_ORIGIN}/together/${encodeURIComponent(keys.join())}`;
  const reads = (async () => {
    const cached = await (await caches.default.match(url))?.arrayBuffer();
    const parts = cached === undefined ? undefined : unpacked(cached, keys.length);
    if (parts !== undefined) {
      const intact = await Promise.all(parts.map((bytes, at) => isIntact(keys[at]!, bytes)));
      if (!intact.includes(false)) return parts.map((bytes) => ({ bytes, intact: true }));
    }
    return readAll(env, keys, url);
  })();
  reads.catch(() => undefined); // whoever asks for one of them hears of it
  return async (key) => {
    const at = keys.indexOf(key);
    return at === -1 ? readImmutable(env, key) : (await reads)[at];
  };
}

async function readAll(env: Env, keys: readonly string[], url: string): Promise<(Read | undefined)[]> {
  const reads = await Promise.all(
    keys.map(async (key) => {
      const bytes = await (await env.MODELS.get(key))?.arrayBuffer();
      return bytes === undefined ? undefined : { bytes, intact: await isIntact(key, bytes) };
    }),
  );
  const intact = reads.flatMap((read) => (read?.intact === true ? [read.bytes] : []));
  if (intact.length === keys.length) {
    const response = new Response(packed(intact), { headers: { "cache-control": CACHED_FOR } });
    waitUntil(caches.default.put(url, response));
  }
  return reads;
}

/** The lengths of all parts (u32, little-endian) and the parts. */
function packed(parts: readonly ArrayBuffer[]): Blob {
  return new Blob([Uint32Array.from(parts, (part) => part.byteLength), ...parts]);
}

/** Undefined for bytes that are no `count` parts. */
function unpacked(bytes: ArrayBuffer, count: number): ArrayBuffer[] | undefined {
  if (bytes.byteLength < 4 * count) return undefined;
  let at = 4 * count;
  const parts = Array.from(new Uint32Array(bytes, 0, count), (length) => bytes.slice(at, (at += length)));
  return at === bytes.byteLength ? parts : undefined;
}

/** A registered artefact of an app. `read` rejects when the object is gone. */
export function artefactSource(
  env: Env,
  app: number,
  manifest: Manifest,
  reader: Reader = (key) => readImmutable(env, key),
) {
  const hashes = new Map(manifest.files.map((file) => [file.path, file.sha256]));
  const intact = new WeakSet<ArrayBuffer>();
  return {
    manifest,
    isIntact: (bytes: ArrayBuffer) => intact.has(bytes),
    async read(path: string): Promise<ArrayBuffer> {
      const sha256 = hashes.get(path);
      const read = sha256 === undefined ? undefined : await reader(fileKey(app, sha256));
      if (read === undefined) throw new Error(`${path} of ${manifest.modelVersion} is not in the store`);
      if (read.intact) intact.add(read.bytes);
      return read.bytes;
    },
  };
}

/** Where the files of a training job lie until it ends. */
export function jobFileKey(app: number, job: string, sha256: string): string {
  return `${jobPrefix(app, job)}${sha256}`;
}

export function jobPrefix(app: number, job: string): string {
  return `app/${app}/jobs/${job}/`;
}

/** The content of an object of MODELS. */
export async function getObject(env: Env, key: string): Promise<ReadableStream | undefined> {
  return (await env.MODELS.get(key))?.body;
}

/** Puts a file whose sha256 the caller has declared; the store checks it. Undefined: the content has another one. */
export async function putFile(
  env: Env,
  key: string,
  sha256: string,
  content: ReadableStream | Uint8Array,
): Promise<{ readonly bytes: number } | undefined> {
  try {
    const { size } = await env.MODELS.put(key, content, { sha256 });
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
export async function readRows(
  env: Env,
  rowsKey: string,
  reader: Reader = (key) => readImmutable(env, key),
): Promise<Uint32Array> {
  const read = await reader(rowsKey);
  if (read === undefined) throw new Error(`the row table ${rowsKey} is not in the store`);
  if (!read.intact) throw new Error(`the row table ${rowsKey} is damaged`);
  return new Uint32Array(read.bytes);
}
