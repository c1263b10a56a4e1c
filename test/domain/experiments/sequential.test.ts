import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  difference,
  FEWEST_USERS,
  joined,
  type Moments,
  NO_USERS,
  withUser,
} from "../../../functions/domain/experiments/sequential.ts";
import { seededRandom } from "../../../functions/domain/generation/random.ts";

const OPTIONS = { alpha: 0.05, scale: 0.05 };
const RUNS = 300;
const LOOKS = 60;
const USERS_A_LOOK = 50;

const momentsOf = (values: readonly number[]): Moments => values.reduce(withUser, NO_USERS);

/** A skewed reward: most users bring nothing, some a little, few much. */
function reward(random: () => number, lift: number): number {
  const draw = random();
  if (draw < 0.7) return 0;
  return (draw < 0.95 ? 0.3 : 2) + lift;
}

type Excludes = (control: Moments, canary: Moments) => boolean;

const isOutside: Excludes = (control, canary) => {
  const seen = difference(canary, control, OPTIONS);
  return seen.kind === "measured" && (seen.interval[0] > 0 || seen.interval[1] < 0);
};

/** The planted defect: an interval for one look, taken at every look. */
const isOutsideFixed: Excludes = (control, canary) => {
  if (control.users < FEWEST_USERS) return false;
  const error = Math.sqrt(
    [control, canary].reduce((sum, { users, squares }) => sum + squares / (users - 1) / users, 0),
  );
  return Math.abs(canary.mean - control.mean) > 1.96 * error;
};

/** Share of runs that raise an alarm at one of the looks. */
function alarms(lift: number, excludes: Excludes, seed: string): number {
  let raised = 0;
  for (let run = 0; run < RUNS; run += 1) {
    const random = seededRandom(`${seed} ${run}`);
    let [control, canary] = [NO_USERS, NO_USERS];
    for (let look = 0; look < LOOKS; look += 1) {
      for (let user = 0; user < USERS_A_LOOK; user += 1) {
        control = withUser(control, reward(random, 0));
        canary = withUser(canary, reward(random, lift));
      }
      if (!excludes(control, canary)) continue;
      raised += 1;
      break;
    }
  }
  return raised / RUNS;
}

describe("a difference that is looked at sixty times", () => {
  it("raises a false alarm in at most a twentieth of all runs, where an interval for one look does in many", () => {
    expect(alarms(0, isOutside, "equal")).toBeLessThanOrEqual(0.05);
    expect(alarms(0, isOutsideFixed, "equal")).toBeGreaterThan(0.2);
  });

  it("finds a harm that is there", () => {
    expect(alarms(-0.2, isOutside, "worse")).toBeGreaterThan(0.9);
  });
});

describe("moments", () => {
  const numbers = fc.array(fc.double({ min: -1000, max: 1000, noNaN: true }), { maxLength: 60 });

  it("are those of all users, however they are counted together", () => {
    fc.assert(
      fc.property(numbers, numbers, (left, right) => {
        const [whole, parts] = [momentsOf([...left, ...right]), joined(momentsOf(left), momentsOf(right))];
        expect(parts.users).toBe(whole.users);
        expect(parts.mean).toBeCloseTo(whole.mean, 6);
        expect(parts.squares / 1e6).toBeCloseTo(whole.squares / 1e6, 6);
      }),
    );
  });

  it("are mean and squared deviations", () => {
    const { mean, squares } = momentsOf([1, 2, 3, 6]);
    expect([mean, squares]).toEqual([3, 14]);
  });
});

it("says nothing of few users, and refuses an alpha or scale that is none", () => {
  const few = momentsOf(Array.from({ length: FEWEST_USERS - 1 }, (_, at) => at));
  const many = momentsOf(Array.from({ length: 1000 }, (_, at) => at % 7));
  expect(difference(few, many, OPTIONS)).toEqual({ kind: "too-few", users: 99, needed: 100 });
  expect(() => difference(many, many, { alpha: 0, scale: 1 })).toThrow("alpha must lie in (0, 1), got 0");
  expect(() => difference(many, many, { alpha: 0.05, scale: 0 })).toThrow("scale must be positive, got 0");
});

it("is an interval around the difference that narrows with users", () => {
  const of = (length: number, mean: number) => momentsOf(Array.from({ length }, (_, at) => mean + (at % 2) - 0.5));
  const widths = [100, 1000, 10_000].map((users) => {
    const seen = difference(of(users, 2), of(users, 1), OPTIONS);
    if (seen.kind !== "measured") throw new Error(seen.kind);
    expect(seen.difference).toBeCloseTo(1, 10);
    expect((seen.interval[0] + seen.interval[1]) / 2).toBeCloseTo(1, 10);
    return seen.interval[1] - seen.interval[0];
  });
  expect(widths).toEqual(widths.toSorted((a, b) => b - a));
});
