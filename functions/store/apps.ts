/**
 * The row of an app. Read fresh each time: whoever serves from it keeps its own copy with its own bound. An app that is being
 * deleted is not found.
 */
import type { apps } from "./schema.ts";

export type AppRow = typeof apps.$inferSelect;

const NAMES = {
  app: "app",
  id: "id",
  name: "name",
  cell: "cell",
  createdAt: "created_at",
  consistency: "consistency",
  development: "development",
  logShards: "log_shards",
  epoch: "epoch",
  revision: "revision",
  nextNumber: "next_number",
  snapshotKey: "snapshot_key",
  snapshotRevision: "snapshot_revision",
  unsnapshottedRows: "unsnapshotted_rows",
  servingModel: "serving_model",
  servingVersion: "serving_version",
  canaryModel: "canary_model",
  canaryShare: "canary_share",
  canarySince: "canary_since",
  deletedAt: "deleted_at",
  deletionTickAt: "deletion_tick_at",
} as const satisfies Record<keyof AppRow, string>;

const COLUMNS = Object.entries(NAMES).map(([name, column]) => `${column} AS ${name}`);
/** Number of the app of the key ?1. Uses the primary key of api_keys. */
export const APP_OF_KEY = "(SELECT app FROM api_keys WHERE id = ?1)";
const SELECT = `SELECT ${COLUMNS.join(", ")} FROM apps WHERE deleted_at IS NULL AND`;

async function find(env: Env, condition: string, value: string | number): Promise<AppRow | undefined> {
  return (await env.DB.prepare(`${SELECT} ${condition}`).bind(value).first<AppRow>()) ?? undefined;
}

/** The statement of `findApp`, for a batch. Gives an `AppRow`. */
export function selectApp(env: Env, app: number): D1PreparedStatement {
  return env.DB.prepare(`${SELECT} app = ?1`).bind(app);
}

/** The same of the app that a key is of; whether the key may do anything is not asked. */
export function selectAppOfKey(env: Env, keyId: string): D1PreparedStatement {
  return env.DB.prepare(`${SELECT} app = ${APP_OF_KEY}`).bind(keyId);
}

/** By the number that never leaves the Worker. */
export async function findApp(env: Env, app: number): Promise<AppRow | undefined> {
  return (await selectApp(env, app).first<AppRow>()) ?? undefined;
}

/** By the public id, `app_...`. */
export async function findAppById(env: Env, id: string): Promise<AppRow | undefined> {
  return find(env, "id = ?1", id);
}

/** The oldest app of that name. Names are labels, not unique. */
export async function findAppByName(env: Env, name: string): Promise<AppRow | undefined> {
  return find(env, "name = ?1 ORDER BY app LIMIT 1", name);
}

/** The statement that makes an app, for a batch with its first keys. */
export function insertApp(
  env: Env,
  app: Pick<AppRow, "id" | "name" | "consistency" | "development"> & { readonly now: number },
) {
  const sql =
    "INSERT INTO apps (id, name, created_at, consistency, development) VALUES (?1, ?2, CAST(?3 AS INTEGER), ?4, ?5)";
  return env.DB.prepare(sql).bind(app.id, app.name, app.now, app.consistency, app.development);
}
