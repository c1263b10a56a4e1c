/** The dish frames of all cuisines, parsed and checked; together with the cuisine they form the planted topic hierarchy. */
import { AMERICAN, BRAZILIAN, MEXICAN, PERUVIAN } from "./cuisines/americas.ts";
import { CHINESE, INDIAN, JAPANESE, KOREAN, THAI, VIETNAMESE } from "./cuisines/asia.ts";
import { FRENCH, GREEK, ITALIAN, SPANISH } from "./cuisines/mediterranean.ts";
import { LEVANTINE, MOROCCAN, PERSIAN, TURKISH } from "./cuisines/middle-east.ts";
import { BRITISH, ETHIOPIAN, GERMAN, NORDIC } from "./cuisines/north.ts";
import { ingredient } from "./ingredients.ts";
import type { Ingredient, Season } from "./ingredients.ts";

export const COURSES = ["main", "soup", "salad", "side", "snack", "breakfast", "bread", "dessert"] as const;
export type Course = (typeof COURSES)[number];
export const TECHNIQUES = [
  "grilled",
  "roasted",
  "braised",
  "simmered",
  "stir-fried",
  "pan-fried",
  "fried",
  "baked",
  "steamed",
  "raw",
  "chilled",
] as const;
export type Technique = (typeof TECHNIQUES)[number];

export interface Cuisine {
  readonly index: number;
  readonly name: string;
  /** Level 1 of the topic hierarchy. */
  readonly shelf: string;
}

export interface Dish {
  readonly index: number;
  readonly name: string;
  readonly cuisine: number;
  /** Level 2 of the topic hierarchy: a cuisine and one of four course groups. The dish itself is level 3. */
  readonly topic: number;
  readonly course: Course;
  readonly technique: Technique;
  readonly minutes: readonly [number, number];
  readonly difficulty: 1 | 2 | 3;
  readonly season: Season | null;
  readonly base: readonly Ingredient[];
  readonly heroes: readonly Ingredient[];
  readonly accents: readonly Ingredient[];
  readonly titles: readonly string[];
  readonly remark: string;
}

export interface Topic {
  readonly index: number;
  readonly cuisine: number;
  readonly group: "main" | "light" | "side" | "sweet";
  readonly dishes: number[];
}

const GROUP_OF: Readonly<Record<Course, Topic["group"]>> = {
  main: "main",
  soup: "light",
  salad: "light",
  snack: "light",
  breakfast: "light",
  side: "side",
  bread: "side",
  dessert: "sweet",
};

const SOURCES: readonly (readonly [string, string, string])[] = [
  ["Italian", "Mediterranean", ITALIAN],
  ["French", "Mediterranean", FRENCH],
  ["Spanish", "Mediterranean", SPANISH],
  ["Greek", "Mediterranean", GREEK],
  ["Turkish", "Middle East and Africa", TURKISH],
  ["Levantine", "Middle East and Africa", LEVANTINE],
  ["Moroccan", "Middle East and Africa", MOROCCAN],
  ["Persian", "Middle East and Africa", PERSIAN],
  ["Ethiopian", "Middle East and Africa", ETHIOPIAN],
  ["Indian", "Asia", INDIAN],
  ["Thai", "Asia", THAI],
  ["Vietnamese", "Asia", VIETNAMESE],
  ["Chinese", "Asia", CHINESE],
  ["Japanese", "Asia", JAPANESE],
  ["Korean", "Asia", KOREAN],
  ["Mexican", "Americas", MEXICAN],
  ["American", "Americas", AMERICAN],
  ["Brazilian", "Americas", BRAZILIAN],
  ["Peruvian", "Americas", PERUVIAN],
  ["British", "Northern Europe", BRITISH],
  ["Nordic", "Northern Europe", NORDIC],
  ["German", "Northern Europe", GERMAN],
];

export const CUISINES: readonly Cuisine[] = SOURCES.map(([name, shelf], index) => ({ index, name, shelf }));
export const SHELVES: readonly string[] = [...new Set(SOURCES.map(([, shelf]) => shelf))];
export const TOPICS: readonly Topic[] = [];
export const DISHES: readonly Dish[] = parseAll();

function topicOf(cuisine: number, group: Topic["group"]): Topic {
  const found = TOPICS.find((topic) => topic.cuisine === cuisine && topic.group === group);
  if (found) return found;
  const fresh: Topic = { index: TOPICS.length, cuisine, group, dishes: [] };
  (TOPICS as Topic[]).push(fresh);
  return fresh;
}

function parseAll(): Dish[] {
  const dishes: Dish[] = [];
  for (const [cuisine, [, , lines]] of SOURCES.entries()) {
    for (const line of lines.trim().split("\n")) dishes.push(parse(line, cuisine, dishes.length));
  }
  return dishes;
}

/** @throws RangeError when a line has other than seven columns or names what the larder lacks. */
function parse(line: string, cuisine: number, index: number): Dish {
  const columns = line.split(" | ").map((column) => column.trim());
  if (columns.length !== 7) throw new RangeError(`a dish has 7 columns, this line has ${columns.length}: ${line}`);
  const [name, head, base, heroes, accents, titles, remark] = columns as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const [course, technique, range, difficulty, season] = head.split(" ");
  if (!COURSES.includes(course as Course)) throw new RangeError(`${name}: no course "${course}"`);
  if (!TECHNIQUES.includes(technique as Technique)) throw new RangeError(`${name}: no technique "${technique}"`);
  const [low, high] = (range ?? "").split("-").map(Number);
  const topic = topicOf(cuisine, GROUP_OF[course as Course]);
  topic.dishes.push(index);
  return {
    index,
    name,
    cuisine,
    topic: topic.index,
    course: course as Course,
    technique: technique as Technique,
    minutes: [low!, high!],
    difficulty: Number(difficulty) as 1 | 2 | 3,
    season: (season as Season | undefined) ?? null,
    base: list(base),
    heroes: list(heroes),
    accents: list(accents),
    titles: titles.split(";").map((title) => title.trim()),
    remark,
  };
}

function list(column: string): Ingredient[] {
  return column.split(",").map((name) => ingredient(name.trim()));
}
