/**
 * Product-quantised item vectors (Jégou, Douze, Schmid 2011): v = the codewords of the item's codes + one centroid of 256 in each
 * of M subspaces, so that an item costs M bytes besides the codes it has anyway. What is quantised is the residual that the
 * codewords leave, which is smaller than v and differs less from item to item. Codewords and centroids are int8 with a scale a
 * codeword and a scale a subspace: at d 64 all centroids lie in 16 KB, which a core keeps at hand.
 */
import { type StoredVectors, sumOfProducts } from "./item-vectors.ts";

/** Centroids of a subspace: an index is a byte. */
export const CENTROIDS = 256;

/** From this many items on it pays to multiply h with all centroids first: that costs as much as the vectors of 256 items. */
const TABLE_FROM = 512;

/** An artefact's centroids file, cut up. */
export interface ProductCodebook {
  readonly dim: number;
  readonly levels: readonly number[];
  readonly subspaces: number;
  /** (K1 + ... + KL, dim) codewords, level after level; zeros where v itself was quantised. */
  readonly codewords: Int8Array;
  /** (K1 + ... + KL) */
  readonly codewordScales: Float32Array;
  /** (subspaces, 256, dim / subspaces) */
  readonly centroids: Int8Array;
  /** (subspaces) */
  readonly centroidScales: Float32Array;
}

/** Codewords, centroids, scales of codewords, scales of subspaces, in this order. Bytes. */
export function codebookBytes(dim: number, levels: readonly number[], subspaces: number): number {
  const words = levels.reduce((sum, size) => sum + size, 0);
  return (words + CENTROIDS) * dim + 4 * (words + subspaces);
}

/** @throws RangeError when the subspaces do not divide the dimensions or the content has another size */
export function productCodebook(
  content: ArrayBuffer,
  shape: { readonly dim: number; readonly levels: readonly number[]; readonly subspaces: number },
): ProductCodebook {
  const { dim, levels, subspaces } = shape;
  if (!(subspaces >= 1) || dim % subspaces !== 0)
    throw new RangeError(`${subspaces} subspaces of ${dim} dimensions, expected a divisor`);
  const expected = codebookBytes(dim, levels, subspaces);
  if (content.byteLength !== expected) {
    throw new RangeError(`${content.byteLength} bytes of codewords and centroids, expected ${expected}`);
  }
  const words = levels.reduce((sum, size) => sum + size, 0);
  const scales = new Float32Array(content.slice((words + CENTROIDS) * dim)); // a copy is aligned
  return {
    dim,
    levels,
    subspaces,
    codewords: new Int8Array(content, 0, words * dim),
    codewordScales: scales.subarray(0, words),
    centroids: new Int8Array(content, words * dim, CENTROIDS * dim),
    centroidScales: scales.subarray(words),
  };
}

/**
 * Vectors by place: `codes` (size, levels) are the items' codes, `values` (size, subspaces) the centroids chosen.
 * @throws RangeError when one does not fit the other
 */
