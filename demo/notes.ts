/**
 * Notes that users write after cooking. What a note says follows mostly from the recipe (strong item effects), how it is said a little from
 * the user: twelve style offsets, each of which moves how often one kind of sentence, or a mark, appears.
 */
import { timeText, weekday, DAY_SECONDS } from "./calendar.ts";
import { spokenName } from "./descriptions.ts";
import { CUISINES, DISHES } from "./dishes.ts";
import { ingredientsOf } from "./grammar.ts";
import { planAt } from "./catalogue.ts";
import {
  ITEM_REMARKS,
  OPENERS_FIRST_PERSON,
  OPENERS_PLAIN,
  REMARK_SIGN,
  SAVOURY_REMARKS,
  STYLE_DIMENSIONS,
  STYLE_SENTENCES,
} from "./notes-text.ts";
import { Random, sigmoid } from "./prng.ts";
import { itemId, userId } from "./world.ts";
import type { Life } from "./behaviour.ts";
import type { World } from "./world.ts";

export interface Note {
  readonly id: string;
  readonly userId: string;
  readonly itemId: string;
  readonly occurredAt: string;
  /** 1 to 5. */
  readonly rating: number;
  readonly text: string;
}

/** Share of cooks that are followed by a note. */
export const NOTE_SHARE = 0.93;
const USER_WEIGHT = 1;
const ITEM_WEIGHT = 1.3;
const WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;

/** The user's twelve planted offsets, standard normal, in the order of `STYLE_DIMENSIONS`. */
export function styleOf(seed: number, user: number): Float32Array {
  const random = new Random(seed, `style ${user}`);
  return Float32Array.from(STYLE_DIMENSIONS, () => random.normal());
}

/** The recipe's own offsets and the remarks that hold of it. */
export function noteEffects(
  seed: number,
  item: number,
  isHotMeal: boolean,
): { style: Float32Array; remarks: readonly number[] } {
  const random = new Random(seed, `note effects ${item}`);
  const style = Float32Array.from(STYLE_DIMENSIONS, () => random.normal());
  const fitting = Array.from(ITEM_REMARKS, (_, place) => place).filter(
    (place) => isHotMeal || !SAVOURY_REMARKS.has(place),
  );
  const remarks = random.shuffle(fitting).slice(0, random.between(3, 5));
  return { style, remarks };
}

/** Notes of one user, in order of time; `life` is `world.life(user)`. */
export function notesOf(world: World, user: number, life: Life): Note[] {
  if (world.user(user).campaign >= 0) return [];
  const random = new Random(world.seed, `notes ${user}`);
  const style = styleOf(world.seed, user);
  const notes: Note[] = [];
  for (const cook of life.interactions) {
    if (cook.type !== "cook" || !random.chance(NOTE_SHARE)) continue;
    const { text, rating } = writeNote(world, random, style, cook.item, Math.floor(cook.seconds / DAY_SECONDS));
    notes.push({
      id: `n_${user + 1}_${notes.length + 1}`,
      userId: userId(user),
      itemId: itemId(cook.item),
      occurredAt: timeText(cook.seconds + random.between(1800, 9000)),
      rating,
      text,
    });
  }
  return notes;
}

function writeNote(
  world: World,
  random: Random,
  user: Float32Array,
  item: number,
  day: number,
): { text: string; rating: number } {
  const plan = planAt(world.catalogue, item);
  const dish = DISHES[plan.dish]!;
  const used = ingredientsOf(plan);
  const effects = noteEffects(world.seed, item, dish.course === "main" && dish.technique !== "raw");
  const pull = (dimension: (typeof STYLE_DIMENSIONS)[number]): number => {
    const place = STYLE_DIMENSIONS.indexOf(dimension);
    return USER_WEIGHT * user[place]! + ITEM_WEIGHT * 0.7 * effects.style[place]!;
  };
  const isFirstPerson = random.chance(sigmoid(0.2 + pull("firstPerson")));
  const sentences: string[] = [];
  if (random.chance(0.55)) sentences.push(random.pick(isFirstPerson ? OPENERS_FIRST_PERSON : OPENERS_PLAIN));
  // remarks on the recipe itself: the first of the planted ones comes up most
  let sign = 0;
  const remarkCount = random.chance(sigmoid(pull("length"))) ? 2 : 1;
  const order = random.shuffle([...effects.remarks]).slice(0, remarkCount);
  for (const remark of order) {
    sentences.push(`${ITEM_REMARKS[remark]!}.`);
    sign += REMARK_SIGN[remark]!;
  }
  const room = 1 + Math.round(3 * sigmoid(-0.3 + pull("length")));
  const offered = random.shuffle(Object.entries(STYLE_SENTENCES));
  let added = 0;
  for (const [dimension, choices] of offered) {
    if (added >= room) break;
    if (plan.accent < 0 && dimension === "changes") continue;
    if (!random.chance(sigmoid(-1.5 + pull(dimension as (typeof STYLE_DIMENSIONS)[number])))) continue;
    sentences.push(random.pick(choices));
    added += 1;
  }
  const others = used.slice(1).filter((entry) => !/salt|oil|sugar|flour|water/.test(entry.name));
  const other = (others[0] ?? used[used.length - 1]!).plain;
  const spoken = spokenName(dish, CUISINES[dish.cuisine]!.name);
  const fill = (sentence: string): string =>
    sentence
      .replace(/^\{D\}/, spoken.charAt(0).toUpperCase() + spoken.slice(1))
      .replaceAll("{D}", spoken)
      .replaceAll("{h}", used[0]!.plain)
      .replaceAll("{b}", other)
      .replaceAll("{day}", WEEKDAYS[weekday(day)]!);
  const shout = sigmoid(-1.4 + pull("exclamation"));
  const text = sentences
    .map((sentence) => (random.chance(shout) ? fill(sentence).replace(/\.$/, "!") : fill(sentence)))
    .join(" ");
  const mood = 3.9 + 0.55 * sign + 0.25 * pull("warmth") + 0.5 * random.normal();
  return { text, rating: Math.max(1, Math.min(5, Math.round(mood))) };
}
