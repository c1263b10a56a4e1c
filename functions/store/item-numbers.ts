/** Numbers of item ids through a cache of the isolate. An id never changes its number; ids that are not known are asked for again. */
import { LRUCache } from "lru-cache";
import { resolveIds } from "./items.ts";

/** About 100 bytes an entry. May vanish with the isolate. */
const known = new LRUCache<string, number>({ max: 50_000, ttl: 600_000 });

/** Known ids only; at most one query for all that the cache lacks. */
export async function numbersOf(
  env: Pick<Env, "DB">,
  app: number,
  ids: Iterable<string>,
): Promise<Map<string, number>> {
  const numbers = new Map<string, number>();
  const missing: string[] = [];
  for (const id of new Set(ids)) {
    const number = known.get(`${app}:${id}`);
    if (number === undefined) missing.push(id);
    else numbers.set(id, number);
  }
  if (missing.length > 0)
    for (const [id, number] of await resolveIds(env, app, missing)) {
      known.set(`${app}:${id}`, number);
      numbers.set(id, number);
    }
  return numbers;
}
