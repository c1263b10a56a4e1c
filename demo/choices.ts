/** Free choices (search, browsing, similar recipes): which recipe a user opens next, given the last ones. */
import { dayFit, hiddenOf, isAllowed, MAX_FIT, machineShift, tasteOf } from "./affinity.ts";
import { DAY_SECONDS } from "./calendar.ts";
import { COMPLEMENTS, SUCCESSOR_CHANCES } from "./latents.ts";
import { RANDOM_CLICKS } from "./outcome.ts";
import { drawBetween, makePool, runningSums } from "./pool.ts";
import { exp, Random } from "./prng.ts";
import { TRENDS, trendStrength } from "./trends.ts";
import type { Setting } from "./outcome.ts";
import type { Pool } from "./pool.ts";
import type { User } from "./users.ts";

export interface Choice {
  readonly item: number;
  readonly surface: "search" | "browse" | "item.similar" | "cookbook";
}

/** What a user carries from one moment to the next. */
export interface Walk {
  readonly user: User;
  readonly random: Random;
  readonly pool: Pool;
  /** Running sums of the weights of a free choice. */
  readonly sums: Float64Array;
  /** Newest first, at most three. */
  recent: number[];
  readonly seen: Set<number>;
  readonly cooked: number[];
  /** The main that waits for a side or a dessert, and the day it was cooked. */
  pending: { item: number; day: number } | null;
}

const COMPLEMENT_CHANCES = [0.45, 0.27, 0.17, 0.11] as const;

export function startWalk(seed: number, setting: Setting, user: User): Walk {
  const random = new Random(seed, `walk ${user.index}`);
  const pool = makePool(setting.latents, random);
  const sums = runningSums(pool, (item) => {
    const pull = 1.6 * tasteOf(user, setting.features, item) + 1.15 * hiddenOf(user, setting.latents, item);
    const origin = setting.catalogue.origin[item] === 1 ? machineShift(user) - 0.6 : 0;
    return (
      exp(pull + 1.0 * setting.latents.quality[item]! + origin) * (isAllowed(user, setting.features, item) ? 1 : 0.02)
    );
  });
  return { user, random, pool, sums, recent: [], seen: new Set(), cooked: [], pending: null };
}

export function met(walk: Walk, item: number): void {
  walk.recent = [item, ...walk.recent.filter((earlier) => earlier !== item)].slice(0, 3);
  walk.seen.add(item);
}

/**
 * 15 % at random; after a cooked main soon a complement; else by fashion, by the links between topics, from old favourites, or by taste
 * and hidden factor over everything.
 */
export function chooseNext(setting: Setting, walk: Walk, seconds: number, isSessionStart: boolean): Choice | null {
  const { random } = walk;
  const day = Math.floor(seconds / DAY_SECONDS);
  if (random.chance(RANDOM_CLICKS)) {
    const item = anywhere(setting, walk, seconds);
    return item < 0 ? null : { item, surface: "browse" };
  }
  if (isSessionStart && walk.pending && day - walk.pending.day <= 4 && random.chance(0.7)) {
    const item = complementOf(setting, walk, walk.pending.item, seconds);
    walk.pending = null;
    if (item >= 0) return { item, surface: "item.similar" };
  }
  for (const [place, trend] of TRENDS.entries()) {
    if (random.chance(0.2 * walk.user.trendSense[place]! * trendStrength(trend, day))) {
      const item = inFashion(setting, walk, place, seconds);
      if (item >= 0) return { item, surface: "search" };
    }
  }
  const [last, , third] = walk.recent;
  if (last !== undefined) {
    const roll = random.next();
    if (setting.features.isMain[last] && random.chance(isSessionStart ? 0.08 : 0.16)) {
      const item = complementOf(setting, walk, last, seconds);
      if (item >= 0) return { item, surface: "item.similar" };
    }
    const topic = setting.catalogue.topic[last]!;
    const [same, next] = isSessionStart ? [0.12, 0.42] : [0.34, 0.62];
    if (roll < same) return found(inTopic(setting, walk, topic, seconds), "item.similar");
    if (roll < next) {
      const successor = setting.latents.successors[topic]![random.weighted(SUCCESSOR_CHANCES)]!;
      return found(inTopic(setting, walk, successor, seconds), "search");
    }
    if (roll > 0.97 && third !== undefined)
      return found(inTopic(setting, walk, setting.catalogue.topic[third]!, seconds), "browse");
  }
  if (walk.cooked.length > 2 && random.chance(0.1)) return { item: random.pick(walk.cooked), surface: "cookbook" };
  return found(within(setting, walk, 0, walk.pool.items.length, seconds), "search");
}

function found(item: number, surface: Choice["surface"]): Choice | null {
  return item < 0 ? null : { item, surface };
}

function anywhere(setting: Setting, walk: Walk, seconds: number): number {
  for (let attempt = 0; attempt < 30; attempt += 1) {
    const item = walk.pool.items[walk.random.below(walk.pool.items.length)]!;
    if (setting.catalogue.created[item]! <= seconds) return item;
  }
  return -1;
}

function inTopic(setting: Setting, walk: Walk, topic: number, seconds: number): number {
  return within(setting, walk, walk.pool.topicStart[topic]!, walk.pool.topicStart[topic + 1]!, seconds);
}

/** By weight, among what is uploaded, seldom what was seen before, sooner what fits the day. */
function within(setting: Setting, walk: Walk, from: number, to: number, seconds: number): number {
  const day = Math.floor(seconds / DAY_SECONDS);
  let fallback = -1;
  for (let attempt = 0; attempt < 24; attempt += 1) {
    const item = drawBetween(walk.pool, walk.sums, walk.random, from, to);
    if (item < 0) return -1;
    if (setting.catalogue.created[item]! > seconds) continue;
    if (walk.seen.has(item) && !walk.random.chance(0.04)) continue;
    fallback = item;
    if (walk.random.chance(exp(dayFit(walk.user, setting.features, setting.catalogue, item, day) - MAX_FIT)))
      return item;
  }
  return fallback;
}

function inFashion(setting: Setting, walk: Walk, trend: number, seconds: number): number {
  for (let attempt = 0; attempt < 400; attempt += 1) {
    const item = drawBetween(walk.pool, walk.sums, walk.random, 0, walk.pool.items.length);
    if (
      setting.features.trends[item]! & (1 << trend) &&
      setting.catalogue.created[item]! <= seconds &&
      !walk.seen.has(item)
    )
      return item;
  }
  return -1;
}

function complementOf(setting: Setting, walk: Walk, main: number, seconds: number): number {
  const weights = COMPLEMENT_CHANCES.map((chance, slot) => {
    const item = setting.latents.complements[main * COMPLEMENTS + slot]!;
    const isOpen = item >= 0 && setting.catalogue.created[item]! <= seconds && !walk.seen.has(item);
    return isOpen && isAllowed(walk.user, setting.features, item) ? chance : 0;
  });
  if (weights.every((weight) => weight === 0)) return -1;
  return setting.latents.complements[main * COMPLEMENTS + walk.random.weighted(weights)]!;
}
