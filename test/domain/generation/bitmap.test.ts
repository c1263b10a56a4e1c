import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onlyNumbers, PlaceBitmap, rejudged, withoutNumbers } from "../../../functions/domain/generation/bitmap.ts";
import type { LegalPlaces } from "../../../functions/domain/generation/types.ts";
import { buildCodeOrder } from "../../../functions/domain/generation/code-order.ts";

/** Sizes around word boundaries. */
const sizes = fc.oneof(fc.integer({ min: 0, max: 130 }), fc.constantFrom(31, 32, 33, 63, 64, 65, 1000));
const sets = sizes.chain((size) =>
  fc.tuple(fc.constant(size), fc.array(fc.nat(Math.max(0, size - 1)), { maxLength: 80 })),
);
const pairs = sizes.chain((size) => {
  const places = fc.array(fc.nat(Math.max(0, size - 1)), { maxLength: 80 });
  return fc.tuple(fc.constant(size), places, places);
});

function bitmapOf(size: number, places: readonly number[]): PlaceBitmap {
  const bitmap = PlaceBitmap.none(size);
  if (size > 0) for (const place of places) bitmap.set(place);
  return bitmap;
}

const listOf = (bitmap: PlaceBitmap): number[] => listOfPlaces(bitmap, bitmap.size);
const listOfPlaces = (places: LegalPlaces, size: number): number[] =>
  Array.from({ length: size }, (_, place) => place).filter((place) => places.has(place));

describe("PlaceBitmap", () => {
  it("counts any range and finds the next place as a plain set does", () => {
    fc.assert(
      fc.property(sets, fc.nat(1000), fc.nat(1000), ([size, places], a, b) => {
        const bitmap = bitmapOf(size, places);
        const set = size === 0 ? [] : [...new Set(places)].sort((x, y) => x - y);
        const [from, to] = [Math.min(a, b, size), Math.min(Math.max(a, b), size)];
        const inside = set.filter((place) => place >= from && place < to);
        expect(listOf(bitmap)).toEqual(set);
        expect(bitmap.total).toBe(set.length);
        expect([...PlaceBitmap.where(size, (place) => set.includes(place)).words]).toEqual([...bitmap.words]);
        expect(bitmap.count(from, to)).toBe(inside.length);
        expect(bitmap.count(0, size)).toBe(set.length);
        expect(bitmap.next(from, to)).toBe(inside[0] ?? -1);
      }),
      { numRuns: 500 },
    );
  });

  it("counts adjoining ranges at once as it counts each, empty ones and long ones too", () => {
    fc.assert(
      fc.property(sets, fc.array(fc.nat(1000), { minLength: 1, maxLength: 12 }), ([size, places], cuts) => {
        const bitmap = bitmapOf(size, places);
        const bounds = Uint32Array.from(cuts, (cut) => Math.min(cut, size)).sort();
        const counts = new Uint32Array(bounds.length + 1).fill(99);
        bitmap.countRanges(bounds, bounds.length - 1, counts, 1);
        const expected = [...bounds.subarray(1)].map((to, at) => bitmap.count(bounds[at]!, to));
        expect([...counts]).toEqual([99, ...expected, 99].slice(0, counts.length));
      }),
      { numRuns: 300 },
    );
  });

  it("adds three eighths of a bit a place for its counts", () => {
    const { bytes, words } = PlaceBitmap.all(1_000_000);
    expect(bytes / words.byteLength).toBeCloseTo(1.375, 3);
  });

  it("joins as sets do, and leaves what it joins as it is", () => {
    fc.assert(
      fc.property(pairs, ([size, a, b]) => {
        const [left, right] = [bitmapOf(size, a), bitmapOf(size, b)];
        const all = listOf(PlaceBitmap.all(size));
        const [hasLeft, hasRight] = [new Set(listOf(left)), new Set(listOf(right))];
        const expectSet = (bitmap: PlaceBitmap, test: (place: number) => boolean): void => {
          expect(listOf(bitmap)).toEqual(all.filter(test));
          expect(bitmap.total).toBe(all.filter(test).length);
        };
        expectSet(left.and(right), (p) => hasLeft.has(p) && hasRight.has(p));
        expectSet(left.or(right), (p) => hasLeft.has(p) || hasRight.has(p));
        expectSet(left.andNot(right), (p) => hasLeft.has(p) && !hasRight.has(p));
        expectSet(left.not(), (p) => !hasLeft.has(p));
        expectSet(left, (p) => hasLeft.has(p));
      }),
    );
  });

  it("counts anew after a change", () => {
    const bitmap = PlaceBitmap.all(40).countsDone();
    bitmap.clear(3).clear(3).clear(39);
    expect([bitmap.total, bitmap.count(0, 4), bitmap.count(32, 40)]).toEqual([38, 3, 7]);
    bitmap.set(39);
    expect([bitmap.total, bitmap.count(32, 40)]).toEqual([39, 8]);
  });

  it("reads words with place 0 in the lowest bit and drops bits beyond the size", () => {
    const bitmap = PlaceBitmap.fromWords(35, Uint32Array.of(0x80000001, 0xffffffff));
    expect(listOf(bitmap)).toEqual([0, 31, 32, 33, 34]);
    expect(bitmap.total).toBe(5);
    expect(() => PlaceBitmap.fromWords(65, new Uint32Array(2))).toThrow(/2 words for 65/);
  });

  it("refuses places that do not exist and bitmaps of another size", () => {
    expect(() => PlaceBitmap.none(4).set(4)).toThrow(/place 4 of 4/);
    expect(() => PlaceBitmap.none(4).clear(-1)).toThrow(RangeError);
    expect(() => PlaceBitmap.none(4).and(PlaceBitmap.none(5))).toThrow(/4 and 5/);
    expect([PlaceBitmap.all(4).has(4), PlaceBitmap.all(4).has(-1)]).toEqual([false, false]);
  });
});

