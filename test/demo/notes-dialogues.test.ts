/** Notes and dialogues: the planted style and tables can be found again in what was written. */
import { describe, expect, it } from "vitest";
import {
  ACTIONS,
  CLIENT_TYPES,
  TALK_TYPES,
  clientActionChances,
  talkChances,
  transition,
} from "../../demo/dialogue-tables.ts";
import { dialogueCount, makeDialogue } from "../../demo/dialogues.ts";
import { notesOf, styleOf } from "../../demo/notes.ts";
import { STYLE_DIMENSIONS } from "../../demo/notes-text.ts";
import { makeWorld } from "../../demo/world.ts";

const world = makeWorld();
const notes = Array.from({ length: world.userCount }, (_, user) => ({
  user,
  notes: notesOf(world, user, world.life(user)),
}));

describe("notes", () => {
  it("are about 12,000, each after a cook, short, and with a rating", () => {
    const all = notes.flatMap((entry) => entry.notes);
    expect(all.length).toBeGreaterThan(11_000);
    expect(all.length).toBeLessThan(13_000);
    for (const note of all) {
      expect(note.text.length).toBeGreaterThan(10);
      expect(note.text.length).toBeLessThan(600);
      expect(note.text).not.toMatch(/[{}]|undefined/);
      expect([1, 2, 3, 4, 5]).toContain(note.rating);
    }
    const perItem = new Map<string, number>();
    for (const note of all) perItem.set(note.itemId, (perItem.get(note.itemId) ?? 0) + 1);
    expect([...perItem.values()].filter((count) => count >= 8).length).toBeGreaterThan(400);
  });

  it("show their writer's offsets: marks and first person rise with the planted dimension", () => {
    const correlation = (dimension: (typeof STYLE_DIMENSIONS)[number], measure: (text: string) => number): number => {
      const place = STYLE_DIMENSIONS.indexOf(dimension);
      const points = notes
        .filter((entry) => entry.notes.length >= 6)
        .map(
          (entry) =>
            [
              styleOf(world.seed, entry.user)[place]!,
              entry.notes.reduce((sum, note) => sum + measure(note.text), 0) / entry.notes.length,
            ] as const,
        );
      const mx = points.reduce((sum, [x]) => sum + x, 0) / points.length;
      const my = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
      const sxy = points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
      const sxx = points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
      const syy = points.reduce((sum, [, y]) => sum + (y - my) ** 2, 0);
      return sxy / Math.sqrt(sxx * syy);
    };
    expect(correlation("exclamation", (text) => text.split("!").length - 1)).toBeGreaterThan(0.5);
    expect(correlation("length", (text) => text.length)).toBeGreaterThan(0.4);
    expect(correlation("price", (text) => (/[Cc]heap|pricey|euros|value|Cost/.test(text) ? 1 : 0))).toBeGreaterThan(
      0.3,
    );
    expect(correlation("price", (text) => text.split("!").length - 1)).toBeLessThan(0.25);
  });
});

describe("dialogues", () => {
  const made = Array.from({ length: dialogueCount(1) }, (_, index) => makeDialogue(world.seed, index, world.userCount));

  it("are 1,000, begin with an open question, and end when the client leaves", () => {
    expect(made.length).toBe(1000);
    for (const { dialogue, truth } of made) {
      expect(dialogue.turns[0]!.action).toBe("openQuestion");
      expect(dialogue.turns.at(-1)!.clientAction).toBe("terminate");
      expect(dialogue.turns.length).toBeLessThanOrEqual(20);
      expect(truth.states.length).toBe(dialogue.turns.length + 1);
      for (const turn of dialogue.turns) expect(turn.coachText + turn.utterance).not.toMatch(/[{}]|undefined/);
      const stages = truth.states.map((state) => Number(state[0]));
      expect(stages).toEqual(stages.toSorted((left, right) => left - right));
    }
  });

  it("come from tables whose rows are distributions", () => {
    const sum = (row: Float64Array): number => row.reduce((left, right) => left + right, 0);
    for (let type = 0; type < 3; type += 1) {
      for (let action = 0; action < ACTIONS.length; action += 1) {
        for (let state = 0; state < 9; state += 1) {
          const next = transition(type, action, Math.floor(state / 3), state % 3);
          expect(Math.min(...next)).toBeGreaterThanOrEqual(0);
          expect(sum(next)).toBeCloseTo(1, 9);
          expect(sum(talkChances(type, action, Math.floor(state / 3), state % 3))).toBeCloseTo(1, 9);
        }
      }
    }
    for (let stage = 0; stage < 3; stage += 1)
      for (let talk = 0; talk < 3; talk += 1) expect(sum(clientActionChances(stage, talk))).toBeCloseTo(1, 9);
  });

  it("let the tables be counted again: advice to an averse client, and the probe that shows the type", () => {
    let fell = 0;
    let advised = 0;
    const probe = [0, 1, 2].map(() => [0, 0, 0]);
    for (const { dialogue, truth } of made) {
      const type = CLIENT_TYPES.indexOf(truth.type);
      for (const [place, turn] of dialogue.turns.entries()) {
        const [before, after] = [truth.states[place]!, truth.states[place + 1]!];
        if (turn.action === "openQuestion") probe[type]![TALK_TYPES.indexOf(turn.talkType)]! += 1;
        if (type === 0 && turn.action === "advise" && before[1] === "1") {
          advised += 1;
          if (after[1] === "0") fell += 1;
        }
      }
    }
    expect(advised).toBeGreaterThan(150);
    expect(Math.abs(fell / advised - 0.4)).toBeLessThan(0.12);
    const share = (type: number, talk: number): number =>
      probe[type]![talk]! / probe[type]!.reduce((left, right) => left + right, 0);
    expect(share(0, 2)).toBeGreaterThan(share(1, 2) + 0.15);
    expect(share(2, 0)).toBeGreaterThan(share(1, 0) + 0.15);
  });
});
