/** `off-policy.json` is a copy of ../shared/vectors/off-policy.json: estimators computed by three programs of others. */
import vectors from "./off-policy.json" with { type: "json" };
import { ImpressionLog, type TargetPolicy } from "../../../functions/domain/evaluation/impression-log.ts";
import type { Evaluation } from "../../../functions/domain/evaluation/off-policy.ts";
import type { Thresholds } from "../../../functions/domain/evaluation/weights.ts";

export { vectors };

/** No refusal short of no weight at all, for logs that the rule would refuse. */
export const OPEN: Thresholds = {
  minEffectiveSampleSize: 1,
  minMeanWeight: 0,
  maxMeanWeight: Number.POSITIVE_INFINITY,
  minEffectiveClusters: 1,
};

const { rows } = vectors.inline;

/** The ten rows, each of a user of its own. */
export const inlineColumns = {
  cluster: rows.map((_, row) => `user-${row}`),
  position: rows.map(() => 0),
  reward: rows.map(({ reward }) => reward),
  propensity: rows.map(({ propensity }) => propensity),
  predicted: rows.map(({ action, q_hat }) => q_hat[action]!),
};
export const inlineLog = new ImpressionLog(inlineColumns);
export const inlineTarget: TargetPolicy = {
  probability: rows.map(({ action, pi_e }) => pi_e[action]!),
  baseline: rows.map(({ pi_e, q_hat }) => pi_e.reduce((sum, p, action) => sum + p * q_hat[action]!, 0)),
};

/** The values by estimator. @throws for a refusal */
export function valuesOf(evaluation: Evaluation): Record<string, number> {
  if (evaluation.kind === "refused") throw new Error(evaluation.reason);
  return Object.fromEntries(evaluation.estimates.map(({ estimator, value }) => [estimator.name, value]));
}
