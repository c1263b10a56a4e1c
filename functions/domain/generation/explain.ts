/**
 * Why an item is there: the history entry whose vector lies nearest to it, recent entries first among equals. An amount that can be
 * computed again from item vectors and the order of the history.
 */
import type { ItemVectors } from "./types.ts";

export interface Explanations {
  /** (candidates) index into the history, -1 where no entry points the item's way. */
  readonly index: Int32Array;
  /** (candidates) cosine x recency in 0..1; 0 where the index is -1. */
  readonly contribution: Float64Array;
}

/** Entries after which an entry of the history counts half. */
const HALF_LIFE = 20;

/**
 * For each candidate the history entry with the largest max(0, cosine) * 2^(-age / halfLife), where the newest entry has age 0; of
 * equal ones the newer.
 * @param places candidates
 * @param history (length, dim) item vectors, oldest first
 * @throws RangeError when the history has another size
 */
export function nearestHistory(
  vectors: ItemVectors,
  places: Uint32Array,
  history: Float32Array,
  length: number,
  halfLife: number = HALF_LIFE,
): Explanations {
  const { dim } = vectors;
  if (history.length !== length * dim) throw new RangeError(`${history.length} values for ${length} vectors of ${dim}`);
  const weights = new Float64Array(length); // recency / |v|
  for (let at = 0; at < length; at += 1) {
    weights[at] = 2 ** ((at + 1 - length) / halfLife) * inverseNorm(history, at * dim, dim);
  }
  const index = new Int32Array(places.length).fill(-1);
  const contribution = new Float64Array(places.length);
  const vector = new Float32Array(dim);
  for (let candidate = 0; candidate < places.length; candidate += 1) {
    vectors.read(places[candidate]!, vector, 0);
    const scale = inverseNorm(vector, 0, dim);
    for (let at = length - 1; at >= 0; at -= 1) {
      let product = 0;
      for (let k = 0; k < dim; k += 1) product += vector[k]! * history[at * dim + k]!;
      const amount = Math.min(1, product * scale * weights[at]!);
      if (amount > contribution[candidate]!) {
        contribution[candidate] = amount;
        index[candidate] = at;
      }
    }
  }
  return { index, contribution };
}

/** 1 / |v|, 0 for the zero vector. */
function inverseNorm(values: Float32Array, at: number, dim: number): number {
  let sum = 0;
  for (let k = 0; k < dim; k += 1) sum += values[at + k]! * values[at + k]!;
  return sum > 0 ? 1 / Math.sqrt(sum) : 0;
}
