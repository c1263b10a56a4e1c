/**
 * How much a user is drawn to a recipe: taste (from words) + hidden factor (from none) + quality, the same for free choices, for lists and
 * for the oracle; and what of it changes with the day and with what the user has just seen.
 */
import { seasonShare, weekday } from "./calendar.ts";
import { DISHES, TECHNIQUES } from "./dishes.ts";
import { dietsOf, ingredientsOf } from "./grammar.ts";
import { INGREDIENTS } from "./ingredients.ts";
import { planAt } from "./catalogue.ts";
import { COMPLEMENTS, HIDDEN_DIM } from "./latents.ts";
import { TRENDS, trendStrength } from "./trends.ts";
import { INGREDIENT_GROUPS } from "./users.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Latents } from "./latents.ts";
import type { User } from "./users.ts";

/** Columns that behaviour reads again and again. */
export interface Features {
  readonly cuisine: Uint8Array;
  readonly technique: Uint8Array;
  readonly group: Uint8Array;
  /** 0 main, 1 anything else. */
  readonly isMain: Uint8Array;
  /** Bits: 1 vegetarian, 2 vegan, 4 pescatarian, 8 gluten-free, 16 nut-free. */
  readonly diets: Uint8Array;
  /** Bits: the trends whose ingredient is in it. */
  readonly trends: Uint8Array;
  /** Bits: spring 1, summer 2, autumn 4, winter 8; 0 for all year. */
  readonly seasons: Uint8Array;
}

const DIET_BITS: Readonly<Record<string, number>> = {
  vegetarian: 1,
  vegan: 2,
  pescatarian: 4,
  "gluten-free": 8,
  "nut-free": 16,
};
const SEASONS = ["spring", "summer", "autumn", "winter"] as const;

export function makeFeatures(catalogue: Catalogue): Features {
  const { count } = catalogue;
  const features: Features = {
    cuisine: new Uint8Array(count),
    technique: new Uint8Array(count),
    group: new Uint8Array(count),
    isMain: new Uint8Array(count),
    diets: new Uint8Array(count),
    trends: new Uint8Array(count),
    seasons: new Uint8Array(count),
  };
  for (let item = 0; item < count; item += 1) {
    const dish = DISHES[catalogue.dish[item]!]!;
    const hero = INGREDIENTS[catalogue.hero[item]!]!;
    const used = ingredientsOf(planAt(catalogue, item));
    features.cuisine[item] = dish.cuisine;
    features.technique[item] = TECHNIQUES.indexOf(dish.technique);
    features.group[item] = INGREDIENT_GROUPS.indexOf(hero.group);
    features.isMain[item] = dish.course === "main" ? 1 : 0;
    for (const diet of dietsOf(used)) features.diets[item]! |= DIET_BITS[diet] ?? 0;
    for (const [place, trend] of TRENDS.entries())
      if (used.some((entry) => entry.name === trend.ingredient)) features.trends[item]! |= 1 << place;
    const seasons = hero.seasons.length > 0 ? hero.seasons : dish.season ? [dish.season] : [];
    for (const season of seasons) features.seasons[item]! |= 1 << SEASONS.indexOf(season);
  }
  return features;
}

/** Standard deviation of the raw taste sum over recipes, about. */
const TASTE_SCALE = 1 / 1.5;

/** Taste that words explain; mean about 0, variance about 1 over recipes. */
export function tasteOf(user: User, features: Features, item: number): number {
  return (
    TASTE_SCALE *
    (user.cuisineTaste[features.cuisine[item]!]! +
      user.techniqueTaste[features.technique[item]!]! +
      user.groupTaste[features.group[item]!]!)
  );
}

/** The collaborative factor; mean about 0, variance about 1 over recipes. */
export function hiddenOf(user: User, latents: Latents, item: number): number {
  let sum = 0;
  for (let axis = 0; axis < HIDDEN_DIM; axis += 1)
    sum += user.hidden[axis]! * latents.hidden[item * HIDDEN_DIM + axis]!;
  return sum;
}

/** Whether the user's diet allows the recipe. */
export function isAllowed(user: User, features: Features, item: number): boolean {
  return user.diet === "none" || (features.diets[item]! & DIET_BITS[user.diet]!) !== 0;
}

/** Log-odds that machine-made content gains or loses with this user; 0 at a share of one half. */
export function machineShift(user: User): number {
  return 2.2 * (user.machineShare - 0.5);
}

/** What day and week add: quick on weekdays, projects at weekends, things in season. Between -1.1 and `MAX_FIT`. */
export const MAX_FIT = 0.9;
export function dayFit(user: User, features: Features, catalogue: Catalogue, item: number, day: number): number {
  const minutes = catalogue.minutes[item]!;
  const isWeekend = weekday(day) >= 5;
  let fit = 0;
  if (minutes <= 35) fit += isWeekend ? -0.1 : 0.3;
  else if (minutes >= 80) fit += isWeekend ? 0.4 : -0.5;
  if (user.household === 2 && minutes <= 35) fit += 0.1;
  const bits = features.seasons[item]!;
  if (bits !== 0) {
    let best = 0;
    for (let season = 0; season < 4; season += 1) {
      if (bits & (1 << season)) best = Math.max(best, seasonShare(day, SEASONS[season]!));
    }
    fit += 0.9 * (best - 0.55);
  }
  return fit < MAX_FIT ? fit : MAX_FIT;
}

/** What running fashions add. */
export function trendLift(user: User, features: Features, item: number, day: number): number {
  const bits = features.trends[item]!;
  if (bits === 0) return 0;
  let lift = 0;
  for (const [place, trend] of TRENDS.entries())
    if (bits & (1 << place)) lift += user.trendSense[place]! * 2.4 * trendStrength(trend, day);
  return lift;
}

/** What the last one to three recipes add; `recent` has the newest first. */
export function contextLift(latents: Latents, catalogue: Catalogue, item: number, recent: readonly number[]): number {
  const last = recent[0];
  if (last === undefined) return 0;
  let lift = 0;
  const topic = catalogue.topic[item]!;
  for (const [place, earlier] of recent.entries()) {
    if (place > 2) break;
    for (let slot = 0; slot < COMPLEMENTS; slot += 1) {
      if (latents.complements[earlier * COMPLEMENTS + slot] === item) lift = Math.max(lift, 2.2 - 0.5 * place);
    }
    if (catalogue.topic[earlier] === topic) lift = Math.max(lift, 0.9 - 0.3 * place);
  }
  const place = latents.successors[catalogue.topic[last]!]!.indexOf(topic);
  if (place >= 0) lift = Math.max(lift, 0.8 - 0.2 * place);
  return lift;
}
