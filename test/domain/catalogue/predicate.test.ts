import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CatalogueColumns, type CatalogueRow } from "../../../functions/domain/catalogue/columns.ts";
import {
  bitmapOf,
  checkPredicate,
  evaluate,
  fieldsOf,
  FilterCache,
  MAX_PREDICATE_DEPTH,
  MAX_PREDICATE_NODES,
  PredicateError,
  unknownFields,
  type Comparison,
  type Predicate,
} from "../../../functions/domain/catalogue/predicate.ts";
import { ShowablePlaces } from "../../../functions/domain/catalogue/showable.ts";
import { buildCodeOrder } from "../../../functions/domain/generation/code-order.ts";
import { newest, rowOf, rows, words } from "./rows.ts";
import type { CodeOrder } from "../../../functions/domain/generation/types.ts";

const scalar = fc.oneof(
  fc.constantFrom(...words, "EUR", "Ada", "machine"),
  fc.integer({ min: -3, max: 300 }),
  fc.boolean(),
);
const list = fc.array(scalar, { minLength: 1, maxLength: 3 });
const field = fc.constantFrom(
  "colour",
  "weight",
  "isVegan",
  "tags",
  "mixed",
  "price",
  "creator",
  "origin",
  "currency",
  "nobody",
);
const comparison: fc.Arbitrary<Comparison> = fc.oneof(
  fc.record({ field, op: fc.constantFrom("eq", "ne"), value: fc.oneof(scalar, list) }),
  fc.record({ field, op: fc.constantFrom("in", "containsAny", "containsAll"), value: list }),
  fc.record({ field, op: fc.constant("contains"), value: scalar }),
  fc.record({
    field,
    op: fc.constantFrom("lt", "lte", "gt", "gte"),
    value: fc.oneof(fc.constantFrom(...words), fc.integer({ min: -3, max: 300 })),
  }),
  fc.record({ field, op: fc.constant("exists"), value: fc.boolean() }),
  fc.record({
    field: fc.constant("createdAt"),
    op: fc.constantFrom("lt", "gte"),
    value: fc.integer({ min: 0, max: 2_000_000_000_000 }).map((ms) => new Date(ms).toISOString()),
  }),
);
const predicates = fc.letrec<{ node: Predicate }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    comparison,
    fc.record({ and: fc.array(tie("node"), { maxLength: 3 }) }),
    fc.record({ or: fc.array(tie("node"), { maxLength: 3 }) }),
    fc.record({ not: tie("node") }),
  ),
})).node;

const codePoints = (a: string, b: string): number => {
  const [x, y] = [Array.from(a), Array.from(b)];
  const at = x.findIndex((c, index) => c !== y[index]);
  return at === -1 ? x.length - y.length : (x[at]!.codePointAt(0) ?? 0) - (y[at]?.codePointAt(0) ?? -1);
};

/** The definition, over plain values. `known` are the fields that some item has had. */
function holds(row: CatalogueRow, node: Predicate, known: ReadonlySet<string>): boolean {
  if ("and" in node) return node.and.every((part) => holds(row, part, known));
  if ("or" in node) return node.or.some((part) => holds(row, part, known));
  if ("not" in node) return !holds(row, node.not, known);
  if (!known.has(node.field)) return false;
  const own: Record<string, unknown> = {
    creator: row.creator || undefined,
    origin: row.origin,
    price: row.priceMinor ?? undefined,
    createdAt: row.createdAt,
    currency: row.currency ?? undefined,
  };
  const found = row.deleted ? undefined : Object.hasOwn(own, node.field) ? own[node.field] : row.attributes[node.field];
  const { op } = node;
  if (op === "exists") return (found !== undefined) === (node.value !== false);
  if (found === undefined) return false;
  const value = node.field === "createdAt" ? Date.parse(String(node.value)) : node.value;
  const wanted: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isSame = (a: unknown, b: unknown): boolean =>
    Array.isArray(a) && Array.isArray(b)
      ? new Set(a).size === new Set(b).size && a.every((one) => b.includes(one))
      : a === b;
  const elements = Array.isArray(found) ? found : typeof found === "string" ? [found] : [];
  if (op === "eq") return isSame(found, value);
  if (op === "ne") return !isSame(found, value);
  if (op === "in") return wanted.includes(found);
  if (op === "contains" || op === "containsAll") return wanted.every((one) => elements.includes(one));
  if (op === "containsAny") return wanted.some((one) => elements.includes(one));
  if (typeof found !== typeof value || (typeof found !== "number" && typeof found !== "string")) return false;
  const difference = typeof found === "number" ? found - (value as number) : codePoints(found, value as string);
  return { lt: difference < 0, lte: difference <= 0, gt: difference > 0, gte: difference >= 0 }[op];
}

const OWN = ["creator", "origin", "price", "createdAt", "currency"];

