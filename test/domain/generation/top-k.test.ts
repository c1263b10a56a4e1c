import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exponential, LogSumExp } from "../../../functions/domain/generation/log-sum-exp.ts";
import { TopK } from "../../../functions/domain/generation/top-k.ts";

describe("TopK", () => {
  it("keeps the head of the sorted list, ties by the smaller tie, whatever the order of offers", () => {
    // few distinct keys, so that ties happen
    const keys = fc.array(fc.constantFrom(Number.NEGATIVE_INFINITY, -1, 0, 0.5, 2), { maxLength: 60 });
    fc.assert(
      fc.property(keys, fc.nat(70), fc.boolean(), (offered, limit, isReversed) => {
        const top = new TopK(limit);
        const indexes = [...offered.keys()];
        for (const index of isReversed ? indexes.reverse() : indexes) top.offer(offered[index]!, 1000 - index, index);
        const expected = [...offered.keys()]
          .sort((a, b) => (offered[a] === offered[b] ? b - a : offered[b]! - offered[a]!))
          .slice(0, limit);
        expect([...top.kept()].sort((a, b) => a - b)).toEqual(expected.toSorted((a, b) => a - b));
        expect([...top.best()]).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  it("says from which key on nothing gets in, once it is full", () => {
    const top = new TopK(2);
    top.offer(1, 0, 0);
    expect(top.threshold).toBeNaN();
    top.offer(5, 1, 1);
    expect(top.threshold).toBe(1);
    top.offer(3, 2, 2);
    expect(top.threshold).toBe(3);
  });

  it("refuses a limit that is no whole number", () => {
    expect(() => new TopK(-1)).toThrow(RangeError);
    expect(() => new TopK(0.5)).toThrow(RangeError);
  });
});

describe("LogSumExp", () => {
  const of = (...values: readonly number[]): number => {
    const lse = new LogSumExp();
    for (const value of values) lse.add(value);
    return lse.value;
  };

  it("agrees with the plain formula where that does not overflow", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 20 }),
        (values) => {
          expect(of(...values)).toBeCloseTo(Math.log(values.reduce((sum, x) => sum + Math.exp(x), 0)), 9);
        },
      ),
    );
  });

  it("holds where the plain formula over- or underflows", () => {
    expect(of(1000, 1000)).toBeCloseTo(1000 + Math.log(2), 9);
    expect(of(-1000, -1001)).toBeCloseTo(-1000 + Math.log1p(Math.exp(-1)), 9);
  });

  it("gives -Infinity for nothing and for candidates of probability zero, and counts those as nothing beside others", () => {
    expect(of()).toBe(Number.NEGATIVE_INFINITY);
    expect(of(Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY);
    expect(of(Number.NEGATIVE_INFINITY, 3, Number.NEGATIVE_INFINITY)).toBe(3);
  });

  it("does not hide a NaN", () => {
    expect(of(1, NaN, 2)).toBeNaN();
    expect(of(NaN)).toBeNaN();
  });
});

describe("exponential", () => {
  it("agrees with Math.exp to the last places, over the whole range that a softmax meets", () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ min: -700, max: 700, noNaN: true }), fc.double({ min: -3, max: 3 })), (x) => {
        if (Number.isNaN(x)) return;
        expect(Math.abs(exponential(x) / Math.exp(x) - 1)).toBeLessThan(5e-16);
      }),
      { numRuns: 2000 },
    );
  });

  it("is 0 where nothing is left, and no number where Math.exp is none", () => {
    expect([-800, -708, Number.NEGATIVE_INFINITY].map(exponential)).toEqual([0, 0, 0]);
    expect([0, 710, Infinity].map(exponential)).toEqual([1, Infinity, Infinity]);
    expect(exponential(Number.NaN)).toBeNaN();
  });
});
