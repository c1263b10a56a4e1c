/** Values between the nodes of a graph. Floats and weights lie on the heap, at a byte offset. */

export interface Floats {
  readonly kind: "floats";
  readonly dims: readonly number[];
  readonly at: number;
}

/** Positions and sizes. */
export interface Integers {
  readonly kind: "integers";
  readonly dims: readonly number[];
  readonly data: Int32Array;
}

/** A constant weight (rows, columns) as int8, with the offset of a float32 scale a column; 0: the scales are still to come. */
export interface Quantised {
  readonly kind: "quantised";
  readonly dims: readonly number[];
  readonly at: number;
  readonly scales: number;
}

export type Value = Floats | Integers | Quantised;

export function sizeOf(dims: readonly number[]): number {
  let size = 1;
  for (const dim of dims) size *= dim;
  return size;
}
