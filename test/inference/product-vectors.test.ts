import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PlaceBitmap } from "../../functions/domain/generation/bitmap.ts";
import { floatVectors, joinedVectors } from "../../functions/inference/item-vectors.ts";
import {
  codebookBytes,
  encodeProduct,
  type ProductCodebook,
  productCodebook,
  productVectors,
} from "../../functions/inference/product-vectors.ts";

/** Numbers in -1..1 that follow from a seed. */
function numbersFrom(seed: number): () => number {
  let state = (seed % 2147483646) + 1;
  return () => ((state = (state * 48271) % 2147483647) / 2147483647 - 0.5) * 2;
}

/** The content of a centroids file with int8 values and scales that `next` (-1..1) gives. */
function codebookOf(dim: number, levels: readonly number[], subspaces: number, next: () => number): ProductCodebook {
  const words = levels.reduce((sum, count) => sum + count, 0);
  const whole = Int8Array.from({ length: (words + 256) * dim }, () => Math.round(127 * next()));
  const scales = Float32Array.from({ length: words + subspaces }, () => (1.1 + next()) / 100);
  const content = new Uint8Array(codebookBytes(dim, levels, subspaces));
  content.set(new Uint8Array(whole.buffer));
  content.set(new Uint8Array(scales.buffer), whole.length);
  return productCodebook(content.buffer, { dim, levels, subspaces });
}

interface Sample {
  readonly codebook: ProductCodebook;
  readonly codes: Uint8Array;
  readonly values: Uint8Array;
  readonly h: Float32Array;
  readonly size: number;
}

const samples: fc.Arbitrary<Sample> = fc
  .record({
    width: fc.integer({ min: 1, max: 5 }),
    subspaces: fc.integer({ min: 1, max: 7 }),
    levels: fc.array(fc.integer({ min: 2, max: 9 }), { minLength: 2, maxLength: 3 }),
    size: fc.integer({ min: 1, max: 12 }),
    seed: fc.nat(),
  })
  .map(({ width, subspaces, levels, size, seed }) => {
    const next = numbersFrom(seed);
    const dim = width * subspaces;
    const index = (below: number) => Math.min(below - 1, Math.floor(((next() + 1) / 2) * below));
    return {
      codebook: codebookOf(dim, levels, subspaces, next),
      codes: Uint8Array.from({ length: size * levels.length }, (_, at) => index(levels[at % levels.length]!)),
      values: Uint8Array.from({ length: size * subspaces }, () => index(256)),
      h: Float32Array.from({ length: dim }, next),
      size,
    };
  });

/** Codewords and centroids of a place added up as the format says, without the code under test. */
function reconstructed({ codebook, codes, values }: Sample, place: number): number[] {
  const { dim, levels, subspaces, codewords, codewordScales, centroids, centroidScales } = codebook;
  const width = dim / subspaces;
  return Array.from({ length: dim }, (_, i) => {
    const part = Math.floor(i / width);
    const own = (part * 256 + values[place * subspaces + part]!) * width + (i % width);
    let sum = centroids[own]! * centroidScales[part]!;
    let first = 0;
    for (const [level, count] of levels.entries()) {
      const word = first + codes[place * levels.length + level]!;
      sum += codewords[word * dim + i]! * codewordScales[word]!;
      first += count;
    }
    return sum;
  });
}

