/** Popular and trending items of an app, from its log objects' counters, kept by the isolate for some seconds. */
import { waitUntil } from "cloudflare:workers";
import { LRUCache } from "lru-cache";
import { describeError, log } from "../http/log.ts";
import { appPopularity } from "../store/log.ts";
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
    const value = await appPopularity(env, app, shards, now).catch((error: unknown) => {
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
      appPopularity(env, app, shards, now).then(
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
