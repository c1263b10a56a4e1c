/** One recipe's plan (dish, hero, accents, modifier) -> title, description, minutes, diets, allergens. Pure in the plan. */
import { CUISINES, DISHES } from "./dishes.ts";
import { describe } from "./descriptions.ts";
import { INGREDIENTS } from "./ingredients.ts";
import type { Dish } from "./dishes.ts";
import type { Allergen, Ingredient, Season } from "./ingredients.ts";

/** What a recipe is before it has words; small, so that a quarter of a million fit in memory. Ingredients are table indices, -1 for none. */
export interface Plan {
  readonly dish: number;
  readonly hero: number;
  readonly accent: number;
  readonly second: number;
  readonly template: number;
  readonly modifier: number;
  readonly minutes: number;
  /** Chooses among wordings; 32 bits. */
  readonly wording: number;
}

export interface Written {
  readonly title: string;
  readonly ingredients: readonly string[];
  readonly diet: readonly string[];
  readonly allergens: readonly Allergen[];
  readonly season: Season | "all-year";
}

interface Modifier {
  readonly apply: (title: string, plan: Plan) => string;
  readonly fits: (dish: Dish, used: readonly Ingredient[], minutes: number) => boolean;
  /** human: said by people only; machine: the wording of search-driven channels. */
  readonly voice: "any" | "human" | "machine";
}

const before =
  (words: string) =>
  (title: string): string =>
    `${words} ${title}`;
const isMeal = (dish: Dish): boolean => dish.course === "main" || dish.course === "soup";
const isSweet = (dish: Dish): boolean => dish.course === "dessert";
const has = (used: readonly Ingredient[], trait: "hot" | "creamy"): boolean => used.some((entry) => entry[trait]);
const always = (): boolean => true;

export const MODIFIERS: readonly Modifier[] = [
  { apply: before("Weeknight"), voice: "any", fits: (dish, _, minutes) => isMeal(dish) && minutes <= 40 },
  {
    apply: before("Slow-Cooked"),
    voice: "any",
    fits: (dish, _, minutes) => dish.technique === "braised" && minutes >= 90,
  },
  { apply: before("One-Pot"), voice: "any", fits: (dish) => isMeal(dish) && /braised|simmered/.test(dish.technique) },
  { apply: before("Spicy"), voice: "any", fits: (dish, used) => has(used, "hot") && !isSweet(dish) },
  { apply: before("Creamy"), voice: "any", fits: (dish, used) => has(used, "creamy") && dish.course === "soup" },
  {
    apply: before("Smoky"),
    voice: "any",
    fits: (_, used) => used.some((entry) => /smoked paprika|chipotle/.test(entry.name)),
  },
  {
    apply: before("Lemony"),
    voice: "any",
    fits: (dish, used) => !isSweet(dish) && used.some((entry) => entry.name === "lemon"),
  },
  { apply: before("Winter"), voice: "any", fits: (dish) => dish.season === "winter" && isMeal(dish) },
  {
    apply: before("My Grandmother's"),
    voice: "human",
    fits: (dish) => dish.difficulty > 1 && /braised|baked/.test(dish.technique),
  },
  { apply: (title) => `${title} for a Crowd`, voice: "any", fits: (dish, _, minutes) => minutes >= 80 && isMeal(dish) },
  {
    apply: (title) => `${title} for Two`,
    voice: "any",
    fits: (dish, _, minutes) => minutes <= 60 && dish.course === "main",
  },
  { apply: before("Easy"), voice: "machine", fits: (dish) => dish.difficulty === 1 },
  {
    apply: (title, plan) => `${plan.minutes}-Minute ${title}`,
    voice: "machine",
    fits: (_, __, minutes) => minutes <= 45,
  },
  { apply: before("The Best"), voice: "machine", fits: always },
  {
    apply: before("Quick & Easy"),
    voice: "machine",
    fits: (dish, _, minutes) => minutes <= 30 && dish.difficulty === 1,
  },
  { apply: before("Ultimate"), voice: "machine", fits: always },
  { apply: (title) => `${title} (Easy Recipe)`, voice: "machine", fits: (dish) => dish.difficulty === 1 },
  {
    apply: (title, plan) => `${title} (Ready in ${plan.minutes} Minutes)`,
    voice: "machine",
    fits: (_, __, minutes) => minutes <= 60,
  },
  { apply: (title) => `${title} That Everyone Will Love`, voice: "machine", fits: always },
  { apply: before("Perfect"), voice: "machine", fits: always },
];

