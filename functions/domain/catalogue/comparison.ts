/**
 * One comparison of a filter, compiled against a field: the dictionary is judged once, entry by entry, and an item costs a look-up in
 * the table that comes of it. A comparison only ever holds for an item that has the field.
 */
import { TAG, scalarEntry, type Field } from "./field.ts";

export type Scalar = string | number | boolean;

export const OPERATORS = [
  "eq",
  "ne",
  "in",
  "lt",
  "lte",
  "gt",
  "gte",
  "contains",
  "containsAny",
  "containsAll",
  "exists",
] as const;
export type Operator = (typeof OPERATORS)[number];

/**
 * `field` is an attribute or creator, origin, price (minor units), createdAt (RFC 3339, or ms since 1970), currency.
 *
 * - eq, ne: equal to a scalar, or to a list as a set; ne needs the field too
 * - in: equal to one of the scalars
 * - lt, lte, gt, gte: numbers by size, strings by code point; never across types
 * - contains, containsAny, containsAll: elements of a list; a single string counts as a list of one
 * - exists: has the field (value true or absent), or has it not (value false)
 */
export interface Comparison {
  readonly field: string;
  readonly op: Operator;
  readonly value?: Scalar | readonly Scalar[];
}

export interface CompiledComparison {
  readonly field: Field;
  /** (dictionary size + 1) 1 where the entry satisfies the comparison; entry 0 means "no dictionary value". */
  readonly table: Uint8Array;
  /** For items whose value is a number; null: none satisfies. */
  readonly isNumberWanted: ((value: number) => boolean) | null;
  /** What holds for an item without the field: true only for `exists: false`. */
  readonly isAbsentWanted: boolean;
}

/** `comparison` must have been checked; see predicate.ts. */
export function compileComparison(field: Field, { op, value }: Comparison): CompiledComparison {
  const table = new Uint8Array(field.values.size + 1);
  const compiled = { field, table, isNumberWanted: null, isAbsentWanted: false };
  const list: readonly Scalar[] = Array.isArray(value) ? value : value === undefined ? [] : [value as Scalar];
  switch (op) {
    case "exists": {
      const isWanted = value !== false;
      table.fill(isWanted ? 1 : 0, 1);
      return { ...compiled, isNumberWanted: isWanted ? () => true : null, isAbsentWanted: !isWanted };
    }
    case "eq":
    case "ne": {
      const isEqual = op === "eq";
      if (!isEqual) table.fill(1, 1);
      for (const id of Array.isArray(value) ? idsOfSet(field, list) : idsOf(field, list)) table[id] = isEqual ? 1 : 0;
      return { ...compiled, isNumberWanted: isEqual ? (x) => x === value : (x) => x !== value };
    }
    case "in": {
      for (const id of idsOf(field, list)) table[id] = 1;
      const numbers = new Set(list.filter((one) => typeof one === "number"));
      return { ...compiled, isNumberWanted: numbers.size > 0 ? (x) => numbers.has(x) : null };
    }
    case "lt":
    case "lte":
    case "gt":
    case "gte": {
      const holds = ORDER[op];
      if (typeof value === "number") return { ...compiled, isNumberWanted: (x) => holds(x - value) };
      const bound = scalarEntry(value as string).slice();
      for (let id = 1; id < table.length; id += 1) {
        const entry = field.values.entry(id);
        if (entry[0] === TAG.text && holds(compareBytes(entry, bound))) table[id] = 1;
      }
      return compiled;
    }
    case "contains":
    case "containsAny":
    case "containsAll": {
      const wanted = new Set(list.map((one) => (typeof one === "string" ? field.idOf(one) : 0)));
      // an element that no item has leaves nothing that contains all
      const needed = op === "containsAny" ? 1 : wanted.has(0) ? Number.POSITIVE_INFINITY : wanted.size;
      for (let id = 1; id < table.length; id += 1) {
        const found = field.textIdsOf(id).filter((text) => wanted.has(text)).length;
        if (found >= needed) table[id] = 1;
      }
      return compiled;
    }
    default:
      return op satisfies never;
  }
}

/** What the comparison says of one item. */
export function holdsFor(
  { field, table, isNumberWanted, isAbsentWanted }: CompiledComparison,
  number: number,
): boolean {
  const id = field.ids.get(number);
  if (id !== 0) return table[id] === 1;
  const value = field.numbers.get(number);
  if (Number.isNaN(value)) return isAbsentWanted;
  return isNumberWanted !== null && isNumberWanted(value);
}

const ORDER = {
  lt: (difference: number) => difference < 0,
  lte: (difference: number) => difference <= 0,
  gt: (difference: number) => difference > 0,
  gte: (difference: number) => difference >= 0,
} as const;

/** Dictionary ids of strings and booleans; those that no item has are left out. */
function idsOf(field: Field, list: readonly Scalar[]): number[] {
  return list.map((one) => (typeof one === "number" ? 0 : field.idOf(one))).filter((id) => id !== 0);
}

/** Ids of the lists that hold exactly these texts. */
function idsOfSet(field: Field, list: readonly Scalar[]): number[] {
  const wanted = new Set(list.map((one) => (typeof one === "string" ? field.idOf(one) : 0)));
  const ids: number[] = [];
  if (wanted.has(0)) return ids;
  for (let id = 1; id <= field.values.size; id += 1) {
    if (field.values.entry(id)[0] !== TAG.list) continue;
    const texts = field.textIdsOf(id);
    if (texts.length === wanted.size && texts.every((text) => wanted.has(text))) ids.push(id);
  }
  return ids;
}

/** UTF-8 sorts by code point when its bytes are compared. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return a[at]! - b[at]!;
  return a.length - b.length;
}
