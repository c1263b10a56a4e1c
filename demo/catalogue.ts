/**
 * All recipes as columns of numbers, in order of upload. Words are made only when a recipe is read, which keeps a quarter of a million in
 * about 40 MB. Recipe k has the id r<k+1>.
 */
import { DAYS, DAY_SECONDS } from "./calendar.ts";
import { makeCreators } from "./creators.ts";
import { DISHES, TOPICS } from "./dishes.ts";
import { MODIFIERS, accentsNamed, ingredientsOf, joins, titleOf } from "./grammar.ts";
import { INGREDIENTS } from "./ingredients.ts";
import { Random, hash32 } from "./prng.ts";
import type { Creator } from "./creators.ts";
import type { Plan } from "./grammar.ts";

export const ORIGINS = ["human", "machine", "mixed", "unknown"] as const;
export type Origin = (typeof ORIGINS)[number];

export interface Catalogue {
  readonly count: number;
  readonly creators: readonly Creator[];
  readonly dish: Uint16Array;
  readonly hero: Int16Array;
  readonly accent: Int16Array;
  readonly second: Int16Array;
  readonly template: Uint8Array;
  readonly modifier: Int8Array;
  readonly minutes: Uint16Array;
  readonly wording: Uint32Array;
  readonly creator: Int32Array;
  /** Places in `ORIGINS`. */
  readonly origin: Uint8Array;
  /** Seconds since the first midnight; negative before it. */
  readonly created: Int32Array;
  readonly topic: Uint8Array;
  /** The earlier recipe of the same creator that this one varies, or -1. */
  readonly nearDuplicateOf: Int32Array;
}

export function planAt(catalogue: Catalogue, item: number): Plan {
  return {
    dish: catalogue.dish[item]!,
    hero: catalogue.hero[item]!,
    accent: catalogue.accent[item]!,
    second: catalogue.second[item]!,
    template: catalogue.template[item]!,
    modifier: catalogue.modifier[item]!,
    minutes: catalogue.minutes[item]!,
    wording: catalogue.wording[item]!,
  };
}

export function makeCatalogue(seed: number, scale: number): Catalogue {
  const count = Math.max(60, Math.round(2400 * scale));
  const creators = makeCreators(seed, scale, count);
  const created = new Int32Array(count);
  const creator = new Int32Array(count);
  uploadTimes(seed, creators, created, creator);
  const catalogue: Catalogue = {
    count,
    creators,
    created,
    creator,
    dish: new Uint16Array(count),
    hero: new Int16Array(count),
    accent: new Int16Array(count),
    second: new Int16Array(count),
    template: new Uint8Array(count),
    modifier: new Int8Array(count),
    minutes: new Uint16Array(count),
    wording: new Uint32Array(count),
    origin: new Uint8Array(count),
    topic: new Uint8Array(count),
    nearDuplicateOf: new Int32Array(count).fill(-1),
  };
  fill(seed, catalogue);
  return catalogue;
}

/** Uploads of each creator over time, all sorted by time; ties by creator. */
function uploadTimes(seed: number, creators: readonly Creator[], created: Int32Array, creator: Int32Array): void {
  const keys = new Float64Array(created.length);
  const width = 2 ** 20;
  let place = 0;
  for (const entry of creators) {
    const random = new Random(seed, `uploads ${entry.index}`);
    for (let upload = 0; upload < entry.uploads; upload += 1) {
      // the last hours are left free, so that every item can still be met
      const span = DAYS - 0.5 - entry.firstDay;
      const day = Math.floor(entry.firstDay + span * random.next());
      const seconds = day * DAY_SECONDS + 6 * 3600 + random.below(16 * 3600);
      keys[place] = (seconds + 60_000_000) * width + entry.index;
      place += 1;
    }
  }
  keys.sort();
  for (const [item, key] of keys.entries()) {
    created[item] = Math.floor(key / width) - 60_000_000;
    creator[item] = key % width;
  }
}

function fill(seed: number, catalogue: Catalogue): void {
  const taken = new Set<number>();
  const earlier = new Map<number, number[]>();
  for (let item = 0; item < catalogue.count; item += 1) {
    const creator = catalogue.creators[catalogue.creator[item]!]!;
    const random = new Random(seed, `recipe ${item}`);
    const own = earlier.get(creator.index) ?? [];
    const source = own.length > 0 && random.chance(creator.duplicateShare) ? random.pick(own) : -1;
    let plan = source < 0 ? drawPlan(random, creator) : varyPlan(random, planAt(catalogue, source), creator.isMachine);
    for (let attempt = 0; attempt < 24 && taken.has(titleKey(plan)); attempt += 1) {
      plan = source < 0 ? drawPlan(random, creator) : varyPlan(random, planAt(catalogue, source), creator.isMachine);
    }
    taken.add(titleKey(plan));
    if (creator.duplicateShare > 0) earlier.set(creator.index, [...own, item]);
    catalogue.dish[item] = plan.dish;
    catalogue.hero[item] = plan.hero;
    catalogue.accent[item] = plan.accent;
    catalogue.second[item] = plan.second;
    catalogue.template[item] = plan.template;
    catalogue.modifier[item] = plan.modifier;
    catalogue.minutes[item] = plan.minutes;
    catalogue.wording[item] = plan.wording;
    catalogue.topic[item] = DISHES[plan.dish]!.topic;
    catalogue.nearDuplicateOf[item] = source;
    catalogue.origin[item] = drawOrigin(random, creator.isMachine);
  }
}

