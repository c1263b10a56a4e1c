/**
 * Items in D1. A write is one batch: the app's revision grows by one, new ids get the next numbers inside the SQL (so that
 * two writers never share one), rows are stamped with revision and time. Deleting leaves a tombstone; a number is never reused.
 */
import type { AttributeValue, CatalogueRow } from "../domain/catalogue/columns.ts";

/** A database or a session of one (`withSession`), so that reads may go to a replica. */
export type Database = Pick<D1Database, "prepare" | "batch">;

export type Origin = "human" | "machine" | "mixed" | "unknown";

/** An item as it is to be. `createdAt` null keeps the time already stored, or takes the time of the write. */
export interface ItemWrite {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  readonly creator: string;
  readonly origin: Origin;
  readonly createdAt: number | null;
  readonly priceMinor: number | null;
  readonly currency: string | null;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly available: boolean;
  readonly hidden: boolean;
}

/** `created` is true for a new id and for one that had been deleted (which keeps its number). */
export interface PutResult {
  readonly number: number;
  readonly revision: number;
  readonly created: boolean;
}

/** Times in ms, price in minor units. A tombstone has empty texts and `deleted` true. */
export interface HydratedItem {
  readonly number: number;
  readonly id: string;
  readonly title: string;
  readonly text: string;
  readonly creator: string;
  readonly origin: Origin;
  readonly createdAt: number;
  readonly priceMinor: number | null;
  readonly currency: string | null;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly available: boolean;
  readonly hidden: boolean;
  readonly deleted: boolean;
  readonly revision: number;
  readonly updatedAt: number;
}

/** Where a listing by time goes on: the last row that was shown. */
export interface UpdateCursor {
  readonly updatedAt: number;
  readonly number: number;
}

/** Rows of one write; also keeps a revision smaller than a page of the delta. */
export const MAX_ITEMS_A_WRITE = 1000;
/** Item rows written since the last snapshot that ask for a new one: a cold isolate then replays two pages at most. */
export const SNAPSHOT_AFTER_ROWS = 2000;
/** Larger than one write, so that a page always ends a revision or can go on inside it. */
export const DELTA_PAGE_ROWS = 2000;

const NEXT_REVISION = `UPDATE apps SET revision = revision + 1, unsnapshotted_rows = unsnapshotted_rows + ?2
  WHERE app = ?1 RETURNING revision, unsnapshotted_rows AS rows`;

/** Ids of the batch that exist and live. Uses items_by_id. */
const LIVE_IDS = `SELECT items.id FROM json_each(?2) AS wanted CROSS JOIN items
  ON items.app = ?1 AND items.id = wanted.value->>'$.id' WHERE items.deleted = 0`;

/**
 * Upserts every row of ?2 (JSON). A new id takes next_number plus its rank among the new ones; an old one keeps its number.
 * `if` (revision-updated_at, see etagOf) makes a row conditional; what does not match is left out of RETURNING.
 * Uses items_by_id for the look-up and items_by_update for the newest time.
 */
const UPSERT = `INSERT INTO items (app, number, id, title, text, creator, origin, created_at, price_minor, currency,
    attributes, available, hidden, deleted, revision, updated_at)
  SELECT state.app,
    coalesce(old.number, state.next_number - 1 + sum(old.number IS NULL) OVER (ORDER BY row.key ROWS UNBOUNDED PRECEDING)),
    row.value->>'$.id', row.value->>'$.title', row.value->>'$.text', row.value->>'$.creator', row.value->>'$.origin',
    coalesce(row.value->>'$.createdAt', iif(old.deleted = 0, old.created_at, NULL), CAST(?3 AS INTEGER)),
    row.value->>'$.priceMinor', row.value->>'$.currency', row.value->'$.attributes',
    row.value->>'$.available', row.value->>'$.hidden', 0, state.revision,
    max(CAST(?3 AS INTEGER), coalesce((SELECT max(updated_at) + 1 FROM items WHERE app = ?1), 0))
  FROM json_each(?2) AS row
    CROSS JOIN apps AS state
    LEFT JOIN items AS old ON old.app = ?1 AND old.id = row.value->>'$.id'
  WHERE state.app = ?1
    AND (row.value->>'$.if' IS NULL OR (old.deleted = 0 AND old.revision || '-' || old.updated_at = row.value->>'$.if'))
  ON CONFLICT DO UPDATE SET title = excluded.title, text = excluded.text, creator = excluded.creator,
    origin = excluded.origin, created_at = excluded.created_at, price_minor = excluded.price_minor,
    currency = excluded.currency, attributes = excluded.attributes, available = excluded.available,
    hidden = excluded.hidden, deleted = 0, revision = excluded.revision, updated_at = excluded.updated_at
  RETURNING id, number, revision`;

/** Uses the primary key of items from its end. */
const NEXT_NUMBER = `UPDATE apps SET next_number = max(next_number, coalesce((SELECT max(number) + 1 FROM items WHERE app = ?1), 1))
  WHERE app = ?1`;