function knownFields(all: readonly CatalogueRow[]): Set<string> {
  return new Set([
    ...OWN,
    ...all.filter(({ deleted }) => !deleted).flatMap(({ attributes }) => Object.keys(attributes)),
  ]);
}

const columnsOf = (all: readonly CatalogueRow[]): CatalogueColumns => {
  const columns = new CatalogueColumns();
  columns.apply(all);
  return columns;
};

/** Places of numbers 1..40 in some order that is not theirs. */
const order: CodeOrder = buildCodeOrder(
  [5, 3],
  Uint8Array.from({ length: 80 }, (_, at) => (at * 7) % (at % 2 === 0 ? 5 : 3)),
  Uint32Array.from({ length: 40 }, (_, row) => row + 1),
).order;

const empty = (number: number): CatalogueRow => rowOf(number, { deleted: true });

function expectedNumbers(all: readonly CatalogueRow[], predicate: Predicate): number[] {
  const known = knownFields(all);
  const live = newest(all);
  return Array.from({ length: 40 }, (_, at) => at + 1).filter((number) =>
    holds(live.find((row) => row.number === number) ?? empty(number), predicate, known),
  );
}

const numbersIn = (bitmap: { has(place: number): boolean }): number[] =>
  [...order.numbers].filter((_, place) => bitmap.has(place)).sort((a, b) => a - b);

