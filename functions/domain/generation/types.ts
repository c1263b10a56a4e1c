/** The interfaces between constrained decoding (pure) and what it needs: a network, item vectors in code order, a filter. */

/** Items sorted by their codes. A place is an index into this order; a prefix of codes is a range of places. */
export interface CodeOrder {
  /** Codes a level, each at most 256. */
  readonly levels: readonly number[];
  readonly size: number;
  /** (size) item number of a place. */
  readonly numbers: Uint32Array;
  /** Place of an item number, -1 when this model has no codes for it. */
  placeOf(itemNumber: number): number;
  /** First place whose codes are >= prefix, and the first after it: the half-open range below `prefix`. */
  range(prefix: readonly number[]): readonly [from: number, to: number];
  /**
   * Writes the boundaries of a prefix's children into `bounds` (levels[depth] + 1 values): child k is the range
   * [bounds[k], bounds[k + 1]). The prefix is prefixes[at], ..., prefixes[at + depth - 1].
   */
  children(prefixes: Int32Array, at: number, depth: number, bounds: Uint32Array): void;
}

/** Item vectors in code order, in whatever form they are stored. */
export interface ItemVectors {
  readonly dim: number;
  /** Writes the dequantised vector of a place into `out` at `offset` (dim values). */
  read(place: number, out: Float32Array, offset: number): void;
  /** h . v of the place. */
  dot(h: Float32Array, place: number): number;
  /** h . v of the first `count` places into `out`: what `dot` gives up to rounding, and faster where there are many. */
  dots(h: Float32Array, places: Uint32Array, count: number, out: Float64Array): void;
}

/** The model's graphs. Every element of a batch is independent of its neighbours. */
export interface DecodeNetwork {
  /** x: (length, dim) item vectors, oldest first. Gives the hidden state (dim) and the level-1 logits (levels[0]), log counts not added. */
  encode(x: Float32Array, length: number): Promise<{ readonly h: Float32Array; readonly logits: Float32Array }>;
  /** Level `level` (2..L): prefixes (beams, level - 1) row-major. Gives logits (beams, levels[level - 1]), log counts not added. */
  step(level: number, h: Float32Array, prefixes: Int32Array, beams: number): Promise<Float32Array>;
}

/** How a model is served; written by the trainer into the manifest (`scoring`). */
export interface Scoring {
  readonly mode: "beam" | "exact";
  /** score = alpha * logProbability + (1 - alpha) * h.v */
  readonly alpha: number;
  readonly temperature: number;
  /** Prefixes kept after each level but the last. */
  readonly beams: readonly number[];
  /** Leaves kept after the last level; all their legal items are scored. */
  readonly leaves: number;
  /** At or below this many legal items all are scored exactly and no beam is searched; 0 switches the short cut off. */
  readonly exactBelow: number;
}

/** What decoding needs of a loaded model. */
export interface GenerativeModel {
  readonly order: CodeOrder;
  readonly vectors: ItemVectors;
  readonly network: DecodeNetwork;
  readonly scoring: Scoring;
  readonly historyLength: number;
}

/** A set of places that knows how many of them lie in any range without looking at each. */
export interface LegalPlaces {
  readonly total: number;
  has(place: number): boolean;
  /** Set places in [from, to). */
  count(from: number, to: number): number;
  /** The counts of the adjoining ranges [bounds[k], bounds[k + 1]), k < ranges, into counts[at + k]; bounds ascend. */
  countRanges(bounds: Uint32Array, ranges: number, counts: Uint32Array, at: number): void;
  /** Smallest set place >= from and < to, or -1. */
  next(from: number, to: number): number;
}

/** Ranked candidates, best first; parallel arrays. */
export interface Candidates {
  readonly scoring: "beam" | "exact";
  readonly places: Uint32Array;
  readonly logProbability: Float64Array;
  readonly score: Float64Array;
  /** Hidden state (dim), for explanations; null where nothing was encoded. */
  readonly h: Float32Array;
}