export function productVectors(codebook: ProductCodebook, codes: Uint8Array, values: Uint8Array): StoredVectors {
  const { dim, levels, subspaces, codewords, codewordScales, centroids, centroidScales } = codebook;
  const depth = levels.length;
  const size = values.length / subspaces;
  if (!Number.isInteger(size) || codes.length !== size * depth) {
    throw new RangeError(
      `${values.length} values and ${codes.length} codes for ${subspaces} subspaces, ${depth} levels`,
    );
  }
  const width = dim / subspaces;
  const starts = firstWords(levels);
  // scratch of one call: nothing here waits
  const scaled = new Float32Array(dim); // h times the scale of each dimension's subspace
  const wordProducts = new Float64Array(codewordScales.length); // h . codeword, NaN = not made yet
  const table = new Float64Array(subspaces * CENTROIDS); // h . centroid

  const begin = (h: Float32Array): void => {
    wordProducts.fill(Number.NaN);
    for (let part = 0, i = 0; part < subspaces; part++) {
      const scale = centroidScales[part]!;
      for (const end = i + width; i < end; i++) scaled[i] = h[i]! * scale;
    }
  };
  const wordsDot = (h: Float32Array, place: number): number => {
    let sum = 0;
    for (let level = 0; level < depth; level++) {
      const word = starts[level]! + codes[place * depth + level]!;
      let product = wordProducts[word]!;
      if (Number.isNaN(product)) {
        product = sumOfProducts(h, codewords, word * dim, dim) * codewordScales[word]!;
        wordProducts[word] = product;
      }
      sum += product;
    }
    return sum;
  };
  const centroidsDot = (place: number): number => {
    let sum = 0;
    let i = 0;
    const from = place * subspaces;
    for (let part = 0; part < subspaces; part++) {
      let at = (part * CENTROIDS + values[from + part]!) * width;
      const end = at + width;
      for (; at + 3 < end; at += 4, i += 4) {
        sum +=
          scaled[i]! * centroids[at]! +
          scaled[i + 1]! * centroids[at + 1]! +
          (scaled[i + 2]! * centroids[at + 2]! + scaled[i + 3]! * centroids[at + 3]!);
      }
      for (; at < end; at++, i++) sum += scaled[i]! * centroids[at]!;
    }
    return sum;
  };
  const makeTable = (): void => {
    for (let part = 0, entry = 0, at = 0; part < subspaces; part++) {
      for (const end = entry + CENTROIDS; entry < end; entry++) {
        let sum = 0;
        for (let k = part * width; k < (part + 1) * width; k++, at++) sum += scaled[k]! * centroids[at]!;
        table[entry] = sum;
      }
    }
  };
  const tableDot = (place: number): number => {
    let sum = 0;
    const from = place * subspaces;
    for (let part = 0; part < subspaces; part++) sum += table[part * CENTROIDS + values[from + part]!]!;
    return sum;
  };

  const shared = codewords.byteLength + centroids.byteLength + 4 * (codewordScales.length + subspaces);
  return {
    dim,
    bytes: values.byteLength + shared + scaled.byteLength + wordProducts.byteLength + table.byteLength,
    read(place, out, offset) {
      for (let part = 0, to = offset; part < subspaces; part++) {
        const scale = centroidScales[part]!;
        let from = (part * CENTROIDS + values[place * subspaces + part]!) * width;
        for (const end = from + width; from < end; from++, to++) out[to] = centroids[from]! * scale;
      }
      for (let level = 0; level < depth; level++) {
        const word = starts[level]! + codes[place * depth + level]!;
        const scale = codewordScales[word]!;
        for (let i = 0; i < dim; i++) out[offset + i]! += codewords[word * dim + i]! * scale;
      }
    },
    dot(h, place) {
      begin(h);
      return wordsDot(h, place) + centroidsDot(place);
    },
    dots(h, places, count, out) {
      begin(h);
      if (count < TABLE_FROM) {
        for (let at = 0; at < count; at++) out[at] = wordsDot(h, places[at]!) + centroidsDot(places[at]!);
        return;
      }
      makeTable();
      for (let at = 0; at < count; at++) out[at] = wordsDot(h, places[at]!) + tableDot(places[at]!);
    },
  };
}

/** Index of each level's first codeword. */
function firstWords(levels: readonly number[]): number[] {
  return levels.map((_, level) => levels.slice(0, level).reduce((sum, size) => sum + size, 0));
}

/**
 * Quantises a vector as the trainer does: in each subspace the centroid nearest to what the codewords leave, the first of equals.
 * @param codes one a level
 * @param out (subspaces) from `at` on
 */
export function encodeProduct(
  codebook: ProductCodebook,
  codes: Uint8Array,
  vector: Float32Array,
  out: Uint8Array,
  at: number,
): void {
  const { dim, levels, subspaces, codewords, codewordScales, centroids, centroidScales } = codebook;
  const residual = vector.slice(0, dim);
  for (const [level, first] of firstWords(levels).entries()) {
    const word = first + codes[level]!;
    for (let i = 0; i < dim; i++) residual[i]! -= codewords[word * dim + i]! * codewordScales[word]!;
  }
  const width = dim / subspaces;
  for (let part = 0; part < subspaces; part++) {
    const scale = centroidScales[part]!;
    let best = 0;
    let least = Infinity;
    for (let centroid = 0; centroid < CENTROIDS; centroid++) {
      const row = (part * CENTROIDS + centroid) * width;
      let distance = 0;
      for (let k = 0; k < width; k++) distance += (residual[part * width + k]! - centroids[row + k]! * scale) ** 2;
      if (distance < least) {
        least = distance;
        best = centroid;
      }
    }
    out[at + part] = best;
  }
}
