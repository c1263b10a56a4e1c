/**
 * A set of places as a bitmap in code order with running counts in two steps (a number every eight words, a byte every word, as in the
 * rank9 of Vigna 2008), so that "how many legal items lie below this prefix" is a few look-ups, whatever the size of the range.
 */
import type { CodeOrder, LegalPlaces } from "./types.ts";

/** The bits of a word that stand for places before `place`. */
function below(place: number): number {
  return (1 << (place & 31)) - 1;
}

function blocksOf(words: Int32Array): number {
  return ((words.length - 1) >>> BLOCK) + 1;
}

/** Bits set in a 32-bit word. */
function popcount(word: number): number {
  let x = (word - ((word >>> 1) & 0x55555555)) | 0;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}

/** Words of a block, as a shift: the set places before the last of eight words fit in a byte. */
const BLOCK = 3;

/** Set places before each block of words, and in the block before each of its words. */
interface Counts {
  readonly blocks: Uint32Array;
  readonly inside: Uint8Array;
  readonly total: number;
}

export class PlaceBitmap implements LegalPlaces {
  readonly size: number;
  /** One word more than needed at most, so that the rank of `size` itself reads a word; bits from `size` on are 0. */
  readonly words: Int32Array;
  /** Made when first needed after a change. */
  #known: Counts | null = null;

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
    return this.words.byteLength + this.words.length + 4 * blocksOf(this.words);
  }

  get total(): number {
    return this.#counts().total;
  }

  has(place: number): boolean {
    return place >= 0 && place < this.size && ((this.words[place >>> 5]! >>> (place & 31)) & 1) === 1;
  }

  /** Set places in [from, to); 0 <= from <= to <= size. */
  count(from: number, to: number): number {
    return this.#rank(to) - this.#rank(from);
  }

  countRanges(bounds: Uint32Array, ranges: number, counts: Uint32Array, at: number): void {
    // the same for every range, without a branch: which word a range ends in is nothing a processor could guess
    const { words } = this;
    const { blocks, inside } = this.#counts();
    let last = this.#rank(bounds[0]!);
    for (let range = 0; range < ranges; range += 1) {
      const bound = bounds[range + 1]!;
      const word = bound >>> 5;
      const rank = blocks[word >>> BLOCK]! + inside[word]! + popcount(words[word]! & below(bound));
      counts[at + range] = rank - last;
      last = rank;
    }
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
    this.#known = null;
    return this;
  }

  /** @throws RangeError when the place does not exist. */
  clear(place: number): this {
    this.#check(place);
    this.words[place >>> 5]! &= ~(1 << (place & 31));
    this.#known = null;
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

  #counts(): Counts {
    if (this.#known !== null) return this.#known;
    const { words } = this;
    const blocks = new Uint32Array(blocksOf(words));
    const inside = new Uint8Array(words.length);
    let total = 0;
    for (let block = 0, at = 0; block < blocks.length; block += 1) {
      blocks[block] = total;
      let sum = 0;
      for (const end = Math.min(at + (1 << BLOCK), words.length); at < end; at += 1) {
        inside[at] = sum;
        sum += popcount(words[at]!);
      }
      total += sum;
    }
    this.#known = { blocks, inside, total };
    return this.#known;
  }

  /** Set places before a place. */
  #rank(place: number): number {
    const { blocks, inside } = this.#counts();
    const word = place >>> 5;
    return blocks[word >>> BLOCK]! + inside[word]! + popcount(this.words[word]! & below(place));
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

/**
 * A bitmap without a few places, which stand beside it in a sorted list: a request leaves out what its user has seen, and copying a
 * bitmap of a million places for that would cost more than all the rest of its decoding touches.
 */
class PlacesWithout implements LegalPlaces {
  readonly #base: PlaceBitmap;
  /** Ascending; each is set in the base. */
  readonly #out: Uint32Array;
  /** The last answer of #before, which is often the next. */
  #hint = 0;

  constructor(base: PlaceBitmap, out: Uint32Array) {
    this.#base = base;
    this.#out = out;
  }

  get total(): number {
    return this.#base.total - this.#out.length;
  }

  has(place: number): boolean {
    return this.#base.has(place) && this.#out[this.#before(place)] !== place;
  }

  count(from: number, to: number): number {
    return this.#base.count(from, to) - (this.#before(to) - this.#before(from));
  }

  countRanges(bounds: Uint32Array, ranges: number, counts: Uint32Array, at: number): void {
    this.#base.countRanges(bounds, ranges, counts, at);
    const end = bounds[ranges]!;
    for (let index = this.#before(bounds[0]!); index < this.#out.length; index += 1) {
      const place = this.#out[index]!;
      if (place >= end) break;
      // the last range that begins at the place or before it
      let low = 0;
      let high = ranges;
      while (high - low > 1) {
        const middle = (low + high) >>> 1;
        if (bounds[middle]! <= place) low = middle;
        else high = middle;
      }
      counts[at + low]! -= 1;
    }
  }

  next(from: number, to: number): number {
    let place = this.#base.next(from, to);
    // every place of the list is set in the base, so the list goes on where the base does
    for (let index = this.#before(place); place >= 0 && this.#out[index] === place; index += 1) {
      place = this.#base.next(place + 1, to);
    }
    return place;
  }

  /** How many of the list lie before a place. */
  #before(place: number): number {
    const out = this.#out;
    const hint = this.#hint; // places are asked for in ascending order, mostly
    if ((hint === 0 || out[hint - 1]! < place) && (hint === out.length || out[hint]! >= place)) return hint;
    let low = 0;
    let high = out.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (out[middle]! < place) low = middle + 1;
      else high = middle;
    }
    this.#hint = low;
    return low;
  }
}

/** The bitmap without some items (seen, excluded); numbers that the order lacks are passed over. The bitmap stays as it is and is held. */
export function withoutNumbers(bitmap: PlaceBitmap, order: CodeOrder, numbers: Iterable<number>): LegalPlaces {
  const places: number[] = [];
  for (const number of numbers) {
    const place = order.placeOf(number);
    if (bitmap.has(place)) places.push(place);
  }
  if (places.length === 0) return bitmap.countsDone();
  return new PlacesWithout(bitmap.countsDone(), Uint32Array.from(new Set(places)).sort());
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
