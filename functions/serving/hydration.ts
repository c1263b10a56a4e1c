/**
 * Rows of shown items: from the isolate's cache, else from the nearest replica, else (where the replica is behind what the
 * delta has told) from the primary. Everything here may vanish with the isolate.
 */
import { LRUCache } from "lru-cache";
import { describeError, log } from "../http/log.ts";
import { hydrate, type HydratedItem } from "../store/items.ts";

/** Bytes of item rows kept, by the length of their texts: some ten thousand items. */
const BUDGET_BYTES = 8 * 1024 * 1024;
const ROW_BYTES = 400; // an object with eighteen fields, beside its texts

const rows = new LRUCache<string, HydratedItem>({
  maxSize: BUDGET_BYTES,
  sizeCalculation: ({ title, text, creator, attributes }) =>
    ROW_BYTES + 2 * (title.length + text.length + creator.length) + 4 * JSON.stringify(attributes).length,
});

/** Newest revision that a delta has told of an item; what a replica gives must not be older. */
const newest = new LRUCache<string, number>({ max: 20_000 });

const keyOf = (app: number, number: number): string => `${app}:${number}`;

/** Takes out what the catalogue's delta says has changed. */
export function forgetRows(
  app: number,
  changed: Iterable<{ readonly number: number; readonly revision: number }>,
): void {
  for (const { number, revision } of changed) {
    rows.delete(keyOf(app, number));
    newest.set(keyOf(app, number), revision);
  }
}

export interface HydratedRows {
  readonly rows: Map<number, HydratedItem>;
  /** False: the database could not be asked, and only cached rows are there. */
  readonly isWhole: boolean;
}

/** At most one query to the nearest replica, and one to the primary where that lags. Unknown numbers are absent. */
export async function hydrateRows(
  env: Env,
  app: number,
  numbers: readonly number[],
  options: { readonly strict: boolean },
): Promise<HydratedRows> {
  const found = new Map<number, HydratedItem>();
  const missing: number[] = [];
  for (const number of numbers) {
    const row = rows.get(keyOf(app, number));
    if (row === undefined) missing.push(number);
    else found.set(number, row);
  }
  if (missing.length === 0) return { rows: found, isWhole: true };
  try {
    const behind = await fill(env, app, missing, found, options.strict ? "first-primary" : "first-unconstrained");
    if (behind.length > 0) await fill(env, app, behind, found, "first-primary");
    return { rows: found, isWhole: true };
  } catch (error) {
    log("warn", "hydration_failed", { app, error: describeError(error) });
    return { rows: found, isWhole: false };
  }
}

/** Reads rows into `found` and the cache; gives the numbers whose row is older than the delta has told. */
async function fill(
  env: Env,
  app: number,
  numbers: readonly number[],
  found: Map<number, HydratedItem>,
  session: "first-primary" | "first-unconstrained",
): Promise<number[]> {
  const behind: number[] = [];
  for (const row of await hydrate(env.DB.withSession(session), app, numbers)) {
    const isBehind = row.revision < (newest.get(keyOf(app, row.number)) ?? 0);
    if (isBehind && session !== "first-primary") behind.push(row.number);
    else {
      found.set(row.number, row);
      // a delta may have come while the primary was read: what it told of must not come out of the cache
      if (!isBehind) rows.set(keyOf(app, row.number), row);
    }
  }
  return behind;
}
