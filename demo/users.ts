/** Who uses Larder: profile, diet, tastes, hidden place, habits. User k has the id u_<k+1>. Each is drawn from a stream of its own. */
import { CUISINES, TECHNIQUES } from "./dishes.ts";
import { INGREDIENTS } from "./ingredients.ts";
import { CIRCLES, HIDDEN_DIM } from "./latents.ts";
import { Random, exp } from "./prng.ts";
import { TRENDS } from "./trends.ts";
import type { Latents } from "./latents.ts";

export const REGIONS = ["north", "south", "east", "west", "capital", "coast", "lakes", "hills"] as const;
export const AGE_BANDS = ["18-24", "25-34", "35-44", "45-54", "55-64", "65+"] as const;
export const HOUSEHOLDS = ["single", "couple", "family", "shared"] as const;
export const DIETS = ["none", "vegetarian", "vegan", "pescatarian", "gluten-free", "nut-free"] as const;
export const INGREDIENT_GROUPS: readonly string[] = [...new Set(INGREDIENTS.map((entry) => entry.group))];
export const SHILLING_SHARE = 0.03;
export const PANEL_SHARE = 0.2;
export const CAMPAIGNS = 6;

export interface User {
  readonly index: number;
  readonly region: number;
  readonly ageBand: number;
  readonly household: number;
  readonly diet: (typeof DIETS)[number];
  readonly cuisineTaste: Float32Array;
  readonly techniqueTaste: Float32Array;
  readonly groupTaste: Float32Array;
  readonly hidden: Float32Array;
  /** Share of machine-made content that this user likes, in (0, 1); mean about .35. */
  readonly machineShare: number;
  readonly trendSense: Float32Array;
  /** Expected sessions over the whole period. */
  readonly sessions: number;
  readonly joinDay: number;
  readonly morning: boolean;
  /** Log-odds that this user looks at more, or fewer, of the recipes shown. */
  readonly curiosity: number;
  /** Lists shown to panel members are logged. */
  readonly isPanel: boolean;
  /** -1, or the campaign that this paid account pushes. */
  readonly campaign: number;
}

/** The n-th user; needs no other user. */
export function makeUser(seed: number, latents: Pick<Latents, "circles">, index: number): User {
  const random = new Random(seed, `user ${index}`);
  const region = random.weighted([14, 12, 12, 12, 22, 12, 8, 8]);
  const ageBand = random.weighted([14, 27, 23, 17, 12, 7]);
  const household = random.weighted(ageBand < 2 ? [34, 28, 12, 26] : ageBand < 4 ? [18, 27, 50, 5] : [30, 52, 16, 2]);
  const regional = new Random(seed, `region ${region} ${ageBand < 2 ? "young" : "older"}`);
  const cuisineTaste = Float32Array.from(CUISINES, () => 0.45 * regional.normal() + 0.9 * random.normal());
  // two or three favourite cuisines stand out
  for (let favourite = 0; favourite < 3; favourite += 1) cuisineTaste[random.below(CUISINES.length)]! += 1.1;
  const campaignRoll = random.next();
  const hidden = hiddenPlace(random, latents.circles);
  const isPanel = index % 5 === 0;
  const habit = exp(0.55 * random.normal() - 0.15);
  const machine = random.next() * random.next();
  return {
    index,
    region,
    ageBand,
    household,
    diet: DIETS[random.weighted([66, 13, 4, 6, 6, 5])]!,
    cuisineTaste,
    techniqueTaste: Float32Array.from(TECHNIQUES, () => 0.6 * random.normal()),
    groupTaste: Float32Array.from(INGREDIENT_GROUPS, () => 0.7 * random.normal()),
    hidden,
    machineShare: 0.02 + 0.96 * Math.sqrt(machine) * 0.75,
    trendSense: Float32Array.from(TRENDS, () => random.next() * random.next() * 2),
    sessions: (isPanel ? 46 : 11) * habit,
    joinDay: random.chance(0.72) ? 0 : random.below(100),
    morning: random.chance(0.25),
    curiosity: 0.25 * random.normal(),
    isPanel: isPanel && campaignRoll >= SHILLING_SHARE,
    campaign: campaignRoll < SHILLING_SHARE ? random.below(CAMPAIGNS) : -1,
  };
}

/** Mostly one circle, some of a second; scaled so that the product with a recipe's place has variance about 1. */
function hiddenPlace(random: Random, circles: Float32Array): Float32Array {
  const [first, second] = [random.below(CIRCLES), random.below(CIRCLES)];
  const place = new Float32Array(HIDDEN_DIM);
  let square = 0;
  for (let axis = 0; axis < HIDDEN_DIM; axis += 1) {
    place[axis] =
      circles[first * HIDDEN_DIM + axis]! + 0.5 * circles[second * HIDDEN_DIM + axis]! + 0.12 * random.normal();
    square += place[axis]! * place[axis]!;
  }
  const factor = Math.sqrt(HIDDEN_DIM / square);
  for (let axis = 0; axis < HIDDEN_DIM; axis += 1) place[axis]! *= factor;
  return place;
}
