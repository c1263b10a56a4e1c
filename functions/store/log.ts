/** The log's side in D1 and R2: the manifest that the trainer reads, the index by subject, and segments put once and never changed. */
import { LRUCache } from "lru-cache";
import { mapLimited } from "../domain/map-limited.ts";
import { logStub } from "./subjects.ts";
import type { HydratedItem } from "./items.ts";

/** A sealed segment as the manifest lists it. */
export interface Segment {
  readonly key: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly records: number;
  readonly firstReceivedAt: number;
  readonly lastReceivedAt: number;
  readonly generation: number;
}

const LIST_SEGMENT = `INSERT INTO log_segments (app, key, sha256, bytes, records, first_received_at, last_received_at, generation)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING`;
const LIST_SUBJECTS = `INSERT INTO segment_subjects (app, subject, key)
  SELECT ?1, value, ?2 FROM json_each(?3) WHERE true ON CONFLICT DO NOTHING`;
const UNLIST_SEGMENT = "DELETE FROM log_segments WHERE app = ?1 AND key = ?2";
/** Uses the primary key, a look-up a subject. */
const UNLIST_SUBJECTS = `DELETE FROM segment_subjects
  WHERE app = ?1 AND key = ?2 AND subject IN (SELECT value FROM json_each(?3))`;
const COLUMNS = `key, sha256, bytes, records, first_received_at AS firstReceivedAt, last_received_at AS lastReceivedAt, generation`;
/** Uses the primary key up to the app; a listing of all of its segments. */
const OF_SHARD = `SELECT ${COLUMNS} FROM log_segments WHERE app = ?1 AND key LIKE ?2 ORDER BY key`;
const BY_KEY = `SELECT ${COLUMNS} FROM log_segments WHERE app = ?1 AND key = ?2`;
/** Uses the primary key. */
const AFTER = `SELECT ${COLUMNS} FROM log_segments WHERE app = ?1 AND key > ?2 ORDER BY key LIMIT ?3`;
const OF_SUBJECT = "SELECT key FROM segment_subjects WHERE app = ?1 AND subject = ?2 ORDER BY key";

export function segmentKey(app: number, day: string, shard: number, number: number): string {
  return `log/app=${app}/day=${day}/shard=${String(shard).padStart(3, "0")}/${String(number).padStart(8, "0")}.ndjson.gz`;
}

/** Lists a segment; listing it again changes nothing. */
export async function listSegment(env: Env, app: number, segment: Segment, subjects: readonly string[]): Promise<void> {
  await env.DB.batch(listing(env, app, segment, subjects));
}

function listing(env: Env, app: number, segment: Segment, subjects: readonly string[]): D1PreparedStatement[] {
  const { key, sha256, bytes, records, firstReceivedAt, lastReceivedAt, generation } = segment;
  return [
    env.DB.prepare(LIST_SEGMENT).bind(app, key, sha256, bytes, records, firstReceivedAt, lastReceivedAt, generation),
    env.DB.prepare(LIST_SUBJECTS).bind(app, key, JSON.stringify(subjects)),
  ];
}

/** Swings the manifest from one segment to its rewritten form, or to nothing, in one transaction. */
export async function swapSegment(
  env: Env,
  app: number,
  old: { readonly key: string; readonly subjects: readonly string[] },
  next: { readonly segment: Segment; readonly subjects: readonly string[] } | undefined,
): Promise<void> {
  await env.DB.batch([
    env.DB.prepare(UNLIST_SEGMENT).bind(app, old.key),
    env.DB.prepare(UNLIST_SUBJECTS).bind(app, old.key, JSON.stringify(old.subjects)),
    ...(next === undefined ? [] : listing(env, app, next.segment, next.subjects)),
  ]);
}

export async function segmentByKey(env: Env, app: number, key: string): Promise<Segment | undefined> {
  return (await env.DB.prepare(BY_KEY).bind(app, key).first<Segment>()) ?? undefined;
}

