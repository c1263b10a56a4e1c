/**
 * The items of a model in code order. What training gave is sorted once and never changes; items coded since stand in a small
 * table of their own, so that the next version of a catalogue of a million makes a new order and no new vectors.
 */
import type { CodedItem } from "../domain/artefact/coded-item.ts";
import { PlaceBitmap } from "../domain/generation/bitmap.ts";
import { buildCodeOrder, type CodeOrderTable } from "../domain/generation/code-order.ts";
import { copyRows, emptyRows, type ItemRows, type RowFormat, setRow, storedVectors } from "./item-rows.ts";
import { joinedVectors, type StoredVectors } from "./item-vectors.ts";

/** Live rows in code order. Numbers of trained ones are not kept: the order has them. */
interface Sorted {
  readonly rows: Omit<ItemRows, "numbers">;
  readonly vectors: StoredVectors;
}

interface Coded extends Sorted {
  readonly numbers: Uint32Array;
}

function sorted(format: RowFormat, given: ItemRows): Coded & { readonly order: CodeOrderTable } {
  const { order, rowOfPlace } = buildCodeOrder(format.manifest.levels, given.codes, given.numbers);
  const inOrder = rowOfPlace === null ? given : copyRows(format, given, rowOfPlace, emptyRows(format, order.size));
  const { numbers: _, ...rows } = inOrder;
  return { rows, numbers: order.numbers, order, vectors: storedVectors(format, rows) };
}

/** `left`, then `right`. */
function joined<T extends Uint8Array | Uint32Array>(left: T, right: T, result: T): T {
  result.set(left);
  result.set(right, left.length);
  return result;
}

export class ItemTables {
  readonly order: CodeOrderTable;
  readonly vectors: StoredVectors;
  readonly #format: RowFormat;
  readonly #trained: Sorted;
  /** What was coded since, and the places of the trained items among them; null where nothing was. */
  readonly #added: { readonly coded: Coded; readonly isTrained: PlaceBitmap } | null;

  private constructor(
    format: RowFormat,
    order: CodeOrderTable,
    trained: Sorted,
    added: { readonly coded: Coded; readonly isTrained: PlaceBitmap } | null,
  ) {
    this.#format = format;
    this.#trained = trained;
    this.#added = added;
    this.order = order;
    this.vectors =
      added === null ? trained.vectors : joinedVectors(added.isTrained, trained.vectors, added.coded.vectors);
  }

  /** Puts the artefact's rows into code order; those whose number is 0 are left out. Rows in that order become the tables. */
  static of(format: RowFormat, given: ItemRows): ItemTables {
    const { order, rows, vectors } = sorted(format, given);
    return new ItemTables(format, order, { rows, vectors }, null);
  }

  /** Bytes of all arrays; the trained vectors are shared with other versions and counted in each. */
  get bytes(): number {
    const codes = this.#trained.rows.codes.byteLength + (this.#added?.coded.rows.codes.byteLength ?? 0);
    return this.order.bytes + this.vectors.bytes + codes + (this.#added?.coded.numbers.byteLength ?? 0);
  }

  /** Whether the item has a vector of its own from training; false also for an item without codes. */
  isTrained(itemNumber: number): boolean {
    const place = this.order.placeOf(itemNumber);
    return place >= 0 && (this.#added === null || this.#added.isTrained.has(place));
  }

  /**
   * With these items besides: one coded earlier is replaced, a trained one stays. The last of equal numbers counts.
   * @throws RangeError when an item was coded by another model
   */
  withItems(items: readonly CodedItem[]): ItemTables {
    const fresh = new Map(items.map((item) => [item.number, item]));
    for (const number of fresh.keys()) if (this.isTrained(number)) fresh.delete(number);
    if (fresh.size === 0) return this;

    const coded = this.#added?.coded;
    const before = coded === undefined ? emptyRows(this.#format, 0) : { ...coded.rows, numbers: coded.numbers };
    const kept = Uint32Array.from(before.numbers.keys()).filter((at) => !fresh.has(before.numbers[at]!));
    const rows = copyRows(this.#format, before, kept, emptyRows(this.#format, kept.length + fresh.size));
    let row = kept.length;
    for (const item of fresh.values()) setRow(this.#format, rows, row++, item);
    return this.#withCoded(sorted(this.#format, rows));
  }

  #withCoded({ rows, numbers, vectors }: Coded): ItemTables {
    const trained = this.#trainedNumbers();
    const all = joined(trained, numbers, new Uint32Array(trained.length + numbers.length));
    const { codes } = this.#trained.rows;
    const allCodes = joined(codes, rows.codes, new Uint8Array(codes.length + rows.codes.length));
    const { order, rowOfPlace } = buildCodeOrder(this.#format.manifest.levels, allCodes, all);
    // both parts are in code order, so they stand in the whole as they stand in themselves
    const rowAt = (place: number): number => rowOfPlace?.[place] ?? place;
    const isTrained = PlaceBitmap.where(order.size, (place) => rowAt(place) < trained.length).countsDone();
    return new ItemTables(this.#format, order, this.#trained, { coded: { rows, numbers, vectors }, isTrained });
  }

  /** Numbers of the trained items, in code order. */
  #trainedNumbers(): Uint32Array {
    const { numbers } = this.order;
    const isTrained = this.#added?.isTrained;
    return isTrained === undefined ? numbers : numbers.filter((_, place) => isTrained.has(place));
  }
}
