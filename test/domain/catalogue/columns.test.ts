import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CatalogueColumns, MAX_FIELDS, type CatalogueRow } from "../../../functions/domain/catalogue/columns.ts";
import { Dictionary } from "../../../functions/domain/catalogue/dictionary.ts";
import { decodeSnapshot, encodeSnapshot } from "../../../functions/domain/catalogue/snapshot.ts";
import { IdColumn, NumberColumn } from "../../../functions/domain/catalogue/typed-columns.ts";
import { newest, rowOf, rows } from "./rows.ts";

const columnsOf = (all: readonly CatalogueRow[]): CatalogueColumns => {
  const columns = new CatalogueColumns();
  columns.apply(all);
  return columns;
};

const setIfList = (value: unknown): unknown => (Array.isArray(value) ? new Set(value) : value);

function expectState(columns: CatalogueColumns, all: readonly CatalogueRow[]): void {
  const live = newest(all);
  expect(columns.size).toBe(live.filter(({ deleted }) => !deleted).length);
  expect(columns.revision).toBe(Math.max(0, ...all.map(({ revision }) => revision)));
  expect(columns.largestNumber).toBe(Math.max(0, ...all.map(({ number }) => number)));
  for (let number = 0; number <= 41; number += 1) {
    const row = live.find((one) => one.number === number);
    expect(columns.has(number)).toBe(row !== undefined);
    expect(columns.isShowable(number)).toBe(row !== undefined && row.available && !row.hidden && !row.deleted);
    const kept = row === undefined || row.deleted ? undefined : row;
    expect(columns.value(number, "createdAt")).toBe(kept?.createdAt);
    expect(columns.value(number, "price")).toBe(kept?.priceMinor ?? undefined);
    expect(columns.value(number, "currency")).toBe(kept?.currency ?? undefined);
    expect(columns.value(number, "creator")).toBe(kept?.creator || undefined);
    expect(columns.value(number, "origin")).toBe(kept?.origin);
    for (const name of ["colour", "weight", "isVegan", "tags", "mixed", "constructor"]) {
      const value = kept !== undefined && Object.hasOwn(kept.attributes, name) ? kept.attributes[name] : undefined;
      expect(setIfList(columns.value(number, name))).toEqual(setIfList(value));
    }
  }
}

describe("CatalogueColumns", () => {
  it("holds the newest row of each item, exactly", () => {
    fc.assert(fc.property(rows, (all) => expectState(columnsOf(all), all)));
  });

  it("comes to the same state from rows in any order, in any pages, applied twice", () => {
    fc.assert(
      fc.property(rows, fc.nat(60), (all, cut) => {
        const columns = columnsOf(all.toReversed());
        expect(columns.apply(all.slice(0, cut))).toBe(0);
        columns.apply(all);
        expectState(columns, all);
        expect(columns.lastNumber).toBe(columnsOf(all).lastNumber);
      }),
    );
  });

  it("says where the next delta page begins", () => {
    const columns = columnsOf([rowOf(9, { revision: 3 }), rowOf(4, { revision: 5 }), rowOf(2, { revision: 5 })]);
    expect([columns.revision, columns.lastNumber]).toEqual([5, 4]);
  });

  it("remembers what changed since a version, as far back as its journal reaches", () => {
    const columns = columnsOf([rowOf(1), rowOf(2)]);
    const { version } = columns;
    columns.apply([rowOf(2, { revision: 9 }), rowOf(1), rowOf(3)]); // the second is old news
    expect(columns.changedSince(version)).toEqual([2, 3]);
    expect(columns.changedSince(columns.version)).toEqual([]);
    columns.apply(Array.from({ length: 9000 }, (_, at) => rowOf(at + 10)));
    expect(columns.changedSince(version)).toBeNull();
    expect(columns.changedSince(columns.version - 3)).toEqual([9007, 9008, 9009]);
  });

  it("drops a field whose values are too many to filter by, and keeps the others", () => {
    const columns = new CatalogueColumns();
    const link = (number: number): string => `https://example.test/${"x".repeat(5000)}/${number}`;
    const many = Array.from({ length: 1000 }, (_, at) => rowOf(at + 1, { attributes: { link: link(at), kind: "a" } }));
    columns.apply(many);
    expect(columns.field("link")).toBeUndefined();
    expect(columns.layout).toBe(3); // two fields came, one went
    expect(columns.value(1000, "kind")).toBe("a");
    expect(columns.bytes).toBeLessThan(200_000);
    const again = decodeSnapshot(encodeSnapshot(columns));
    again.apply([rowOf(1, { revision: 5000, attributes: { link: "short" } })]);
    expect(again.field("link")).toBeUndefined(); // half a field would answer wrongly
  });

  it("keeps a bounded number of fields", () => {
    const attributes = Object.fromEntries(Array.from({ length: MAX_FIELDS + 5 }, (_, at) => [`f${at}`, at]));
    const columns = columnsOf([rowOf(1, { attributes })]);
    expect([columns.value(1, `f${MAX_FIELDS - 1}`), columns.field(`f${MAX_FIELDS}`)]).toEqual([
      MAX_FIELDS - 1,
      undefined,
    ]);
  });

  it("holds items with four attributes in well under 30 bytes each", () => {
    const columns = new CatalogueColumns();
    const tags = ["new", "vegan", "spicy", "quick", "cheap"];
    const page: CatalogueRow[] = [];
    for (let number = 1; number <= 200_000; number += 1) {
      page.push(
        rowOf(number, {
          revision: Math.ceil(number / 100),
          createdAt: 1_600_000_000_000 + number * 1000,
          priceMinor: number % 5000,
          currency: "EUR",
          creator: `creator ${number % 3000}`,
          origin: number % 7 === 0 ? "machine" : "human",
          attributes: {
            category: `category ${number % 40}`,
            rating: (number % 50) / 10,
            isInStock: number % 3 === 0,
            tags: [tags[number % 5]!, tags[(number >> 3) % 5]!],
          },
        }),
      );
      if (page.length === 10_000) columns.apply(page.splice(0));
    }
    expect(columns.size).toBe(200_000);
    expect(columns.bytes).toBeLessThan(26 * 200_000);
    const snapshot = encodeSnapshot(columns);
    expect(snapshot.length).toBeLessThan(21 * 200_000);
    expect(decodeSnapshot(snapshot).value(199_999, "category")).toBe("category 39");
  });

  it("refuses item numbers that are none", () => {
    expect(() => columnsOf([rowOf(0)])).toThrow(/item number 0/);
    expect(() => columnsOf([rowOf(1.5)])).toThrow(RangeError);
  });
});