describe("product-quantised vectors", () => {
  test("a dot product is that of codewords and centroids added up, one place or many, by products or by tables", () => {
    fc.assert(
      fc.property(samples, fc.constantFrom(1, 600), (sample, times) => {
        const { codebook, codes, values, h, size } = sample;
        const vectors = productVectors(codebook, codes, values);
        const places = Uint32Array.from({ length: size * times }, (_, at) => (at * 5) % size);
        const products = new Float64Array(places.length);
        vectors.dots(h, places, places.length, products);
        for (const [at, place] of places.entries()) {
          if (at >= 2 * size) break;
          const expected = reconstructed(sample, place).reduce((sum, value, i) => sum + value * h[i]!, 0);
          expect(Math.abs(products[at]! - expected)).toBeLessThan(1e-4);
          expect(Math.abs(vectors.dot(h, place) - expected)).toBeLessThan(1e-4);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("reading gives the reconstruction and touches nothing beside it", () => {
    fc.assert(
      fc.property(samples, (sample) => {
        const { codebook, codes, values, size } = sample;
        const vectors = productVectors(codebook, codes, values);
        for (let place = 0; place < size; place++) {
          const read = new Float32Array(codebook.dim + 2).fill(9);
          vectors.read(place, read, 1);
          expect([read[0], read[codebook.dim + 1]]).toEqual([9, 9]);
          for (const [i, value] of reconstructed(sample, place).entries()) expect(read[i + 1]).toBeCloseTo(value, 5);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("what is read encodes to a vector that reads the same", () => {
    fc.assert(
      fc.property(samples, (sample) => {
        const { codebook, codes, values, size } = sample;
        const { dim, levels, subspaces } = codebook;
        const vector = new Float32Array(dim);
        productVectors(codebook, codes, values).read(size - 1, vector, 0);
        const again = new Uint8Array(subspaces + 1);
        const own = codes.subarray((size - 1) * levels.length);
        encodeProduct(codebook, own, vector, again, 1);
        const read = new Float32Array(dim);
        productVectors(codebook, own, again.subarray(1)).read(0, read, 0);
        for (const [i, value] of read.entries()) expect(value).toBeCloseTo(vector[i]!, 5);
      }),
      { numRuns: 60 },
    );
  });

  test("encoding takes the nearest centroid of each subspace, the first of equals", () => {
    const content = new Int8Array(codebookBytes(2, [2, 2], 2)); // codewords are zeros
    new Float32Array(content.buffer, (4 + 256) * 2).set([1, 1, 1, 1, 0.5, 2]);
    const centroids = content.subarray(4 * 2, (4 + 256) * 2).fill(100);
    centroids.set([10, 2, 2, 6]); // first dimension: 5, 1, 1, 3
    centroids.set([-1, 0], 256); // second: -2, 0
    const codebook = productCodebook(content.buffer, { dim: 2, levels: [2, 2], subspaces: 2 });
    const out = new Uint8Array(2);
    encodeProduct(codebook, Uint8Array.of(0, 0), Float32Array.of(1.2, -0.9), out, 0);
    expect([...out]).toEqual([1, 1]);
    encodeProduct(codebook, Uint8Array.of(0, 0), Float32Array.of(4.1, -1.1), out, 0);
    expect([...out]).toEqual([0, 0]);
  });

  test("sizes that do not fit are refused", () => {
    const shape = { dim: 4, levels: [2, 2], subspaces: 2 };
    const right = (4 + 256) * 4 + 4 * (4 + 2);
    expect(() => productCodebook(new ArrayBuffer(right - 1), shape)).toThrow(`expected ${right}`);
    expect(() => productCodebook(new ArrayBuffer(right), { ...shape, subspaces: 3 })).toThrow("divisor");
    const codebook = productCodebook(new ArrayBuffer(right), shape);
    expect(() => productVectors(codebook, new Uint8Array(4), new Uint8Array(3))).toThrow(RangeError);
    expect(() => productVectors(codebook, new Uint8Array(3), new Uint8Array(4))).toThrow(RangeError);
  });
});

test("two tables joined answer for each place as the one it belongs to", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }), fc.nat(), (isFirst, seed) => {
      const next = numbersFrom(seed);
      const dim = 3;
      const all = Float32Array.from({ length: isFirst.length * dim }, next);
      const part = (wanted: boolean) =>
        floatVectors(
          dim,
          all.filter((_, at) => isFirst[Math.floor(at / dim)] === wanted),
        );
      const bitmap = PlaceBitmap.where(isFirst.length, (place) => isFirst[place]!);
      const [joined, plain] = [joinedVectors(bitmap, part(true), part(false)), floatVectors(dim, all)];
      const h = Float32Array.from({ length: dim }, next);
      const places = Uint32Array.from(isFirst.keys()).reverse();
      const [got, expected] = [new Float64Array(places.length), new Float64Array(places.length)];
      joined.dots(h, places, places.length, got);
      plain.dots(h, places, places.length, expected);
      expect([...got]).toEqual([...expected]);
      for (const place of places) {
        const [a, b] = [new Float32Array(dim), new Float32Array(dim)];
        joined.read(place, a, 0);
        plain.read(place, b, 0);
        expect([...a]).toEqual([...b]);
        expect(joined.dot(h, place)).toBe(plain.dot(h, place));
      }
    }),
  );
});
