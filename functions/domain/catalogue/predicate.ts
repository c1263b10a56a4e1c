/**
 * Filters over a catalogue, compiled once and turned into a bitmap in code order. A comparison over a field that no item has matches
 * nothing (so its `not` matches everything); `unknownFields` reports it.
 */
import { PlaceBitmap, rejudged } from "../generation/bitmap.ts";
import { compileComparison, holdsFor, type Comparison } from "./comparison.ts";
import { canonical, checkPredicate, fieldsOf, withTimes, type Predicate } from "./predicate-tree.ts";
import type { CodeOrder } from "../generation/types.ts";
import type { CatalogueColumns } from "./columns.ts";
import type { IdArray } from "./typed-columns.ts";

export {
  checkPredicate,
  fieldsOf,
  MAX_PREDICATE_DEPTH,
  MAX_PREDICATE_NODES,
  PredicateError,
} from "./predicate-tree.ts";
export type { Comparison, Operator, Scalar } from "./comparison.ts";
export type { Predicate } from "./predicate-tree.ts";

/** Those of its fields that no item has. */
export function unknownFields(columns: CatalogueColumns, predicate: Predicate): string[] {
  return fieldsOf(predicate).filter((name) => columns.field(name) === undefined);
}

/** The filter as a function of an item number, for the columns as they are now. @throws PredicateError */
export function evaluate(columns: CatalogueColumns, predicate: Predicate): (number: number) => boolean {
  checkPredicate(predicate);
  const compile = (node: Predicate): ((number: number) => boolean) => {
    if ("and" in node) {
      const parts = node.and.map(compile);
      return (number) => parts.every((part) => part(number));
    }
    if ("or" in node) {
      const parts = node.or.map(compile);
      return (number) => parts.some((part) => part(number));
    }
    if ("not" in node) {
      const part = compile(node.not);
      return (number) => !part(number);
    }
    return testOf(columns, node);
  };
  return compile(predicate);
}

/** The filter as a bitmap over the places of an order. @throws PredicateError */
export function bitmapOf(order: CodeOrder, columns: CatalogueColumns, predicate: Predicate): PlaceBitmap {
  checkPredicate(predicate);
  return combine(order.size, predicate, (comparison) => comparisonBitmap(order, columns, comparison)).countsDone();
}

/** Joins the bitmaps of a filter's comparisons as its connectives say; `and` of nothing is everything. */
function combine(size: number, node: Predicate, leaf: (comparison: Comparison) => PlaceBitmap): PlaceBitmap {
  if ("not" in node) return combine(size, node.not, leaf).not();
  if ("and" in node) {
    return node.and.reduce((all, part) => {
      // a negated part needs no bitmap of its own
      return "not" in part ? all.andNot(combine(size, part.not, leaf)) : all.and(combine(size, part, leaf));
    }, PlaceBitmap.all(size));
  }
  if ("or" in node) return node.or.reduce((any, part) => any.or(combine(size, part, leaf)), PlaceBitmap.none(size));
  return leaf(node);
}

/** One comparison over all places. */
function comparisonBitmap(order: CodeOrder, columns: CatalogueColumns, comparison: Comparison): PlaceBitmap {
  const field = columns.field(comparison.field);
  if (field === undefined) return PlaceBitmap.none(order.size);
  const compiled = compileComparison(field, withTimes(comparison, ""));
  const { numbers } = order;
  const hasNumbers = field.numbers.array.length > 0 && compiled.isNumberWanted !== null;
  if (hasNumbers || compiled.isAbsentWanted) {
    return PlaceBitmap.where(order.size, (place) => holdsFor(compiled, numbers[place]!));
  }
  return dictionaryBitmap(numbers, field.ids.array, compiled.table);
}

/** Dictionary values alone: a table look-up a place. Written out, since a function a place costs twice as much. */
function dictionaryBitmap(numbers: Uint32Array, ids: IdArray, table: Uint8Array): PlaceBitmap {
  const bitmap = PlaceBitmap.none(numbers.length);
  const { words } = bitmap;
  for (let place = 0; place < numbers.length; place += 1) {
    const number = numbers[place]!;
    if (number < ids.length) words[place >>> 5]! |= table[ids[number]!]! << (place & 31);
  }
  return bitmap;
}

