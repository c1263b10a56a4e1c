import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onlyNumbers, PlaceBitmap, rejudged, withoutNumbers } from "../../../functions/domain/generation/bitmap.ts";
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

const listOf = (bitmap: PlaceBitmap): number[] =>
  Array.from({ length: bitmap.size }, (_, place) => place).filter((place) => bitmap.has(place));

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

  it("takes excluded items out of a copy", () => {
    const all = PlaceBitmap.all(3);
    const rest = withoutNumbers(all, order, [5, 1234]);
    expect([listOf(rest), rest.total, all.total]).toEqual([[0, 1], 2, 3]);
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
