import * as fc from "fast-check";
import { expect, test } from "vitest";
import { floatVectors, int8Vectors } from "../../functions/inference/item-vectors.ts";

const sizes = fc.record({ dim: fc.integer({ min: 1, max: 19 }), size: fc.integer({ min: 1, max: 9 }), seed: fc.nat() });

test("a dot product is that of the vector that is read, for any dimension, int8 and float32 alike", () => {
  fc.assert(
    fc.property(sizes, ({ dim, size, seed }) => {
      let state = seed + 1;
      const next = () => ((state = (state * 48271) % 2147483647) / 2147483647 - 0.5) * 2;
      const values = Int8Array.from({ length: size * dim }, () => Math.round(next() * 127));
      const scales = Float32Array.from({ length: size }, () => Math.abs(next()) + 0.01);
      const floats = Float32Array.from(values, (value, i) => value * scales[Math.floor(i / dim)]!);
      const h = Float32Array.from({ length: dim }, next);
      const [stored, plain] = [int8Vectors(dim, values, scales), floatVectors(dim, floats)];
      for (let place = 0; place < size; place++) {
        const read = new Float32Array(dim + 2);
        stored.read(place, read, 1);
        expect([...read.subarray(1, dim + 1)]).toEqual([...floats.subarray(place * dim, (place + 1) * dim)]);
        expect([read[0], read[dim + 1]]).toEqual([0, 0]);
        const expected = h.reduce((sum, value, i) => sum + value * floats[place * dim + i]!, 0);
        expect(stored.dot(h, place)).toBeCloseTo(expected, 3);
        expect(plain.dot(h, place)).toBeCloseTo(expected, 3);
      }
      const places = Uint32Array.from({ length: size }, (_, at) => size - 1 - at);
      for (const vectors of [stored, plain]) {
        const products = new Float64Array(size + 1).fill(7);
        vectors.dots(h, places, size, products);
        expect([...products]).toEqual([...[...places].map((place) => vectors.dot(h, place)), 7]);
      }
    }),
  );
});

test("tables whose lengths do not fit are refused", () => {
  expect(() => int8Vectors(4, new Int8Array(9), new Float32Array(2))).toThrow(RangeError);
  expect(() => floatVectors(4, new Float32Array(9))).toThrow(RangeError);
});
