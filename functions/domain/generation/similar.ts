/**
 * Items near to given items by the cosine of their vectors. Few legal items are all looked at; of many, those under the level-1
 * codes whose members lie nearest, so that the cost does not grow with the catalogue (an inverted file whose lists are ranges).
 */
import { TopK } from "./top-k.ts";
import type { CodeOrder, ItemVectors, LegalPlaces } from "./types.ts";

/** Up to this many legal items all are compared; beyond it, ranges are added until they hold this many. */
const SCANNED = 16_384;
/** Members that the centre of a level-1 code is made from. */
const SAMPLE = 64;

export interface Similar {
  /** Nearest first; ties by item number. */
  readonly places: Uint32Array;
  /** Cosine to the mean direction of the seeds, -1..1. */
  readonly cosine: Float64Array;
  readonly scoring: "exact" | "probed";
}

export class SimilarItems {
  readonly #order: CodeOrder;
  readonly #vectors: ItemVectors;
  /** (size) 1 / |v|, filled in as places are met; 0 = not met yet. */
  readonly #inverseNorms: Float32Array;
  /** (K1, dim) mean direction of some members of each level-1 code. */
  #centres: Float32Array | null = null;

  constructor(order: CodeOrder, vectors: ItemVectors) {
    this.#order = order;
    this.#vectors = vectors;
    this.#inverseNorms = new Float32Array(order.size);
  }

  get bytes(): number {
    return this.#inverseNorms.byteLength + (this.#centres?.byteLength ?? 0);
  }

  /**
   * The `count` legal items nearest to the seeds; a seed itself comes back only where it is legal, so exclude it there.
   * @param seeds places, at least one
   * @param scanned legal items that are compared at most, a last range over; default 16,384
   * @throws RangeError when there are no seeds
   */
  nearest(seeds: readonly number[], legal: LegalPlaces, count: number, scanned: number = SCANNED): Similar {
    if (seeds.length === 0) throw new RangeError("no seeds");
    const { dim } = this.#vectors;
    const direction = new Float32Array(dim);
    const vector = new Float32Array(dim);
    for (const seed of seeds) this.#addUnit(seed, vector, direction);
    normalise(direction);

    const top = new TopK(Math.min(count, legal.total));
    const scan = (from: number, to: number): void => {
      for (let place = legal.next(from, to); place >= 0; place = legal.next(place + 1, to)) {
        top.offer(
          this.#vectors.dot(direction, place) * this.#inverseNorm(place, vector),
          this.#order.numbers[place]!,
          place,
        );
      }
    };
    const isExact = legal.total <= scanned;
    if (isExact) scan(0, this.#order.size);
    else for (const [from, to] of this.#nearestRanges(direction, legal, Math.max(scanned, count))) scan(from, to);

    const places = top.best();
    const cosine = Float64Array.from(
      places,
      (place) => this.#vectors.dot(direction, place) * this.#inverseNorm(place, vector),
    );
    return { places, cosine, scoring: isExact ? "exact" : "probed" };
  }

  /** Level-1 ranges, nearest centre first, until they hold `needed` legal items. */
  *#nearestRanges(direction: Float32Array, legal: LegalPlaces, needed: number): Generator<readonly [number, number]> {
    const centres = (this.#centres ??= this.#makeCentres());
    const codes = this.#order.levels[0]!;
    const { dim } = this.#vectors;
    const top = new TopK(codes);
    for (let code = 0; code < codes; code += 1) {
      let product = 0;
      for (let k = 0; k < dim; k += 1) product += direction[k]! * centres[code * dim + k]!;
      top.offer(product, code, code);
    }
    let held = 0;
    for (const code of top.best()) {
      const [from, to] = this.#order.range([code]);
      held += legal.count(from, to);
      yield [from, to];
      if (held >= needed) return;
    }
  }

  #makeCentres(): Float32Array {
    const codes = this.#order.levels[0]!;
    const { dim } = this.#vectors;
    const centres = new Float32Array(codes * dim);
    const vector = new Float32Array(dim);
    for (let code = 0; code < codes; code += 1) {
      const [from, to] = this.#order.range([code]);
      const centre = centres.subarray(code * dim, (code + 1) * dim);
      const step = Math.max(1, Math.floor((to - from) / SAMPLE));
      for (let place = from; place < to; place += step) this.#addUnit(place, vector, centre);
      normalise(centre);
    }
    return centres;
  }

  /** Adds the unit vector of a place to `sum`. */
  #addUnit(place: number, vector: Float32Array, sum: Float32Array): void {
    const scale = this.#inverseNorm(place, vector);
    this.#vectors.read(place, vector, 0);
    for (let k = 0; k < sum.length; k += 1) sum[k]! += vector[k]! * scale;
  }

  #inverseNorm(place: number, vector: Float32Array): number {
    const known = this.#inverseNorms[place]!;
    if (known > 0) return known;
    this.#vectors.read(place, vector, 0);
    let sum = 0;
    for (let k = 0; k < vector.length; k += 1) sum += vector[k]! * vector[k]!;
    this.#inverseNorms[place] = sum > 0 ? 1 / Math.sqrt(sum) : 1; // the zero vector keeps cosine 0
    return this.#inverseNorms[place]; // as rounded to float32, the first time as every time
  }
}

/** To length 1; the zero vector stays. */
function normalise(vector: Float32Array): void {
  let sum = 0;
  for (const x of vector) sum += x * x;
  if (sum > 0) for (let k = 0; k < vector.length; k += 1) vector[k]! /= Math.sqrt(sum);
}