describe("bitmaps by item number", () => {
  const { order } = buildCodeOrder([2, 2], Uint8Array.of(1, 1, 0, 0, 0, 1), Uint32Array.of(5, 7, 9)); // places: 7, 9, 5

  it("leaves excluded items out, and the bitmap as it was", () => {
    const all = PlaceBitmap.all(3);
    const rest = withoutNumbers(all, order, [5, 1234]);
    expect([listOfPlaces(rest, 3), rest.total, all.total]).toEqual([[0, 1], 2, 3]);
  });

  it("answers without excluded items as a bitmap of what is left", () => {
    fc.assert(
      fc.property(pairs, fc.array(fc.nat(1000), { minLength: 2, maxLength: 9 }), ([size, set, excluded], cuts) => {
        const numbers = Uint32Array.from({ length: size }, (_, row) => row + 1);
        const everyPlace = buildCodeOrder([1, 1], new Uint8Array(2 * size), numbers).order; // place = number - 1
        const bitmap = bitmapOf(size, set);
        const rest = withoutNumbers(bitmap, everyPlace, [...excluded.map((place) => place + 1), 5000]);
        const expected = bitmap.andNot(bitmapOf(size, excluded));
        expect(rest.total).toBe(expected.total);
        expect(listOfPlaces(rest, size)).toEqual(listOf(expected));
        const bounds = Uint32Array.from(cuts, (cut) => Math.min(cut, size)).sort();
        const [counts, wanted] = [new Uint32Array(9), new Uint32Array(9)];
        rest.countRanges(bounds, bounds.length - 1, counts, 0);
        expected.countRanges(bounds, bounds.length - 1, wanted, 0);
        expect([...counts]).toEqual([...wanted]);
        for (const [at, from] of bounds.entries()) {
          const to = bounds[at + 1] ?? size;
          expect(rest.count(from, to)).toBe(expected.count(from, to));
          expect(rest.next(from, to)).toBe(expected.next(from, to));
        }
      }),
      { numRuns: 300 },
    );
  });

  it("holds only the items asked for", () => {
    expect(listOf(onlyNumbers(order, [9, 5, 8]))).toEqual([1, 2]);
  });

  it("judges changed items again and no others", () => {
    const before = onlyNumbers(order, [9]);
    expect(listOf(rejudged(before, order, [5, 9, 1234], (number) => number === 5))).toEqual([2]);
    expect(listOf(before)).toEqual([1]);
  });
});
