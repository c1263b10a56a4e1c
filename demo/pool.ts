/**
 * The recipes that one user may come across, in topic order, with running sums of weights: a draw in proportion to weight, from all or from
 * one topic, costs a binary search. Up to 3,000 recipes it is all of them; beyond, an even sample of every topic, so that cost grows with users alone.
 */
import { TOPICS } from "./dishes.ts";
import type { Latents } from "./latents.ts";
import type { Random } from "./prng.ts";

export const POOL_LIMIT = 3000;

export interface Pool {
  readonly items: Int32Array;
  /** Where each topic begins in `items` (topics + 1 places). */
  readonly topicStart: Int32Array;
}

export function makePool(latents: Latents, random: Random): Pool {
  const total = latents.byTopic.length;
  if (total <= POOL_LIMIT) return { items: latents.byTopic, topicStart: latents.topicStart };
  const step = total / POOL_LIMIT;
  const items = new Int32Array(POOL_LIMIT);
  const topicStart = new Int32Array(TOPICS.length + 1);
  let topic = 0;
  for (let place = 0; place < POOL_LIMIT; place += 1) {
    const chosen = Math.min(total - 1, Math.floor((place + random.next()) * step));
    while (topic < TOPICS.length && chosen >= latents.topicStart[topic]!) {
      topicStart[topic] = place;
      topic += 1;
    }
    items[place] = latents.byTopic[chosen]!;
  }
  while (topic <= TOPICS.length) {
    topicStart[topic] = POOL_LIMIT;
    topic += 1;
  }
  return { items, topicStart };
}

/** Running sums: place k holds the weight of all items before k; one longer than the pool. */
export function runningSums(pool: Pool, weight: (item: number) => number): Float64Array {
  const sums = new Float64Array(pool.items.length + 1);
  for (let place = 0; place < pool.items.length; place += 1)
    sums[place + 1] = sums[place]! + weight(pool.items[place]!);
  return sums;
}

/** A draw from places [from, to) in proportion to weight; -1 where they hold none. */
export function drawBetween(pool: Pool, sums: Float64Array, random: Random, from: number, to: number): number {
  const low = sums[from]!;
  const span = sums[to]! - low;
  if (!(span > 0)) return -1;
  const target = low + random.next() * span;
  let left = from;
  let right = to - 1;
  while (left < right) {
    const middle = (left + right + 1) >> 1;
    if (sums[middle]! <= target) left = middle;
    else right = middle - 1;
  }
  return pool.items[left]!;
}
