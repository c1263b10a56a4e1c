/** Models of an app in D1: uploads, the registry, the pointer to the one that serves, and codes of items newer than a model. */
import { type CodedItem, decodeVector, encodeVector } from "../domain/artefact/coded-item.ts";
import { toHex } from "../domain/artefact/digest.ts";
import type { Manifest } from "../domain/artefact/manifest.ts";
import type { AppRow } from "./apps.ts";
import { APP_OF_KEY, selectApp, selectAppOfKey } from "./apps.ts";
import { type ApiKeyRow, keyOf, selectApiKey, type StoredKey } from "./keys.ts";
import { type NewMessage, messageStatements } from "./webhooks.ts";
import { putRows, type Reader, readRows as readRowTable, artefactSource, epochOfRows } from "./artefacts.ts";
import { readItemIds } from "../domain/artefact/checks.ts";
import { type Database, resolveIds } from "./items.ts";

export type ModelStatus = "uploading" | "registered" | "serving" | "retired";

export interface ModelRow {
  /** u32, counted per app from 1. */
  readonly model: number;
  readonly id: string;
  readonly modelVersion: string | null;
  readonly manifest: Manifest | null;
  readonly status: ModelStatus;
  readonly rowsKey: string | null;
  readonly liveRows: number | null;
  readonly createdAt: number;
  readonly registeredAt: number | null;
  readonly promotedAt: number | null;
  readonly withdrawnAt: number | null;
}

/** A model whose files were verified and whose ids were resolved. */
export interface RegisteredModel {
  readonly app: number;
  readonly model: number;
  readonly id: string;
  readonly modelVersion: string;
  readonly manifest: Manifest;
  readonly rowsKey: string;
  readonly status: ModelStatus;
}

export interface ServingModel extends RegisteredModel {
  /** Grows with every promotion. */
  readonly servingVersion: number;
}

export interface StoredFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

const COLUMNS = `models.model, models.id, models.model_version AS modelVersion, models.manifest, models.status,
  models.rows_key AS rowsKey, models.live_rows AS liveRows, models.created_at AS createdAt,
  models.registered_at AS registeredAt, models.promoted_at AS promotedAt, models.withdrawn_at AS withdrawnAt`;

/** Uses models_by_id. */
const FIND = `SELECT ${COLUMNS} FROM models WHERE app = ?1 AND id = ?2`;

/** Uses the primary key; newest first. */
const LIST = `SELECT ${COLUMNS} FROM models WHERE app = ?1 ORDER BY model DESC LIMIT ?2`;

/** `app` is an expression. Uses the primary keys of apps and models. */
const servingOf = (app: string): string =>
  `SELECT ${COLUMNS}, apps.serving_version AS servingVersion, apps.epoch FROM apps CROSS JOIN models
  ON models.app = apps.app AND models.model = apps.serving_model WHERE apps.app = ${app}`;
const SERVING = servingOf("?1");
const SERVING_OF_KEY = servingOf(APP_OF_KEY);

/** The one that serves and the newest that may follow it. Uses the primary key of models. */
const CODING = `SELECT ${COLUMNS} FROM models WHERE app = ?1 AND (status = 'serving' OR model = (SELECT max(model)
  FROM models WHERE app = ?1 AND status = 'registered') OR model = (SELECT canary_model FROM apps WHERE app = ?1))
  ORDER BY model`;
/** Uses the primary keys of apps and models. */
const CANARY = `SELECT ${COLUMNS}, apps.serving_version AS servingVersion, apps.epoch FROM apps CROSS JOIN models
  ON models.app = apps.app AND models.model = apps.canary_model WHERE apps.app = ?1`;
const START_CANARY = `UPDATE apps SET canary_model = ?2, canary_share = ?3, canary_since = ?4
  WHERE app = ?1 AND serving_model IS NOT NULL AND serving_model <> ?2
    AND EXISTS (SELECT 1 FROM models WHERE app = ?1 AND model = ?2 AND status IN ('registered', 'retired'))`;
const END_CANARY = `UPDATE apps SET canary_model = NULL, canary_share = 0, canary_since = NULL
  WHERE app = ?1 AND canary_model = ?2`;

