/**
 * Larder: a cooking app that exists only as a seed. `makeWorld` builds the catalogue and what is hidden in it; users live their 120 days
 * one at a time when they are read, so that memory grows with recipes alone.
 */
import { makeFeatures } from "./affinity.ts";
import { liveLife } from "./behaviour.ts";
import { timeText } from "./calendar.ts";
import { makeCatalogue, ORIGINS, planAt } from "./catalogue.ts";
import { CUISINES, DISHES } from "./dishes.ts";
import { textOf, write } from "./grammar.ts";
import { INGREDIENTS } from "./ingredients.ts";
import { makeLatents, withoutHidden } from "./latents.ts";
import { Random } from "./prng.ts";
import { makeCampaigns } from "./shilling.ts";
import { makeUser, REGIONS } from "./users.ts";
import type { Life } from "./behaviour.ts";
import type { Origin } from "./catalogue.ts";
import type { Setting } from "./outcome.ts";
import type { User } from "./users.ts";

export const DEFAULT_SEED = 2026;
/** sha256 over the files of the default world (`worldDigest`); a test keeps it true, and a loader can mark what it loaded by it. */
export const WORLD_DIGEST = "b7c5c11ff0e356d88499ef8599438e6a24da795d2f381647f7caaa30d9ce6e43";

/** An item in the form of `PUT /v1/items/{id}`. */
export interface WorldItem {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  readonly creator: string;
  readonly origin: Origin;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Of the meal kit, where a store sells one. */
  readonly price?: { readonly amountMinor: number; readonly currency: string };
  readonly attributes: ItemAttributes;
}

export interface ItemAttributes {
  readonly cuisine: string;
  readonly course: string;
  readonly categories: readonly string[];
  readonly technique: string;
  readonly season: string;
  readonly minutes: number;
  readonly difficulty: "easy" | "medium" | "hard";
  readonly diet: readonly string[];
  readonly allergens: readonly string[];
  readonly mainIngredient: string;
  readonly ingredients: readonly string[];
  readonly priceBand: "low" | "medium" | "high";
  /** Stores that sell the kit; only where some do. */
  readonly availableIn?: readonly string[];
}

export interface World extends Setting {
  readonly seed: number;
  readonly scale: number;
  readonly userCount: number;
  items(): Generator<WorldItem>;
  item(index: number): WorldItem;
  user(index: number): User;
  /** Everything a user did; the same on every call. */
  life(index: number): Life;
}

/**
 * @param options.scale 1: 2,400 recipes, 220 creators, 3,000 users; all grow alike.
 * @param options.hidden false: the hidden collaborative factor has no effect, for experiments that ask what it is worth.
 * @throws RangeError for a scale outside .025 to 1000.
 */
export function makeWorld(
  options: { readonly seed?: number; readonly scale?: number; readonly hidden?: boolean } = {},
): World {
  const { seed = DEFAULT_SEED, scale = 1, hidden = true } = options;
  if (!(scale >= 0.025 && scale <= 1000)) throw new RangeError(`scale must be between 0.025 and 1000, got ${scale}`);
  const catalogue = makeCatalogue(seed, scale);
  const made = makeLatents(seed, catalogue);
  const latents = hidden ? made : withoutHidden(made);
  const features = makeFeatures(catalogue);
  const setting: Setting = { catalogue, latents, features, campaigns: makeCampaigns(seed, catalogue) };
  const item = (index: number): WorldItem => itemAt(seed, setting, index);
  return {
    ...setting,
    seed,
    scale,
    userCount: Math.round(3000 * scale),
    item,
    *items() {
      for (let index = 0; index < catalogue.count; index += 1) yield item(index);
    },
    user: (index) => makeUser(seed, latents, index),
    life: (index) => liveLife(seed, setting, makeUser(seed, latents, index)),
  };
}

const DIFFICULTIES = ["easy", "medium", "hard"] as const;
const KIT_SHARE = 0.35;

function itemAt(seed: number, setting: Setting, index: number): WorldItem {
  const { catalogue } = setting;
  const plan = planAt(catalogue, index);
  const dish = DISHES[plan.dish]!;
  const creator = catalogue.creators[catalogue.creator[index]!]!;
  const written = write(plan);
  const random = new Random(seed, `kit ${index}`);
  const cents = written.ingredients.reduce((sum, name) => sum + INGREDIENT_CENTS.get(name)!, 0);
  const isKit = random.chance(KIT_SHARE);
  const home = random.below(REGIONS.length);
  const stores = Array.from({ length: REGIONS.length * 3 }, (_, store) => store).filter(
    (store) => random.next() < (Math.floor(store / 3) === home ? 0.6 : 0.08),
  );
  return {
    id: itemId(index),
    title: written.title,
    text: textOf(plan, creator.isMachine),
    creator: creator.name,
    origin: ORIGINS[catalogue.origin[index]!]!,
    createdAt: timeText(catalogue.created[index]!),
    ...(isKit ? { price: { amountMinor: Math.ceil((cents * 2.1) / 50) * 50 - 1, currency: "EUR" } } : {}),
    attributes: {
      cuisine: CUISINES[dish.cuisine]!.name,
      course: dish.course,
      categories: [CUISINES[dish.cuisine]!.name, dish.course],
      technique: dish.technique,
      season: written.season,
      minutes: plan.minutes,
      difficulty: DIFFICULTIES[dish.difficulty - 1]!,
      diet: written.diet,
      allergens: written.allergens,
      mainIngredient: written.ingredients[0]!,
      ingredients: written.ingredients,
      priceBand: cents < 320 ? "low" : cents < 480 ? "medium" : "high",
      ...(isKit && stores.length > 0 ? { availableIn: stores.map((store) => `store_${store + 1}`) } : {}),
    },
  };
}

const INGREDIENT_CENTS: ReadonlyMap<string, number> = new Map(INGREDIENTS.map((entry) => [entry.name, entry.cents]));

export function itemId(index: number): string {
  return `r${index + 1}`;
}

export function userId(index: number): string {
  return `u_${index + 1}`;
}