const DELETE_REVISION = `UPDATE apps SET revision = revision + 1, unsnapshotted_rows = unsnapshotted_rows + ?3
  WHERE app = ?1 AND EXISTS (SELECT 1 FROM json_each(?2) AS wanted CROSS JOIN items
    ON items.app = ?1 AND items.id = wanted.value WHERE items.deleted = 0)
  RETURNING unsnapshotted_rows AS rows`;

const TOMBSTONE = `UPDATE items SET deleted = 1, title = '', text = '', attributes = '{}', price_minor = NULL, currency = NULL,
    revision = (SELECT revision FROM apps WHERE app = ?1),
    updated_at = max(CAST(?3 AS INTEGER), (SELECT max(updated_at) + 1 FROM items WHERE app = ?1))
  WHERE app = ?1 AND id IN (SELECT value FROM json_each(?2)) AND deleted = 0
    AND (?4 IS NULL OR revision || '-' || updated_at = ?4)
  RETURNING id, number`;

const RESOLVE = `SELECT items.id, items.number FROM json_each(?2) AS wanted CROSS JOIN items
  ON items.app = ?1 AND items.id = wanted.value`;

const COLUMNS = `number, revision, created_at AS createdAt, price_minor AS priceMinor, currency, creator, origin,
  attributes, available, hidden, deleted`;
const WHOLE = COLUMNS.split(",")
  .map((column) => `items.${column.trim()}`)
  .concat("items.id", "items.title", "items.text", "items.updated_at AS updatedAt")
  .join(", ");

/** Uses items_by_revision. */
const DELTA = `SELECT ${COLUMNS} FROM items WHERE app = ?1 AND (revision, number) > (?2, ?3)
  ORDER BY revision, number LIMIT ?4`;

/** Uses the primary key. */
const HYDRATE = `SELECT ${WHOLE} FROM json_each(?2) AS wanted CROSS JOIN items
  ON items.app = ?1 AND items.number = wanted.value`;

/** Uses items_by_id. */
const BY_ID = `SELECT ${WHOLE} FROM json_each(?2) AS wanted CROSS JOIN items
  ON items.app = ?1 AND items.id = wanted.value WHERE items.deleted = 0`;

/** Uses items_by_update. */
const UPDATED = `SELECT ${WHOLE} FROM items WHERE app = ?1 AND (updated_at, number) > (?2, ?3)
  ORDER BY updated_at, number LIMIT ?4`;

/** Statements whose index a test checks with EXPLAIN QUERY PLAN. */
export const ITEM_STATEMENTS = { LIVE_IDS, UPSERT, NEXT_NUMBER, TOMBSTONE, RESOLVE, DELTA, HYDRATE, BY_ID, UPDATED };

/**
 * Writes at most 1,000 items in one transaction and gives one result a row, in order. Of rows with the same id the last
 * one wins. `ifVersion` (an etag's text without quotes) holds for all rows: one that differs gets `undefined`.
 * @throws RangeError for more rows than that
 */
export async function putItems(env: Env, app: number, rows: readonly ItemWrite[], now: number): Promise<PutResult[]> {
  const results = await writeItems(env, app, rows, { now });
  return results.map((result) => {
    if (result === undefined) throw new Error("an unconditional write left a row out");
    return result;
  });
}

/** As `putItems` for one item, but only if the stored one still has this version; `undefined` when it has not. */
export async function putItemIf(
  env: Env,
  app: number,
  row: ItemWrite,
  condition: { readonly version: string; readonly now: number },
): Promise<PutResult | undefined> {
  return (await writeItems(env, app, [row], condition))[0];
}

async function writeItems(
  env: Env,
  app: number,
  rows: readonly ItemWrite[],
  options: { readonly now: number; readonly version?: string },
): Promise<(PutResult | undefined)[]> {
  if (rows.length === 0) return [];
  if (rows.length > MAX_ITEMS_A_WRITE)
    throw new RangeError(`a write holds at most ${MAX_ITEMS_A_WRITE} items, not ${rows.length}`);
  const last = new Map(rows.map((row) => [row.id, row]));
  const json = JSON.stringify([...last.values()].map((row) => ({ ...row, if: options.version ?? null })));
  const [live, state, written] = await env.DB.batch([
    env.DB.prepare(LIVE_IDS).bind(app, json),
    env.DB.prepare(NEXT_REVISION).bind(app, last.size),
    env.DB.prepare(UPSERT).bind(app, json, options.now),
    env.DB.prepare(NEXT_NUMBER).bind(app),
  ]);
  const lived = new Set((live as D1Result<{ id: string }>).results.map((row) => row.id));
  const stamped = (written as D1Result<{ id: string; number: number; revision: number }>).results;
  const byId = new Map(stamped.map(({ id, number, revision }) => [id, { number, revision, created: !lived.has(id) }]));
  await askForSnapshot(env, app, (state as D1Result<{ rows: number }>).results[0]?.rows ?? 0, last.size);
  return rows.map((row) => byId.get(row.id));
}

/**
 * Turns items into tombstones and gives the ids that had been there. `version` makes it conditional, as in `putItemIf`.
 */
