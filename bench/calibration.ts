/**
 * How far probabilities can be believed: reliability in bins of equal mass and the expected calibration error (Naeini, Cooper and
 * Hauskrecht 2015), the negative log-likelihood of what happened, and the temperature that makes it smallest (Guo et al. 2017).
 */
import { mean, round } from "./bench.ts";

const BINS = 10;
/** Temperatures that are tried; training/calibration.py has the same. */
const BOUNDS = [0.05, 20] as const;
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** A probability that was given, and whether it happened. */
export interface Forecast {
  readonly probability: number;
  readonly happened: boolean;
}

export interface ReliabilityBin {
  readonly forecasts: number;
  /** Mean probability. */
  readonly probability: number;
  /** Share that happened. */
  readonly share: number;
}

/** Bins of equally many forecasts, by probability ascending; the first ones are larger by one where they can't be equal. */
export function reliability(forecasts: readonly Forecast[], bins = BINS): ReliabilityBin[] {
  const sorted = forecasts.toSorted((a, b) => a.probability - b.probability);
  const found: ReliabilityBin[] = [];
  for (let bin = 0, from = 0; bin < bins; bin += 1) {
    const part = sorted.slice(from, from + Math.ceil((sorted.length - from) / (bins - bin)));
    from += part.length;
    if (part.length === 0) continue;
    found.push({
      forecasts: part.length,
      probability: mean(part.map((one) => one.probability)),
      share: part.filter((one) => one.happened).length / part.length,
    });
  }
  return found;
}

/** Mean over bins of |mean probability - share that happened|, weighted by their size. */
export function calibrationError(bins: readonly ReliabilityBin[]): number {
  const all = bins.reduce((sum, bin) => sum + bin.forecasts, 0);
  return bins.reduce((sum, bin) => sum + (bin.forecasts / all) * Math.abs(bin.probability - bin.share), 0);
}

/** What a model said in one case. */
export interface Distribution {
  /** Log-probabilities of candidates, or scores that a softmax turns into probabilities; best first. */
  readonly logits: ArrayLike<number>;
  /** Index of what happened, -1 where it is none of them. */
  readonly target: number;
  /**
   * Possibilities beside the candidates, which share the probability that the candidates leave over. 0 where the logits are
   * scores, which say nothing about the rest.
   */
  readonly others: number;
}

/**
 * (candidates) probabilities at a temperature, p^(1 / temperature) renormalised, and that of each other possibility. What the
 * candidates leave over counts as if it were spread evenly over the others.
 */
export function tempered(
  { logits, others }: Distribution,
  temperature: number,
): { readonly candidates: Float64Array; readonly other: number } {
  const scaled = Float64Array.from(logits, (value) => value / temperature);
  const held = Array.from(logits, Math.exp).reduce((sum, value) => sum + value, 0);
  const each = others > 0 ? Math.log(Math.max(1 - held, 1e-12) / others) / temperature : Number.NEGATIVE_INFINITY;
  const top = scaled.reduce((a, b) => Math.max(a, b), each);
  let sum = others > 0 ? others * Math.exp(each - top) : 0;
  for (const value of scaled) sum += Math.exp(value - top);
  return { candidates: scaled.map((value) => Math.exp(value - top) / sum), other: Math.exp(each - top) / sum };
}

/** Mean -log probability of what happened. */
export function negativeLogLikelihood(given: readonly Distribution[], temperature: number): number {
  return mean(
    given.map((one) => {
      const { candidates, other } = tempered(one, temperature);
      return -Math.log(one.target >= 0 ? candidates[one.target]! : other);
    }),
  );
}

/** The temperature of the smallest negative log-likelihood, by golden sections of its logarithm. */
export function fitTemperature(given: readonly Distribution[]): number {
  let [low, high] = [Math.log(BOUNDS[0]), Math.log(BOUNDS[1])];
  const cost = (at: number) => negativeLogLikelihood(given, Math.exp(at));
  let [left, right] = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
  let [ofLeft, ofRight] = [cost(left), cost(right)];
  while (high - low > 1e-3) {
    if (ofLeft <= ofRight) {
      [high, right, ofRight] = [right, left, ofLeft];
      left = high - GOLDEN * (high - low);
      ofLeft = cost(left);
    } else {
      [low, left, ofLeft] = [left, right, ofRight];
      right = low + GOLDEN * (high - low);
      ofRight = cost(right);
    }
  }
  return Math.exp((low + high) / 2);
}

export interface CalibrationFigures {
  readonly cases: number;
  readonly nll: number;
  readonly ece: number;
  /** Summed probability of the forecasts, and how many of them happened. */
  readonly expected: number;
  readonly happened: number;
  readonly reliability: readonly ReliabilityBin[];
}

/** Figures at a temperature. The forecasts of a case are its first `shown` candidates. */
export function calibrationFigures(
  given: readonly Distribution[],
  temperature: number,
  shown: number,
): CalibrationFigures {
  const forecasts: Forecast[] = [];
  for (const one of given) {
    const { candidates } = tempered(one, temperature);
    for (const [at, probability] of candidates.subarray(0, shown).entries())
      forecasts.push({ probability, happened: at === one.target });
  }
  const bins = reliability(forecasts);
  return {
    cases: given.length,
    nll: round(negativeLogLikelihood(given, temperature), 4),
    ece: round(calibrationError(bins), 5),
    expected: round(
      forecasts.reduce((sum, one) => sum + one.probability, 0),
      1,
    ),
    happened: forecasts.filter((one) => one.happened).length,
    reliability: bins.map(({ forecasts: count, probability, share }) => ({
      forecasts: count,
      probability: round(probability, 5),
      share: round(share, 5),
    })),
  };
}
