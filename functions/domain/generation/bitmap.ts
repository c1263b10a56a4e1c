/**
 * A set of places as a bitmap in code order with a running count a word, so that "how many legal items lie below this prefix"
 * is two look-ups, whatever the size of the range.
 */
import type { CodeOrder, LegalPlaces } from "./types.ts";

/** Bits set in a 32-bit word. */
function popcount(word: number): number {
  let x = (word - ((word >>> 1) & 0x55555555)) | 0;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}

export class PlaceBitmap implements LegalPlaces {
  readonly size: number;
  /** One word more than needed at most, so that the rank of `size` itself reads a word; bits from `size` on are 0. */
  readonly words: Int32Array;
  /** Set places before each word; made when first needed after a change. */
  #before: Uint32Array | null = null;
  #total = 0;

  private constructor(size: number, words: Int32Array) {
    this.size = size;
    this.words = words;
  }

  static none(size: number): PlaceBitmap {
    if (!Number.isInteger(size) || size < 0) throw new RangeError(`bitmap of ${size} places`);
    return new PlaceBitmap(size, new Int32Array((size >>> 5) + 1));
  }

  static all(size: number): PlaceBitmap {
    const bitmap = PlaceBitmap.none(size);
    bitmap.words.fill(-1);
    bitmap.#trim();
    return bitmap;
  }

  /** The places that pass a test. */
  static where(size: number, isSet: (place: number) => boolean): PlaceBitmap {
    const bitmap = PlaceBitmap.none(size);
    for (let place = 0, at = 0; place < size; at += 1) {
      const end = Math.min(place + 32, size);
      let word = 0;
      for (let bit = 1; place < end; place += 1, bit <<= 1) if (isSet(place)) word |= bit;
      bitmap.words[at] = word;
    }
    return bitmap;
  }

  /** Copies 32-bit words, place 0 in the lowest bit of the first. @throws RangeError when there are fewer than size bits. */
  static fromWords(size: number, words: Uint32Array | Int32Array): PlaceBitmap {
    const bitmap = PlaceBitmap.none(size);
    if (words.length * 32 < size) throw new RangeError(`${words.length} words for ${size} places`);
    bitmap.words.set(words.subarray(0, bitmap.words.length));
    bitmap.#trim();
    return bitmap;
  }

  /** Bytes of words and counts. */
  get bytes(): number {
    return 2 * this.words.byteLength;
  }

  get total(): number {
    this.#counts();
    return this.#total;
  }

  has(place: number): boolean {
    return place >= 0 && place < this.size && ((this.words[place >>> 5]! >>> (place & 31)) & 1) === 1;
  }

  /** Set places in [from, to); 0 <= from <= to <= size. */
  count(from: number, to: number): number {
    const before = this.#counts();
    const low = from >>> 5;
    const high = to >>> 5;
    return (
      before[high]! +
      popcount(this.words[high]! & ((1 << (to & 31)) - 1)) -
      before[low]! -
      popcount(this.words[low]! & ((1 << (from & 31)) - 1))
    );
  }

  next(from: number, to: number): number {
    if (from >= to) return -1;
    let at = from >>> 5;
    let word = this.words[at]! & (-1 << (from & 31));
    const end = (to - 1) >>> 5;
    while (word === 0) {
      at += 1;
      if (at > end) return -1;
      word = this.words[at]!;
    }
    const place = (at << 5) + 31 - Math.clz32(word & -word);
    return place < to ? place : -1;
  }

  /** @throws RangeError when the place does not exist. */
  set(place: number): this {
    this.#check(place);
    this.words[place >>> 5]! |= 1 << (place & 31);
    this.#before = null;
    return this;
  }

  /** @throws RangeError when the place does not exist. */
  clear(place: number): this {
    this.#check(place);
    this.words[place >>> 5]! &= ~(1 << (place & 31));
    this.#before = null;
    return this;
  }

  and(other: PlaceBitmap): PlaceBitmap {
    const [result, left, right] = this.#beside(other);
    for (let at = 0; at < result.words.length; at += 1) result.words[at] = left[at]! & right[at]!;
    return result;
  }

  or(other: PlaceBitmap): PlaceBitmap {
    const [result, left, right] = this.#beside(other);
    for (let at = 0; at < result.words.length; at += 1) result.words[at] = left[at]! | right[at]!;
    return result;
  }

  andNot(other: PlaceBitmap): PlaceBitmap {
    const [result, left, right] = this.#beside(other);
    for (let at = 0; at < result.words.length; at += 1) result.words[at] = left[at]! & ~right[at]!;
    return result;
  }

  not(): PlaceBitmap {
    const result = PlaceBitmap.none(this.size);
    for (let at = 0; at < result.words.length; at += 1) result.words[at] = ~this.words[at]!;
    result.#trim();
    return result;
  }

  copy(): PlaceBitmap {
    return new PlaceBitmap(this.size, this.words.slice());
  }

  /** Makes the running counts now rather than at the first question; a million places take some 30 microseconds. */
  countsDone(): this {
    this.#counts();
    return this;
  }

  #counts(): Uint32Array {
    if (this.#before !== null) return this.#before;
    const before = new Uint32Array(this.words.length);
    let total = 0;
    for (let at = 0; at < before.length; at += 1) {
      before[at] = total;
      total += popcount(this.words[at]!);
    }
    this.#total = total;
    this.#before = before;
    return before;
  }

  #beside(other: PlaceBitmap): [result: PlaceBitmap, left: Int32Array, right: Int32Array] {
    if (other.size !== this.size) throw new RangeError(`bitmaps of ${this.size} and ${other.size} places`);
    return [PlaceBitmap.none(this.size), this.words, other.words];
  }

  #check(place: number): void {
    if (!(place >= 0 && place < this.size)) throw new RangeError(`place ${place} of ${this.size}`);
  }

  /** Clears the bits from `size` on. */
  #trim(): void {
    this.words[this.size >>> 5]! &= (1 << (this.size & 31)) - 1;
  }
}

/** The bitmap without some items (seen, excluded); numbers that the order lacks are passed over. The input stays as it is. */
export function withoutNumbers(bitmap: PlaceBitmap, order: CodeOrder, numbers: Iterable<number>): PlaceBitmap {
  const result = bitmap.copy();
  for (const number of numbers) {
    const place = order.placeOf(number);
    if (place >= 0) result.clear(place);
  }
  return result.countsDone();
}

/** Only these items; numbers that the order lacks are passed over. */
export function onlyNumbers(order: CodeOrder, numbers: Iterable<number>): PlaceBitmap {
  const result = PlaceBitmap.none(order.size);
  for (const number of numbers) {
    const place = order.placeOf(number);
    if (place >= 0) result.set(place);
  }
  return result.countsDone();
}

/** A copy in which some items are judged anew, after a change of the catalogue; a request may still hold the bitmap from before. */
export function rejudged(
  bitmap: PlaceBitmap,
  order: CodeOrder,
  numbers: readonly number[],
  isLegal: (number: number) => boolean,
): PlaceBitmap {
  const result = bitmap.copy();
  for (const number of numbers) {
    const place = order.placeOf(number);
    if (place < 0) continue;
    if (isLegal(number)) result.set(place);
    else result.clear(place);
  }
  return result;
}
