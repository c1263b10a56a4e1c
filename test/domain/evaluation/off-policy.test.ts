import { describe, expect, it } from "vitest";
import type { Estimator } from "../../../functions/domain/evaluation/estimators.ts";
import { ImpressionLog, type TargetPolicy } from "../../../functions/domain/evaluation/impression-log.ts";
import { comparePolicies, type Estimate, evaluatePolicy } from "../../../functions/domain/evaluation/off-policy.ts";
import { refusalOf, DEFAULT_THRESHOLDS, weightFigures } from "../../../functions/domain/evaluation/weights.ts";
import { BETTER, LOGGING, simulatedLog, WORSE } from "./simulated-world.ts";
import { inlineColumns, inlineLog, inlineTarget, OPEN, valuesOf, vectors } from "./vectors.ts";

const { expected, weights: inlineWeights } = vectors.inline;
const { propensity } = inlineColumns;

describe("ten rows by hand (off-policy.json)", () => {
  it("has the estimators' values", () => {
    const values = valuesOf(evaluatePolicy(inlineLog, inlineTarget, { thresholds: OPEN }));
    expect(values["ips"]).toBeCloseTo(expected.ipw, 12);
    expect(values["snips"]).toBeCloseTo(expected.snipw, 12);
    expect(values["clipped-ips"]).toBeCloseTo(expected.ipw_clip, 12);
    expect(values["dm"]).toBeCloseTo(expected.dm, 12);
    expect(values["dr"]).toBeCloseTo(expected.dr, 12);
    expect(values["sndr"]).toBeCloseTo(expected.sndr, 12);
    expect(values["switch-dr"]).toBeCloseTo(expected.switch_dr, 12);
    expect(values["dr-os"]).toBeCloseTo(expected.dr_os, 12);
  });

  it("has the weights and their figures", () => {
    const { w } = inlineLog.under(inlineTarget);
    for (const [row, weight] of inlineWeights.entries()) expect(w[row]).toBeCloseTo(weight, 10);
    expect(w.filter((weight) => weight > 10)).toHaveLength(expected.weights_above_tau);
    const figures = weightFigures(inlineLog, w);
    expect(figures.meanWeight).toBeCloseTo(expected.mean_weight, 12);
    expect(figures.effectiveSampleSize).toBeCloseTo(expected.ess, 12);
    expect(figures.effectiveClusters).toBeCloseTo(expected.ess, 12); // a row is a user
    expect(figures.maxWeight).toBeCloseTo(expected.max_weight, 12);
    expect(figures).toMatchObject({ rows: 10, outsideShare: 0 });
  });

  it("catches weights that are inverted", () => {
    const inverted = new ImpressionLog({ ...inlineColumns, propensity: inlineTarget.probability });
    const values = valuesOf(
      evaluatePolicy(inverted, { ...inlineTarget, probability: propensity }, { thresholds: OPEN }),
    );
    const { ipw, snipw, ipw_clip, dr, sndr, switch_dr, dr_os } = expected;
    const right = { ips: ipw, snips: snipw, "clipped-ips": ipw_clip, dr, sndr, "switch-dr": switch_dr, "dr-os": dr_os };
    for (const [name, value] of Object.entries(right)) expect(Math.abs(values[name]! - value)).toBeGreaterThan(0.01);
  });

  it.each([
    // sums of 0.4, 6, 2, 1.2 (rewarded weights under the bound) and min(16, tau), by hand
    { tau: 1, clipped: (0.4 + 1 + 1 + 1 + 1) / 10, name: "a clip at 1" },
    { tau: 6, clipped: (0.4 + 1.2 + 6 + 6 + 2) / 10, name: "a clip at a weight that occurs" },
    { tau: 16, clipped: 2.56, name: "a clip at the greatest weight, which changes nothing" },
  ])("has $name", ({ tau, clipped }) => {
    const estimators: Estimator[] = [
      { name: "clipped-ips", tau },
      { name: "clipped-ips", tau: 100 },
    ];
    const evaluation = evaluatePolicy(inlineLog, inlineTarget, { thresholds: OPEN, estimators });
    if (evaluation.kind === "refused") throw new Error(evaluation.reason);
    expect(evaluation.estimates[0]!.value).toBeCloseTo(clipped, 12);
    expect(evaluation.estimates[1]!.value).toBeCloseTo(expected.ipw, 12);
    expect(evaluation.estimates.map(({ estimator }) => estimator)).toEqual(estimators);
  });

  it("leaves a weight of exactly tau to the weight, not to the prediction", () => {
    const of = (tau: number) =>
      valuesOf(evaluatePolicy(inlineLog, inlineTarget, { thresholds: OPEN, estimators: [{ name: "switch-dr", tau }] }))[
        "switch-dr"
      ];
    expect(of(16)).toBeCloseTo(expected.dr, 12);
    expect(of(15.9)).toBeCloseTo(expected.switch_dr, 12);
  });

  it("gives no estimator that needs what the log lacks", () => {
    const { predicted: _, ...unpredicted } = inlineColumns;
    const names = (log: ImpressionLog, target: TargetPolicy) =>
      Object.keys(valuesOf(evaluatePolicy(log, target, { thresholds: OPEN })));
    const { baseline: __, ...noBaseline } = inlineTarget;
    const without = ["ips", "snips", "clipped-ips"];
    expect(names(new ImpressionLog(unpredicted), noBaseline)).toEqual(without);
    expect(names(inlineLog, noBaseline)).toEqual(without);
    expect(names(new ImpressionLog(unpredicted), inlineTarget)).toEqual([...without, "dm"]);
  });
});