describe("filters", () => {
  it("hold for exactly the items that the definition names, as a function and as a bitmap", () => {
    fc.assert(
      fc.property(rows, predicates, (all, predicate) => {
        const columns = columnsOf(all);
        const expected = expectedNumbers(all, predicate);
        const test = evaluate(columns, predicate);
        expect(Array.from({ length: 40 }, (_, at) => at + 1).filter(test)).toEqual(expected);
        const bitmap = bitmapOf(order, columns, predicate);
        expect(numbersIn(bitmap)).toEqual(expected);
        expect(bitmap.total).toBe(expected.length);
      }),
      { numRuns: 400 },
    );
  });

  it("come out of the cache as if compiled anew, while the catalogue changes under it", () => {
    fc.assert(
      fc.property(
        rows,
        fc.array(rows, { maxLength: 3 }),
        fc.array(predicates, { minLength: 1, maxLength: 5 }),
        (first, deltas, asked) => {
          const columns = columnsOf(first);
          const cache = new FilterCache(4);
          let revision = 400;
          for (const delta of [[], ...deltas]) {
            columns.apply(delta.map((row) => ({ ...row, revision: (revision += 1) })));
            for (const predicate of asked) {
              expect(numbersIn(cache.bitmap(order, columns, predicate))).toEqual(
                numbersIn(bitmapOf(order, columns, predicate)),
              );
            }
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("compare a few fields as the documentation says", () => {
    const columns = columnsOf([
      rowOf(1, {
        priceMinor: 999,
        createdAt: Date.parse("2026-01-01T00:00:00Z"),
        attributes: { tags: ["a", "b"], season: "summer" },
      }),
      rowOf(2, { priceMinor: 1000, createdAt: Date.parse("2026-06-01T00:00:00Z"), attributes: { tags: ["b"] } }),
      rowOf(3, { attributes: { tags: [] } }),
    ]);
    const numbers = (predicate: Predicate): number[] => [1, 2, 3].filter(evaluate(columns, predicate));
    expect(numbers({ field: "price", op: "lt", value: 1000 })).toEqual([1]); // minor units
    expect(numbers({ field: "createdAt", op: "gte", value: "2026-06-01T02:00:00+02:00" })).toEqual([2]);
    expect(numbers({ field: "tags", op: "containsAny", value: ["a", "z"] })).toEqual([1]);
    expect(numbers({ field: "tags", op: "containsAll", value: ["a", "b"] })).toEqual([1]);
    expect(numbers({ field: "tags", op: "containsAll", value: ["b", "z"] })).toEqual([]);
    expect(numbers({ field: "tags", op: "eq", value: ["b", "a"] })).toEqual([1]);
    expect(numbers({ field: "season", op: "contains", value: "summer" })).toEqual([1]);
    expect(numbers({ field: "season", op: "contains", value: "sum" })).toEqual([]);
    expect(numbers({ field: "season", op: "ne", value: "winter" })).toEqual([1]); // the others have no season
    expect(numbers({ not: { field: "season", op: "eq", value: "summer" } })).toEqual([2, 3]);
    expect(numbers({ field: "season", op: "exists", value: false })).toEqual([2, 3]);
  });

  it("report a field that no item has; it matches nothing, so its not matches everything", () => {
    const columns = columnsOf([rowOf(1, { attributes: { a: 1 } })]);
    const unknown: Predicate = { field: "b", op: "ne", value: 1 };
    const predicate: Predicate = {
      and: [{ field: "a", op: "exists" }, { not: unknown }, { field: "price", op: "lt", value: 1 }],
    };
    expect(fieldsOf(predicate)).toEqual(["a", "b", "price"]);
    expect(unknownFields(columns, predicate)).toEqual(["b"]);
    expect([evaluate(columns, unknown)(1), evaluate(columns, { not: unknown })(1)]).toEqual([false, true]);
    expect(evaluate(columns, { field: "b", op: "exists", value: false })(1)).toBe(false);
  });

  it("are refused with a pointer when a value does not fit, or when they are too deep or too large", () => {
    const pointerOf = (predicate: Predicate): string => {
      try {
        checkPredicate(predicate);
      } catch (error) {
        if (error instanceof PredicateError) return error.pointer;
      }
      return "accepted";
    };
    const a: Comparison = { field: "a", op: "eq", value: 1 };
    expect(pointerOf({ and: [a, { or: [{ not: { field: "a", op: "in", value: 1 } }] }] })).toBe(
      "/and/1/or/0/not/value",
    );
    expect(pointerOf({ field: "a", op: "lt", value: true })).toBe("/value");
    expect(pointerOf({ field: "a", op: "gte", value: ["x"] })).toBe("/value");
    expect(pointerOf({ field: "a", op: "contains", value: ["x"] })).toBe("/value");
    expect(pointerOf({ field: "a", op: "eq" })).toBe("/value");
    expect(pointerOf({ field: "a", op: "exists", value: "yes" })).toBe("/value");
    expect(pointerOf({ field: "createdAt", op: "lt", value: "soon" })).toBe("/value");
    expect(pointerOf({ field: "createdAt", op: "lt", value: "2026-01-01" })).toBe("accepted");
    expect(pointerOf({ field: "a", op: "like" as "eq", value: 1 })).toBe("/op");
    const nested = (depth: number): Predicate => (depth === 1 ? a : { not: nested(depth - 1) });
    expect(pointerOf(nested(MAX_PREDICATE_DEPTH))).toBe("accepted");
    expect(pointerOf(nested(MAX_PREDICATE_DEPTH + 1))).toBe("/not".repeat(MAX_PREDICATE_DEPTH));
    const many = (count: number): Predicate => ({ and: Array.from({ length: count - 1 }, () => a) });
    expect([pointerOf(many(MAX_PREDICATE_NODES)), pointerOf(many(MAX_PREDICATE_NODES + 1))]).toEqual(["accepted", ""]);
    expect(() => new FilterCache().bitmap(order, columnsOf([]), nested(20))).toThrow(PredicateError);
  });

  it("change for every item when a field appears", () => {
    const columns = columnsOf([rowOf(1)]);
    const cache = new FilterCache();
    const isMissing: Predicate = { field: "season", op: "exists", value: false };
    expect(cache.bitmap(order, columns, isMissing).total).toBe(0);
    columns.apply([rowOf(2, { attributes: { season: "summer" } })]);
    expect(cache.bitmap(order, columns, isMissing).total).toBe(39);
  });

  it("are kept as bitmaps: the same one again, also for parts in another order, within a limit", () => {
    const columns = columnsOf([rowOf(1, { attributes: { a: 1, b: 2 } })]);
    const cache = new FilterCache(3);
    const [a, b]: [Comparison, Comparison] = [
      { field: "a", op: "eq", value: 1 },
      { field: "b", op: "eq", value: 2 },
    ];
    const bitmap = cache.bitmap(order, columns, { and: [a, b] });
    expect(cache.bitmap(order, columns, { and: [b, a] })).toBe(bitmap);
    columns.apply([rowOf(1, { revision: 9, attributes: { a: 1 } })]);
    expect(cache.bitmap(order, columns, { and: [a, b] }).total).toBe(0);
    expect(bitmap.total).toBe(1); // a request in flight keeps what it took
    for (let value = 0; value < 10; value += 1) cache.bitmap(order, columns, { field: "a", op: "eq", value });
    expect(cache.bytes).toBe(3 * bitmap.bytes);
  });
});

describe("ShowablePlaces", () => {
  it("follows the catalogue as if built anew, and leaves earlier bitmaps as they were", () => {
    fc.assert(
      fc.property(fc.array(rows, { maxLength: 4 }), (deltas) => {
        const columns = new CatalogueColumns();
        const showable = new ShowablePlaces(order);
        let revision = 0;
        for (const delta of deltas) {
          const before = showable.at(columns);
          const numbers = numbersIn(before);
          columns.apply(delta.map((row) => ({ ...row, revision: (revision += 1) })));
          const now = showable.at(columns);
          expect(numbersIn(now)).toEqual(numbersIn(new ShowablePlaces(order).at(columns)));
          expect(numbersIn(now)).toEqual([...order.numbers].filter((n) => columns.isShowable(n)).sort((a, b) => a - b));
          expect(now.total).toBe(numbersIn(now).length);
          expect(numbersIn(before)).toEqual(numbers);
        }
      }),
    );
  });
});