const START = `INSERT INTO models (app, model, id, status, created_at)
  SELECT ?1, coalesce(max(model), 0) + 1, ?2, 'uploading', CAST(?3 AS INTEGER) FROM models WHERE app = ?1
  ON CONFLICT DO NOTHING`;

/** Only while the model takes files. */
const SAVE_FILE = `INSERT INTO model_files (app, model, path, bytes, sha256)
  SELECT ?1, model, ?3, CAST(?4 AS INTEGER), ?5 FROM models WHERE app = ?1 AND id = ?2 AND status = 'uploading'
  ON CONFLICT (app, model, path) DO UPDATE SET bytes = excluded.bytes, sha256 = excluded.sha256
  RETURNING model`;

/** Uses the primary key up to the app. */
const FILES = "SELECT model, path, bytes, sha256 FROM model_files WHERE app = ?1";

const REGISTER = `UPDATE models SET status = 'registered', model_version = ?3, manifest = ?4, rows_key = ?5,
  live_rows = CAST(?6 AS INTEGER), registered_at = CAST(?7 AS INTEGER)
  WHERE app = ?1 AND id = ?2 AND status = 'uploading' RETURNING model`;

/** Only when there is one to follow. */
const RETIRE = `UPDATE models SET status = 'retired' WHERE app = ?1 AND status = 'serving' AND model <> ?2
  AND EXISTS (SELECT 1 FROM models AS next WHERE next.app = ?1 AND next.model = ?2 AND next.status <> 'uploading')`;
const SERVE = `UPDATE models SET status = 'serving', promoted_at = CAST(?3 AS INTEGER), withdrawn_at = NULL
  WHERE app = ?1 AND model = ?2 AND status <> 'uploading'`;
const SWING = `UPDATE apps SET serving_model = CAST(?2 AS INTEGER), serving_version = serving_version + 1,
    canary_model = NULLIF(canary_model, ?2)
  WHERE app = ?1 AND EXISTS (SELECT 1 FROM models WHERE app = ?1 AND model = ?2 AND status = 'serving')
  RETURNING serving_version AS servingVersion`;

/** The model that served before, of those that were not withdrawn. */
const EARLIER = `SELECT model FROM models WHERE app = ?1 AND status = 'retired' AND withdrawn_at IS NULL AND model <> ?2
  ORDER BY promoted_at DESC, model DESC LIMIT 1`;
const WITHDRAW = `UPDATE models SET status = 'retired', withdrawn_at = ?3
  WHERE app = ?1 AND model = ?2 AND status = 'serving' AND EXISTS (${EARLIER})`;
const SERVE_EARLIER = `UPDATE models SET status = 'serving', promoted_at = ?3 WHERE app = ?1 AND model = (${EARLIER})
  AND NOT EXISTS (SELECT 1 FROM models WHERE app = ?1 AND status = 'serving')`;
const SWING_BACK = `UPDATE apps SET serving_version = serving_version + 1,
    serving_model = (SELECT model FROM models WHERE app = ?1 AND status = 'serving')
  WHERE app = ?1 AND serving_model = ?2 AND EXISTS (SELECT 1 FROM models WHERE app = ?1 AND status = 'serving' AND model <> ?2)
  RETURNING serving_version AS servingVersion`;

const MOVE_ROWS = `UPDATE models SET rows_key = ?3, live_rows = CAST(?4 AS INTEGER) WHERE app = ?1 AND model = ?2`;

/** Numbers of item 0 is the cursor of coding: how far in (revision, number) items have been looked at, as 12 bytes. */
const CURSOR = "SELECT revision, vector FROM item_codes WHERE app = ?1 AND model = ?2 AND number = 0";

/** Moves the cursor on, never back, and counts one more write of codes. */
const MOVE_CURSOR = `INSERT INTO item_codes (app, model, number, revision, codes, vector)
  VALUES (?1, CAST(?2 AS INTEGER), 0, 1, x'', unhex(?3))
  ON CONFLICT DO UPDATE SET revision = revision + 1, vector = max(vector, excluded.vector)`;

