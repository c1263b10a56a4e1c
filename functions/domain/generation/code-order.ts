/**
 * Items in code order: sorted by (codes, item number), so that everything below a prefix of codes is one range of places and
 * decoding needs no tree. Built by counting sort; read-only afterwards.
 */
import type { CodeOrder } from "./types.ts";

/** Number -> place costs 4 bytes for each number up to the largest, while that is at most this many times the items. */
const DENSE_SLACK = 2;

/** Place of an item number. */
interface PlaceLookup {
  readonly bytes: number;
  placeOf(itemNumber: number): number;
}

/** One slot a number: place + 1, 0 = absent. */
class DenseLookup implements PlaceLookup {
  readonly #slots: Uint32Array;

  constructor(numbers: Uint32Array, largest: number) {
    this.#slots = new Uint32Array(largest + 1);
    for (let place = 0; place < numbers.length; place += 1) this.#slots[numbers[place]!] = place + 1;
  }

  get bytes(): number {
    return this.#slots.byteLength;
  }

  placeOf(itemNumber: number): number {
    return (this.#slots[itemNumber] ?? 0) - 1;
  }
}

/** Places sorted by their item number, searched by halves: 4 bytes an item however large the numbers are. */
class SortedLookup implements PlaceLookup {
  readonly #numbers: Uint32Array;
  readonly #places: Uint32Array;

  constructor(numbers: Uint32Array) {
    this.#numbers = numbers;
    this.#places = sortedByNumber(
      numbers,
      Uint32Array.from({ length: numbers.length }, (_, place) => place),
    );
  }

  get bytes(): number {
    return this.#places.byteLength;
  }

  placeOf(itemNumber: number): number {
    let low = 0;
    let high = this.#places.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#numbers[this.#places[middle]!]! < itemNumber) low = middle + 1;
      else high = middle;
    }
    const place = this.#places[low];
    return place !== undefined && this.#numbers[place] === itemNumber ? place : -1;
  }
}

export class CodeOrderTable implements CodeOrder {
  readonly levels: readonly number[];
  readonly numbers: Uint32Array;
  /** (K1 * K2 + 1) first place of each pair of codes; the last entry is the size. */
  readonly #offsets: Uint32Array;
  /** (size) third code of a place, ascending inside a pair; null for two levels. */
  readonly #third: Uint8Array | null;
  readonly #lookup: PlaceLookup;

  constructor(levels: readonly number[], numbers: Uint32Array, offsets: Uint32Array, third: Uint8Array | null) {
    this.levels = levels;
    this.numbers = numbers;
    this.#offsets = offsets;
    this.#third = third;
    let largest = 0;
    for (let place = 0; place < numbers.length; place += 1) largest = Math.max(largest, numbers[place]!);
    const isDense = largest < DENSE_SLACK * numbers.length + 1024;
    this.#lookup = isDense ? new DenseLookup(numbers, largest) : new SortedLookup(numbers);
  }

  get size(): number {
    return this.numbers.length;
  }

  /** Bytes of all arrays. */
  get bytes(): number {
    return this.numbers.byteLength + this.#offsets.byteLength + (this.#third?.byteLength ?? 0) + this.#lookup.bytes;
  }

  placeOf(itemNumber: number): number {
    return this.#lookup.placeOf(itemNumber);
  }

