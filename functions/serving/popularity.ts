/** Popular and trending items of an app, from its log objects' counters, kept by the isolate for some seconds. */
import { waitUntil } from "cloudflare:workers";
import { LRUCache } from "lru-cache";
import { describeError, log } from "../http/log.ts";
import { logStub } from "../store/subjects.ts";
import type { Weighted } from "../domain/recommendation/fallback.ts";

export interface Popularity {
  readonly popular: Weighted;
  readonly trending: Weighted;
}

/** Counters move slowly; a list this old is still what people do now. */
const FRESH_MS = 10_000;
const NOTHING: Popularity = { popular: [], trending: [] };

interface Kept {
  value: Popularity;
  at: number;
  renewing: boolean;
}

const kept = new LRUCache<number, Kept>({ max: 200 }); // may vanish with the isolate

/** The first call of an app waits; later ones get what is there and renew it in the background. Never rejects. */
export async function popularity(env: Env, app: number, shards: number, now: number): Promise<Popularity> {
  const entry = kept.get(app);
  if (entry === undefined) {
    const value = await read(env, app, shards, now).catch((error: unknown) => {
      log("warn", "popularity_failed", { app, error: describeError(error) });
      return undefined;
    });
    if (value === undefined) return NOTHING;
    kept.set(app, { value, at: now, renewing: false });
    return value;
  }
  if (now - entry.at >= FRESH_MS && !entry.renewing) {
    entry.renewing = true;
    waitUntil(
      read(env, app, shards, now).then(
        (value) => kept.set(app, { value, at: now, renewing: false }),
        (error: unknown) => {
          entry.renewing = false;
          log("warn", "popularity_failed", { app, error: describeError(error) });
        },
      ),
    );
  }
  return entry.value;
}

async function read(env: Env, app: number, shards: number, now: number): Promise<Popularity> {
  const parts = await Promise.all(Array.from({ length: shards }, (_, shard) => logStub(env, app, shard).popular(now)));
  const lists = (pick: "popular" | "trending"): Weighted[] => {
    return parts.map((part) => part[pick].map(([number, weight]) => [number!, weight!] as const)); // tuples lose their type on the way
  };
  return { popular: summed(lists("popular")), trending: summed(lists("trending")) };
}

/** Weights of the shards added up, best first; equal weights by item number. */
function summed(lists: readonly Weighted[]): Weighted {
  if (lists.length === 1) return lists[0]!;
  const sums = new Map<number, number>();
  for (const list of lists) for (const [number, weight] of list) sums.set(number, (sums.get(number) ?? 0) + weight);
  return [...sums].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}
