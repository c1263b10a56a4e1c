/**
 * The row of an app. Read fresh each time: whoever serves from it keeps its own copy with its own bound. An app that is being
 * deleted is not found.
 */
import { drizzle } from "drizzle-orm/d1";
import { and, asc, eq, isNull } from "drizzle-orm";
import { apps } from "./schema.ts";

export type AppRow = typeof apps.$inferSelect;

const isLive = isNull(apps.deletedAt);

/** By the number that never leaves the Worker. */
export async function findApp(env: Env, app: number): Promise<AppRow | undefined> {
  return drizzle(env.DB)
    .select()
    .from(apps)
    .where(and(eq(apps.app, app), isLive))
    .get();
}

/** By the public id, `app_...`. */
export async function findAppById(env: Env, id: string): Promise<AppRow | undefined> {
  return drizzle(env.DB)
    .select()
    .from(apps)
    .where(and(eq(apps.id, id), isLive))
    .get();
}

/** The oldest app of that name. Names are labels, not unique. */
export async function findAppByName(env: Env, name: string): Promise<AppRow | undefined> {
  const isNamed = and(eq(apps.name, name), isLive);
  return drizzle(env.DB).select().from(apps).where(isNamed).orderBy(asc(apps.app)).limit(1).get();
}

/** The statement that makes an app, for a batch with its first keys. */
export function insertApp(env: Env, app: Pick<AppRow, "id" | "name" | "consistency"> & { readonly now: number }) {
  const sql = "INSERT INTO apps (id, name, created_at, consistency) VALUES (?1, ?2, CAST(?3 AS INTEGER), ?4)";
  return env.DB.prepare(sql).bind(app.id, app.name, app.now, app.consistency);
}
