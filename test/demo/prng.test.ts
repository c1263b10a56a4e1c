/** The random numbers: equal everywhere, and as distributed as they claim. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { Random, exp, hash32, log, quantise } from "../../demo/prng.ts";

it("a stream is pinned to the bit by its seed and name", () => {
  const random = new Random(2026, "pin");
  expect([random.bits(), random.bits(), random.bits()]).toEqual([2229984651, 145624972, 2392900560]);
  expect(hash32("larder")).toBe(2864413739);
});

it("streams of different names or seeds differ, equal ones agree", () => {
  const first = (seed: number, name: string): number => new Random(seed, name).bits();
  expect(first(1, "a")).toBe(first(1, "a"));
  expect(first(1, "a")).not.toBe(first(1, "b"));
  expect(first(1, "a")).not.toBe(first(2, "a"));
});

it("exp and log agree with the mathematical functions and with each other", () => {
  fc.assert(
    fc.property(fc.double({ min: -600, max: 600, noNaN: true }), (x) => {
      expect(Math.abs(exp(x) / Math.exp(x) - 1)).toBeLessThan(1e-12);
      expect(Math.abs(log(exp(x)) - x)).toBeLessThan(1e-9);
    }),
  );
  expect(() => log(0)).toThrow(RangeError);
});

it("normal deviates have mean 0 and variance 1, weighted draws follow their weights", () => {
  const random = new Random(1, "moments");
  const draws = Array.from({ length: 40_000 }, () => random.normal());
  const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length;
  const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length;
  expect(Math.abs(mean)).toBeLessThan(0.02);
  expect(Math.abs(variance - 1)).toBeLessThan(0.03);
  const counts = [0, 0, 0, 0];
  for (let draw = 0; draw < 40_000; draw += 1) counts[random.weighted([1, 0, 2, 5])]! += 1;
  expect(counts[1]).toBe(0);
  expect(counts[3]! / 40_000).toBeCloseTo(5 / 8, 1);
  expect(() => random.weighted([0, 0])).toThrow(RangeError);
});

it("rounding leaves no digit beyond those asked for", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (x) => {
      expect(
        String(quantise(x, 6))
          .replace(/^\d+\.?/, "")
          .replace(/e-\d+$/, "").length,
      ).toBeLessThanOrEqual(6);
    }),
  );
});
