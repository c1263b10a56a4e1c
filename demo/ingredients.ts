/**
 * The larder itself: every ingredient with what it is, which allergens it brings, how titles call it and when it is at its best.
 * Diets and allergens of a recipe follow from this table alone, so a wrong class here is a wrong label everywhere.
 */
import { INGREDIENT_LINES } from "./ingredient-lines.ts";

export type FoodClass = "plant" | "dairy" | "egg" | "honey" | "fish" | "shellfish" | "poultry" | "meat";
export type Allergen =
  | "celery"
  | "egg"
  | "fish"
  | "gluten"
  | "milk"
  | "mustard"
  | "peanut"
  | "sesame"
  | "shellfish"
  | "soy"
  | "sulphites"
  | "treenut";
export type Season = "spring" | "summer" | "autumn" | "winter";

export interface Ingredient {
  readonly index: number;
  readonly name: string;
  /** In front of a dish: "Mushroom" Risotto. */
  readonly adjective: string;
  /** After "with": "Mushrooms". */
  readonly noun: string;
  /** In running text: "mushrooms". */
  readonly plain: string;
  readonly group: string;
  readonly foodClass: FoodClass;
  /** What a sauce or a bought product hides beside its class: fish in worcestershire sauce, meat in pâté. */
  readonly allergens: readonly Allergen[];
  readonly seasons: readonly Season[];
  readonly hot: boolean;
  readonly creamy: boolean;
  /** Cost of what one portion takes, in cents. */
  readonly cents: number;
}

const ALLERGEN_OF: Partial<Record<FoodClass, Allergen>> = {
  dairy: "milk",
  egg: "egg",
  fish: "fish",
  shellfish: "shellfish",
};
const ALLERGEN_CODES: Readonly<Record<string, Allergen>> = {
  g: "gluten",
  m: "milk",
  e: "egg",
  n: "treenut",
  p: "peanut",
  s: "sesame",
  y: "soy",
  f: "fish",
  c: "celery",
  d: "mustard",
  u: "sulphites",
  h: "shellfish",
};
const SEASON_CODES: Readonly<Record<string, Season>> = { P: "spring", S: "summer", A: "autumn", W: "winter" };
const CENTS_OF: Readonly<Record<FoodClass, number>> = {
  plant: 35,
  dairy: 55,
  egg: 40,
  honey: 30,
  fish: 290,
  shellfish: 320,
  poultry: 190,
  meat: 260,
};

/** "mushroom" -> "Mushroom": every word but the small ones gets a capital. */
export function titleCase(words: string): string {
  return words
    .split(" ")
    .map((word, place) => (place > 0 && /^(and|of|with|in|on|de|la|al)$/.test(word) ? word : capital(word)))
    .join(" ");
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

function plural(name: string, ending: string): string {
  if (ending === "") return name;
  if (ending === "s" || ending === "es") return name + ending;
  if (ending === "ies" && name.endsWith("y")) return `${name.slice(0, -1)}ies`;
  return ending;
}

function parse(lines: string): Ingredient[] {
  const table: Ingredient[] = [];
  let group = "";
  let foodClass: FoodClass = "plant";
  for (const line of lines.trim().split("\n")) {
    if (line.startsWith("#")) {
      const [, name, kind] = line.split(" ");
      group = name ?? "";
      foodClass = (kind ?? "plant") as FoodClass;
      continue;
    }
    for (const entry of line.split(";").map((part) => part.trim())) {
      if (entry === "") continue;
      const [head = "", flags = ""] = entry.split(" @");
      const [names = "", shown] = head.split(" > ");
      const [name = "", ending = ""] = names.split("/");
      const codes = flags.split("");
      const own = ALLERGEN_OF[foodClass];
      table.push({
        index: table.length,
        name,
        adjective: titleCase(shown ?? name),
        noun: titleCase(plural(shown ?? name, ending)),
        plain: plural(name, ending),
        group,
        foodClass,
        allergens: [...new Set([...(own ? [own] : []), ...codes.flatMap((code) => ALLERGEN_CODES[code] ?? [])])].sort(),
        seasons: codes.flatMap((code) => SEASON_CODES[code] ?? []),
        hot: codes.includes("!"),
        creamy: codes.includes("~"),
        cents: CENTS_OF[foodClass] * (codes.includes("$") ? 2 : 1),
      });
    }
  }
  return table;
}

export const INGREDIENTS: readonly Ingredient[] = parse(INGREDIENT_LINES);
const BY_NAME: ReadonlyMap<string, Ingredient> = new Map(INGREDIENTS.map((entry) => [entry.name, entry]));

/** @throws RangeError for a name that the table lacks. */
export function ingredient(name: string): Ingredient {
  const found = BY_NAME.get(name);
  if (!found) throw new RangeError(`no ingredient is called "${name}"`);
  return found;
}
