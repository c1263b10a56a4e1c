/** Random catalogue rows. */
import fc from "fast-check";
import type { CatalogueRow } from "../../../functions/domain/catalogue/columns.ts";

export const words = ["red", "green", "blue", "größe", "日本", ""] as const;

const attributes = fc.record(
  {
    colour: fc.constantFrom(...words),
    weight: fc.oneof(fc.integer({ min: -3, max: 300 }), fc.constantFrom(0.5, 0.1, 70_000, 3e9, 1e12)),
    isVegan: fc.boolean(),
    tags: fc.uniqueArray(fc.constantFrom(...words), { maxLength: 4 }),
    mixed: fc.oneof(fc.constantFrom(...words), fc.integer({ min: 0, max: 3 }), fc.boolean(), fc.constant(["red"])),
  },
  { requiredKeys: [] },
);

export const row: fc.Arbitrary<CatalogueRow> = fc.record({
  number: fc.integer({ min: 1, max: 40 }),
  revision: fc.integer({ min: 1, max: 400 }),
  createdAt: fc.oneof(
    fc.integer({ min: 0, max: 2_000_000_000 }).map((seconds) => seconds * 1000),
    fc.integer({ min: 0, max: 2_000_000_000_000 }),
  ),
  priceMinor: fc.option(fc.integer({ min: 0, max: 5_000_000 })),
  currency: fc.option(fc.constantFrom("EUR", "USD")),
  creator: fc.constantFrom("Ada", "Bo", ""),
  origin: fc.constantFrom("human", "machine", "mixed", "unknown"),
  attributes,
  available: fc.boolean(),
  hidden: fc.boolean(),
  deleted: fc.boolean(),
});

/** Rows in which no two have the same number and revision, as a catalogue writes them. */
export const rows: fc.Arbitrary<CatalogueRow[]> = fc.uniqueArray(row, {
  maxLength: 60,
  selector: ({ number, revision }) => `${number} ${revision}`,
});

export function rowOf(number: number, overrides: Partial<CatalogueRow> = {}): CatalogueRow {
  return {
    number,
    revision: number,
    createdAt: 0,
    priceMinor: null,
    currency: null,
    creator: "",
    origin: "unknown",
    attributes: {},
    available: true,
    hidden: false,
    deleted: false,
    ...overrides,
  };
}

/** The newest row of each number. */
export function newest(all: readonly CatalogueRow[]): CatalogueRow[] {
  const byNumber = new Map<number, CatalogueRow>();
  for (const one of all) if (one.revision >= (byNumber.get(one.number)?.revision ?? 0)) byNumber.set(one.number, one);
  return [...byNumber.values()];
}
