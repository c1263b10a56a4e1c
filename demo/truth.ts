/** The planted truth as one JSON document, in pieces, so that a large world never stands in memory as text. For tests and audits only. */
import { DAYS, FIRST_DAY_MS, HELD_OUT_DAYS } from "./calendar.ts";
import { CUISINES, DISHES, SHELVES, TOPICS, TECHNIQUES } from "./dishes.ts";
import { dialogueCount, dialogueModel, makeDialogue } from "./dialogues.ts";
import { CANDIDATES, EXPLORATION, LIST_LENGTH, POLICY } from "./exposures.ts";
import { CIRCLES, COMPLEMENTS, HIDDEN_DIM, SUCCESSOR_CHANCES } from "./latents.ts";
import { styleOf } from "./notes.ts";
import { STYLE_DIMENSIONS } from "./notes-text.ts";
import { RANDOM_CLICKS } from "./outcome.ts";
import { quantise } from "./prng.ts";
import { TRENDS } from "./trends.ts";
import { INGREDIENT_GROUPS, PANEL_SHARE, SHILLING_SHARE } from "./users.ts";
import { itemId, userId } from "./world.ts";
import type { World } from "./world.ts";

const rounded = (row: ArrayLike<number>): number[] => Array.from(row, (value) => quantise(value, 2));

/** Yields text that joins to `{ world, policy, topics, trends, campaigns, nearDuplicates, complements, hidden, users, dialogueModel, dialogues }`. */
export function* truthText(world: World): Generator<string> {
  yield `{"world":${JSON.stringify({
    seed: world.seed,
    scale: world.scale,
    recipes: world.catalogue.count,
    users: world.userCount,
    firstDay: new Date(FIRST_DAY_MS).toISOString().slice(0, 10),
    days: DAYS,
    heldOutDays: HELD_OUT_DAYS,
    randomClicks: RANDOM_CLICKS,
    panelShare: PANEL_SHARE,
    shillingShare: SHILLING_SHARE,
  })}`;
  yield `,\n"policy":${JSON.stringify({ id: POLICY, exploration: EXPLORATION, listLength: LIST_LENGTH, candidates: CANDIDATES })}`;
  yield `,\n"topics":${JSON.stringify(topicHierarchy(world))}`;
  yield `,\n"trends":${JSON.stringify(TRENDS)}`;
  yield `,\n"campaigns":${JSON.stringify(
    world.campaigns.map(({ creator, items, day }) => ({
      creator: world.catalogue.creators[creator]!.name,
      items: items.map(itemId),
      day,
    })),
  )}`;
  yield* nearDuplicates(world);
  yield* complements(world);
  yield* hidden(world);
  yield* users(world);
  yield `,\n"dialogueModel":${JSON.stringify(dialogueModel())}`;
  yield `,\n"dialogues":{`;
  for (let index = 0; index < dialogueCount(world.scale); index += 1) {
    const { dialogue, truth } = makeDialogue(world.seed, index, world.userCount);
    yield `${index > 0 ? ",\n" : "\n"}"${dialogue.id}":${JSON.stringify(truth)}`;
  }
  yield "}}\n";
}

function topicHierarchy(world: World): object {
  return {
    shelves: SHELVES,
    cuisines: CUISINES.map((cuisine) => ({ name: cuisine.name, shelf: cuisine.shelf })),
    topics: TOPICS.map((topic) => ({
      cuisine: CUISINES[topic.cuisine]!.name,
      group: topic.group,
      dishes: topic.dishes.map((dish) => DISHES[dish]!.name),
      // what sessions go on with, likeliest first
      successors: world.latents.successors[topic.index],
    })),
    successorChances: SUCCESSOR_CHANCES,
  };
}

function* nearDuplicates(world: World): Generator<string> {
  yield `,\n"nearDuplicates":[`;
  let isFirst = true;
  for (let item = 0; item < world.catalogue.count; item += 1) {
    const original = world.catalogue.nearDuplicateOf[item]!;
    if (original < 0) continue;
    yield `${isFirst ? "" : ","}["${itemId(original)}","${itemId(item)}"]`;
    isFirst = false;
  }
  yield "]";
}

function* complements(world: World): Generator<string> {
  yield `,\n"complements":{`;
  let isFirst = true;
  for (let item = 0; item < world.catalogue.count; item += 1) {
    const fitting = [...world.latents.complements.subarray(item * COMPLEMENTS, (item + 1) * COMPLEMENTS)].filter(
      (other) => other >= 0,
    );
    if (fitting.length === 0) continue;
    yield `${isFirst ? "" : ","}"${itemId(item)}":${JSON.stringify(fitting.map(itemId))}`;
    isFirst = false;
  }
  yield "}";
}

/** Rows in the order of items.csv: topic number, quality, then the hidden place. */
function* hidden(world: World): Generator<string> {
  const { catalogue, latents } = world;
  yield `,\n"hidden":{"dim":${HIDDEN_DIM},"circles":${CIRCLES},"items":[`;
  for (let item = 0; item < catalogue.count; item += 1) {
    const place = rounded(latents.hidden.subarray(item * HIDDEN_DIM, (item + 1) * HIDDEN_DIM));
    yield `${item > 0 ? ",\n" : "\n"}${JSON.stringify([catalogue.topic[item], quantise(latents.quality[item]!, 2), ...place])}`;
  }
  yield "]}";
}

function* users(world: World): Generator<string> {
  yield `,\n"users":{"cuisines":${JSON.stringify(CUISINES.map((cuisine) => cuisine.name))},"techniques":${JSON.stringify(TECHNIQUES)},"ingredientGroups":${JSON.stringify(INGREDIENT_GROUPS)},"styleDimensions":${JSON.stringify(STYLE_DIMENSIONS)},"rows":[`;
  for (let index = 0; index < world.userCount; index += 1) {
    const user = world.user(index);
    yield `${index > 0 ? ",\n" : "\n"}${JSON.stringify({
      userId: userId(index),
      cuisine: rounded(user.cuisineTaste),
      technique: rounded(user.techniqueTaste),
      ingredientGroup: rounded(user.groupTaste),
      hidden: rounded(user.hidden),
      style: rounded(styleOf(world.seed, index)),
      machineShare: quantise(user.machineShare, 3),
      panel: user.isPanel,
      campaign: user.campaign < 0 ? null : user.campaign,
    })}`;
  }
  yield "]}";
}
