/**
 * Items in code order: sorted by their codes, rows of equal codes as they came, so that everything below a prefix of codes is one
 * range of places and decoding needs no tree. Built by counting sort, or taken as it is where the rows stand in that order
 * already (an artefact's do); read-only afterwards.
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
    const slots = this.#slots;
    for (let place = 0; place < numbers.length; place += 1) slots[numbers[place]!] = place + 1;
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

/** Rows put into code order. */
export interface Placed {
  readonly order: CodeOrderTable;
  /** (size) the row that stands at each place; null: every row stands at its own. */
  readonly rowOfPlace: Uint32Array | null;
}

/**
 * Puts rows into code order, in time that grows with the rows. Where all of them stand in it already, they are looked at once and
 * nothing is copied.
 * @param levels codes a level, two or three levels of at most 256
 * @param codes (n, L) row-major
 * @param numbers (n) item number of a row, each at most once; 0: a dead row, left out. Where every row stands at its own place
 *   this array becomes the order's.
 * @throws RangeError for another number of levels, lengths that do not fit, or a code out of its level's range
 */
export function buildCodeOrder(levels: readonly number[], codes: Uint8Array, numbers: Uint32Array): Placed {
  const depth = levels.length;
  if (depth !== 2 && depth !== 3) throw new RangeError(`${depth} levels of codes, expected 2 or 3`);
  for (const size of levels) {
    if (!Number.isInteger(size) || size < 1 || size > 256)
      throw new RangeError(`a level of ${size} codes, expected 1..256`);
  }
  if (codes.length !== numbers.length * depth) {
    throw new RangeError(`${codes.length} codes for ${numbers.length} rows of ${depth} levels`);
  }
  const { offsets, live, isSorted } = look(levels, codes, numbers);
  if (isSorted && live === numbers.length) {
    return { order: new CodeOrderTable(levels, numbers, offsets, thirdCodes(depth, codes, null)), rowOfPlace: null };
  }
  let rowOfPlace = liveRows(numbers, live);
  if (!isSorted) {
    if (depth === 3) rowOfPlace = countingSort(rowOfPlace, levels[2]!, (row) => codes[row * 3 + 2]!);
    const width = levels[1]!;
    rowOfPlace = countingSort(
      rowOfPlace,
      levels[0]! * width,
      (row) => codes[row * depth]! * width + codes[row * depth + 1]!,
    );
  }
  const inOrder = new Uint32Array(live);
  for (let place = 0; place < live; place += 1) inOrder[place] = numbers[rowOfPlace[place]!]!;
  const third = thirdCodes(depth, codes, rowOfPlace);
  return { order: new CodeOrderTable(levels, inOrder, offsets, third), rowOfPlace };
}

/** One pass over all rows: what is known before anything is moved. `offsets` are those of CodeOrderTable. */
function look(
  levels: readonly number[],
  codes: Uint8Array,
  numbers: Uint32Array,
): { offsets: Uint32Array; live: number; isSorted: boolean } {
  const [firsts, seconds, thirds = 1] = levels as [number, number, number?];
  const depth = levels.length;
  const pairs = firsts * seconds;
  const offsets = new Uint32Array(pairs + 1);
  let live = 0;
  let isSorted = true;
  let last = 0;
  for (let row = 0, at = 0; row < numbers.length; row += 1, at += depth) {
    const first = codes[at]!;
    const second = codes[at + 1]!;
    const third = depth === 3 ? codes[at + 2]! : 0;
    if (first >= firsts || second >= seconds || third >= thirds) refuseCodes(levels, codes.subarray(at, at + depth));
    if (numbers[row] === 0) continue;
    const pair = first * seconds + second;
    const leaf = pair * thirds + third;
    if (leaf < last) isSorted = false;
    last = leaf;
    live += 1;
    offsets[pair + 1]! += 1;
  }
  for (let pair = 0; pair < pairs; pair += 1) offsets[pair + 1]! += offsets[pair]!;
  return { offsets, live, isSorted };
}

function refuseCodes(levels: readonly number[], codes: Uint8Array): never {
  const level = levels.findIndex((size, at) => codes[at]! >= size);
  throw new RangeError(`code ${codes[level]} at level ${level + 1}, expected < ${levels[level]}`);
}

/** The third code of every place; null for two levels. */
function thirdCodes(depth: number, codes: Uint8Array, rowOfPlace: Uint32Array | null): Uint8Array | null {
  if (depth === 2) return null;
  const third = new Uint8Array(rowOfPlace?.length ?? codes.length / 3);
  for (let place = 0; place < third.length; place += 1) third[place] = codes[(rowOfPlace?.[place] ?? place) * 3 + 2]!;
  return third;
}

function liveRows(numbers: Uint32Array, live: number): Uint32Array {
  const rows = new Uint32Array(live);
  for (let row = 0, at = 0; row < numbers.length; row += 1) if (numbers[row] !== 0) rows[at++] = row;
  return rows;
}

/** Stable radix sort by item number, two passes of 16 bits. */
function sortedByNumber(numbers: Uint32Array, rows: Uint32Array): Uint32Array {
  const low = countingSort(rows, 65_536, (row) => numbers[row]! & 0xffff);
  return countingSort(low, 65_536, (row) => numbers[row]! >>> 16);
}

/** Rows by their keys, each 0 to `keys` - 1; stable. */
function countingSort(rows: Uint32Array, keys: number, keyOf: (row: number) => number): Uint32Array {
  const next = new Uint32Array(keys + 1); // of a key: where its next row goes
  for (let at = 0; at < rows.length; at += 1) next[keyOf(rows[at]!) + 1]! += 1;
  for (let key = 0; key < keys; key += 1) next[key + 1]! += next[key]!;
  const sorted = new Uint32Array(rows.length);
  for (let at = 0; at < rows.length; at += 1) {
    const row = rows[at]!;
    const key = keyOf(row);
    sorted[next[key]!] = row;
    next[key]! += 1;
  }
  return sorted;
}