describe("the refusal", () => {
  it("says why and holds no estimate", () => {
    const evaluation = evaluatePolicy(inlineLog, inlineTarget);
    expect(evaluation).toMatchObject({
      kind: "refused",
      reason: "ESS 2.72 is under 100; mean weight 2.87 is over 2; ESS by user 2.72 is under 20",
    });
    expect(Object.keys(evaluation).sort()).toEqual(["kind", "reason", "weights"]);
    // @ts-expect-error estimates can't be read before `kind` was asked
    expect(evaluation.estimates).toBeUndefined();
  });

  const even = (rows: number, users: number) => ({
    cluster: Array.from({ length: rows }, (_, row) => `user-${row % users}`),
    position: new Uint8Array(rows),
    reward: Float64Array.from({ length: rows }, (_, row) => row % 2),
    propensity: new Float64Array(rows).fill(0.25),
  });
  const verdict = (rows: number, users: number, probability: number) => {
    const evaluation = evaluatePolicy(new ImpressionLog(even(rows, users)), {
      probability: new Float64Array(rows).fill(probability),
    });
    return evaluation.kind === "refused" ? evaluation.reason : "estimated";
  };

  it.each([
    { rows: 100, users: 20, probability: 0.25, says: "estimated" },
    { rows: 99, users: 99, probability: 0.25, says: "ESS 99.00 is under 100" },
    { rows: 100, users: 100, probability: 0.125, says: "estimated" },
    { rows: 100, users: 100, probability: 0.124999, says: "mean weight 0.499996 is under 0.5" },
    { rows: 100, users: 100, probability: 0.5, says: "estimated" },
    { rows: 100, users: 100, probability: 0.500001, says: "mean weight 2.000004 is over 2" },
    { rows: 190, users: 19, probability: 0.25, says: "ESS by user 19.00 is under 20" },
    {
      rows: 100,
      users: 100,
      probability: 0,
      says: "ESS 0.00 is under 100; mean weight 0.00 is under 0.5; ESS by user 0.00 is under 20",
    },
  ])("of $rows rows by $users users at $probability against .25: $says", ({ rows, users, probability, says }) => {
    expect(verdict(rows, users, probability)).toBe(says);
  });

  it("sees that one user holds the weight of many", () => {
    const columns = even(1000, 500);
    const probability = Float64Array.from(columns.cluster, (_, row) => (row < 800 ? 0.02 : 0.9));
    const cluster = columns.cluster.map((user, row) => (row < 800 ? user : "insatiable"));
    const evaluation = evaluatePolicy(new ImpressionLog({ ...columns, cluster }), { probability });
    expect(evaluation).toMatchObject({ kind: "refused", reason: "ESS by user 1.19 is under 20" });
    expect(evaluation.weights.effectiveSampleSize).toBeGreaterThan(200);
  });

  it("takes thresholds of the caller, but none that would divide by 0", () => {
    const thresholds = { minEffectiveSampleSize: 2, maxMeanWeight: 3, minEffectiveClusters: 2 };
    expect(evaluatePolicy(inlineLog, inlineTarget, { thresholds }).kind).toBe("estimated");
    expect(() => evaluatePolicy(inlineLog, inlineTarget, { thresholds: { minEffectiveSampleSize: 0 } })).toThrow(
      "a minimum size must be >= 1, got 0",
    );
  });

  it("draws again where only users without weight were drawn", () => {
    const log = new ImpressionLog({ ...inlineColumns, cluster: propensity.map((_, row) => (row < 5 ? "a" : "b")) });
    const probability = propensity.map((_, row) => (row < 5 ? 0.5 : 0));
    const evaluation = evaluatePolicy(log, { probability }, { thresholds: OPEN, estimators: [{ name: "snips" }] });
    if (evaluation.kind === "refused") throw new Error(evaluation.reason);
    const [{ value, interval }] = evaluation.estimates as [Estimate];
    for (const end of interval) expect(end).toBeCloseTo(value, 12); // one user's own mean, whenever that user was drawn
  });

  it("survives weights whose squares are no numbers", () => {
    const log = new ImpressionLog({ ...inlineColumns, propensity: propensity.map(() => 1e-200) });
    const figures = weightFigures(log, log.under({ probability: propensity.map(() => 1) }).w);
    expect(figures.effectiveSampleSize).toBeCloseTo(10, 12);
    expect(refusalOf({ ...figures, meanWeight: Number.NaN }, DEFAULT_THRESHOLDS)).toContain("mean weight NaN");
  });
});