/** An item that was written again since its text was read is left out: its new revision lies behind the cursor. */
const SAVE_CODES = `INSERT INTO item_codes (app, model, number, revision, codes, vector)
  SELECT ?1, CAST(?2 AS INTEGER), items.number, cursor.revision, unhex(row.value->>'$.codes'), unhex(row.value->>'$.vector')
  FROM item_codes AS cursor CROSS JOIN json_each(?3) AS row CROSS JOIN items
    ON items.app = ?1 AND items.number = row.value->>'$.number' AND items.revision = row.value->>'$.revision'
  WHERE cursor.app = ?1 AND cursor.model = ?2 AND cursor.number = 0
  ON CONFLICT DO UPDATE SET revision = excluded.revision, codes = excluded.codes, vector = excluded.vector`;

/** Uses item_codes_by_revision. */
const CODES_SINCE = `SELECT number, revision, hex(codes) AS codes, hex(vector) AS vector FROM item_codes
  WHERE app = ?1 AND model = ?2 AND revision > ?3 AND number > 0 ORDER BY revision LIMIT ?4`;

/** The same of the promoted model, from the first on. */
const codesOfServing = (app: string): string =>
  `SELECT number, revision, hex(codes) AS codes, hex(vector) AS vector FROM item_codes
  WHERE app = ${app} AND model = (SELECT serving_model FROM apps WHERE app = ${app}) AND revision > 0 AND number > 0
  ORDER BY revision LIMIT ?2`;
const CODES_OF_SERVING = codesOfServing("?1");
const CODES_OF_SERVING_OF_KEY = codesOfServing(APP_OF_KEY);

/** Uses items_by_revision. */
const WRITTEN_SINCE = `SELECT number, revision, deleted FROM items WHERE app = ?1 AND (revision, number) > (?2, ?3)
  ORDER BY revision, number LIMIT ?4`;

/** Statements whose index a test checks with EXPLAIN QUERY PLAN. */
export const MODEL_STATEMENTS = {
  FIND,
  LIST,
  SERVING,
  SERVING_OF_KEY,
  CANARY,
  CODES_SINCE,
  CODES_OF_SERVING,
  CODES_OF_SERVING_OF_KEY,
  WRITTEN_SINCE,
  CURSOR,
};

type Stored<T> = Omit<T, "manifest"> & { readonly manifest: string | null };

// only `registerModel` writes a manifest, after it was parsed
function rowOf(row: Stored<ModelRow>): ModelRow {
  return { ...row, manifest: row.manifest === null ? null : (JSON.parse(row.manifest) as Manifest) };
}

/** The row as a registered model; undefined while files are still coming. */
export function registered(app: number, row: ModelRow): RegisteredModel | undefined {
  const { model, id, modelVersion, manifest, rowsKey, status } = row;
  if (modelVersion === null || manifest === null || rowsKey === null) return undefined;
  return { app, model, id, modelVersion, manifest, rowsKey, status };
}

export async function findModel(db: Database, app: number, id: string): Promise<ModelRow | undefined> {
  const row = await db.prepare(FIND).bind(app, id).first<Stored<ModelRow>>();
  return row === null ? undefined : rowOf(row);
}

/** Newest first. */
export async function listModels(db: Database, app: number, limit: number): Promise<ModelRow[]> {
  const { results } = await db.prepare(LIST).bind(app, limit).all<Stored<ModelRow>>();
  return results.map(rowOf);
}

/** Files that models of the app have brought, by model. */
export async function listFiles(db: Database, app: number): Promise<(StoredFile & { readonly model: number })[]> {
  return (await db.prepare(FILES).bind(app).all<StoredFile & { model: number }>()).results;
}

/** Notes a file that lies in R2, making the model at its first. False: the model takes no files any more. */
export async function saveFile(
  db: Database,
  app: number,
  file: StoredFile & { readonly id: string },
  now: number,
): Promise<boolean> {
  const [, saved] = await db.batch([
    db.prepare(START).bind(app, file.id, now),
    db.prepare(SAVE_FILE).bind(app, file.id, file.path, file.bytes, file.sha256),
  ]);
  return saved!.results.length === 1;
}

