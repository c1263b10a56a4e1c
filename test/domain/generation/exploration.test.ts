import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  explorationWeights,
  explore,
  propensitiesOf,
  quantiseW,
  wOf,
} from "../../../functions/domain/generation/exploration.ts";
import { seededRandom } from "../../../functions/domain/generation/random.ts";

const scores = Float64Array.of(1.2, 0.4, 0, -0.3, -1);
const options = { exploration: 0.2, temperature: 0.8, count: 3 };

describe("explore", () => {
  it("draws the 60 ordered lists of 3 out of 5 at the frequencies of the product of propensities", () => {
    const weights = explorationWeights(scores, options.exploration, options.temperature);
    const draws = 60_000;
    const seen = new Map<string, number>();
    for (let draw = 0; draw < draws; draw += 1) {
      const key = explore(scores, { ...options, seed: `request-${draw}` }).order.join();
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    let chiSquare = 0;
    let lists = 0;
    let total = 0;
    for (let a = 0; a < 5; a += 1) {
      for (let b = 0; b < 5; b += 1) {
        for (let c = 0; c < 5; c += 1) {
          if (a === b || b === c || a === c) continue;
          const [wa, wb, wc] = [weights[a]!, weights[b]!, weights[c]!];
          const probability = wa * (wb / (1 - wa)) * (wc / (1 - wa - wb));
          const expected = draws * probability;
          chiSquare += ((seen.get(`${a},${b},${c}`) ?? 0) - expected) ** 2 / expected;
          lists += 1;
          total += probability;
        }
      }
    }
    expect(lists).toBe(60);
    expect(total).toBeCloseTo(1, 12);
    expect(chiSquare).toBeLessThan(98.3); // chi-square with 59 degrees of freedom, p = .001
  });

  it("gives [i first] / w_i a mean of 1 for every item", () => {
    const weights = explorationWeights(scores, options.exploration, options.temperature);
    const draws = 40_000;
    const first = new Float64Array(5);
    for (let draw = 0; draw < draws; draw += 1) {
      const { order, w } = explore(scores, { ...options, seed: `seed ${draw}` });
      first[order[0]!]! += 1 / w[0]!;
    }
    for (const [item, sum] of first.entries()) {
      const error = Math.sqrt((1 / weights[item]! - 1) / draws); // standard error of the mean
      expect(Math.abs(sum / draws - 1)).toBeLessThan(4 * error);
    }
  });

  it("logs the propensity of each item given those above it", () => {
    fc.assert(
      fc.property(fc.string(), fc.double({ min: 0.01, max: 1, noNaN: true }), (seed, exploration) => {
        const { order, w, propensity } = explore(scores, { ...options, exploration, count: 5, seed });
        const weights = explorationWeights(scores, exploration, options.temperature);
        expect(new Set(order).size).toBe(5);
        let above = 0;
        for (const [position, item] of order.entries()) {
          expect(w[position]).toBe(weights[item]);
          expect(propensity[position]).toBeCloseTo(weights[item]! / (1 - above), 9);
          above += weights[item]!;
        }
        expect(propensity[4]).toBeCloseTo(1, 9);
      }),
    );
  });

  it("draws the same list for the same request, another for another", () => {
    const lists = Array.from({ length: 20 }, (_, at) => explore(scores, { ...options, seed: `r${at}` }).order.join());
    expect(explore(scores, { ...options, seed: "r7" }).order.join()).toBe(lists[7]);
    expect(new Set(lists).size).toBeGreaterThan(5);
  });

  it("keeps the order of scores, propensity 1, without exploration", () => {
    const tied = Float64Array.of(1, 3, 2, 3);
    expect(explore(tied, { exploration: 0, temperature: 1, count: 9, seed: "x" })).toEqual({
      order: Uint32Array.of(1, 3, 2, 0),
      w: Float64Array.of(1, 1, 1, 1),
      propensity: Float64Array.of(1, 1, 1, 1),
    });
  });

  it("takes one candidate, none, and scores that would overflow", () => {
    const only = explore(Float64Array.of(5), { ...options, seed: "x" });
    expect([[...only.order], [...only.w], [...only.propensity]]).toEqual([[0], [1], [1]]);
    expect(explore(new Float64Array(0), { ...options, seed: "x" }).order).toHaveLength(0);
    const far = explore(Float64Array.of(1e6, 0), { ...options, count: 2, seed: "x" });
    expect([...far.propensity].every((p) => p > 0 && p <= 1)).toBe(true);
  });

  it("refuses what has no meaning", () => {
    expect(() => explore(scores, { ...options, exploration: 1.1, seed: "" })).toThrow(/exploration/);
    expect(() => explore(scores, { ...options, temperature: 0, seed: "" })).toThrow(/temperature/);
    expect(() => explore(Float64Array.of(NaN), { ...options, seed: "" })).toThrow(/finite/);
  });
});

describe("stored weights", () => {
  it("come back within a hundredth of a percent, down to 2^-16", () => {
    fc.assert(
      fc.property(fc.double({ min: 2 ** -15.9, max: 1, noNaN: true }), (w) => {
        expect(Math.abs(wOf(quantiseW(w)) / w - 1)).toBeLessThan(1e-4);
      }),
    );
    expect([quantiseW(1), wOf(0), quantiseW(0.5), quantiseW(1e-9)]).toEqual([0, 1, 4096, 65_535]);
    expect(() => quantiseW(0)).toThrow(RangeError);
    expect(() => quantiseW(1.01)).toThrow(RangeError);
  });

  it("give nearly the propensities of the exact ones, never above 1", () => {
    const { w, propensity } = explore(scores, { ...options, count: 5, seed: "q" });
    const stored = propensitiesOf(Array.from(w, (one) => wOf(quantiseW(one))));
    for (const [position, p] of stored.entries()) {
      expect(Math.abs(p - propensity[position]!)).toBeLessThan(0.01);
      expect(p).toBeLessThanOrEqual(1);
    }
    expect([...propensitiesOf([1, 0.5, 1, 0.25])]).toEqual([1, 0.5, 1, 0.5]);
  });
});

describe("seededRandom", () => {
  it("is uniform over seeds that differ in one character", () => {
    const bins = new Float64Array(16);
    const draws = 16_000;
    for (let seed = 0; seed < draws; seed += 1) bins[Math.floor(seededRandom(`0190-${seed}`)() * 16)]! += 1;
    const chiSquare = bins.reduce((sum, seen) => sum + (seen - draws / 16) ** 2 / (draws / 16), 0);
    expect(chiSquare).toBeLessThan(37.7); // 15 degrees of freedom, p = .001
  });

  it("repeats for the same seed and stays in [0, 1)", () => {
    const [a, b] = [seededRandom("s"), seededRandom("s")];
    for (let draw = 0; draw < 1000; draw += 1) {
      const value = a();
      expect(value).toBe(b());
      expect(value >= 0 && value < 1).toBe(true);
    }
  });
});
