import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  calibrationError,
  calibrationFigures,
  type Distribution,
  fitTemperature,
  negativeLogLikelihood,
  reliability,
  tempered,
} from "../../bench/calibration.ts";
import { seededRandom } from "../../functions/domain/generation/random.ts";

const forecasts = (probability: number, happened: readonly number[]) =>
  happened.map((one) => ({ probability, happened: one === 1 }));

describe("expected calibration error", () => {
  test("known answer: two bins, off by .1 and by .3", () => {
    const given = [
      ...forecasts(0.1, [0, 0, 0, 0, 0, 1, 0, 1, 0, 0]),
      ...forecasts(0.8, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0]),
    ];
    const bins = reliability(given, 2);
    expect(bins.map(({ forecasts: count, share }) => [count, share])).toEqual([
      [10, 0.2],
      [10, 0.5],
    ]);
    expect(calibrationError(bins)).toBeCloseTo(0.2, 12);
  });

  test("forecasts that come true as often as they say have none", () => {
    expect(calibrationError(reliability([...forecasts(0, [0, 0]), ...forecasts(0.5, [1, 0])], 2))).toBe(0);
  });

  test("bins hold as many forecasts as each other, and all of them", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 60 }), (given) => {
        const bins = reliability(given.map((probability) => ({ probability, happened: false })));
        const sizes = bins.map((bin) => bin.forecasts);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(given.length);
        if (sizes.length > 0) expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        const means = bins.map((bin) => bin.probability);
        expect(means).toEqual(means.toSorted((a, b) => a - b));
      }),
    );
  });
});

describe("temperature", () => {
  test("at 1 probabilities are the candidates' own, and the others share the rest", () => {
    const { candidates, other } = tempered({ logits: [Math.log(0.5), Math.log(0.3)], target: 0, others: 4 }, 1);
    expect([...candidates, other].map((p) => Math.round(p * 1e9) / 1e9)).toEqual([0.5, 0.3, 0.05]);
  });

  test("known answer at 2: square roots, renormalised over candidates and others", () => {
    const { candidates, other } = tempered({ logits: [Math.log(0.64), Math.log(0.32)], target: 0, others: 1 }, 2);
    const sum = 0.8 + Math.sqrt(0.32) + 0.2;
    expect(candidates[0]).toBeCloseTo(0.8 / sum, 9);
    expect(other).toBeCloseTo(0.2 / sum, 9);
  });

  test("it keeps the order and the sum, whatever the temperature", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.001, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 }),
        fc.double({ min: 0.1, max: 10, noNaN: true }),
        fc.integer({ min: 1, max: 50 }),
        (weights, temperature, others) => {
          const whole = weights.reduce((sum, weight) => sum + weight, 0) * 1.3;
          const logits = weights.toSorted((a, b) => b - a).map((weight) => Math.log(weight / whole));
          const { candidates, other } = tempered({ logits, target: 0, others }, temperature);
          expect(candidates.reduce((sum, p) => sum + p, 0) + others * other).toBeCloseTo(1, 9);
          for (let at = 1; at < candidates.length; at += 1)
            expect(candidates[at]!).toBeLessThanOrEqual(candidates[at - 1]! + 1e-12);
        },
      ),
    );
  });

  function draws(temperature: number): Distribution[] {
    const random = seededRandom("draws");
    return Array.from({ length: 4000 }, () => {
      const logits = Array.from({ length: 5 }, () => 4 * random());
      const { candidates } = tempered({ logits, target: 0, others: 0 }, temperature);
      let mark = random();
      const target = candidates.findIndex((p) => (mark -= p) < 0);
      return { logits, target, others: 0 };
    });
  }

  test.each([0.5, 1, 3])("the one that made the outcomes, %d, is found and calibrates them", (temperature) => {
    const given = draws(temperature);
    const found = fitTemperature(given);
    expect(Math.abs(found / temperature - 1)).toBeLessThan(0.1);
    expect(negativeLogLikelihood(given, found)).toBeLessThanOrEqual(negativeLogLikelihood(given, temperature) + 1e-6);
    const { ece, expected, happened, cases } = calibrationFigures(given, found, 5);
    expect(ece).toBeLessThan(0.02);
    expect([expected, happened, cases]).toEqual([4000, 4000, 4000]);
    if (temperature !== 1) expect(calibrationFigures(given, 1, 5).ece).toBeGreaterThan(2 * ece);
  });

  test("what came next and was no candidate has the likelihood of one of the others", () => {
    const given = [{ logits: [Math.log(0.9)], target: -1, others: 10 }];
    expect(negativeLogLikelihood(given, 1)).toBeCloseTo(-Math.log(0.01), 9);
  });
});
