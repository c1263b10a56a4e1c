/** Laws that hold for every log: properties over random ones, and DR on logs that are exactly their own expectation. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ImpressionLog } from "../../../functions/domain/evaluation/impression-log.ts";
import { evaluatePolicy } from "../../../functions/domain/evaluation/off-policy.ts";
import { OPEN, valuesOf } from "./vectors.ts";

const probability = fc.double({ min: 0.01, max: 1, noNaN: true });
const reward = fc.double({ min: -5, max: 5, noNaN: true });
const row = fc.record({
  user: fc.constantFrom<string[]>("ada", "bo", "cy", "dee", "eve"),
  position: fc.nat(3),
  reward,
  propensity: probability,
  target: probability,
  predicted: reward,
  baseline: reward,
});
type Row = typeof row extends fc.Arbitrary<infer T> ? T : never;
const rows = fc.array(row, { minLength: 1, maxLength: 40 });

function logOf(all: readonly Row[]) {
  const column = (name: Exclude<keyof Row, "user">) => Float64Array.from(all, (one) => one[name]);
  const log = new ImpressionLog({
    cluster: all.map(({ user }) => user),
    position: column("position"),
    reward: column("reward"),
    propensity: column("propensity"),
    predicted: column("predicted"),
  });
  return { log, target: { probability: column("target"), baseline: column("baseline") } };
}

function evaluated(all: readonly Row[]) {
  const { log, target } = logOf(all);
  const evaluation = evaluatePolicy(log, target, { thresholds: OPEN, resamples: 20 });
  if (evaluation.kind === "refused") throw new Error(evaluation.reason);
  return evaluation;
}

describe("for every log", () => {
  it("SNIPS and its interval lie between the least and the greatest reward", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const snips = evaluated(all).estimates.find(({ estimator }) => estimator.name === "snips")!;
        const rewards = all.map((one) => one.reward);
        const [least, greatest] = [Math.min(...rewards) - 1e-12, Math.max(...rewards) + 1e-12];
        for (const value of [snips.value, ...snips.interval]) {
          expect(value).toBeGreaterThanOrEqual(least);
          expect(value).toBeLessThanOrEqual(greatest);
        }
      }),
    );
  });

  it("all estimators are the mean reward where the target is the logging policy and the prediction that mean", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const mean = all.reduce((sum, one) => sum + one.reward, 0) / all.length;
        const { estimates, weights } = evaluated(
          all.map((one) => ({ ...one, target: one.propensity, predicted: mean, baseline: mean })),
        );
        expect(estimates).toHaveLength(8);
        for (const { value } of estimates) expect(value).toBeCloseTo(mean, 12);
        expect(weights.effectiveSampleSize).toBeCloseTo(all.length, 9);
        expect(weights.meanWeight).toBe(1);
      }),
    );
  });

  it("SNDR with a constant prediction is SNIPS", () => {
    fc.assert(
      fc.property(rows, reward, (all, constant) => {
        const { snips, sndr } = valuesOf(
          evaluated(all.map((one) => ({ ...one, predicted: constant, baseline: constant }))),
        );
        expect(sndr).toBeCloseTo(snips!, 9);
      }),
    );
  });

  it("the order of the rows changes neither values nor intervals", () => {
    const shuffled = rows.chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length })),
    );
    fc.assert(
      fc.property(shuffled, ([all, other]) => {
        const [one, two] = [evaluated(all), evaluated(other)];
        for (const [at, { value, interval }] of one.estimates.entries()) {
          const twin = two.estimates[at]!;
          const scale = Math.max(1, Math.abs(value));
          expect(twin.value / scale).toBeCloseTo(value / scale, 9);
          expect(twin.interval[0] / scale).toBeCloseTo(interval[0] / scale, 9);
          expect(twin.interval[1] / scale).toBeCloseTo(interval[1] / scale, 9);
        }
        expect(two.weights.effectiveSampleSize).toBeCloseTo(one.weights.effectiveSampleSize, 9);
        expect(two.weights.effectiveClusters).toBeCloseTo(one.weights.effectiveClusters, 9);
        expect(two.weights.positions.map(({ position }) => position)).toEqual(
          one.weights.positions.map(({ position }) => position),
        );
      }),
    );
  });

  it("ESS lies in 1..rows and is rows only for equal weights", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const { effectiveSampleSize } = evaluated(all).weights;
        expect(effectiveSampleSize).toBeGreaterThan(1 - 1e-12);
        expect(effectiveSampleSize).toBeLessThan(all.length + 1e-9);
      }),
    );
  });
});

/** Rows of one kind of user that were shown one item, and how many of them were rewarded. */
const cell = fc.nat(6).chain((more) => fc.record({ shown: fc.constant(1 + more), rewarded: fc.nat(1 + more) }));

