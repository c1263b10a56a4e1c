/** The logged lists: propensities are those of the policy, and the oracle agrees with what was logged. */
import { describe, expect, it } from "vitest";
import { CANDIDATES, EXPLORATION, LIST_LENGTH } from "../../demo/exposures.ts";
import { makeOracle } from "../../demo/oracle.ts";
import { itemId, makeWorld, userId } from "../../demo/world.ts";
import { eventRows, listId, listLine } from "../../demo/write-files.ts";

const world = makeWorld();
const oracle = makeOracle(world);
const panel = Array.from({ length: 600 }, (_, index) => index * 5).filter((index) => world.user(index).isPanel);
const lives = panel.slice(0, 260).map((user) => ({ user, life: world.life(user) }));

describe("a logged list", () => {
  it("shows ten different recipes out of about forty, each drawn with w / (1 - what lies above)", () => {
    for (const { life } of lives.slice(0, 60)) {
      for (const list of life.lists) {
        expect(new Set(list.items).size).toBe(LIST_LENGTH);
        expect(list.candidates.length).toBeGreaterThanOrEqual(CANDIDATES / 2);
        expect(list.candidates.length).toBeLessThanOrEqual(CANDIDATES);
        expect(new Set(list.candidates).size).toBe(list.candidates.length);
        expect(list.weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
        expect(Math.min(...list.weights)).toBeGreaterThanOrEqual(EXPLORATION / list.candidates.length - 1e-12);
        let above = 0;
        for (const [position, item] of list.items.entries()) {
          const weight = list.weights[list.candidates.indexOf(item)]!;
          expect(list.propensities[position]).toBeCloseTo(weight / (1 - above), 5);
          above += weight;
        }
      }
    }
  });

  it("draws its first place in proportion to w: [i first] / w_i has mean 1 for every candidate", () => {
    const lists = lives.flatMap(({ life }) => life.lists);
    // so its sum over the candidates has mean |C|; the spread over lists gives the tolerance
    const sums = lists.map((list) => 1 / list.propensities[0]! - list.candidates.length);
    const mean = sums.reduce((sum, value) => sum + value, 0) / sums.length;
    const variance = sums.reduce((sum, value) => sum + (value - mean) ** 2, 0) / sums.length;
    expect(Math.abs(mean)).toBeLessThan(4 * Math.sqrt(variance / sums.length));
  });

  it("is written with the ids, positions and propensities that its events carry", () => {
    const { user, life } = lives.find((entry) => entry.life.lists.length > 20)!;
    const written = new Map(life.lists.map((list) => [listId(user, list.index), JSON.parse(listLine(user, list))]));
    const rows = eventRows(user, life);
    expect(rows.filter((row) => row.listId !== null).length).toBeGreaterThan(10);
    for (const row of rows) {
      if (row.listId === null) continue;
      const list = written.get(row.listId);
      expect(list.userId).toBe(row.userId);
      expect(list.list.items[row.position!]).toEqual({
        itemId: row.itemId,
        position: row.position,
        propensity: row.propensity,
      });
      expect(row.occurredAt > list.occurredAt).toBe(true);
    }
    expect(rows.map((row) => row.occurredAt)).toEqual(rows.map((row) => row.occurredAt).toSorted());
    expect(new Set(rows.map((row) => row.id)).size).toBe(rows.length);
  });
});

describe("the oracle", () => {
  it("expects as many views as were logged, in all and by position", () => {
    const expected = new Float64Array(LIST_LENGTH);
    const happened = new Float64Array(LIST_LENGTH);
    for (const { user, life } of lives) {
      for (const list of life.lists) {
        const place = { day: Math.floor(list.seconds / 86_400), recent: list.recent.map(itemId) };
        for (const [position, item] of list.items.entries()) {
          expected[position]! += oracle.outcome(userId(user), itemId(item), { ...place, position }).view;
        }
      }
      for (const entry of life.interactions)
        if (entry.type === "view" && entry.list >= 0) happened[entry.position]! += 1;
    }
    for (let position = 0; position < LIST_LENGTH; position += 1) {
      expect(Math.abs(happened[position]! - expected[position]!)).toBeLessThan(4 * Math.sqrt(expected[position]!));
    }
  });

  it("lets importance weighting find the value of a policy that was not run", () => {
    // the uniform policy's view rate at the first place, from the log and from the truth
    const differences: number[] = [];
    for (const { user, life } of lives.slice(0, 130)) {
      const firstViews = new Set(
        life.interactions.filter((entry) => entry.type === "view" && entry.position === 0).map((entry) => entry.list),
      );
      for (const list of life.lists) {
        const place = { position: 0, day: Math.floor(list.seconds / 86_400), recent: list.recent.map(itemId) };
        const truth =
          list.candidates.reduce((sum, item) => sum + oracle.outcome(userId(user), itemId(item), place).view, 0) /
          CANDIDATES;
        const estimate = firstViews.has(list.index) ? 1 / list.candidates.length / list.propensities[0]! : 0;
        differences.push(estimate - truth);
      }
    }
    const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
    const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / differences.length;
    expect(Math.abs(mean)).toBeLessThan(4 * Math.sqrt(variance / differences.length));
    expect(Math.sqrt(variance / differences.length)).toBeLessThan(0.01);
  });

  it("prefers its own ranking, lower places get less, and unknown ids are refused", () => {
    const ids = Array.from({ length: 40 }, (_, index) => itemId(index * 7));
    const place = { day: 110, recent: [] };
    const best = oracle.bestItems("u_1", ids, place);
    expect(oracle.expectedViews("u_1", best, place)).toBeGreaterThan(
      oracle.expectedViews("u_1", best.toReversed(), place),
    );
    expect(oracle.outcome("u_1", "r1", { ...place, position: 9 }).view).toBeLessThan(
      oracle.outcome("u_1", "r1", { ...place, position: 0 }).view,
    );
    expect(() => oracle.outcome("u_9999", "r1", { ...place, position: 0 })).toThrow(RangeError);
    expect(() => oracle.outcome("u_1", "r9999", { ...place, position: 0 })).toThrow(RangeError);
  });
});