function drawOrigin(random: Random, isMachine: boolean): number {
  const roll = random.next();
  if (isMachine) return roll < 0.96 ? 1 : 3;
  return roll < 0.93 ? 0 : roll < 0.97 ? 2 : 3;
}

/** 53-bit key of a title; two titles share one with chance 1e-16. */
function titleKey(plan: Plan): number {
  const title = titleOf(plan);
  return hash32(title) * 2 ** 21 + (hash32(title, 7) >>> 11);
}

function drawPlan(random: Random, creator: Creator): Plan {
  const cuisine = random.weighted(creator.cuisineWeights);
  const topics = TOPICS.filter((topic) => topic.cuisine === cuisine);
  const dish = DISHES[random.pick(topics.flatMap((topic) => topic.dishes))]!;
  const base = dish.base;
  const heroes = dish.heroes.filter((entry) => joins(base, entry));
  const hero = random.pick(heroes.length > 0 ? heroes : dish.heroes);
  const template = random.below(dish.titles.length);
  const used = [hero, ...base];
  const accents = dish.accents.filter((entry) => joins(used, entry));
  const isNamed = accentsNamed(dish.titles[template]!) > 0;
  const accent = accents.length > 0 && (isNamed || random.chance(0.5)) ? random.pick(accents) : undefined;
  const others = accent ? accents.filter((entry) => joins([accent], entry)) : [];
  const second =
    isNamed && dish.titles[template]!.endsWith(" with {W}") && others.length > 0 && random.chance(0.25)
      ? random.pick(others)
      : undefined;
  const [low, high] = dish.minutes;
  const step = high > 90 ? 10 : 5;
  const plan: Plan = {
    dish: dish.index,
    hero: hero.index,
    accent: accent?.index ?? -1,
    second: second?.index ?? -1,
    template,
    modifier: -1,
    minutes: Math.round((low + (high - low) * random.next()) / step) * step,
    wording: random.bits(),
  };
  return {
    ...plan,
    modifier: random.chance(creator.isMachine ? 0.6 : 0.16) ? drawModifier(random, plan, creator.isMachine) : -1,
  };
}

/** A modifier that fits the dish and does not pile up on a title that begins with one. */
function drawModifier(random: Random, plan: Plan, isMachine: boolean): number {
  const dish = DISHES[plan.dish]!;
  const used = ingredientsOf(plan);
  const plain = titleOf({ ...plan, modifier: -1 });
  if (
    /^(Crisp|Slow|Smoky|Creamy|Quick|Whipped|Sticky|Sheet|Charred|Weekend|Sizzling|Bubbling|Lemon|Whole|Warm|Cold|Chilled|Burnt|Sunday|Saucy|Low|Flaky|Chewy|Buttery|Fluffy|Hot|Roast|Baked|Barbecue|Oven|Spicy)/.test(
      plain,
    )
  )
    return -1;
  const fitting = MODIFIERS.flatMap((modifier, index) => {
    if (modifier.voice !== "any" && (modifier.voice === "machine") !== isMachine) return [];
    if (!modifier.fits(dish, used, plan.minutes)) return [];
    const title = modifier.apply(plain, plan);
    const [word = ""] = title
      .slice(0, title.length - plain.length)
      .trim()
      .split(" ");
    return word.length > 3 && plain.includes(word.replace(/y$/, "")) ? [] : [index];
  });
  return fitting.length > 0 ? random.pick(fitting) : -1;
}

/** The same recipe again under another wording, sometimes with another accent: what volume creators upload. */
function varyPlan(random: Random, plan: Plan, isMachine: boolean): Plan {
  const dish = DISHES[plan.dish]!;
  const hero = INGREDIENTS[plan.hero]!;
  const accents = dish.accents.filter((entry) => joins([hero, ...dish.base], entry));
  const isKept = plan.accent >= 0 && random.chance(0.6);
  const accent = isKept ? plan.accent : accents.length > 0 ? random.pick(accents).index : -1;
  const templates = dish.titles.flatMap((title, index) => (accentsNamed(title) > 0 && accent < 0 ? [] : [index]));
  const template = random.pick(templates);
  const step = dish.minutes[1] > 90 ? 10 : 5;
  const varied: Plan = {
    ...plan,
    accent,
    second: -1,
    template,
    modifier: -1,
    minutes: Math.max(step, plan.minutes + step * random.between(-1, 1)),
    wording: random.chance(0.5) ? plan.wording : random.bits(),
  };
  return { ...varied, modifier: random.chance(0.75) ? drawModifier(random, varied, isMachine) : -1 };
}