interface World {
  /** (kinds, items). */
  readonly cells: readonly (readonly { shown: number; rewarded: number }[])[];
  /** (items) the target's preferences, whatever the kind. */
  readonly tastes: readonly number[];
}

const worlds: fc.Arbitrary<World> = fc.record({
  cells: fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 3 }),
  tastes: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
});

/**
 * A log in which every item was shown exactly as often as its propensity says and rewarded at exactly its rate: an estimate on it
 * is the estimator's expectation, with no luck in it.
 */
function expectationOf({ cells, tastes }: World, wrong: { propensity: boolean; prediction: boolean }) {
  const taste = tastes.reduce((sum, one) => sum + one, 0);
  const total = cells.flat().reduce((sum, { shown }) => sum + shown, 0);
  const all: Row[] = [];
  let truth = 0;
  for (const items of cells) {
    const asked = items.reduce((sum, { shown }) => sum + shown, 0);
    const predicted = items.map(({ shown, rewarded }, item) => (wrong.prediction ? 0.3 * item : rewarded / shown));
    const baseline = predicted.reduce((sum, value, item) => sum + (tastes[item]! / taste) * value, 0);
    for (const [item, { shown, rewarded }] of items.entries()) {
      truth += ((asked / total) * tastes[item]! * rewarded) / shown / taste;
      const propensity = wrong.propensity ? 1 / (2 + item) : shown / asked;
      const target = tastes[item]! / taste;
      const common = {
        user: `row ${all.length}`,
        position: 0,
        propensity,
        target,
        predicted: predicted[item]!,
        baseline,
      };
      for (let n = 0; n < shown; n += 1) all.push({ ...common, reward: n < rewarded ? 1 : 0 });
    }
  }
  return { truth, values: valuesOf(evaluated(all)) };
}

describe("in expectation", () => {
  it("DR is right with right propensities, whatever the prediction; so is IPS, and DM is not", () => {
    let misledDm = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        const { truth, values } = expectationOf(world, { propensity: false, prediction: true });
        for (const name of ["ips", "snips", "dr", "sndr"]) expect(values[name]).toBeCloseTo(truth, 10);
        if (Math.abs(values["dm"]! - truth) > 0.01) misledDm += 1;
      }),
      { seed: 5, numRuns: 100 },
    );
    expect(misledDm).toBeGreaterThan(80);
  });

  it("DR is right with a right prediction, whatever the propensities; so is DM, and IPS is not", () => {
    let misledIps = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        const { truth, values } = expectationOf(world, { propensity: true, prediction: false });
        for (const name of ["dm", "dr", "sndr", "switch-dr", "dr-os"]) expect(values[name]).toBeCloseTo(truth, 10);
        if (Math.abs(values["ips"]! - truth) > 0.01) misledIps += 1;
      }),
      { seed: 5, numRuns: 100 },
    );
    expect(misledIps).toBeGreaterThan(80);
  });

  it("DR is wrong where both are", () => {
    let misled = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        const { truth, values } = expectationOf(world, { propensity: true, prediction: true });
        if (Math.abs(values["dr"]! - truth) > 0.01) misled += 1;
      }),
      { seed: 5, numRuns: 100 },
    );
    expect(misled).toBeGreaterThan(80);
  });
});
