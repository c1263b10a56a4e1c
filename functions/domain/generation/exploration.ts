/**
 * Exploration with known propensities: the final list is drawn one item after another without replacement (Plackett-Luce; Plackett
 * 1975) from w = (1 - e) softmax(score / temperature) + e / |C|. The last step before an answer, over candidates that could be
 * shown, since anything that changed the list afterwards would falsify what is logged.
 */
import { seededRandom } from "./random.ts";

export interface ExplorationOptions {
  /** e in 0..1; 0: the deterministic order. */
  readonly exploration: number;
  readonly temperature: number;
  readonly count: number;
  /** The request's id: the same seed draws the same list. */
  readonly seed: string;
}

export interface ExploredList {
  /** (min(count, |C|)) indexes into the scores, in the order shown. */
  readonly order: Uint32Array;
  /** Weight of each shown item; 1 marks a position that nothing was drawn for. */
  readonly w: Float64Array;
  /** P(item | the items above it); their product is the probability of the list. */
  readonly propensity: Float64Array;
}

/** Stored steps for each halving of a weight. */
const STEPS_PER_OCTAVE = 4096;

/**
 * Draws the list that is shown.
 * @throws RangeError when exploration or temperature is out of range, or a score is not a finite number
 */
export function explore(scores: Float64Array, options: ExplorationOptions): ExploredList {
  const { exploration, temperature, seed } = options;
  if (!(exploration >= 0 && exploration <= 1)) throw new RangeError(`exploration must lie in 0..1, got ${exploration}`);
  if (!(temperature > 0)) throw new RangeError(`temperature must be > 0, got ${temperature}`);
  if (!scores.every((score) => Number.isFinite(score))) throw new RangeError("a score is not a finite number");
  const count = Math.min(options.count, scores.length);
  if (exploration === 0) {
    const order = Uint32Array.from(scores.keys())
      .sort((a, b) => scores[b]! - scores[a]! || a - b)
      .slice(0, count);
    return { order, w: new Float64Array(count).fill(1), propensity: new Float64Array(count).fill(1) };
  }

  const weights = explorationWeights(scores, exploration, temperature);
  const random = seededRandom(seed);
  const order = new Uint32Array(count);
  const isTaken = new Uint8Array(scores.length);
  for (let position = 0; position < count; position += 1) {
    let rest = 0; // summed anew: subtracting would leave rounding errors where little is left
    for (let at = 0; at < weights.length; at += 1) if (isTaken[at] === 0) rest += weights[at]!;
    let mark = random() * rest;
    let drawn = -1;
    for (let at = 0; at < weights.length; at += 1) {
      if (isTaken[at] !== 0) continue;
      drawn = at;
      mark -= weights[at]!;
      if (mark < 0) break;
    }
    isTaken[drawn] = 1;
    order[position] = drawn;
  }
  const w = Float64Array.from(order, (at) => weights[at]!);
  return { order, w, propensity: propensitiesOf(w) };
}

/** (|C|) w = (1 - e) softmax(score / temperature) + e / |C|; sums to 1. */
export function explorationWeights(scores: Float64Array, exploration: number, temperature: number): Float64Array {
  let max = Number.NEGATIVE_INFINITY;
  for (const score of scores) max = Math.max(max, score);
  const weights = scores.map((score) => Math.exp((score - max) / temperature));
  let sum = 0;
  for (const weight of weights) sum += weight;
  return weights.map((weight) => ((1 - exploration) * weight) / sum + exploration / weights.length);
}

/**
 * propensity_i = w_i / (1 - sum of w above it), in 0..1, from exact or stored weights. A weight of 1 is a deterministic position:
 * propensity 1, and it takes nothing from the others.
 */
export function propensitiesOf(w: ArrayLike<number>): Float64Array {
  const propensity = new Float64Array(w.length);
  let rest = 1;
  for (let position = 0; position < w.length; position += 1) {
    const weight = w[position]!;
    if (weight === 1) {
      propensity[position] = 1;
      continue;
    }
    propensity[position] = Math.min(1, weight / Math.max(rest, weight)); // stored weights may sum to a little over 1
    rest -= weight;
  }
  return propensity;
}

/**
 * A weight as an unsigned 16-bit step of its logarithm: round(-4096 log2 w), off by 0.0085 % at most; weights under 2^-16 become it.
 * @throws RangeError when w is not in (0, 1]
 */
export function quantiseW(w: number): number {
  if (!(w > 0 && w <= 1)) throw new RangeError(`w must lie in (0, 1], got ${w}`);
  // `| 0` also turns the -0 of w = 1 into 0
  return Math.min(65_535, Math.round(-STEPS_PER_OCTAVE * Math.log2(w)) | 0);
}

/** The weight of a stored step. */
export function wOf(step: number): number {
  return 2 ** (-step / STEPS_PER_OCTAVE);
}