  /** @throws RangeError when the prefix is longer than the codes or a code is not below its level's size. */
  range(prefix: readonly number[]): readonly [from: number, to: number] {
    if (prefix.length > this.levels.length)
      throw new RangeError(`prefix of ${prefix.length} codes, at most ${this.levels.length}`);
    for (let level = 0; level < prefix.length; level += 1) {
      const code = prefix[level]!;
      if (!(code >= 0 && code < this.levels[level]!)) {
        throw new RangeError(`code ${code} at level ${level + 1}, expected 0..${this.levels[level]! - 1}`);
      }
    }
    const [first = 0, second = 0, third = 0] = prefix;
    const width = this.levels[1]!;
    if (prefix.length === 0) return [0, this.size];
    if (prefix.length === 1) return [this.#offsets[first * width]!, this.#offsets[(first + 1) * width]!];
    const pair = first * width + second;
    const from = this.#offsets[pair]!;
    const to = this.#offsets[pair + 1]!;
    return prefix.length === 2
      ? [from, to]
      : [this.#firstNotBelow(third, from, to), this.#firstNotBelow(third + 1, from, to)];
  }

  children(prefixes: Int32Array, at: number, depth: number, bounds: Uint32Array): void {
    const count = this.levels[depth]!;
    const width = this.levels[1]!;
    if (depth === 0) {
      for (let code = 0; code <= count; code += 1) bounds[code] = this.#offsets[code * width]!;
      return;
    }
    const pair = prefixes[at]! * width;
    if (depth === 1) {
      for (let code = 0; code <= count; code += 1) bounds[code] = this.#offsets[pair + code]!;
      return;
    }
    const to = this.#offsets[pair + prefixes[at + 1]! + 1]!;
    let place = this.#offsets[pair + prefixes[at + 1]!]!;
    for (let code = 0; code < count; code += 1) {
      bounds[code] = place;
      if (place < to && this.#third![place] === code) place = this.#firstNotBelow(code + 1, place + 1, to);
    }
    bounds[count] = to;
  }

  /** First place in [from, to) whose third code is >= code, else `to`. */
  #firstNotBelow(code: number, from: number, to: number): number {
    const third = this.#third!;
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (third[middle]! < code) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * Sorts rows into code order.
 * @param levels codes a level, two or three levels of at most 256
 * @param codes (n, L) row-major
 * @param numbers (n) item number of a row; 0: a dead row, left out. Of two rows with one number the later one counts.
 * @returns the order, and (size) the row that stands at each place
 * @throws RangeError for another number of levels, lengths that do not fit, or a code out of its level's range
 */
export function buildCodeOrder(
  levels: readonly number[],
  codes: Uint8Array,
  numbers: Uint32Array,
): { order: CodeOrderTable; rowOfPlace: Uint32Array } {
  const depth = levels.length;
  if (depth !== 2 && depth !== 3) throw new RangeError(`${depth} levels of codes, expected 2 or 3`);
  for (const size of levels) {
    if (!Number.isInteger(size) || size < 1 || size > 256)
      throw new RangeError(`a level of ${size} codes, expected 1..256`);
  }
  if (codes.length !== numbers.length * depth) {
    throw new RangeError(`${codes.length} codes for ${numbers.length} rows of ${depth} levels`);
  }
  for (let at = 0; at < codes.length; at += 1) {
    if (codes[at]! >= levels[at % depth]!)
      throw new RangeError(`code ${codes[at]} at level ${(at % depth) + 1}, expected < ${levels[at % depth]}`);
  }

  let rows = liveRows(numbers);
  if (depth === 3) rows = countingSort(rows, levels[2]!, (row) => codes[row * 3 + 2]!).sorted;
  const width = levels[1]!;
  const { sorted: rowOfPlace, offsets } = countingSort(
    rows,
    levels[0]! * width,
    (row) => codes[row * depth]! * width + codes[row * depth + 1]!,
  );

  const inOrder = new Uint32Array(rowOfPlace.length);
  for (let place = 0; place < inOrder.length; place += 1) inOrder[place] = numbers[rowOfPlace[place]!]!;
  let third: Uint8Array | null = null;
  if (depth === 3) {
    third = new Uint8Array(rowOfPlace.length);
    for (let place = 0; place < third.length; place += 1) third[place] = codes[rowOfPlace[place]! * 3 + 2]!;
  }
  return { order: new CodeOrderTable(levels, inOrder, offsets, third), rowOfPlace };
}

/** Rows with a number, sorted by it, the last one of each number. */
function liveRows(numbers: Uint32Array): Uint32Array {
  let live = 0;
  let isAscending = true;
  let last = 0;
  for (let row = 0; row < numbers.length; row += 1) {
    const number = numbers[row]!;
    if (number === 0) continue;
    live += 1;
    if (number <= last) isAscending = false;
    last = number;
  }
  const rows = new Uint32Array(live);
  for (let row = 0, at = 0; row < numbers.length; row += 1) if (numbers[row] !== 0) rows[at++] = row;
  if (isAscending) return rows;

  const sorted = sortedByNumber(numbers, rows);
  let kept = 0;
  for (let at = 0; at < sorted.length; at += 1) {
    const isReplaced = at + 1 < sorted.length && numbers[sorted[at]!] === numbers[sorted[at + 1]!];
    if (!isReplaced) sorted[kept++] = sorted[at]!;
  }
  return sorted.slice(0, kept);
}

/** Stable radix sort by item number, two passes of 16 bits. */
function sortedByNumber(numbers: Uint32Array, rows: Uint32Array): Uint32Array {
  const low = countingSort(rows, 65_536, (row) => numbers[row]! & 0xffff).sorted;
  return countingSort(low, 65_536, (row) => numbers[row]! >>> 16).sorted;
}

/** Stable counting sort; offsets (keys + 1) gives the first position of each key. */
function countingSort(
  rows: Uint32Array,
  keys: number,
  keyOf: (row: number) => number,
): { sorted: Uint32Array; offsets: Uint32Array } {
  const offsets = new Uint32Array(keys + 1);
  for (let at = 0; at < rows.length; at += 1) offsets[keyOf(rows[at]!) + 1]! += 1;
  for (let key = 0; key < keys; key += 1) offsets[key + 1]! += offsets[key]!;
  const next = offsets.slice(0, keys);
  const sorted = new Uint32Array(rows.length);
  for (let at = 0; at < rows.length; at += 1) {
    const row = rows[at]!;
    const key = keyOf(row);
    sorted[next[key]!] = row;
    next[key]! += 1;
  }
  return { sorted, offsets };
}