/** Makes an uploading model a registered one. False: it is not uploading (any more). */
export async function registerModel(
  env: Env,
  app: number,
  model: { readonly id: string; readonly manifest: Manifest; readonly rows: Uint32Array; readonly epoch: number },
  now: number,
): Promise<boolean> {
  const { id, manifest, rows, epoch } = model;
  const rowsKey = await putRows(env, { app, modelVersion: manifest.modelVersion, epoch, rows });
  const [, done] = await env.DB.batch([
    env.DB.prepare(START).bind(app, id, now), // a model whose files all came with earlier ones
    env.DB.prepare(REGISTER).bind(
      app,
      id,
      manifest.modelVersion,
      JSON.stringify(manifest),
      rowsKey,
      liveRows(rows),
      now,
    ),
  ]);
  return done!.results.length === 1;
}

/** Rows that are items of the app. */
export function liveRows(rows: Uint32Array): number {
  let live = 0;
  for (const number of rows) if (number !== 0) live += 1;
  return live;
}

/** Item numbers of an artefact's ids, 0 for one that the app lacks. */
export async function resolveRows(env: Env, app: number, ids: readonly string[]): Promise<Uint32Array> {
  const numbers = await resolveIds(env, app, ids);
  return Uint32Array.from(ids, (id) => numbers.get(id) ?? 0);
}

/**
 * Swings the app's pointer to a registered model in one transaction; the one that served is retired and can be promoted again.
 * `message` tells of it.
 * @returns the new serving version, undefined when the model is not registered.
 */
export async function promoteModel(
  db: Database,
  app: number,
  model: number,
  now: number,
  message?: NewMessage,
): Promise<number | undefined> {
  const [, , swung] = await db.batch<{ servingVersion: number }>([
    db.prepare(RETIRE).bind(app, model),
    db.prepare(SERVE).bind(app, model, now),
    db.prepare(SWING).bind(app, model),
    ...(message === undefined ? [] : messageStatements(db, app, message, now)),
  ]);
  return swung!.results[0]?.servingVersion;
}

/** The model that `withdrawModel` would go back to. */
export async function earlierModel(db: Database, app: number, model: number): Promise<ModelRow | undefined> {
  const row = await db
    .prepare(`SELECT ${COLUMNS} FROM models WHERE app = ?1 AND model = (${EARLIER})`)
    .bind(app, model)
    .first<Stored<ModelRow>>();
  return row === null ? undefined : rowOf(row);
}

/**
 * Takes the serving model back, and lets the one that served before it serve again, in one transaction. `message` tells of it.
 * @returns the new serving version, undefined when the model does not serve or nothing served before it
 */
export async function withdrawModel(
  db: Database,
  app: number,
  model: number,
  now: number,
  message: NewMessage,
): Promise<number | undefined> {
  const [, , swung] = await db.batch<{ servingVersion: number }>([
    db.prepare(WITHDRAW).bind(app, model, now),
    db.prepare(SERVE_EARLIER).bind(app, model, now),
    db.prepare(SWING_BACK).bind(app, model),
    ...messageStatements(db, app, message, now),
  ]);
  return swung!.results[0]?.servingVersion;
}

/** The promoted model of an app. Its row table is resolved anew when the app's item numbers have another epoch. */
export async function servingModel(env: Env, app: number): Promise<ServingModel | undefined> {
  return currentModel(env, app, await env.DB.prepare(SERVING).bind(app).first<ServingRow>());
}

/** The model that a share of users sees. */
export async function canaryModel(env: Env, app: number): Promise<ServingModel | undefined> {
  return currentModel(env, app, await env.DB.prepare(CANARY).bind(app).first<ServingRow>());
}

/**
 * Shows a model to a share of users, in place of any that was shown to one.
 * @param share of 10,000 users
 * @returns false when nothing serves beside it, or it serves itself
 */
export async function startCanary(
  db: Database,
  app: number,
  canary: { readonly model: number; readonly share: number },
  now: number,
): Promise<boolean> {
  return (await db.prepare(START_CANARY).bind(app, canary.model, canary.share, now).run()).meta.changes > 0;
}