/**
 * Segments with keys above `after`, in the order of their keys. What a segment is rewritten to has a greater key, so a reader who goes
 * on page by page misses no record; it may meet one twice, in the old segment and in the new one.
 */
export async function segmentsAfter(env: Env, app: number, after: string, limit: number): Promise<Segment[]> {
  return (await env.DB.prepare(AFTER).bind(app, after, limit).all<Segment>()).results;
}

/** A segment's bytes from `offset` on; undefined when it is not there any more. */
export async function readSegment(env: Env, key: string, offset: number): Promise<ReadableStream | undefined> {
  return (await env.LOG.get(key, offset === 0 ? {} : { range: { offset } }))?.body;
}

const SHARDS_AT_ONCE = 6;

/** Seals all that the log objects of an app hold open. */
export async function sealAll(env: Env, app: number, now: number): Promise<{ shards: number; segments: number }> {
  const shards = Array.from({ length: await logShards(env, app) }, (_, shard) => shard);
  const sealed = await mapLimited(
    shards,
    SHARDS_AT_ONCE,
    async (shard) => await logStub(env, app, shard).seal(now, { force: true }),
  );
  return { shards: shards.length, segments: sealed.reduce((sum, count) => sum + count, 0) };
}

/** An item as a reader of the log needs it: records hold numbers. Times in ms, price in minor units. */
export type NumberedItem = Omit<HydratedItem, "revision" | "updatedAt">;

type StoredItem = Omit<NumberedItem, "attributes" | "available" | "hidden" | "deleted"> & {
  readonly attributes: string;
  readonly available: number;
  readonly hidden: number;
  readonly deleted: number;
  readonly found: number;
};

/** Texts of one page: an item may have a megabyte of attributes, and an isolate has 128. */
const PAGE_CHARACTERS = 4 * 1_048_576;
/** Uses the primary key of items. */
const ITEMS_AFTER = `WITH page AS (
    SELECT number, length(title) + length(text) + length(attributes) AS size FROM items
    WHERE app = ?1 AND number > ?2 ORDER BY number LIMIT ?3 + 1),
  sized AS (SELECT number, count(*) OVER () AS found, row_number() OVER (ORDER BY number) AS place,
    sum(size) OVER (ORDER BY number) AS size FROM page)
  SELECT items.number, id, title, text, creator, origin, created_at AS createdAt, price_minor AS priceMinor, currency,
    attributes, available, hidden, deleted, found
  FROM sized CROSS JOIN items ON items.app = ?1 AND items.number = sized.number
  WHERE place <= ?3 AND (place = 1 OR size <= ?4) ORDER BY items.number`;

function numberedItem(row: StoredItem): NumberedItem {
  const { found: _found, attributes, available, hidden, deleted, ...rest } = row;
  return {
    ...rest,
    attributes: JSON.parse(attributes) as NumberedItem["attributes"], // written from a checked item
    available: available === 1,
    hidden: hidden === 1,
    deleted: deleted === 1,
  };
}

/** Items with numbers above `after`, tombstones included, in the order of numbers; `next` is undefined on the last page. */
export async function itemsAfter(
  env: Env,
  app: number,
  after: number,
  limit: number,
): Promise<{ items: NumberedItem[]; next: number | undefined }> {
  const { results } = await env.DB.prepare(ITEMS_AFTER).bind(app, after, limit, PAGE_CHARACTERS).all<StoredItem>();
  const items = results.map(numberedItem);
  return { items, next: (results[0]?.found ?? 0) > items.length ? items.at(-1)?.number : undefined };
}

export async function segmentsOfShard(env: Env, app: number, shard: number): Promise<Segment[]> {
  const pattern = `log/app=${app}/%/shard=${String(shard).padStart(3, "0")}/%`;
  return (await env.DB.prepare(OF_SHARD).bind(app, pattern).all<Segment>()).results;
}

