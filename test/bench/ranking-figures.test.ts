import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { figuresOf, gain, UserBootstrap } from "../../bench/ranking-figures.ts";

describe("figures from ranks", () => {
  test("known answers: hits at ranks 0, 2, 7, none in four cases", () => {
    // NDCG: 1, 1 / log2(4) = .5, 1 / log2(9) = .31546, 0
    expect(figuresOf([0, 2, 7, -1])).toEqual({ recall5: 0.5, ndcg5: 0.375, recall10: 0.75, ndcg10: 0.45387 });
  });

  test("the first rank that no longer counts is k, and a rank beyond the list is none", () => {
    expect([4, 5].map((rank) => gain("recall5", rank))).toEqual([1, 0]);
    expect([9, 10, -1].map((rank) => gain("ndcg10", rank) > 0)).toEqual([true, false, false]);
  });
});

describe("bootstrap over users", () => {
  const users = Array.from({ length: 400 }, (_, at) => `u${at}`);
  const hits = (share: number) => users.map((_, at) => (at % 100 < share * 100 ? 0 : -1));

  test("the interval of a share is that of the binomial distribution", () => {
    const bootstrap = new UserBootstrap(users, 1);
    const [low, high] = bootstrap.interval(bootstrap.add([hits(0.3)], "recall10"));
    const error = 1.96 * Math.sqrt((0.3 * 0.7) / 400);
    expect(low).toBeCloseTo(0.3 - error, 1.7);
    expect(high).toBeCloseTo(0.3 + error, 1.7);
  });

  test("a model differs from itself by nothing at all, since draws are paired", () => {
    const bootstrap = new UserBootstrap(users, 1);
    const a = bootstrap.add([hits(0.3)], "ndcg10");
    const b = bootstrap.add([hits(0.3)], "ndcg10");
    expect(bootstrap.difference(a, b)).toEqual({ difference: 0, interval: [0, 0] });
  });

  test("a planted difference is found, with its sign", () => {
    const bootstrap = new UserBootstrap(users, 1);
    const better = bootstrap.add([hits(0.4)], "recall10");
    const worse = bootstrap.add([hits(0.3)], "recall10");
    const { difference, interval } = bootstrap.difference(better, worse);
    expect(difference).toBeCloseTo(0.1, 5);
    expect(interval[0]).toBeGreaterThan(0);
    expect(bootstrap.difference(worse, better).interval[1]).toBeLessThan(0);
  });

  test("cases of one user are drawn together: a user's doubled cases widen the interval", () => {
    const width = (owners: readonly string[]) => {
      const bootstrap = new UserBootstrap(owners, 1);
      const [low, high] = bootstrap.interval(bootstrap.add([hits(0.5).toSorted((a, b) => a - b)], "recall10"));
      return high - low;
    };
    const clustered = users.map((_, at) => `u${Math.floor(at / 20)}`);
    expect(width(clustered)).toBeGreaterThan(2 * width(users));
  });

  test("intervals hold the mean, whatever the ranks", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1, max: 15 }), { minLength: 2, maxLength: 60 }), (ranks) => {
        const bootstrap = new UserBootstrap(
          ranks.map((_, at) => `${at % 40}`),
          3,
        );
        const [low, high] = bootstrap.interval(bootstrap.add([ranks], "recall10"));
        const mean = figuresOf(ranks).recall10;
        expect(low).toBeLessThanOrEqual(mean + 0.05);
        expect(high).toBeGreaterThanOrEqual(mean - 0.05);
      }),
      { numRuns: 10 },
    );
  });
});
