/**
 * Columns by item number that take the fewest bytes their values allow: they begin with one byte a value and widen when a value
 * does not fit. A column grows by a quarter, so a million items carry little slack.
 */

/** Room for `length` values, a quarter more when it has to grow. */
function grown(capacity: number, length: number): number {
  return Math.max(length, 16, Math.ceil(capacity * 1.25));
}

export type IdArray = Uint8Array | Uint16Array | Uint32Array;

/** Dictionary ids; 0 = no value. */
export class IdColumn {
  /** (capacity) what lies beyond the end is 0. */
  array: IdArray;

  constructor(array: IdArray = new Uint8Array(0)) {
    this.array = array;
  }

  get bytes(): number {
    return this.array.byteLength;
  }

  get(index: number): number {
    return this.array[index] ?? 0;
  }

  set(index: number, id: number): void {
    const { array } = this;
    if (index >= array.length && id === 0) return;
    const widest = 2 ** (8 * array.BYTES_PER_ELEMENT) - 1;
    if (index >= array.length || id > widest) {
      const length = index < array.length ? array.length : grown(array.length, index + 1);
      const bytes = Math.max(array.BYTES_PER_ELEMENT, id <= 0xff ? 1 : id <= 0xffff ? 2 : 4);
      this.array = bytes === 1 ? new Uint8Array(length) : bytes === 2 ? new Uint16Array(length) : new Uint32Array(length);
      this.array.set(array);
    }
    this.array[index] = id;
  }
}

export type NumberArray = Uint8Array | Uint16Array | Int32Array | Float32Array | Float64Array;

/** How numbers are stored: value = stored * unit, and one stored value that means "none". */
interface Kind {
  readonly name: NumberKind;
  readonly unit: number;
  readonly none: number;
  readonly make: (length: number) => NumberArray;
  readonly holds: (value: number) => boolean;
}

export type NumberKind = "u8" | "u16" | "i32" | "thousands" | "f32" | "f64";

const isWhole = (value: number, low: number, high: number): boolean => Number.isInteger(value) && value >= low && value <= high;

/** From narrow to wide. Whole seconds in milliseconds fit `thousands` until 2038. */
const KINDS: readonly Kind[] = [
  { name: "u8", unit: 1, none: 0xff, make: (n) => new Uint8Array(n), holds: (v) => isWhole(v, 0, 0xfe) },
  { name: "u16", unit: 1, none: 0xffff, make: (n) => new Uint16Array(n), holds: (v) => isWhole(v, 0, 0xfffe) },
  { name: "i32", unit: 1, none: -(2 ** 31), make: (n) => new Int32Array(n), holds: (v) => isWhole(v, 1 - 2 ** 31, 2 ** 31 - 1) },
  {
    name: "thousands",
    unit: 1000,
    none: -(2 ** 31),
    make: (n) => new Int32Array(n),
    holds: (v) => isWhole(v, 1000 * (1 - 2 ** 31), 1000 * (2 ** 31 - 1)) && v % 1000 === 0,
  },
  { name: "f32", unit: 1, none: NaN, make: (n) => new Float32Array(n), holds: (v) => Math.fround(v) === v },
  { name: "f64", unit: 1, none: NaN, make: (n) => new Float64Array(n), holds: (v) => !Number.isNaN(v) },
];

/** Numbers, each exactly as it was given; NaN = no value. */
export class NumberColumn {
  #kind: Kind;
  #array: NumberArray;

  constructor(kind: NumberKind = "u8", array?: NumberArray) {
    this.#kind = KINDS.find(({ name }) => name === kind)!;
    this.#array = array ?? this.#kind.make(0);
  }

  get kind(): NumberKind {
    return this.#kind.name;
  }

  get array(): NumberArray {
    return this.#array;
  }

  get bytes(): number {
    return this.#array.byteLength;
  }

  get(index: number): number {
    const stored = this.#array[index];
    return stored === undefined || stored === this.#kind.none ? NaN : stored * this.#kind.unit;
  }

  /** NaN takes the value away. */
  set(index: number, value: number): void {
    const isNone = Number.isNaN(value);
    if (isNone && index >= this.#array.length) return;
    if (!isNone && !this.#kind.holds(value)) this.#widen(value);
    if (index >= this.#array.length) this.#resize(grown(this.#array.length, index + 1));
    this.#array[index] = isNone ? this.#kind.none : value / this.#kind.unit;
  }

  #resize(length: number): void {
    const wider = this.#kind.make(length).fill(this.#kind.none, this.#array.length);
    wider.set(this.#array);
    this.#array = wider;
  }

  /** Moves to the narrowest kind that holds every value so far and the new one. */
  #widen(value: number): void {
    const { length } = this.#array;
    const isFitting = (kind: Kind): boolean => {
      if (!kind.holds(value)) return false;
      for (let index = 0; index < length; index += 1) {
        const held = this.get(index);
        if (!Number.isNaN(held) && !kind.holds(held)) return false;
      }
      return true;
    };
    const kind = KINDS.slice(KINDS.indexOf(this.#kind) + 1).find(isFitting)!; // f64 holds every number
    const array = kind.make(length);
    for (let index = 0; index < length; index += 1) {
      const held = this.get(index);
      array[index] = Number.isNaN(held) ? kind.none : held / kind.unit;
    }
    this.#kind = kind;
    this.#array = array;
  }
}
