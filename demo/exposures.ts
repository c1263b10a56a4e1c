/**
 * The logging policy: lists of ten from forty candidates C (fewer where a strict diet leaves fewer), drawn one after another without replacement (Plackett–Luce) from
 * w = (1 - e) softmax(score / temperature) + e / |C|. It knows taste from words, popularity and the last topic, not the hidden factor.
 */
import { isAllowed, tasteOf } from "./affinity.ts";
import { DAY_SECONDS } from "./calendar.ts";
import { drawBetween, runningSums } from "./pool.ts";
import { exp, quantise } from "./prng.ts";
import type { Walk } from "./choices.ts";
import type { Setting } from "./outcome.ts";

export const POLICY = "larder-softmax-v1";
export const EXPLORATION = 0.2;
export const LIST_LENGTH = 10;
export const CANDIDATES = 40;
const TEMPERATURE = 0.7;

export interface Slate {
  /** Items in shown order. */
  readonly items: readonly number[];
  /** w_i / (1 - sum of w above it), six decimals. */
  readonly propensities: readonly number[];
  readonly candidates: readonly number[];
  /** First-draw chance of every candidate; sums to 1. */
  readonly weights: Float64Array;
}

/** Weights by which the platform finds candidates for a user. */
export function platformSums(setting: Setting, walk: Walk): Float64Array {
  return runningSums(walk.pool, (item) =>
    isAllowed(walk.user, setting.features, item)
      ? exp(0.6 * tasteOf(walk.user, setting.features, item) + 0.5 * setting.latents.quality[item]!)
      : 0,
  );
}

/** Draws one list; fewer than ten items only where the catalogue is that small. */
export function drawSlate(setting: Setting, walk: Walk, sums: Float64Array, seconds: number): Slate {
  const candidates = findCandidates(setting, walk, sums, seconds);
  const weights = policyWeights(setting, walk, candidates, seconds);
  const left = weights.slice();
  const items: number[] = [];
  const propensities: number[] = [];
  let above = 0;
  for (let position = 0; position < Math.min(LIST_LENGTH, candidates.length); position += 1) {
    const drawn = walk.random.weighted(left);
    items.push(candidates[drawn]!);
    propensities.push(quantise(weights[drawn]! / (1 - above), 6));
    above += weights[drawn]!;
    left[drawn] = 0;
  }
  return { items, propensities, candidates, weights };
}

/** Nothing that the user opened before. Twenty by taste and popularity, ten of the last topic, six new uploads, the rest at random. */
function findCandidates(setting: Setting, walk: Walk, sums: Float64Array, seconds: number): number[] {
  const { random, pool } = walk;
  const chosen = new Set<number>();
  const add = (item: number): void => {
    if (
      item >= 0 &&
      setting.catalogue.created[item]! <= seconds &&
      !walk.seen.has(item) &&
      isAllowed(walk.user, setting.features, item)
    ) {
      chosen.add(item);
    }
  };
  const size = pool.items.length;
  for (let attempt = 0; attempt < 60 && chosen.size < 20; attempt += 1) add(drawBetween(pool, sums, random, 0, size));
  const last = walk.recent[0];
  if (last !== undefined) {
    const topic = setting.catalogue.topic[last]!;
    for (let attempt = 0; attempt < 20 && chosen.size < 30; attempt += 1) {
      add(drawBetween(pool, sums, random, pool.topicStart[topic]!, pool.topicStart[topic + 1]!));
    }
  }
  const newest = uploadedBefore(setting.catalogue.created, seconds);
  const target = newest > 0 ? chosen.size + 6 : 0;
  for (let attempt = 0; attempt < 12 && chosen.size < target; attempt += 1)
    add(newest - 1 - random.below(Math.min(newest, 80)));
  for (let attempt = 0; attempt < 200 && chosen.size < CANDIDATES; attempt += 1) add(pool.items[random.below(size)]!);
  return [...chosen];
}

/** How many recipes were uploaded by then; recipes are in order of upload. */
function uploadedBefore(created: Int32Array, seconds: number): number {
  let low = 0;
  let high = created.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (created[middle]! <= seconds) low = middle + 1;
    else high = middle;
  }
  return low;
}

function policyWeights(setting: Setting, walk: Walk, candidates: readonly number[], seconds: number): Float64Array {
  const { catalogue, latents, features } = setting;
  const last = walk.recent[0];
  const topic = last === undefined ? -1 : catalogue.topic[last]!;
  const weights = new Float64Array(candidates.length);
  let total = 0;
  for (const [place, item] of candidates.entries()) {
    const isNew = seconds - catalogue.created[item]! < 14 * DAY_SECONDS;
    const score =
      0.5 * tasteOf(walk.user, features, item) +
      0.35 * latents.quality[item]! +
      (catalogue.topic[item] === topic ? 0.5 : 0) +
      (isNew ? 0.25 : 0);
    const weight = exp(score / TEMPERATURE);
    weights[place] = weight;
    total += weight;
  }
  for (let place = 0; place < weights.length; place += 1) {
    weights[place] = ((1 - EXPLORATION) * weights[place]!) / total + EXPLORATION / weights.length;
  }
  return weights;
}
