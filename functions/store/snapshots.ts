/**
 * Snapshots of a catalogue's columns in R2, named by their content, with a pointer in the app's row that swings by compare-and-set.
 * A snapshot is the one before it and the delta since: the columns know the revision and number up to which they are whole, so a
 * long delta may be taken in several steps. An isolate reads the snapshot and replays what came after.
 */
import { CatalogueColumns, type CatalogueRow } from "../domain/catalogue/columns.ts";
import { decodeSnapshot, encodeSnapshot } from "../domain/catalogue/snapshot.ts";
import type { AppRow } from "./apps.ts";
import { readImmutable } from "./artefacts.ts";
import { type Database, DELTA_PAGE_ROWS, readDelta } from "./items.ts";

/** Pages of a step: 50,000 rows, about a second of CPU. */
const PAGES_A_STEP = 25;
/** Values that items no longer have stay in the dictionaries of a snapshot; every so often it is made from the rows alone. */
const STEPS_BETWEEN_REBUILDS = 64;
/** Item numbers that may have been given since the mark was written; skipped when D1 was restored to an earlier minute. */
const NUMBERS_AHEAD = 20_000;

interface Pointer {
  readonly epoch: number;
  readonly revision: number;
  readonly nextNumber: number;
  readonly snapshotKey: string | null;
  readonly snapshotRevision: number;
  readonly rows: number;
}

const POINTER = `SELECT epoch, revision, next_number AS nextNumber, snapshot_key AS snapshotKey,
  snapshot_revision AS snapshotRevision, unsnapshotted_rows AS rows FROM apps WHERE app = ?1`;
const SWING = `UPDATE apps SET snapshot_key = ?2, snapshot_revision = ?3, unsnapshotted_rows = max(0, unsnapshotted_rows - ?4)
  WHERE app = ?1 AND snapshot_key IS ?5`;
const RECOVER = `UPDATE apps SET epoch = ?2, next_number = max(next_number, ?3), revision = max(revision, ?4) + 1
  WHERE app = ?1 AND epoch < ?2`;

export interface SnapshotResult {
  /** False: nothing new, or another writer was first. */
  readonly written: boolean;
  readonly revision: number;
  /** False: the delta was longer than one step, call again. */
  readonly isComplete: boolean;
}

/** Writes a snapshot with at most 50,000 further rows and asks the queue for another step where more are left. */
export async function writeSnapshot(env: Env, app: number): Promise<SnapshotResult> {
  await reconcileNumbers(env, app);
  const pointer = await pointerOf(env.DB, app);
  const before = await readSnapshot(env, pointer.snapshotKey);
  const isRebuild =
    before !== undefined &&
    before.step >= STEPS_BETWEEN_REBUILDS &&
    pointer.nextNumber < PAGES_A_STEP * DELTA_PAGE_ROWS;
  const columns = isRebuild ? new CatalogueColumns() : (before?.columns ?? new CatalogueColumns());
  const { rows, isComplete } = await applyDelta(env.DB, app, columns, { pages: PAGES_A_STEP });
  if (rows === 0) return { written: false, revision: columns.revision, isComplete };

  const bytes = encodeSnapshot(columns);
  const key = `${prefixOf(app)}${await sha256Hex(bytes)}.snapshot`;
  const step = isRebuild || before === undefined ? 0 : before.step + 1;
  await env.MODELS.put(key, bytes, { customMetadata: { step: String(step) } });
  const counted = isComplete ? pointer.rows : Math.min(rows, pointer.rows);
  const { meta } = await env.DB.prepare(SWING).bind(app, key, columns.revision, counted, pointer.snapshotKey).run();
  const written = meta.changes === 1;
  if (written) await sweep(env, app, [key, pointer.snapshotKey]);
  if (!isComplete) await env.JOBS.send({ type: "snapshot", app }).catch(() => undefined); // a wake-up; the cron asks again
  return { written, revision: columns.revision, isComplete };
}

/**
 * The columns of an app: its snapshot and everything since. A snapshot that is gone or damaged costs time, not the answer.
 * @param row of the app, where the caller has just read it: the columns are then as new as the row
 */
export async function readCatalogue(
  env: Env,
  app: number,
  row?: Pick<AppRow, "revision" | "snapshotKey" | "unsnapshottedRows">,
): Promise<CatalogueColumns> {
  const key = row === undefined ? (await pointerOf(env.DB, app)).snapshotKey : row.snapshotKey;
  const snapshot = key === null ? undefined : await cachedSnapshot(env, key);
  const columns = snapshot ?? new CatalogueColumns();
  const isWhole = snapshot !== undefined && row?.unsnapshottedRows === 0 && snapshot.revision >= row.revision;
  if (!isWhole) await refreshCatalogue(env.DB, app, columns);
  return columns;
}

