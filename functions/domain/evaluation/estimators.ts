/**
 * Estimators of what a target policy would have earned on a log of another one, defined as in the Open Bandit Pipeline
 * (`obp/ope/estimators.py`; Saito et al. 2021, arXiv 2008.07146). Each is a sum of ratios of sums over rows, which is all that a
 * bootstrap needs.
 */
import type { WeightedRows } from "./impression-log.ts";

/** Rewards are r, weights w, predicted rewards q, baselines b; means are over rows. */
export type Estimator =
  /** Inverse propensity scoring: mean(w r). */
  | { readonly name: "ips" }
  /** Self-normalised: sum(w r) / sum(w); lies between the least and the greatest reward. */
  | { readonly name: "snips" }
  /** mean(min(w, tau) r): less variance, pulled towards 0. */
  | { readonly name: "clipped-ips"; readonly tau: number }
  /** Direct method: mean(b); no better than the prediction. */
  | { readonly name: "dm" }
  /** Doubly robust: mean(b + w (r - q)); right when propensities or predictions are. */
  | { readonly name: "dr" }
  /** Self-normalised: mean(b) + sum(w (r - q)) / sum(w). */
  | { readonly name: "sndr" }
  /** mean(b + [w <= tau] w (r - q)): large weights are left to the prediction. */
  | { readonly name: "switch-dr"; readonly tau: number }
  /** Optimistic shrinkage: DR with lambda w / (w^2 + lambda) for w. */
  | { readonly name: "dr-os"; readonly lambda: number };

export const DEFAULT_ESTIMATORS: readonly Estimator[] = [
  { name: "ips" },
  { name: "snips" },
  { name: "clipped-ips", tau: 10 },
  { name: "dm" },
  { name: "dr" },
  { name: "sndr" },
  { name: "switch-dr", tau: 10 },
  { name: "dr-os", lambda: 10 },
];

/** sum(numerator) / sum(denominator), (rows) both; denominators are >= 0. */
export interface Ratio {
  readonly numerator: Float64Array;
  readonly denominator: Float64Array;
}

/**
 * The ratios whose sum is the estimate; undefined where the estimator needs a prediction or baseline that the rows lack. Equal
 * columns of the estimators are the same array.
 * @throws RangeError when tau or lambda is not a finite number > 0
 */
export function ratiosOf(estimators: readonly Estimator[], rows: WeightedRows): (readonly Ratio[] | undefined)[] {
  const { w, reward, predicted, baseline } = rows;
  const ones = new Float64Array(w.length).fill(1);
  const meanOf = (numerator: Float64Array): Ratio => ({ numerator, denominator: ones });
  const weightedMeanOf = (numerator: Float64Array): Ratio => ({ numerator, denominator: w });
  const weightedReward = w.map((weight, row) => weight * reward[row]!);
  const dm = baseline && meanOf(baseline);
  const residual = predicted && reward.map((value, row) => value - predicted[row]!);
  const weightedResidual = residual && w.map((weight, row) => weight * residual[row]!);

  const of = (estimator: Estimator): readonly Ratio[] | undefined => {
    switch (estimator.name) {
      case "ips":
        return [meanOf(weightedReward)];
      case "snips":
        return [weightedMeanOf(weightedReward)];
      case "clipped-ips": {
        const tau = positive("tau", estimator.tau);
        return [meanOf(w.map((weight, row) => Math.min(weight, tau) * reward[row]!))];
      }
      case "dm":
        return dm && [dm];
      case "dr":
        return dm && weightedResidual && [dm, meanOf(weightedResidual)];
      case "sndr":
        return dm && weightedResidual && [dm, weightedMeanOf(weightedResidual)];
      case "switch-dr": {
        const tau = positive("tau", estimator.tau);
        return dm && residual && [dm, meanOf(w.map((weight, row) => (weight <= tau ? weight * residual[row]! : 0)))];
      }
      case "dr-os": {
        const lambda = positive("lambda", estimator.lambda);
        const shrunk = (weight: number) => (lambda * weight) / (weight * weight + lambda);
        return dm && residual && [dm, meanOf(w.map((weight, row) => shrunk(weight) * residual[row]!))];
      }
      default:
        return estimator satisfies never;
    }
  };
  return estimators.map(of);
}

function positive(name: string, value: number): number {
  if (!(value > 0 && Number.isFinite(value))) throw new RangeError(`${name} must be a finite number > 0, got ${value}`);
  return value;
}