describe("snapshot", () => {
  it("decodes to the same state, from any alignment, and goes on from there", () => {
    fc.assert(
      fc.property(rows, rows, fc.nat(7), (first, later, shift) => {
        const bytes = encodeSnapshot(columnsOf(first));
        const shifted = new Uint8Array(bytes.length + shift);
        shifted.set(bytes, shift);
        const columns = decodeSnapshot(shifted.subarray(shift));
        expectState(columns, first);
        // of two rows with one number and revision the first counts
        const fresh = later.filter((b) => !first.some((a) => a.number === b.number && a.revision === b.revision));
        columns.apply(fresh);
        expectState(columns, [...first, ...fresh]);
        expectState(decodeSnapshot(encodeSnapshot(columns)), [...first, ...fresh]);
      }),
    );
  });

  it("refuses bytes that are cut off, too long, of another format or another version", () => {
    const bytes = encodeSnapshot(columnsOf([rowOf(1, { attributes: { colour: "red" } })]));
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeSnapshot(bytes.slice(0, length))).toThrow(RangeError);
    }
    expect(() => decodeSnapshot(Uint8Array.of(...bytes, 0))).toThrow(RangeError);
    expect(() => decodeSnapshot(bytes.with(0, 0))).toThrow(/not a catalogue snapshot/);
    expect(() => decodeSnapshot(bytes.with(4, 2))).toThrow(/version 2/);
    expect(() => decodeSnapshot(bytes.with(16, 0))).toThrow(/not JSON/);
    const text = new TextDecoder("latin1").decode(bytes).replace('"offset":0', '"offset":9');
    expect(() => decodeSnapshot(Uint8Array.from(text, (c) => c.charCodeAt(0)))).toThrow(/outside the snapshot/);
  });
});

describe("typed columns", () => {
  it("keep every number exactly while they widen", () => {
    const value = fc.oneof(
      fc.nat(300),
      fc.nat(70_000),
      fc.integer(),
      fc.integer({ min: 0, max: 2e9 }).map((s) => s * 1000),
      fc.double({ noNaN: true }).map((number) => number + 0), // a price has no -0
      fc.integer().map((hundredths) => hundredths / 100),
      fc.constantFrom(255, 65_535, -(2 ** 31), NaN),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(30), value), { maxLength: 30 }), (writes) => {
        const column = new NumberColumn();
        const expected = new Map<number, number>();
        for (const [index, number] of writes) {
          column.set(index, number);
          expected.set(index, number === 0 ? 0 : number); // -0 is 0
        }
        for (let index = 0; index <= 31; index += 1) expect(column.get(index)).toBe(expected.get(index) ?? NaN);
      }),
      { numRuns: 300 },
    );
  });

  it("take one byte for small numbers, four for seconds, and widen once a number needs it", () => {
    const column = new NumberColumn();
    const kinds = [3, 254, 255, 70_000].map((number, index) => (column.set(index, number), column.kind));
    expect(kinds).toEqual(["u8", "u8", "u16", "i32"]);
    const times = new NumberColumn();
    times.set(0, 1_700_000_000_000);
    expect(times.kind).toBe("thousands");
    times.set(1, 1_700_000_000_001);
    expect(times.kind).toBe("f64");
    const ratings = new NumberColumn();
    for (const [index, rating] of [4, 0.1, 3.7, -19.99].entries()) ratings.set(index, rating);
    expect([ratings.kind, ratings.get(1), ratings.get(3)]).toEqual(["hundredths", 0.1, -19.99]);
  });

  it("hold ids of one, two and four bytes", () => {
    const column = new IdColumn();
    for (const [index, id] of [255, 256, 65_535, 65_536].entries()) column.set(index, id);
    expect([0, 1, 2, 3, 4, 99].map((index) => column.get(index))).toEqual([255, 256, 65_535, 65_536, 0, 0]);
  });
});

describe("Dictionary", () => {
  it("gives each distinct entry one id, and finds it again after it grew or was taken apart", () => {
    const encoder = new TextEncoder();
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 3 }), { maxLength: 200 }), (texts) => {
        const dictionary = new Dictionary();
        const ids = texts.map((text) => dictionary.add(encoder.encode(text)));
        expect(dictionary.size).toBe(new Set(texts).size);
        const { arena, ends } = dictionary.parts;
        for (const one of [dictionary, new Dictionary(arena.slice(), ends.slice())]) {
          expect(texts.map((text) => one.find(encoder.encode(text)))).toEqual(ids);
          expect(ids.map((id) => new TextDecoder().decode(one.entry(id)))).toEqual(texts);
          expect(one.find(encoder.encode("longer than any"))).toBe(0);
        }
      }),
    );
  });
});
