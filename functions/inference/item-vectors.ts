/**
 * Item vectors by place in code order, as stored (int8 with a scale an item, or float32); dequantised only as they are read.
 * product-vectors.ts has those of large catalogues.
 */
import type { PlaceBitmap } from "../domain/generation/bitmap.ts";
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
    dots(h, places, count, out) {
      for (let at = 0; at < count; at++) {
        const place = places[at]!;
        out[at] = sumOfProducts(h, values, place * dim, dim) * scales[place]!;
      }
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
    dots(h, places, count, out) {
      for (let at = 0; at < count; at++) out[at] = sumOfProducts(h, values, places[at]! * dim, dim);
    },
  };
}

/**
 * Two tables as one: places of `isFirst` read the first, in order, the others the second. So a table that never changes is
 * shared by every version of a catalogue that others are added to.
 */
export function joinedVectors(isFirst: PlaceBitmap, first: StoredVectors, second: StoredVectors): StoredVectors {
  return {
    dim: first.dim,
    bytes: first.bytes + second.bytes + isFirst.bytes,
    read(place, out, offset) {
      const before = isFirst.count(0, place);
      if (isFirst.has(place)) first.read(before, out, offset);
      else second.read(place - before, out, offset);
    },
    dot(h, place) {
      const before = isFirst.count(0, place);
      return isFirst.has(place) ? first.dot(h, before) : second.dot(h, place - before);
    },
    dots(h, places, count, out) {
      // places of the first from the left, those of the second from the right
      const own = new Uint32Array(count);
      let left = 0;
      let right = count;
      for (let at = 0; at < count; at++) {
        const place = places[at]!;
        const before = isFirst.count(0, place);
        if (isFirst.has(place)) own[left++] = before;
        else own[--right] = place - before;
      }
      if (left === count) return first.dots(h, own, count, out);
      const products = new Float64Array(count);
      first.dots(h, own, left, products);
      second.dots(h, own.subarray(right), count - right, products.subarray(right));
      for (let at = 0, l = 0, r = count; at < count; at++) {
        out[at] = isFirst.has(places[at]!) ? products[l++]! : products[--r]!;
      }
    },
  };
}

/** h . values from `start` on. Four sums at once: one chain of additions would wait for each addition in turn. */
export function sumOfProducts(h: Float32Array, values: Int8Array | Float32Array, start: number, dim: number): number {
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
