/**
 * The response model: what a user does with a recipe at a place of a list. Lists are generated from it and the oracle answers from it, so
 * estimates that are made from the log can be checked against the truth.
 */
import { contextLift, dayFit, hiddenOf, isAllowed, machineShift, tasteOf, trendLift } from "./affinity.ts";
import { sigmoid } from "./prng.ts";
import type { Features } from "./affinity.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Latents } from "./latents.ts";
import type { Campaign } from "./shilling.ts";
import type { User } from "./users.ts";

export interface Setting {
  readonly catalogue: Catalogue;
  readonly latents: Latents;
  readonly features: Features;
  readonly campaigns: readonly Campaign[];
}

/** Chances per exposure; view, skip and nothing exclude each other, save and cook follow a view independently. */
export interface Outcome {
  readonly view: number;
  readonly save: number;
  readonly cook: number;
  readonly skip: number;
}

/** Share of list views that follow no taste at all. */
export const RANDOM_CLICKS = 0.15;
// set so that the logging policy's lists of the default world have valid-view rates of .126 (human) and .050 (machine)
const INTERCEPT = { human: -3.55, machine: -4.83 } as const;
const RANDOM_RATE = { human: 0.185, machine: 0.074 } as const;

/** Chance that a position (0 first) is looked at. */
export function examination(position: number): number {
  return 1 / (1 + 0.12 * position);
}

/** @param recent items met before the list was shown, newest first; only three count. */
export function outcome(
  setting: Setting,
  user: User,
  item: number,
  place: { readonly position: number; readonly day: number; readonly recent: readonly number[] },
): Outcome {
  const { catalogue, latents, features } = setting;
  const isMachine = catalogue.origin[item] === 1;
  const taste = tasteOf(user, features, item);
  const hidden = hiddenOf(user, latents, item);
  const quality = latents.quality[item]!;
  let pull = (isMachine ? INTERCEPT.machine + machineShift(user) : INTERCEPT.human) + user.curiosity;
  pull += 1.15 * taste + 0.95 * hidden + 0.5 * quality + dayFit(user, features, catalogue, item, place.day);
  pull += trendLift(user, features, item, place.day) + 1.1 * contextLift(latents, catalogue, item, place.recent);
  if (!isAllowed(user, features, item)) pull -= 2.5;
  const random = isMachine ? RANDOM_RATE.machine : RANDOM_RATE.human;
  const seen = examination(place.position);
  const drawn = (1 - RANDOM_CLICKS) * sigmoid(pull) + RANDOM_CLICKS * random;
  const view = seen * drawn;
  const { save, cook } = afterView(setting, user, item);
  return { view, save: view * save, cook: view * cook, skip: 0.05 * seen * (1 - drawn) };
}

/** Chances of a save and of a cook once the recipe was viewed. */
export function afterView(setting: Setting, user: User, item: number): { save: number; cook: number } {
  const { catalogue, latents, features } = setting;
  const liking = tasteOf(user, features, item) + hiddenOf(user, latents, item);
  const quality = latents.quality[item]!;
  const isMachine = catalogue.origin[item] === 1;
  const forbidden = isAllowed(user, features, item) ? 0 : -2;
  const effort = (catalogue.minutes[item]! > 80 ? -0.4 : 0.1) + forbidden - (isMachine ? 0.4 : 0);
  return {
    save: sigmoid(-3.25 + 0.4 * liking + 0.25 * quality + forbidden),
    cook: sigmoid(-3.3 + 0.45 * liking + 0.2 * quality + effort),
  };
}
