import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type CodedItem, quantise } from "../../functions/domain/artefact/coded-item.ts";
import type { ItemRows, RowFormat } from "../../functions/inference/item-rows.ts";
import { ItemTables } from "../../functions/inference/item-tables.ts";

const LEVELS = [3, 4];
const DIM = 2;
const format: RowFormat = {
  manifest: {
    modelVersion: "m_000000000000",
    levels: LEVELS,
    dim: DIM,
    vectors: { file: "vectors.bin", dtype: "float32", scales: null },
  },
  codebook: null,
};

/** An item whose codes and vector follow from its number and a version, so that it can be told from others. */
const codesOf = (number: number, version: number) => [(number + version) % 3, (number * 7 + version) % 4];
const vectorOf = (number: number, version: number) => Float32Array.of(number, version + 1);

function itemOf(number: number, version: number): CodedItem {
  return { number, codes: Uint8Array.from(codesOf(number, version)), ...quantise(vectorOf(number, version)) };
}

function rowsOf(numbers: readonly number[]): ItemRows {
  return {
    numbers: Uint32Array.from(numbers),
    codes: Uint8Array.from(numbers.flatMap((number) => codesOf(number, 0))),
    vectors: Float32Array.from(numbers.flatMap((number) => [...vectorOf(number, 0)])),
    scales: new Float32Array(0),
  };
}

const number = fc.integer({ min: 1, max: 30 });
const histories = fc.record({
  trained: fc.uniqueArray(fc.oneof(number, fc.constant(0)), { maxLength: 25, selector: (n) => (n === 0 ? {} : n) }),
  batches: fc.array(fc.array(fc.tuple(number, fc.integer({ min: 1, max: 5 })), { maxLength: 6 }), { maxLength: 5 }),
});

test("whatever was added in whatever steps, the tables hold each item once, in code order, with its newest vector", () => {
  fc.assert(
    fc.property(histories, ({ trained, batches }) => {
      let tables = ItemTables.of(format, rowsOf(trained));
      const versions = new Map(trained.filter((one) => one !== 0).map((one) => [one, 0]));
      for (const batch of batches) {
        for (const [one, version] of batch) if (versions.get(one) !== 0) versions.set(one, version);
        const before = [...tables.order.numbers];
        const next = tables.withItems(batch.map(([one, version]) => itemOf(one, version)));
        expect([...tables.order.numbers]).toEqual(before); // a request may still use them
        tables = next;
      }
      const placed = [...tables.order.numbers];
      expect(placed.toSorted((a, b) => a - b)).toEqual([...versions.keys()].sort((a, b) => a - b));
      const leaves = placed.map((one) => codesOf(one, versions.get(one)!).reduce((leaf, code) => leaf * 256 + code, 0));
      expect(leaves).toEqual(leaves.toSorted((a, b) => a - b));
      for (const [place, one] of placed.entries()) {
        const version = versions.get(one)!;
        const read = new Float32Array(DIM);
        tables.vectors.read(place, read, 0);
        expect([...read].map(Math.round)).toEqual([one, version + 1]); // int8 between, so nearly
        expect(tables.isTrained(one)).toBe(version === 0);
      }
      expect(tables.isTrained(1234)).toBe(false);
    }),
  );
});

test("the next version shares the trained vectors", () => {
  const numbers = Array.from({ length: 1000 }, (_, at) => at + 1);
  const tables = ItemTables.of(format, rowsOf(numbers));
  const next = tables.withItems([itemOf(2000, 1)]);
  // another order, a bitmap, one item
  expect(next.bytes - tables.bytes).toBeLessThan(2000 * 4 - 1001 * 4 + 1000);
  expect(tables.withItems([itemOf(5, 3)])).toBe(tables); // trained: nothing to add
});

test("an item of another model is refused", () => {
  const tables = ItemTables.of(format, rowsOf([1, 2]));
  expect(() => tables.withItems([{ ...itemOf(9, 1), codes: Uint8Array.of(0, 4) }])).toThrow("item 9 was not coded");
  expect(() => tables.withItems([{ ...itemOf(9, 1), vector: new Int8Array(3) }])).toThrow(RangeError);
});
