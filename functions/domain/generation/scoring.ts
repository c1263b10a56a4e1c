/** The last step of decoding: h . v of every legal item of some ranges, softmaxed inside its range, and the best of them. */
import type { Beams } from "./beams.ts";
import { LogSumExp } from "./log-sum-exp.ts";
import { TopK } from "./top-k.ts";
import type { Candidates, GenerativeModel, LegalPlaces } from "./types.ts";

export interface ScoringInput {
  readonly model: Pick<GenerativeModel, "order" | "vectors">;
  /** Hidden state (dim). */
  readonly h: Float32Array;
  readonly legal: LegalPlaces;
  readonly count: number;
  /** score = alpha * logProbability + (1 - alpha) * h . v */
  readonly alpha: number;
}

/**
 * Scores all legal items below `leaves`: logProbability = log p(leaf) + log softmax of h . v over the leaf's legal items.
 * The root beam as the only leaf is the exact scan. Best first by score, ties by item number.
 * @throws RangeError when a product is not a number
 */
export function scoreItems(input: ScoringInput, leaves: Beams, scoring: Candidates["scoring"]): Candidates {
  const { model, h, legal, alpha } = input;
  const { order, vectors } = model;
  let live = 0;
  for (let leaf = 0; leaf < leaves.size; leaf += 1) live += legal.count(leaves.from[leaf]!, leaves.to[leaf]!);

  const places = new Uint32Array(live);
  const products = new Float64Array(live);
  const logProbability = new Float64Array(live);
  const top = new TopK(Math.min(input.count, live));
  const normaliser = new LogSumExp();
  const ends = new Uint32Array(leaves.size);
  let size = 0;
  for (let leaf = 0; leaf < leaves.size; leaf += 1) {
    const to = leaves.to[leaf]!;
    for (let place = legal.next(leaves.from[leaf]!, to); place >= 0; place = legal.next(place + 1, to)) {
      places[size] = place;
      size += 1;
    }
    ends[leaf] = size;
  }
  vectors.dots(h, places, live, products);

  for (let leaf = 0, start = 0; leaf < leaves.size; leaf += 1) {
    const end = ends[leaf]!;
    normaliser.reset();
    for (let at = start; at < end; at += 1) normaliser.add(products[at]!);
    const logZ = normaliser.value;
    if (end > start && !Number.isFinite(logZ)) throw new RangeError("h . v is not a number");
    const shift = leaves.logProbability[leaf]! - logZ;
    for (let at = start; at < end; at += 1) {
      logProbability[at] = products[at]! + shift;
      top.offer(fuse(alpha, logProbability[at]!, products[at]!), order.numbers[places[at]!]!, at);
    }
    start = end;
  }

  const best = top.best();
  return {
    scoring,
    places: Uint32Array.from(best, (at) => places[at]!),
    logProbability: Float64Array.from(best, (at) => logProbability[at]!),
    score: Float64Array.from(best, (at) => fuse(alpha, logProbability[at]!, products[at]!)),
    h,
  };
}

/** A weight of zero leaves its side out even where that is -Infinity. */
function fuse(alpha: number, logProbability: number, product: number): number {
  if (alpha === 0) return product;
  return alpha * logProbability + (1 - alpha) * product;
}
