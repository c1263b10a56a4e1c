/**
 * What a policy would have earned, and how much more than another, from lists that neither need have made. An estimate comes with
 * its interval and its weights, or not at all: a refusal holds no number that could be taken for one.
 *
 * What the refusal does not see: rewards so rare that an interval is too narrow (with none at all it has no width), and estimators
 * tried until one pleases. Name the one that decides beforehand.
 */
import { bootstrap, type BootstrapOptions, type Interval, type Statistic } from "./bootstrap.ts";
import { DEFAULT_ESTIMATORS, type Estimator, ratiosOf } from "./estimators.ts";
import type { ImpressionLog, TargetPolicy } from "./impression-log.ts";
import { DEFAULT_THRESHOLDS, refusalOf, type Thresholds, weightFigures, type WeightFigures } from "./weights.ts";

export interface EvaluationOptions extends Partial<BootstrapOptions> {
  /** Default: all, with tau 10 and lambda 10. */
  readonly estimators?: readonly Estimator[];
  /** Those not given are the defaults. */
  readonly thresholds?: Partial<Thresholds>;
}

/** 1000 resamples, 95 %. */
const DEFAULT_BOOTSTRAP: BootstrapOptions = { resamples: 1000, level: 0.95, seed: "off-policy" };

export interface Estimate {
  readonly estimator: Estimator;
  /** In the unit of the rewards, per row. */
  readonly value: number;
  readonly interval: Interval;
}

export type Evaluation =
  | { readonly kind: "estimated"; readonly estimates: readonly Estimate[]; readonly weights: WeightFigures }
  | { readonly kind: "refused"; readonly reason: string; readonly weights: WeightFigures };

export type Comparison =
  | { readonly kind: "compared"; readonly differences: readonly Estimate[]; readonly weights: WeightsOfBoth }
  | { readonly kind: "refused"; readonly reason: string; readonly weights: WeightsOfBoth };

export interface WeightsOfBoth {
  readonly candidate: WeightFigures;
  readonly incumbent: WeightFigures;
}

/**
 * Value of a target per row, by each estimator; those that need predictions or a baseline are absent without them.
 * @throws RangeError for columns of another length, values or options out of their bounds
 */
export function evaluatePolicy(log: ImpressionLog, target: TargetPolicy, options: EvaluationOptions = {}): Evaluation {
  const rows = log.under(target);
  const weights = weightFigures(log, rows.w);
  const reason = refusalOf(weights, { ...DEFAULT_THRESHOLDS, ...options.thresholds });
  if (reason !== undefined) return { kind: "refused", reason, weights };
  const estimators = options.estimators ?? DEFAULT_ESTIMATORS;
  const statistics = ratiosOf(estimators, rows).map((of) => of && { of });
  return { kind: "estimated", estimates: estimatesOf(log, estimators, statistics, options), weights };
}

/**
 * Value of the candidate less that of the incumbent, paired: both on the same rows and the same draws, so that what they have in
 * common does not widen the interval. Refused where either would be.
 * @throws RangeError for columns of another length, values or options out of their bounds
 */
export function comparePolicies(
  log: ImpressionLog,
  candidate: TargetPolicy,
  incumbent: TargetPolicy,
  options: EvaluationOptions = {},
): Comparison {
  const thresholds = { ...DEFAULT_THRESHOLDS, ...options.thresholds };
  const [left, right] = [log.under(candidate), log.under(incumbent)];
  const weights = { candidate: weightFigures(log, left.w), incumbent: weightFigures(log, right.w) };
  const reasons = (["candidate", "incumbent"] as const).flatMap((which) => {
    const reason = refusalOf(weights[which], thresholds);
    return reason === undefined ? [] : [`${which}: ${reason}`];
  });
  if (reasons.length > 0) return { kind: "refused", reason: reasons.join("; "), weights };
  const estimators = options.estimators ?? DEFAULT_ESTIMATORS;
  const ratiosOfRight = ratiosOf(estimators, right);
  const statistics = ratiosOf(estimators, left).map((of, at) => {
    const less = ratiosOfRight[at];
    return of && less && { of, less };
  });
  return { kind: "compared", differences: estimatesOf(log, estimators, statistics, options), weights };
}

/** @param statistics of each estimator; undefined: absent */
function estimatesOf(
  log: ImpressionLog,
  estimators: readonly Estimator[],
  statistics: readonly (Statistic | undefined)[],
  options: EvaluationOptions,
): Estimate[] {
  const { resamples, level, seed } = { ...DEFAULT_BOOTSTRAP, ...options };
  const known = statistics.filter((statistic) => statistic !== undefined);
  const bootstrapped = bootstrap(known, log.cluster, log.clusterCount, { resamples, level, seed }).values();
  return estimators.flatMap((estimator, at) =>
    statistics[at] === undefined ? [] : [{ estimator, ...bootstrapped.next().value! }],
  );
}