/** One comparison as a function of an item number. */
function testOf(columns: CatalogueColumns, comparison: Comparison): (number: number) => boolean {
  const field = columns.field(comparison.field);
  if (field === undefined) return () => false;
  const compiled = compileComparison(field, withTimes(comparison, ""));
  return (number) => holdsFor(compiled, number);
}

interface Entry {
  readonly bitmap: PlaceBitmap;
  /** What the bitmap shares with the last one that it was asked to be joined with. */
  joined: { readonly other: PlaceBitmap; readonly bitmap: PlaceBitmap } | null;
  readonly order: CodeOrder;
  readonly columns: CatalogueColumns;
  readonly version: number;
  readonly layout: number;
}

/** Comparisons and whole filters that are kept; at a million items 125 KB each, 172 KB with counts. */
const KEPT = 24;

/**
 * The last few filters of an app as bitmaps. A new filter over known comparisons costs a few passes over words; after a catalogue
 * change only the changed items are judged again.
 */
export class FilterCache {
  /** Least recently used first. Comparisons and filters side by side: a filter may be a lone comparison. */
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;

  constructor(limit: number = KEPT) {
    if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`limit must be a whole number >= 1, got ${limit}`);
    this.#limit = limit;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { bitmap, joined } of this.#entries.values()) bytes += bitmap.bytes + (joined?.bitmap.bytes ?? 0);
    return bytes;
  }

  /** The filter's bitmap for the columns as they are now; not to be changed. @throws PredicateError */
  bitmap(order: CodeOrder, columns: CatalogueColumns, predicate: Predicate): PlaceBitmap {
    return this.#filter(order, columns, predicate).bitmap;
  }

  /** What the filter's bitmap shares with another one, kept as long as neither changes; not to be changed. @throws PredicateError */
  within(other: PlaceBitmap, order: CodeOrder, columns: CatalogueColumns, predicate: Predicate): PlaceBitmap {
    const entry = this.#filter(order, columns, predicate);
    if (entry.joined?.other !== other) entry.joined = { other, bitmap: other.and(entry.bitmap).countsDone() };
    return entry.joined.bitmap;
  }

  #filter(order: CodeOrder, columns: CatalogueColumns, predicate: Predicate): Entry {
    checkPredicate(predicate);
    const key = canonical(predicate);
    const known = this.#entries.get(key);
    if (known !== undefined && isCurrent(known, order, columns)) return this.#keep(key, known);
    const bitmap = combine(order.size, predicate, (comparison) => this.#comparison(order, columns, comparison));
    return this.#keep(key, entryOf(order, columns, bitmap.countsDone()));
  }

  #comparison(order: CodeOrder, columns: CatalogueColumns, comparison: Comparison): PlaceBitmap {
    const key = canonical(comparison);
    const known = this.#entries.get(key);
    if (known !== undefined && isCurrent(known, order, columns)) return this.#keep(key, known).bitmap;
    const isRelated = known?.order === order && known.columns === columns && known.layout === columns.layout;
    const changed = isRelated ? columns.changedSince(known.version) : null;
    const bitmap =
      known === undefined || changed === null
        ? comparisonBitmap(order, columns, comparison)
        : rejudged(known.bitmap, order, changed, testOf(columns, comparison));
    return this.#keep(key, entryOf(order, columns, bitmap)).bitmap;
  }

  #keep(key: string, entry: Entry): Entry {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#limit) break;
      this.#entries.delete(oldest);
    }
    return entry;
  }
}

function isCurrent(entry: Entry, order: CodeOrder, columns: CatalogueColumns): boolean {
  return entry.order === order && entry.columns === columns && entry.version === columns.version;
}

function entryOf(order: CodeOrder, columns: CatalogueColumns, bitmap: PlaceBitmap): Entry {
  return { bitmap, joined: null, order, columns, version: columns.version, layout: columns.layout };
}
