/**
 * A world whose truth is known: four kinds of users, five items, clicks by kind and item. Half of the users click half again as
 * often as their kind, half half as often, so that the rows of a user depend on each other.
 */
import { ImpressionLog, type TargetPolicy } from "../../../functions/domain/evaluation/impression-log.ts";
import { explorationWeights } from "../../../functions/domain/generation/exploration.ts";
import { seededRandom } from "../../../functions/domain/generation/random.ts";

/** (kinds, items) probability of a click. */
const CLICKS = [
  [0.1, 0.2, 0.3, 0.4, 0.5],
  [0.5, 0.1, 0.2, 0.1, 0.1],
  [0.2, 0.6, 0.1, 0.3, 0.1],
  [0.1, 0.1, 0.4, 0.2, 0.3],
] as const;
const KINDS = CLICKS.length;
const ITEMS = CLICKS[0].length;

/** A policy: (kinds, items) probabilities. */
export type Policy = readonly Float64Array[];

/** Scores of a model that sees the clicks through `sharpness`, mixed with a uniform share. */
const policy = (sharpness: number, exploration: number): Policy =>
  CLICKS.map((clicks) => explorationWeights(Float64Array.from(clicks), exploration, 1 / sharpness));

export const LOGGING = policy(-2, 0.3);
export const WORSE = policy(-4, 0.2);
export const BETTER = policy(5, 0.2);

/** What the policy earns per row. */
export function truthOf(target: Policy): number {
  let sum = 0;
  for (const [kind, clicks] of CLICKS.entries())
    for (const [item, click] of clicks.entries()) sum += (target[kind]![item]! * click) / KINDS;
  return sum;
}

export interface SimulatedLog {
  readonly log: ImpressionLog;
  /** The same rows, each as if of a user of its own. */
  readonly unclustered: ImpressionLog;
  /** What the log would be if somebody had swapped the two probabilities of a weight. */
  readonly inverted: ImpressionLog;
  readonly invertedTarget: TargetPolicy;
  readonly targetOf: (policy: Policy) => TargetPolicy;
}

/** `users` users with 1 to 9 rows each under the logging policy; predictions are off by a fifth and a constant. */
export function simulatedLog(seed: string, users: number, inverted: Policy = BETTER): SimulatedLog {
  const random = seededRandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const rows: { user: string; kind: number; item: number; reward: number }[] = [];
  for (let user = 0; user < users; user += 1) {
    const kind = below(KINDS);
    const appetite = random() < 0.5 ? 0.5 : 1.5;
    for (let row = 1 + below(9); row > 0; row -= 1) {
      const item = drawn(LOGGING[kind]!, random());
      const reward = random() < appetite * CLICKS[kind]![item]! ? 1 : 0;
      rows.push({ user: `user-${user}`, kind, item, reward });
    }
  }
  const predictionOf = (kind: number, item: number) => 0.8 * CLICKS[kind]![item]! + 0.1;
  const probabilities = (of: Policy) => rows.map(({ kind, item }) => of[kind]![item]!);
  const columns = {
    cluster: rows.map(({ user }) => user),
    position: rows.map(() => 0),
    reward: rows.map(({ reward }) => reward),
    propensity: probabilities(LOGGING),
    predicted: rows.map(({ kind, item }) => predictionOf(kind, item)),
  };
  const targetOf = (of: Policy): TargetPolicy => ({
    probability: probabilities(of),
    baseline: rows.map(({ kind }) => of[kind]!.reduce((sum, p, item) => sum + p * predictionOf(kind, item), 0)),
  });
  return {
    log: new ImpressionLog(columns),
    unclustered: new ImpressionLog({ ...columns, cluster: rows.map((_, row) => `row-${row}`) }),
    inverted: new ImpressionLog({ ...columns, propensity: probabilities(inverted) }),
    invertedTarget: { ...targetOf(inverted), probability: columns.propensity },
    targetOf,
  };
}

function drawn(probabilities: Float64Array, mark: number): number {
  let rest = mark;
  for (let item = 0; item < ITEMS; item += 1) {
    rest -= probabilities[item]!;
    if (rest < 0) return item;
  }
  return ITEMS - 1;
}