export async function deleteItems(
  env: Env,
  app: number,
  ids: readonly string[],
  options: { readonly now: number; readonly version?: string },
): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const json = JSON.stringify(ids);
  const [state, gone] = await env.DB.batch([
    env.DB.prepare(DELETE_REVISION).bind(app, json, ids.length),
    env.DB.prepare(TOMBSTONE).bind(app, json, options.now, options.version ?? null),
  ]);
  const rows = (state as D1Result<{ rows: number }>).results[0]?.rows;
  if (rows !== undefined) await askForSnapshot(env, app, rows, ids.length);
  return new Set((gone as D1Result<{ id: string }>).results.map((row) => row.id));
}

/** A wake-up only: when it is lost, the next multiple of the threshold or the cron asks again. */
async function askForSnapshot(env: Env, app: number, rows: number, added: number): Promise<void> {
  if (Math.floor(rows / SNAPSHOT_AFTER_ROWS) === Math.floor((rows - added) / SNAPSHOT_AFTER_ROWS)) return;
  await env.JOBS.send({ type: "snapshot", app }).catch(() => undefined);
}

/** Numbers of ids, tombstones included (a history may hold them); unknown ids are absent. */
export async function resolveIds(
  env: Pick<Env, "DB">,
  app: number,
  ids: readonly string[],
): Promise<Map<string, number>> {
  const numbers = new Map<string, number>();
  const chunks: string[] = [];
  for (let at = 0; at < ids.length; at += 2000) chunks.push(JSON.stringify(ids.slice(at, at + 2000)));
  for (const chunk of chunks) {
    const { results } = await env.DB.prepare(RESOLVE).bind(app, chunk).all<{ id: string; number: number }>();
    for (const { id, number } of results) numbers.set(id, number);
  }
  return numbers;
}

/** As SQLite gives it: booleans as 0 and 1, attributes as JSON text. */
type Stored<T> = { [Key in keyof T]: T[Key] extends boolean ? number : Key extends "attributes" ? string : T[Key] };
type Common = Pick<CatalogueRow, "attributes" | "available" | "hidden" | "deleted">;

function fromStored<T extends Common>(row: Stored<T>): T {
  const { attributes, available, hidden, deleted } = row as Stored<Common>;
  const parsed: Common = {
    attributes: JSON.parse(attributes) as Common["attributes"], // written by UPSERT from a checked item
    available: available === 1,
    hidden: hidden === 1,
    deleted: deleted === 1,
  };
  return { ...row, ...parsed } as unknown as T;
}

const rowOf = (row: Stored<CatalogueRow>) => fromStored<CatalogueRow>(row);
const itemOf = (row: Stored<HydratedItem>) => fromStored<HydratedItem>(row);

/** At most `limit` rows after (revision, number), in that order; a row is seen again when it is written again. */
export async function readDelta(
  db: Database,
  app: number,
  afterRevision: number,
  afterNumber: number,
  limit: number = DELTA_PAGE_ROWS,
): Promise<CatalogueRow[]> {
  const { results } = await db.prepare(DELTA).bind(app, afterRevision, afterNumber, limit).all<Stored<CatalogueRow>>();
  return results.map(rowOf);
}

/** Items of numbers, tombstones included, in no order; unknown numbers are absent. One query. */
export async function hydrate(
  db: Database,
  app: number,
  numbers: readonly number[] | Uint32Array,
): Promise<HydratedItem[]> {
  if (numbers.length === 0) return [];
  const { results } = await db
    .prepare(HYDRATE)
    .bind(app, JSON.stringify(Array.from(numbers)))
    .all<Stored<HydratedItem>>();
  return results.map(itemOf);
}

/** Live items of ids, in no order. */
export async function getItems(db: Database, app: number, ids: readonly string[]): Promise<HydratedItem[]> {
  const { results } = await db.prepare(BY_ID).bind(app, JSON.stringify(ids)).all<Stored<HydratedItem>>();
  return results.map(itemOf);
}

/**
 * Items written at or after a time, tombstones included, oldest change first. Times of writes grow strictly, so a reader
 * that goes on from the last row it saw misses nothing. `next` is undefined on the last page.
 */
export async function listUpdatedSince(
  db: Database,
  app: number,
  from: UpdateCursor,
  limit: number,
): Promise<{ items: HydratedItem[]; next: UpdateCursor | undefined }> {
  const { results } = await db
    .prepare(UPDATED)
    .bind(app, from.updatedAt, from.number, limit + 1)
    .all<Stored<HydratedItem>>();
  const items = results.slice(0, limit).map(itemOf);
  const last = items.at(-1);
  return {
    items,
    next: results.length > limit && last !== undefined ? { updatedAt: last.updatedAt, number: last.number } : undefined,
  };
}

/** Version of an item, the text inside its ETag. It holds the time too: a database restored to an earlier minute repeats revisions. */
export function versionOf(item: Pick<HydratedItem, "revision" | "updatedAt">): string {
  return `${item.revision}-${item.updatedAt}`;
}