/** Applies everything written since and tells each page of it. The columns stay whole when it fails half-way. */
export async function refreshCatalogue(
  db: Database,
  app: number,
  columns: CatalogueColumns,
  onRows: (rows: readonly CatalogueRow[]) => void = () => {},
): Promise<number> {
  return (await applyDelta(db, app, columns, { pages: Number.POSITIVE_INFINITY, onRows })).rows;
}

async function applyDelta(
  db: Database,
  app: number,
  columns: CatalogueColumns,
  options: { readonly pages: number; readonly onRows?: (rows: readonly CatalogueRow[]) => void },
): Promise<{ rows: number; isComplete: boolean }> {
  let rows = 0;
  for (let page = 0; page < options.pages; page++) {
    const delta = await readDelta(db, app, columns.revision, columns.lastNumber, DELTA_PAGE_ROWS);
    columns.apply(delta);
    options.onRows?.(delta);
    rows += delta.length;
    if (delta.length < DELTA_PAGE_ROWS) return { rows, isComplete: true };
  }
  return { rows, isComplete: false };
}

async function pointerOf(db: Database, app: number): Promise<Pointer> {
  const pointer = await db.prepare(POINTER).bind(app).first<Pointer>();
  if (pointer === null) throw new RangeError(`there is no app ${app}`);
  return pointer;
}

/** For an isolate that serves: by way of the data centre's cache. */
async function cachedSnapshot(env: Env, key: string): Promise<CatalogueColumns | undefined> {
  const read = await readImmutable(env, key);
  return read?.intact === true ? decodedSnapshot(new Uint8Array(read.bytes)) : undefined;
}

/** For the next snapshot, which is made of this one. */
async function readSnapshot(
  env: Env,
  key: string | null,
): Promise<{ columns: CatalogueColumns; step: number } | undefined> {
  if (key === null) return undefined;
  const object = await env.MODELS.get(key);
  if (object === null) return undefined;
  const bytes = new Uint8Array(await object.arrayBuffer());
  if (!key.endsWith(`/${await sha256Hex(bytes)}.snapshot`)) return undefined;
  const columns = decodedSnapshot(bytes);
  return columns === undefined ? undefined : { columns, step: Number(object.customMetadata?.["step"] ?? 0) };
}

function decodedSnapshot(bytes: Uint8Array<ArrayBuffer>): CatalogueColumns | undefined {
  try {
    return decodeSnapshot(bytes);
  } catch {
    return undefined; // of an older layout: the rows have it all
  }
}

/** Deletes snapshots but the new one and the one before it, which an isolate may just be reading. */
async function sweep(env: Env, app: number, kept: readonly (string | null)[]): Promise<void> {
  const { objects } = await env.MODELS.list({ prefix: prefixOf(app), limit: 100 });
  const old = objects.map(({ key }) => key).filter((key) => key.endsWith(".snapshot") && !kept.includes(key));
  if (old.length > 0) await env.MODELS.delete(old);
}

interface Mark {
  readonly epoch: number;
  readonly nextNumber: number;
  readonly revision: number;
}

/**
 * Keeps epoch and next item number in R2 beside D1. When D1 is behind them it was restored to an earlier minute: numbers jump past
 * all that may have been given, and the epoch grows, so that nothing made before is taken for something made after. Gives true then.
 */
export async function reconcileNumbers(env: Env, app: number): Promise<boolean> {
  const key = `${prefixOf(app)}numbers.json`;
  const object = await env.MODELS.get(key); // before D1 is read: D1 only grows, so being behind means restored
  const mark = object === null ? undefined : await object.json<Mark>();
  let now = await pointerOf(env.DB, app);
  const isRestored =
    mark !== undefined && (now.epoch < mark.epoch || now.nextNumber < mark.nextNumber || now.revision < mark.revision);
  if (isRestored) {
    await env.DB.prepare(RECOVER)
      .bind(app, mark.epoch + 1, mark.nextNumber + NUMBERS_AHEAD, mark.revision + NUMBERS_AHEAD)
      .run();
    now = await pointerOf(env.DB, app);
  }
  const { epoch, nextNumber, revision } = now;
  if (mark?.epoch === epoch && mark.nextNumber === nextNumber && mark.revision === revision) return isRestored;
  const onlyIf = object === null ? { etagDoesNotMatch: "*" } : { etagMatches: object.etag };
  await env.MODELS.put(key, JSON.stringify({ epoch, nextNumber, revision } satisfies Mark), { onlyIf }); // another writer's is as good
  return isRestored;
}

function prefixOf(app: number): string {
  return `catalogue/app=${app}/`;
}

async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
