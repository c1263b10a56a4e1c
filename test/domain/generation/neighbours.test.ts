import { describe, expect, it } from "vitest";
import { PlaceBitmap, withoutNumbers } from "../../../functions/domain/generation/bitmap.ts";
import { buildCodeOrder } from "../../../functions/domain/generation/code-order.ts";
import { nearestHistory } from "../../../functions/domain/generation/explain.ts";
import { SimilarItems } from "../../../functions/domain/generation/similar.ts";
import { floatVectors } from "./fake-model.ts";

describe("nearestHistory", () => {
  const east = [1, 0];
  const north = [0, 2];
  const vectors = floatVectors(Float32Array.from([3, 0, 0, 1, -1, -1]), 2); // east, north, south-west
  const places = Uint32Array.of(0, 1, 2);

  it("names the entry that points the item's way, and by how much", () => {
    const found = nearestHistory(vectors, places, Float32Array.from([...east, ...north]), 2, 1);
    expect([...found.index]).toEqual([0, 1, -1]);
    expect([...found.contribution]).toEqual([0.5, 1, 0]); // one entry back at a half-life of 1, newest, none
  });

  it("prefers the newer of equal entries", () => {
    expect([...nearestHistory(vectors, places, Float32Array.from([...east, ...east, ...north]), 3).index]).toEqual([
      1, 2, -1,
    ]);
  });

  it("gives the zero vector no reason, and refuses a history of another size", () => {
    expect([...nearestHistory(vectors, Uint32Array.of(0), new Float32Array(2), 1).index]).toEqual([-1]);
    expect(() => nearestHistory(vectors, places, new Float32Array(3), 2)).toThrow(RangeError);
  });
});

describe("SimilarItems", () => {
  // 400 items on a circle; level 1 cuts it into 8 sectors
  const size = 400;
  const angle = (row: number): number => (2 * Math.PI * row) / size;
  const codes = Uint8Array.from({ length: 2 * size }, (_, at) =>
    at % 2 === 0 ? Math.floor((at / 2 / size) * 8) : (at / 2) % 4,
  );
  const { order, rowOfPlace } = buildCodeOrder(
    [8, 4],
    codes,
    Uint32Array.from({ length: size }, (_, row) => row + 1),
  );
  const values = Float32Array.from({ length: 2 * size }, (_, at) => {
    const row = rowOfPlace![at >>> 1]!;
    return (1 + (row % 3)) * (at % 2 === 0 ? Math.cos(angle(row)) : Math.sin(angle(row)));
  });
  const all = PlaceBitmap.all(size);
  const numbersOf = (places: Uint32Array): number[] => Array.from(places, (place) => order.numbers[place]!);

  it("ranks all legal items by cosine, whatever their length", () => {
    const similar = new SimilarItems(order, floatVectors(values, 2));
    const legal = withoutNumbers(all, order, [101]);
    const found = similar.nearest([order.placeOf(101)], legal, 4);
    expect(found.scoring).toBe("exact");
    expect(numbersOf(found.places).toSorted((a, b) => a - b)).toEqual([99, 100, 102, 103]);
    expect(found.cosine[0]).toBeCloseTo(Math.cos(angle(1)), 5);
    expect(found.cosine[3]).toBeCloseTo(Math.cos(angle(2)), 5);
  });

  it("finds the same through ranges of nearby codes, looking at few items", () => {
    const similar = new SimilarItems(order, floatVectors(values, 2));
    const exact = similar.nearest([order.placeOf(101)], all, 5);
    const probed = similar.nearest([order.placeOf(101)], all, 5, 100);
    expect(probed.scoring).toBe("probed");
    expect([...probed.places]).toEqual([...exact.places]);
  });

  it("takes the mean direction of several seeds", () => {
    const similar = new SimilarItems(order, floatVectors(values, 2));
    const found = similar.nearest([order.placeOf(1), order.placeOf(101)], all, 1); // 0 and 90 degrees
    expect(numbersOf(found.places)).toEqual([51]);
  });

  it("returns fewer when fewer are legal, and refuses no seeds", () => {
    const similar = new SimilarItems(order, floatVectors(values, 2));
    expect(similar.nearest([0], PlaceBitmap.none(size).set(7), 5).places).toEqual(Uint32Array.of(7));
    expect(() => similar.nearest([], all, 5)).toThrow(/no seeds/);
  });
});