/** The last word of a name tells kin: "fried egg" and "egg" never meet in one recipe. */
function kin(entry: Ingredient): string {
  return entry.adjective.slice(entry.adjective.lastIndexOf(" ") + 1).toLowerCase();
}

/** Whether a further ingredient repeats none of those already there. */
export function joins(used: readonly Ingredient[], further: Ingredient): boolean {
  return used.every(
    (entry) =>
      entry.index !== further.index &&
      entry.adjective !== further.adjective &&
      (kin(entry) !== kin(further) ||
        /^(pepper|oil|vinegar|seed|sauce|bean|leaf|water|sugar|flour)$/.test(kin(further))) &&
      !(entry.group === "pasta" && further.group === "pasta"),
  );
}

/** The ingredients of a plan: hero first, then accents, then what the dish always has. */
export function ingredientsOf(plan: Plan): Ingredient[] {
  const dish = DISHES[plan.dish]!;
  const chosen = [plan.hero, plan.accent, plan.second].flatMap((index) => (index < 0 ? [] : [INGREDIENTS[index]!]));
  return [...chosen, ...dish.base.filter((entry) => !chosen.some((other) => other.index === entry.index))];
}

/** Accents named by a title template, at least: 1 where it has {W} or {A}. */
export function accentsNamed(template: string): number {
  return /\{[WA]\}/.test(template) ? 1 : 0;
}

export function titleOf(plan: Plan): string {
  const dish = DISHES[plan.dish]!;
  const hero = INGREDIENTS[plan.hero]!;
  const accent = plan.accent < 0 ? undefined : INGREDIENTS[plan.accent]!;
  const second = plan.second < 0 ? undefined : INGREDIENTS[plan.second]!;
  const template = dish.titles[plan.template]!;
  // "X with A and B" takes a second accent, "X and A with ..." and longer ones do not
  const withText = accent ? accent.noun + (second && template.endsWith(" with {W}") ? ` and ${second.noun}` : "") : "";
  const title = template
    .replace("{Hs}", hero.noun)
    .replace("{H}", hero.adjective)
    .replace("{W}", withText)
    .replace("{A}", accent?.adjective ?? "");
  return plan.modifier < 0 ? title : MODIFIERS[plan.modifier]!.apply(title, plan);
}

/** Diets follow from the ingredients alone. */
export function dietsOf(used: readonly Ingredient[]): string[] {
  const classes = new Set(used.map((entry) => entry.foodClass));
  const allergens = new Set(used.flatMap((entry) => entry.allergens));
  const isMeatFree = !classes.has("meat") && !classes.has("poultry");
  const isVegetarian =
    isMeatFree &&
    !classes.has("fish") &&
    !classes.has("shellfish") &&
    !allergens.has("fish") &&
    !allergens.has("shellfish");
  const diets: string[] = [];
  if (
    isVegetarian &&
    used.every((entry) => entry.foodClass === "plant") &&
    !allergens.has("milk") &&
    !allergens.has("egg")
  )
    diets.push("vegan");
  if (isVegetarian) diets.push("vegetarian");
  if (isMeatFree) diets.push("pescatarian");
  if (!allergens.has("gluten")) diets.push("gluten-free");
  if (!allergens.has("milk")) diets.push("dairy-free");
  if (!allergens.has("treenut") && !allergens.has("peanut")) diets.push("nut-free");
  return diets;
}

export function write(plan: Plan): Written {
  const used = ingredientsOf(plan);
  const dish = DISHES[plan.dish]!;
  return {
    title: titleOf(plan),
    ingredients: used.map((entry) => entry.name),
    diet: dietsOf(used),
    allergens: [...new Set(used.flatMap((entry) => entry.allergens))].sort(),
    season: INGREDIENTS[plan.hero]!.seasons[0] ?? dish.season ?? "all-year",
  };
}

/** Two to four sentences; `isMachine` writes as a search-driven channel does. */
export function textOf(plan: Plan, isMachine: boolean): string {
  const dish = DISHES[plan.dish]!;
  return describe(plan, dish, CUISINES[dish.cuisine]!.name, ingredientsOf(plan), isMachine);
}
