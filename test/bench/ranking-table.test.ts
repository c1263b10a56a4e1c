import { describe, expect, test } from "vitest";
import { summaryOf } from "../../bench/ranking-summary.ts";
import { slicesOf } from "../../bench/ranking-slices.ts";
import { agreement, type ModelRuns, slicedTable, tableOf } from "../../bench/ranking-table.ts";
import { spread, UserBootstrap } from "../../bench/ranking-figures.ts";
import fixture from "../../training/tests/slices.json" with { type: "json" };

const users = Array.from({ length: 300 }, (_, at) => `u${at}`);
/** Ranks with a hit at rank 0 for a share of the users, from `first` on. */
const hits = (share: number, first = 0) =>
  users.map((_, at) => ((at + users.length - first) % users.length < Math.round(share * users.length) ? 0 : -1));
const ranked = (ranks: readonly number[]) => ({ masked: ranks, unmasked: ranks.map(() => -1) });

function model(name: string, seeds: readonly number[], runs: readonly (readonly number[])[]): ModelRuns {
  const served = name === "generator-int8";
  return {
    model: name,
    served,
    rankedBy: served ? "worker" : "trainer",
    seeds,
    runs: runs.map(ranked),
    artefactBytes: null,
    trainSeconds: 60,
  };
}

const models = [
  model("item-knn", [0], [hits(0.1)]),
  model("sasrec-ce", [0, 2], [hits(0.2), hits(0.24)]),
  model("generator-int8", [0, 1, 2], [hits(0.3), hits(0.32), hits(0.34)]),
];

describe("several trainings of a model", () => {
  const { rows, paired } = tableOf(users, models, "masked");
  const row = (name: string) => rows.find((one) => one.model === name)!;
  const gap = (b: string) => paired.find((one) => one.b === b && one.metric === "recall10")!;

  test("a row is the mean over its trainings and keeps each of them, with their standard deviation", () => {
    expect(row("generator-int8").recall10).toBeCloseTo(0.32, 5);
    expect(row("generator-int8").perSeed.map(({ seed, recall10 }) => [seed, recall10])).toEqual([
      [0, 0.3],
      [1, 0.32],
      [2, 0.34],
    ]);
    expect(row("generator-int8").seedSpread.recall10).toBeCloseTo(0.02, 5);
    expect(row("item-knn").seedSpread.recall10).toBeNull();
  });

  test("figures of both rankings are kept, and the row's own are those of the ranking that counts", () => {
    expect(row("sasrec-ce").masked.recall10).toBeCloseTo(0.22, 5);
    expect(row("sasrec-ce").unmasked.recall10).toBe(0);
    expect(tableOf(users, models, "unmasked").rows[1]!.recall10).toBe(0);
  });

  test("a difference is that of the means, inside its interval, and by seed where both were trained", () => {
    const { difference, interval, perSeed } = gap("sasrec-ce");
    expect(difference).toBeCloseTo(0.1, 5);
    expect(interval[0]).toBeGreaterThan(0);
    expect(interval[1]).toBeGreaterThan(difference);
    expect(perSeed).toEqual([
      { seed: 0, difference: 0.1 },
      { seed: 2, difference: 0.1 },
    ]);
  });

  test("a comparison without chance stands against every training", () => {
    expect(gap("item-knn").perSeed.map(({ difference }) => difference)).toEqual([0.2, 0.22, 0.24]);
    expect(gap("item-knn").seedSpread).toBeCloseTo(0.02, 5);
  });

  test("trainings that hit other users narrow the interval, trainings that hit the same ones do not", () => {
    const width = (runs: readonly (readonly number[])[]) => {
      const bootstrap = new UserBootstrap(users, 1);
      const [low, high] = bootstrap.interval(bootstrap.add(runs, "recall10"));
      return high - low;
    };
    const one = width([hits(0.3)]);
    expect(width([hits(0.3), hits(0.3), hits(0.3)])).toBeCloseTo(one, 5);
    expect(width([hits(0.3), hits(0.3, 100), hits(0.3, 200)])).toBeLessThan(0.6 * one);
  });

  test("no run, and runs of other cases, are refused", () => {
    const bootstrap = new UserBootstrap(users, 1);
    expect(() => bootstrap.add([], "ndcg10")).toThrow(RangeError);
    expect(() => bootstrap.add([hits(0.3), [0, 1]], "ndcg10")).toThrow("2 ranks for 300 cases");
  });

  test("spread: known answer", () => {
    expect([spread([1, 2, 3, 4]), spread([5])]).toEqual([1.29099, null]);
  });

  test("the summary has one row a data set and adds up the minutes of all trainings", () => {
    const about = {
      users: 300,
      cases: 300,
      items: 9,
      ranking: "masked" as const,
      seedsMeasured: [0, 1, 2],
      rows,
      paired,
    };
    const trainMinutes = [0, 1, 2].map((seed) => ({ seed, generator: 10, sasrec: 20, itemKnn: 1 }));
    const measured = ["beauty", "larder"].map((dataset) => ({ dataset, ...about, trainMinutes }));
    const { rows: summary, totalHours, table } = summaryOf(measured);
    expect(summary.map(({ dataset, totalMinutes }) => [dataset, totalMinutes])).toEqual([
      ["beauty", 93],
      ["larder", 93],
    ]);
    expect(totalHours).toBe(3.1);
    expect(table.rows[0]).toContain("0.3200");
  });
});

describe("slices", () => {
  const cases = fixture.cases.map((one, at) => ({ user: `u${at}`, ...one }));

  test("members are those of the fixture that the trainer reads too", () => {
    const found = slicesOf(cases, fixture.training, true);
    expect(Object.fromEntries(found.map(({ name, members }) => [name, members]))).toEqual(fixture.expected);
    expect(found[1]!.definition).toContain(`1 to ${fixture.middle} training events`);
  });

  test("slices without a case are left out, and repeats where the ranking leaves earlier items out", () => {
    expect(slicesOf(cases.slice(1, 2), fixture.training, false).map(({ name }) => name)).toEqual(["tail", "short"]);
  });

  test("figures and paired intervals are those of the slice's cases alone", () => {
    const members = users.map((_, at) => at).slice(0, 50);
    const [slice] = slicedTable(users, models, "masked", [{ name: "first", definition: "", members }]);
    expect(slice).toMatchObject({ slice: "first", users: 50, cases: 50 });
    // item-kNN hits users 0..29, the others all fifty
    expect(slice!.rows.map(({ model: name, recall10 }) => [name, recall10])).toEqual([
      ["item-knn", 0.6],
      ["sasrec-ce", 1],
      ["generator-int8", 1],
    ]);
    const [knn] = slice!.paired.filter(({ b, metric }) => b === "item-knn" && metric === "recall10");
    expect(knn!.difference).toBeCloseTo(0.4, 5);
    const sasrec = slice!.paired.find(({ b }) => b === "sasrec-ce");
    expect(sasrec).toMatchObject({ difference: 0, interval: [0, 0] });
  });
});

test("trainer and Worker agree where both put the target at the same rank of the first ten, or below", () => {
  expect(agreement([0, 3, 12, -1, 5], [0, 4, -1, 30, 5])).toBe(0.8);
});
