/**
 * The k best of a stream of scored candidates: a threshold that most candidates fail at once, and a small heap behind it.
 * Equal keys go by the smaller tie, so a selection never depends on the order of offers.
 */
export class TopK {
  readonly #limit: number;
  readonly #keys: Float64Array;
  readonly #ties: Uint32Array;
  readonly #indexes: Uint32Array;
  #size = 0;

  /** @throws RangeError when limit is not a whole number >= 0. */
  constructor(limit: number) {
    if (!Number.isInteger(limit) || limit < 0) throw new RangeError(`limit must be a whole number >= 0, got ${limit}`);
    this.#limit = limit;
    this.#keys = new Float64Array(limit);
    this.#ties = new Uint32Array(limit);
    this.#indexes = new Uint32Array(limit);
  }

  /** What is kept is full and nothing below this key gets in; NaN while there is room, so that no key is below it. */
  get threshold(): number {
    return this.#size < this.#limit ? Number.NaN : this.#keys[0]!;
  }

  /** -Infinity is a key like any other; NaN is the caller's error. */
  offer(key: number, tie: number, index: number): void {
    if (this.#size < this.#limit) {
      this.#rise(this.#size++, key, tie, index);
      return;
    }
    // position 0 holds the worst that was kept: the threshold
    if (this.#limit === 0 || key < this.#keys[0]! || (key === this.#keys[0] && tie > this.#ties[0]!)) return;
    this.#sink(key, tie, index, this.#size);
  }

  /** Indexes of the kept candidates, best first. Ends the selection. */
  best(): Uint32Array {
    const result = new Uint32Array(this.#size);
    for (let end = this.#size - 1; end >= 0; end -= 1) {
      result[end] = this.#indexes[0]!;
      this.#sink(this.#keys[end]!, this.#ties[end]!, this.#indexes[end]!, end);
    }
    this.#size = 0;
    return result;
  }

  /** Indexes of the kept candidates in no order, without a copy; valid until the next offer. */
  kept(): Uint32Array {
    return this.#indexes.subarray(0, this.#size);
  }

  #rise(at: number, key: number, tie: number, index: number): void {
    let hole = at;
    while (hole > 0) {
      const parent = (hole - 1) >>> 1;
      if (!this.#isWorse(key, tie, parent)) break;
      this.#move(parent, hole);
      hole = parent;
    }
    this.#put(hole, key, tie, index);
  }

  /** Puts a candidate in place of the root and lets it sink among the first `size`. */
  #sink(key: number, tie: number, index: number, size: number): void {
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#isWorse(this.#keys[child + 1]!, this.#ties[child + 1]!, child)) child += 1;
      if (this.#isWorse(key, tie, child)) break;
      this.#move(child, hole);
      hole = child;
    }
    this.#put(hole, key, tie, index);
  }

  #isWorse(key: number, tie: number, than: number): boolean {
    const other = this.#keys[than]!;
    return key < other || (key === other && tie > this.#ties[than]!);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#keys[from]!, this.#ties[from]!, this.#indexes[from]!);
  }

  #put(at: number, key: number, tie: number, index: number): void {
    this.#keys[at] = key;
    this.#ties[at] = tie;
    this.#indexes[at] = index;
  }
}