/** Shows the model to nobody any more. For a batch too: changes nothing where it is not the canary. */
export function endCanary(db: Database, app: number, model: number): D1PreparedStatement {
  return db.prepare(END_CANARY).bind(app, model);
}

type ServingRow = Stored<ModelRow> & { servingVersion: number; epoch: number };

async function currentModel(env: Env, app: number, row: ServingRow | null): Promise<ServingModel | undefined> {
  const model = row === null ? undefined : registered(app, rowOf(row));
  if (row === null || model === undefined) return undefined;
  const current = epochOfRows(model.rowsKey) === row.epoch ? model : await resolvedAnew(env, model, row.epoch);
  return { ...current, servingVersion: row.servingVersion };
}

/** A promoted model and the first page of codes of items newer than it. */
export interface ModelAtOnce {
  readonly registered: ServingModel;
  readonly codes: ItemCodesPage;
}

/**
 * The row of an app and its promoted model, for an isolate that knows neither. `model` takes longer where the row table has
 * to be resolved anew; undefined: there is none.
 */
export interface FirstLook {
  readonly row: AppRow | undefined;
  /** Begun by its caller, who knows by then that the key is right: it may write a row table. */
  readonly model: () => Promise<ModelAtOnce | undefined>;
}

/** In one round trip. */
export async function firstLook(env: Env, app: number): Promise<FirstLook> {
  const looked = await env.DB.batch([
    selectApp(env, app),
    env.DB.prepare(SERVING).bind(app),
    env.DB.prepare(CODES_OF_SERVING).bind(app, CODES_A_PAGE + 1),
  ]);
  return lookedAt(env, looked);
}

/** A key and a first look at its app in one round trip, for an isolate that knows not even the key. */
export async function firstLookOfKey(
  env: Env,
  keyId: string,
): Promise<{ readonly key: ApiKeyRow | undefined; readonly look: FirstLook }> {
  const [key, ...looked] = await env.DB.batch([
    selectApiKey(env, keyId),
    selectAppOfKey(env, keyId),
    env.DB.prepare(SERVING_OF_KEY).bind(keyId),
    env.DB.prepare(CODES_OF_SERVING_OF_KEY).bind(keyId, CODES_A_PAGE + 1),
  ]);
  return { key: keyOf(key!.results[0] as StoredKey | undefined), look: lookedAt(env, looked) };
}

/** Results of the statements for the app's row, the model's row and the codes. */
function lookedAt(env: Env, [rows, serving, codes]: readonly D1Result[]): FirstLook {
  const row = rows!.results[0] as AppRow | undefined;
  const served = serving!.results[0] as ServingRow | undefined;
  const model = async (): Promise<ModelAtOnce | undefined> => {
    const registeredModel = row && served && (await currentModel(env, row.app, served));
    if (registeredModel === undefined) return undefined;
    const page = codesPage(registeredModel, codes!.results as CodesRow[], 0, CODES_A_PAGE);
    return { registered: registeredModel, codes: page };
  };
  return { row, model };
}

async function resolvedAnew(env: Env, model: RegisteredModel, epoch: number): Promise<RegisteredModel> {
  const { app, manifest } = model;
  const text = await artefactSource(env, app, manifest).read(manifest.items.file);
  const read = readItemIds(manifest, new TextDecoder().decode(text));
  if ("refusal" in read) throw new Error(`${manifest.items.file} of ${model.modelVersion} is damaged`);
  const rows = await resolveRows(env, app, read.ids);
  const rowsKey = await putRows(env, { app, modelVersion: model.modelVersion, epoch, rows });
  await env.DB.prepare(MOVE_ROWS).bind(app, model.model, rowsKey, liveRows(rows)).run();
  return { ...model, rowsKey };
}

/** Models whose newer items are to be coded: the one that serves, and the newest registered one. */
export async function modelsToCode(env: Env, app: number): Promise<RegisteredModel[]> {
  const { results } = await env.DB.prepare(CODING).bind(app).all<Stored<ModelRow>>();
  return results.map((row) => registered(app, rowOf(row))).filter((model) => model !== undefined);
}

