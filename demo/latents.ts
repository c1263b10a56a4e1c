/**
 * What no text shows: every recipe's place among twelve hidden circles of taste (independent of all its words), its quality, its
 * complements, and the links from topic to topic that sessions follow.
 */
import { DISHES, TOPICS } from "./dishes.ts";
import { Random } from "./prng.ts";
import type { Catalogue } from "./catalogue.ts";

export const HIDDEN_DIM = 8;
export const CIRCLES = 12;
export const COMPLEMENTS = 4;
/** Chances of a topic's three planted successors. */
export const SUCCESSOR_CHANCES = [0.55, 0.3, 0.15] as const;

export interface Latents {
  /** count x HIDDEN_DIM, rows of length about 1. */
  readonly hidden: Float32Array;
  /** CIRCLES x HIDDEN_DIM, rows of length 1. */
  readonly circles: Float32Array;
  /** Standard normal appeal that everybody feels; the long tail of popularity comes from it. */
  readonly quality: Float32Array;
  /** count x COMPLEMENTS recipes that fit after a cooked main, best first; -1 where there are none. */
  readonly complements: Int32Array;
  /** Three successors of every topic. */
  readonly successors: readonly (readonly [number, number, number])[];
  /** Recipes ordered by topic, and where each topic begins in that order (topics + 1 places). */
  readonly byTopic: Int32Array;
  readonly topicStart: Int32Array;
}

export function makeLatents(seed: number, catalogue: Catalogue): Latents {
  const random = new Random(seed, "hidden");
  const circles = new Float32Array(CIRCLES * HIDDEN_DIM);
  for (let circle = 0; circle < CIRCLES; circle += 1) {
    let square = 0;
    for (let axis = 0; axis < HIDDEN_DIM; axis += 1) {
      circles[circle * HIDDEN_DIM + axis] = random.normal();
      square += circles[circle * HIDDEN_DIM + axis]! * circles[circle * HIDDEN_DIM + axis]!;
    }
    for (let axis = 0; axis < HIDDEN_DIM; axis += 1) circles[circle * HIDDEN_DIM + axis]! /= Math.sqrt(square);
  }
  const hidden = new Float32Array(catalogue.count * HIDDEN_DIM);
  const quality = new Float32Array(catalogue.count);
  for (let item = 0; item < catalogue.count; item += 1) {
    const circle = random.below(CIRCLES);
    for (let axis = 0; axis < HIDDEN_DIM; axis += 1) {
      hidden[item * HIDDEN_DIM + axis] = 0.94 * circles[circle * HIDDEN_DIM + axis]! + 0.12 * random.normal();
    }
    quality[item] = random.normal();
  }
  const { byTopic, topicStart } = orderByTopic(catalogue);
  const partial = { hidden, circles, quality, byTopic, topicStart };
  return { ...partial, complements: findComplements(seed, catalogue, partial), successors: findSuccessors(seed) };
}

/**
 * The same world without the hidden factor: no recipe has a place among the circles, and none has complements, which are chosen by
 * that place. What is left is told by words, by popularity and by the links between topics.
 */
export function withoutHidden(latents: Latents): Latents {
  return {
    ...latents,
    hidden: new Float32Array(latents.hidden.length),
    complements: new Int32Array(latents.complements.length).fill(-1),
  };
}

function orderByTopic(catalogue: Catalogue): { byTopic: Int32Array; topicStart: Int32Array } {
  const topicStart = new Int32Array(TOPICS.length + 1);
  for (let item = 0; item < catalogue.count; item += 1) topicStart[catalogue.topic[item]! + 1]! += 1;
  for (let topic = 0; topic < TOPICS.length; topic += 1) topicStart[topic + 1]! += topicStart[topic]!;
  const next = topicStart.slice();
  const byTopic = new Int32Array(catalogue.count);
  for (let item = 0; item < catalogue.count; item += 1) {
    const topic = catalogue.topic[item]!;
    byTopic[next[topic]!] = item;
    next[topic]! += 1;
  }
  return { byTopic, topicStart };
}

/** For a main: sides, breads, light dishes and desserts of the same cuisine from the same hidden circle, uploaded at any time. */
function findComplements(
  seed: number,
  catalogue: Catalogue,
  latents: Omit<Latents, "complements" | "successors">,
): Int32Array {
  const complements = new Int32Array(catalogue.count * COMPLEMENTS).fill(-1);
  const random = new Random(seed, "complements");
  for (let item = 0; item < catalogue.count; item += 1) {
    const dish = DISHES[catalogue.dish[item]!]!;
    if (dish.course !== "main") continue;
    const topics = TOPICS.filter((topic) => topic.cuisine === dish.cuisine && topic.group !== "main");
    const scored: [number, number][] = [];
    for (const topic of topics) {
      const start = latents.topicStart[topic.index]!;
      const size = latents.topicStart[topic.index + 1]! - start;
      const looks = Math.min(size, 40);
      for (let look = 0; look < looks; look += 1) {
        const other = latents.byTopic[start + (size > 40 ? random.below(size) : look)]!;
        const bonus = topic.group === "side" ? 0.25 : 0;
        scored.push([dot(latents.hidden, item, other) + bonus + 0.3 * random.normal(), other]);
      }
    }
    scored.sort((left, right) => right[0] - left[0] || left[1] - right[1]);
    const distinct = [...new Set(scored.map(([, other]) => other))];
    for (let place = 0; place < COMPLEMENTS; place += 1)
      complements[item * COMPLEMENTS + place] = distinct[place] ?? -1;
  }
  return complements;
}

function dot(hidden: Float32Array, left: number, right: number): number {
  let sum = 0;
  for (let axis = 0; axis < HIDDEN_DIM; axis += 1)
    sum += hidden[left * HIDDEN_DIM + axis]! * hidden[right * HIDDEN_DIM + axis]!;
  return sum;
}

/** First the same course group in another cuisine, then another course of the same cuisine, then any topic. */
function findSuccessors(seed: number): [number, number, number][] {
  const random = new Random(seed, "successors");
  return TOPICS.map((topic) => {
    const same = TOPICS.filter((other) => other.cuisine === topic.cuisine && other !== topic);
    const across = TOPICS.filter((other) => other.group === topic.group && other !== topic);
    const first = random.pick(across).index;
    let second = random.pick(same).index;
    let third = random.below(TOPICS.length);
    while (second === first) second = random.below(TOPICS.length);
    while (third === first || third === second || third === topic.index) third = random.below(TOPICS.length);
    return [first, second, third];
  });
}
