/** Coaching dialogues of a coach that acts at random, drawn from the planted tables: logs to learn the tables from. */
import { DAYS, DAY_SECONDS, timeText } from "./calendar.ts";
import { CLIENT_SAYS, COACH, GOALS } from "./dialogue-text.ts";
import {
  ACTIONS,
  CLIENT_ACTIONS,
  CLIENT_TYPES,
  ENGAGEMENTS,
  STAGES,
  START_ENGAGEMENT,
  START_STAGE,
  TALK_TYPES,
  TYPE_CHANCES,
  clientActionChances,
  endChance,
  talkChances,
  transition,
} from "./dialogue-tables.ts";
import { Random } from "./prng.ts";
import { userId } from "./world.ts";
import type { Goal } from "./dialogue-text.ts";

export interface Turn {
  /** 0 first. */
  readonly turn: number;
  readonly action: (typeof ACTIONS)[number];
  readonly coachText: string;
  readonly talkType: (typeof TALK_TYPES)[number];
  readonly clientAction: (typeof CLIENT_ACTIONS)[number];
  readonly utterance: string;
}

export interface Dialogue {
  readonly id: string;
  readonly userId: string;
  readonly goal: string;
  readonly startedAt: string;
  readonly turns: readonly Turn[];
}

/** The hidden side: the client's type, and stage and engagement before the first turn and after each. */
export interface DialogueTruth {
  readonly type: (typeof CLIENT_TYPES)[number];
  /** Two digits a state: stage 0..2, engagement 0..2; turns + 1 of them. */
  readonly states: readonly string[];
}

/** The n-th dialogue; needs no other. */
export function makeDialogue(
  seed: number,
  index: number,
  userCount: number,
): { dialogue: Dialogue; truth: DialogueTruth } {
  const random = new Random(seed, `dialogue ${index}`);
  const goal = random.pick(GOALS);
  const type = random.weighted(TYPE_CHANCES);
  let stage = random.weighted(START_STAGE);
  let engagement = random.weighted(START_ENGAGEMENT);
  const states = [`${stage}${engagement}`];
  const turns: Turn[] = [];
  for (let turn = 0; ; turn += 1) {
    const action = turn === 0 ? 0 : random.below(ACTIONS.length);
    const next = random.weighted(transition(type, action, stage, engagement));
    stage = Math.floor(next / 3);
    engagement = next % 3;
    states.push(`${stage}${engagement}`);
    const talk = random.weighted(talkChances(type, action, stage, engagement));
    const ends = random.chance(endChance(stage, engagement, turn));
    const clientAction = ends ? CLIENT_ACTIONS.indexOf("terminate") : random.weighted(clientActionChances(stage, talk));
    turns.push({
      turn,
      action: ACTIONS[action]!,
      coachText: fill(random.pick(COACH[ACTIONS[action]!]!), goal)
        .replace(/\bmy own\b/, "your own")
        .replace("before I shop", "before you shop"),
      talkType: TALK_TYPES[talk]!,
      clientAction: CLIENT_ACTIONS[clientAction]!,
      utterance: fill(random.pick(CLIENT_SAYS[CLIENT_ACTIONS[clientAction]!]!), goal),
    });
    if (ends) break;
  }
  const day = random.below(DAYS);
  const dialogue: Dialogue = {
    id: `d_${index + 1}`,
    userId: userId(random.below(userCount)),
    goal: goal.id,
    startedAt: timeText(day * DAY_SECONDS + random.between(8 * 3600, 21 * 3600)),
    turns,
  };
  return { dialogue, truth: { type: CLIENT_TYPES[type]!, states } };
}

export function dialogueCount(scale: number): number {
  return Math.round(1000 * scale);
}

/** Every table of the planted model by name, for `truth.json`. */
export function dialogueModel(): object {
  const each = <Entry>(count: number, make: (index: number) => Entry): Entry[] =>
    Array.from({ length: count }, (_, index) => make(index));
  const rounded = (row: Float64Array): number[] => Array.from(row, (chance) => Math.round(chance * 1e6) / 1e6);
  return {
    stages: STAGES,
    engagements: ENGAGEMENTS,
    types: CLIENT_TYPES,
    actions: ACTIONS,
    talkTypes: TALK_TYPES,
    clientActions: CLIENT_ACTIONS,
    typeChances: TYPE_CHANCES,
    startStage: START_STAGE,
    startEngagement: START_ENGAGEMENT,
    // [type][action][stage * 3 + engagement] -> chances over the next stage * 3 + engagement
    transition: each(3, (type) =>
      each(ACTIONS.length, (action) =>
        each(9, (state) => rounded(transition(type, action, Math.floor(state / 3), state % 3))),
      ),
    ),
    // [type][action][state after the action] -> chances over talk types
    talk: each(3, (type) =>
      each(ACTIONS.length, (action) =>
        each(9, (state) => rounded(talkChances(type, action, Math.floor(state / 3), state % 3))),
      ),
    ),
    // [stage][talk type] -> chances over client actions
    clientAction: each(3, (stage) => each(3, (talk) => rounded(clientActionChances(stage, talk)))),
  };
}

function fill(sentence: string, goal: Goal): string {
  const text = sentence
    .replaceAll("{doing}", goal.doing)
    .replaceAll("{obstacle}", goal.obstacle)
    .replaceAll("{reason}", goal.reason)
    .replaceAll("{step}", goal.step)
    .replaceAll("{fact}", goal.fact);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