/** Row table of a model: item number of every row of its artefact, 0 for a dead row. */
export async function readRows(
  env: Env,
  model: Pick<RegisteredModel, "rowsKey">,
  reader?: Reader,
): Promise<Uint32Array> {
  return readRowTable(env, model.rowsKey, reader);
}

const fromHex = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

const CODES_A_PAGE = 5000;

interface CodesRow {
  readonly number: number;
  readonly revision: number;
  readonly codes: string;
  readonly vector: string;
}

/** Coded items, oldest first, and the revision to go on from. `isWhole` is false when a limit cut the list. */
export interface ItemCodesPage {
  readonly items: CodedItem[];
  readonly revision: number;
  readonly isWhole: boolean;
}

/** Items coded since a revision (of the codes: it grows by one with every write of them, in the order of the writes). */
export async function itemCodesSince(
  db: Database,
  app: number,
  model: Pick<RegisteredModel, "model" | "manifest">,
  revision: number,
  limit = CODES_A_PAGE,
): Promise<ItemCodesPage> {
  const statement = db.prepare(CODES_SINCE).bind(app, model.model, revision, limit + 1);
  return codesPage(model, (await statement.all<CodesRow>()).results, revision, limit);
}

/** @param results one row more than `limit` where there are more */
function codesPage(
  model: Pick<RegisteredModel, "manifest">,
  results: readonly CodesRow[],
  revision: number,
  limit: number,
): ItemCodesPage {
  const isWhole = results.length <= limit;
  // a revision that the limit cut is read again as a whole
  const cut = isWhole ? Infinity : results[limit]!.revision;
  const rows = results.filter((row) => row.revision < cut);
  if (rows.length === 0 && !isWhole) throw new RangeError(`more than ${limit} items were coded in one write`);
  const { dim } = model.manifest;
  const items = rows.map((row) => ({
    number: row.number,
    codes: fromHex(row.codes),
    ...decodeVector(fromHex(row.vector), dim),
  }));
  return { items, revision: rows.at(-1)?.revision ?? revision, isWhole };
}

/** A place in the order of items by (revision, number). */
export interface ItemCursor {
  readonly revision: number;
  readonly number: number;
}

/** How far a model's newer items have been looked at. */
export async function codingCursor(db: Database, app: number, model: number): Promise<ItemCursor> {
  const row = await db.prepare(CURSOR).bind(app, model).first<{ vector: ArrayBuffer | number[] }>();
  if (row === null) return { revision: 0, number: 0 };
  const view = new DataView(Uint8Array.from(new Uint8Array(row.vector as ArrayBuffer)).buffer);
  return { revision: Number(view.getBigUint64(0)), number: view.getUint32(8) };
}

/** Items after a cursor in the order of their writing, without their texts. */
export async function writtenSince(db: Database, app: number, cursor: ItemCursor, limit: number) {
  type Row = { number: number; revision: number; deleted: number };
  return (await db.prepare(WRITTEN_SINCE).bind(app, cursor.revision, cursor.number, limit).all<Row>()).results;
}

/** Saves codes and moves the cursor to `upTo` in one transaction. `revision` is the item's when its text was read. */
export async function saveItemCodes(
  db: Database,
  app: number,
  model: number,
  items: readonly (CodedItem & { readonly revision: number })[],
  upTo: ItemCursor,
): Promise<void> {
  const at = new Uint8Array(12);
  const view = new DataView(at.buffer);
  view.setBigUint64(0, BigInt(upTo.revision));
  view.setUint32(8, upTo.number);
  const rows = items.map((item) => ({
    number: item.number,
    revision: item.revision,
    codes: toHex(item.codes),
    vector: toHex(encodeVector(item)),
  }));
  await db.batch([
    db.prepare(MOVE_CURSOR).bind(app, model, toHex(at)),
    ...(rows.length === 0 ? [] : [db.prepare(SAVE_CODES).bind(app, model, JSON.stringify(rows))]),
  ]);
}