describe("figures of the weights", () => {
  it("tells the rows that the target would not show, and a position whose propensities are wrong", () => {
    const log = new ImpressionLog({
      cluster: ["a", "a", "b", "b", "c", "c"],
      position: [1, 0, 0, 1, 0, 1],
      reward: [0, 0, 0, 0, 0, 0],
      propensity: [0.1, 0.5, 0.5, 0.1, 0.5, 0.1],
    });
    const { w } = log.under({ probability: [0.5, 0.5, 0, 0.5, 1, 0.5] });
    const figures = weightFigures(log, w);
    expect(figures.outsideShare).toBeCloseTo(1 / 6, 12);
    expect(figures.positions.map(({ position, rows }) => [position, rows])).toEqual([
      [0, 3],
      [1, 3],
    ]);
    expect(figures.positions[0]!.meanWeight).toBeCloseTo(1, 12);
    expect(figures.positions[0]!.effectiveSampleSize).toBeCloseTo(9 / 5, 12); // (1 + 2)^2 / (1 + 4)
    expect(figures.positions[1]!.meanWeight).toBeCloseTo(5, 12);
    expect(figures.effectiveClusters).toBeCloseTo(18 ** 2 / (6 ** 2 + 5 ** 2 + 7 ** 2), 12);
  });
});

describe("a comparison", () => {
  const { log, targetOf } = simulatedLog("a comparison", 300);
  const [better, worse] = [targetOf(BETTER), targetOf(WORSE)];

  it("is the difference of the two evaluations, under an interval that is narrower than theirs together", () => {
    const comparison = comparePolicies(log, better, targetOf(LOGGING));
    const [left, right] = [evaluatePolicy(log, better), evaluatePolicy(log, targetOf(LOGGING))];
    if (comparison.kind === "refused" || left.kind === "refused" || right.kind === "refused")
      throw new Error("refused");
    expect(comparison.weights).toEqual({ candidate: left.weights, incumbent: right.weights });
    expect(comparison.differences.map(({ estimator }) => estimator.name)).toEqual(
      left.estimates.map(({ estimator }) => estimator.name),
    );
    for (const [at, { value, interval }] of comparison.differences.entries()) {
      const [a, b] = [left.estimates[at]!, right.estimates[at]!];
      expect(value).toBeCloseTo(a.value - b.value, 12);
      const width = ([low, high]: readonly [number, number]) => high - low;
      expect(width(interval)).toBeLessThan(width(a.interval) + width(b.interval));
    }
  });

  it("of a policy with itself is exactly 0, and of the two the other way round the negative", () => {
    const same = comparePolicies(log, better, targetOf(BETTER));
    const [one, other] = [comparePolicies(log, better, worse), comparePolicies(log, worse, better)];
    if (same.kind === "refused" || one.kind === "refused" || other.kind === "refused") throw new Error("refused");
    for (const { value, interval } of same.differences) expect([value, ...interval]).toEqual([0, 0, 0]);
    for (const [at, { value, interval }] of one.differences.entries()) {
      const turned = other.differences[at]!;
      expect(turned.value).toBe(-value);
      expect(turned.interval[0]).toBeCloseTo(-interval[1], 12);
      expect(turned.interval[1]).toBeCloseTo(-interval[0], 12);
    }
  });

  it("is refused where one of the two would be, and says which", () => {
    const rare = { probability: new Float64Array(log.rows).fill(1e-4) };
    const first = comparePolicies(log, rare, better);
    const second = comparePolicies(log, better, rare);
    expect(first).toMatchObject({ kind: "refused", reason: "candidate: mean weight 0.00 is under 0.5" });
    expect(second).toMatchObject({ kind: "refused", reason: "incumbent: mean weight 0.00 is under 0.5" });
    expect(Object.keys(first).sort()).toEqual(["kind", "reason", "weights"]);
  });

  it("is the same for the same seed and another for another", () => {
    const options = { estimators: [{ name: "dr" }], resamples: 200 } as const;
    const run = (seed: string) => JSON.stringify(comparePolicies(log, better, worse, { ...options, seed }));
    expect(run("one")).toBe(run("one"));
    expect(run("one")).not.toBe(run("two"));
  });
});

