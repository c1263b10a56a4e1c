/** Item vectors by place in code order, as stored (int8 with a scale an item, or float32); dequantised only as they are read. */
import type { ItemVectors } from "../domain/generation/types.ts";

export interface StoredVectors extends ItemVectors {
  readonly bytes: number;
}

/** `values` is (size, dim) row-major; v = values * scales[place]. */
export function int8Vectors(dim: number, values: Int8Array, scales: Float32Array): StoredVectors {
  if (values.length !== scales.length * dim) {
    throw new RangeError(`${scales.length} vectors of ${dim} values need ${scales.length * dim}, got ${values.length}`);
  }
  return {
    dim,
    bytes: values.byteLength + scales.byteLength,
    read(place, out, offset) {
      const scale = scales[place]!;
      const start = place * dim;
      for (let i = 0; i < dim; i++) out[offset + i] = values[start + i]! * scale;
    },
    dot(h, place) {
      const start = place * dim;
      return sumOfProducts(h, values, start, dim) * scales[place]!;
    },
  };
}

/** `values` is (size, dim) row-major. */
export function floatVectors(dim: number, values: Float32Array): StoredVectors {
  if (values.length % dim !== 0) throw new RangeError(`${values.length} values are no whole vectors of ${dim}`);
  return {
    dim,
    bytes: values.byteLength,
    read(place, out, offset) {
      out.set(values.subarray(place * dim, (place + 1) * dim), offset);
    },
    dot: (h, place) => sumOfProducts(h, values, place * dim, dim),
  };
}

// four sums at once: one chain of additions would wait for each addition in turn
function sumOfProducts(h: Float32Array, values: Int8Array | Float32Array, start: number, dim: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < dim; i += 4) {
    const at = start + i;
    a += h[i]! * values[at]!;
    b += h[i + 1]! * values[at + 1]!;
    c += h[i + 2]! * values[at + 2]!;
    d += h[i + 3]! * values[at + 3]!;
  }
  for (; i < dim; i++) a += h[i]! * values[start + i]!;
  return a + b + (c + d);
}
