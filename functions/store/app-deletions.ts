/**
 * The store's side of deleting an app: the mark in its row, and everything in D1 and R2 that is the app's. What still lies there is
 * the only record of what is left to do, so that each function here can be called again after a crash.
 */
import { is } from "drizzle-orm";
import { SQLiteTable, getTableConfig } from "drizzle-orm/sqlite-core";
import * as schema from "./schema.ts";

export interface MarkedApp {
  readonly app: number;
  readonly deletedAt: number;
  /** Keys and token secrets that were live until now. */
  readonly keyIds: readonly string[];
  readonly kids: readonly string[];
}

const MARK = "UPDATE apps SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
const MARKED = "SELECT app, deleted_at AS deletedAt FROM apps WHERE id = ?1";
const REVOKE_KEYS = `UPDATE api_keys SET revoked_at = ?2
  WHERE app = (SELECT app FROM apps WHERE id = ?1) AND revoked_at IS NULL RETURNING id`;
const REVOKE_SECRETS = `UPDATE token_secrets SET revoked_at = ?2
  WHERE app = (SELECT app FROM apps WHERE id = ?1) AND revoked_at IS NULL RETURNING kid AS id`;

/** Marks the app and revokes its keys in one transaction. Marking it again keeps the first time. Undefined: no such app. */
export async function markDeleted(env: Pick<Env, "DB">, id: string, now: number): Promise<MarkedApp | undefined> {
  const [, keys, secrets, marked] = await env.DB.batch([
    env.DB.prepare(MARK).bind(id, now),
    env.DB.prepare(REVOKE_KEYS).bind(id, now),
    env.DB.prepare(REVOKE_SECRETS).bind(id, now),
    env.DB.prepare(MARKED).bind(id),
  ]);
  const row = marked?.results[0] as { app: number; deletedAt: number } | undefined;
  const ids = (result: D1Result | undefined) => ((result?.results ?? []) as { id: string }[]).map((r) => r.id);
  return row && { ...row, keyIds: ids(keys), kids: ids(secrets) };
}

const TICK = "UPDATE apps SET deletion_tick_at = ?2 WHERE app = ?1 AND deleted_at IS NOT NULL";
/** An erasure that was resumed would put a tombstone into an object that is empty already. */
const CLOSE_ERASURES = `UPDATE erasures SET log_done_at = ?2 WHERE app = ?1 AND log_done_at IS NULL
  AND EXISTS (SELECT 1 FROM apps WHERE app = ?1 AND deleted_at IS NOT NULL)`;
const OPEN = "SELECT deleted_at AS deletedAt, log_shards AS shards FROM apps WHERE app = ?1 AND deleted_at IS NOT NULL";

/** Notes that work goes on, and ends the app's open erasures. Undefined: the app lives, or is gone. */
export async function beginTick(
  env: Pick<Env, "DB">,
  app: number,
  now: number,
): Promise<{ readonly deletedAt: number; readonly shards: number } | undefined> {
  const [, , open] = await env.DB.batch([
    env.DB.prepare(TICK).bind(app, now),
    env.DB.prepare(CLOSE_ERASURES).bind(app, now),
    env.DB.prepare(OPEN).bind(app),
  ]);
  return open?.results[0] as { deletedAt: number; shards: number } | undefined;
}

/** Uses apps_deleted. */
const STANDING = `SELECT app FROM apps WHERE deleted_at IS NOT NULL
  AND (deletion_tick_at IS NULL OR deletion_tick_at <= ?1) ORDER BY deletion_tick_at LIMIT ?2`;

/** Apps whose deletion nothing has worked on since `before`, the longest forgotten first. */
export async function standingDeletions(env: Pick<Env, "DB">, before: number, limit: number): Promise<number[]> {
  const { results } = await env.DB.prepare(STANDING).bind(before, limit).all<{ app: number }>();
  return results.map(({ app }) => app);
}

/** Every app that is being deleted. */
export async function deletedApps(env: Pick<Env, "DB">): Promise<Set<number>> {
  const { results } = await env.DB.prepare("SELECT app FROM apps WHERE deleted_at IS NOT NULL").all<{ app: number }>();
  return new Set(results.map(({ app }) => app));
}

/** The app's own row goes last; erasures name objects that hold a tombstone and are in no other list. */
const LATE_TABLES: readonly string[] = ["apps", "erasures"];

/** Every table with rows of an app, taken from the schema so that none is forgotten, but for the two that go late. */
export const APP_TABLES: readonly string[] = Object.values(schema)
  .filter((value) => is(value, SQLiteTable))
  .map((table) => getTableConfig(table))
  .filter(({ name, columns }) => columns.some((column) => column.name === "app") && !LATE_TABLES.includes(name))
  .map(({ name }) => name);

/** Deletes at most `limit` rows of one of `APP_TABLES`; gives how many. Uses the table's primary key or index by app. */
export async function deleteRows(env: Pick<Env, "DB">, table: string, app: number, limit: number): Promise<number> {
  const sql = `DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table} WHERE app = ?1 LIMIT ?2)`;
  return (await env.DB.prepare(sql).bind(app, limit).run()).meta.changes;
}

/** Where objects of an app lie: files and row tables of models, catalogue snapshots, log segments. */
export function appPrefixes(app: number): readonly { readonly bucket: "MODELS" | "LOG"; readonly prefix: string }[] {
  return [
    { bucket: "MODELS", prefix: `app/${app}/` },
    { bucket: "MODELS", prefix: `catalogue/app=${app}/` },
    { bucket: "LOG", prefix: `log/app=${app}/` },
  ];
}

/** Deletes the first page of what lies under a prefix: a thousand objects, the most that one call takes. */
export async function deletePage(
  bucket: R2Bucket,
  prefix: string,
): Promise<{ readonly removed: number; readonly isEmpty: boolean }> {
  const { objects, truncated } = await bucket.list({ prefix, limit: 1000 });
  if (objects.length > 0) await bucket.delete(objects.map(({ key }) => key));
  return { removed: objects.length, isEmpty: !truncated };
}

/** Names of at most `limit` objects of users who were erased. */
export async function erasedObjects(env: Pick<Env, "DB">, app: number, limit: number): Promise<string[]> {
  const sql = "SELECT DISTINCT object FROM erasures WHERE app = ?1 ORDER BY object LIMIT ?2";
  const { results } = await env.DB.prepare(sql).bind(app, limit).all<{ object: string }>();
  return results.map(({ object }) => object);
}

export async function forgetErasures(env: Pick<Env, "DB">, app: number, objects: readonly string[]): Promise<void> {
  const sql = "DELETE FROM erasures WHERE app = ?1 AND object IN (SELECT value FROM json_each(?2))";
  await env.DB.prepare(sql).bind(app, JSON.stringify(objects)).run();
}

/** Deletes the row of an app that was marked. Its number is never given again: SQLite remembers the highest one. */
export async function forgetApp(env: Pick<Env, "DB">, app: number): Promise<void> {
  await env.DB.prepare("DELETE FROM apps WHERE app = ?1 AND deleted_at IS NOT NULL").bind(app).run();
}