describe("bad input", () => {
  const one = { cluster: ["a", "b"], position: [0, 1], reward: [0, 1], propensity: [0.5, 0.5] };
  const target = { probability: [0.5, 0.5] };

  it.each([
    [{ propensity: [0.5, 0] }, "propensity of row 1 must lie in (0, 1], got 0"],
    [{ propensity: [1.01, 0.5] }, "propensity of row 0 must lie in (0, 1], got 1.01"],
    [{ propensity: [0.5, Number.NaN] }, "propensity of row 1 must lie in (0, 1], got NaN"],
    [{ reward: [0, Number.POSITIVE_INFINITY] }, "reward of row 1 must be a finite number, got Infinity"],
    [{ position: [0, -1] }, "position of row 1 must be a whole number >= 0, got -1"],
    [{ position: [0.5, 1] }, "position of row 0 must be a whole number >= 0, got 0.5"],
    [{ predicted: [0, Number.NaN] }, "predicted reward of row 1 must be a finite number, got NaN"],
    [{ predicted: [0] }, "predicted reward has 1 values for 2 rows"],
    [{ cluster: [] }, "a log of no rows"],
  ])("a log with %o: %s", (columns, message) => {
    expect(() => new ImpressionLog({ ...one, ...columns })).toThrow(new RangeError(message));
  });

  it.each([
    [{ probability: [0.5, 1.5] }, "target probability of row 1 must lie in 0..1, got 1.5"],
    [{ probability: [-0.1, 0.5] }, "target probability of row 0 must lie in 0..1, got -0.1"],
    [{ probability: [0.5] }, "target probability has 1 values for 2 rows"],
    [{ baseline: [0, Number.NaN] }, "baseline of row 1 must be a finite number, got NaN"],
  ])("a target with %o: %s", (columns, message) => {
    expect(() => evaluatePolicy(new ImpressionLog(one), { ...target, ...columns })).toThrow(new RangeError(message));
  });

  it("a weight that is no number", () => {
    const log = new ImpressionLog({ ...one, propensity: [0.5, 5e-324] });
    expect(() => evaluatePolicy(log, target)).toThrow("weight of row 1 must be a finite number, got Infinity");
  });

  it.each([
    [{ estimators: [{ name: "clipped-ips", tau: 0 }] }, "tau must be a finite number > 0, got 0"],
    [{ estimators: [{ name: "switch-dr", tau: Number.NaN }] }, "tau must be a finite number > 0, got NaN"],
    [{ estimators: [{ name: "dr-os", lambda: -1 }] }, "lambda must be a finite number > 0, got -1"],
    [{ resamples: 0 }, "resamples must be a whole number > 0, got 0"],
    [{ level: 1 }, "level must lie in (0, 1), got 1"],
  ] as const)("options %o: %s", (options, message) => {
    expect(() => evaluatePolicy(inlineLog, inlineTarget, { thresholds: OPEN, ...options })).toThrow(
      new RangeError(message),
    );
  });

  it("is not let in later: the log keeps copies", () => {
    const reward = [1, 1];
    const log = new ImpressionLog({ ...one, reward });
    reward[0] = Number.NaN;
    expect(valuesOf(evaluatePolicy(log, target, { thresholds: OPEN }))["ips"]).toBe(1);
  });
});