export async function segmentKeysOfSubject(env: Env, app: number, subject: string): Promise<string[]> {
  const { results } = await env.DB.prepare(OF_SUBJECT).bind(app, subject).all<{ key: string }>();
  return results.map((row) => row.key);
}

/** Text as gzip (RFC 1952) without a name or time in its header, so that equal text gives equal bytes. */
export async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function gunzip(bytes: ArrayBuffer): Promise<string> {
  return await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

/**
 * Puts an object that nothing has put before. When there is one already, it is the same put done again if its content is the
 * same; its hash is then given, which differs from ours only where another release compresses differently.
 * `taken`: somebody else's content lies there.
 */
export async function putOnce(
  bucket: R2Bucket,
  key: string,
  text: string,
): Promise<{ readonly kind: "put"; readonly sha256: string; readonly bytes: number } | { readonly kind: "taken" }> {
  const body = await gzip(text);
  const sha256 = await sha256Hex(body);
  const put = await bucket.put(key, body, { onlyIf: new Headers({ "If-None-Match": "*" }), sha256 });
  if (put !== null) return { kind: "put", sha256, bytes: body.length };
  const there = await bucket.get(key);
  if (there === null) throw new Error(`${key} was refused as existing and is not there`);
  const old = await there.arrayBuffer();
  const oldHash = await sha256Hex(old);
  const isSame = oldHash === sha256 || (await gunzip(old)) === text;
  return isSame ? { kind: "put", sha256: oldHash, bytes: old.byteLength } : { kind: "taken" };
}

async function sha256Hex(bytes: ArrayBuffer | Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An app's number of log shards, fixed when it is made; may vanish with the isolate. */
const shardCounts = new LRUCache<number, number>({ max: 1000 });

/** @throws Error for an app that is not there */
export async function logShards(env: Pick<Env, "DB">, app: number): Promise<number> {
  const known = shardCounts.get(app);
  if (known !== undefined) return known;
  const row = await env.DB.prepare("SELECT log_shards AS shards FROM apps WHERE app = ?1")
    .bind(app)
    .first<{ shards: number }>();
  if (row === null) throw new Error(`app ${app} is not there`);
  shardCounts.set(app, row.shards);
  return row.shards;
}

/** Model versions (`m_...`) of an app's models by number. A registered model keeps its version. */
const versions = new LRUCache<string, string>({ max: 1000 });

/** Null for 0, for a model that is not there and for one without a manifest. */
export async function modelVersionOf(env: Pick<Env, "DB">, app: number, model: number): Promise<string | null> {
  if (model === 0) return null;
  const known = versions.get(`${app}:${model}`);
  if (known !== undefined) return known;
  const row = await env.DB.prepare("SELECT model_version AS version FROM models WHERE app = ?1 AND model = ?2")
    .bind(app, model)
    .first<{ version: string | null }>();
  if (row?.version != null) versions.set(`${app}:${model}`, row.version);
  return row?.version ?? null;
}

export interface Popularity {
  /** Item numbers with weights, best first. */
  readonly popular: [number, number][];
  readonly trending: [number, number][];
}

const POPULAR_ITEMS = 500;

/** Popular and trending of an app, over all its shards: the 500 best of each. */
export async function appPopularity(env: Env, app: number, shards: number, now: number): Promise<Popularity> {
  const asked = Array.from({ length: shards }, (_, shard) => logStub(env, app, shard).popular(now));
  const parts = (await Promise.all(asked)) as unknown as Popularity[]; // the stub's type forgets that pairs are pairs
  if (parts.length === 1) return parts[0]!;
  return { popular: summed(parts.map((part) => part.popular)), trending: summed(parts.map((part) => part.trending)) };
}

function summed(lists: readonly (readonly [number, number][])[]): [number, number][] {
  const sums = new Map<number, number>();
  for (const [item, weight] of lists.flat()) sums.set(item, (sums.get(item) ?? 0) + weight);
  return [...sums].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, POPULAR_ITEMS);
}
