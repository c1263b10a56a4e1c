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
      this.array =
        bytes === 1 ? new Uint8Array(length) : bytes === 2 ? new Uint16Array(length) : new Uint32Array(length);
      this.array.set(array);
    }
    this.array[index] = id;
  }
}

export type NumberArray = Uint8Array | Uint16Array | Int32Array | Float64Array;

/** How numbers are stored: value = stored * unit / parts, and one stored value that means "none". */
interface Kind {
  readonly name: NumberKind;
  readonly unit: number;
  readonly parts: number;
  readonly none: number;
  readonly make: (length: number) => NumberArray;
  readonly holds: (value: number) => boolean;
}

export type NumberKind = "u8" | "u16" | "i32" | "thousands" | "hundredths" | "f64";

const isWhole = (value: number, low: number, high: number): boolean =>
  Number.isInteger(value) && value >= low && value <= high;

const INT32 = 2 ** 31;
const whole = { unit: 1, parts: 1 };
const int32 = { none: -INT32, make: (length: number): NumberArray => new Int32Array(length) };

/** From narrow to wide. `thousands` holds whole seconds in milliseconds until 2038, `hundredths` most ratings and sizes. */
const KINDS: readonly Kind[] = [
  { name: "u8", ...whole, none: 0xff, make: (n) => new Uint8Array(n), holds: (v) => isWhole(v, 0, 0xfe) },
  { name: "u16", ...whole, none: 0xffff, make: (n) => new Uint16Array(n), holds: (v) => isWhole(v, 0, 0xfffe) },
  { name: "i32", ...whole, ...int32, holds: (v) => isWhole(v, 1 - INT32, INT32 - 1) },
  {
    name: "thousands",
    ...int32,
    unit: 1000,
    parts: 1,
    holds: (v) => isWhole(v, 1000 * (1 - INT32), 1000 * (INT32 - 1)) && v % 1000 === 0,
  },
  {
    name: "hundredths",
    ...int32,
    unit: 1,
    parts: 100,
    // a quotient of whole numbers is rounded as the decimal was when it was read, so most come back bit for bit
    holds: (v) => Math.abs(v) < INT32 / 100 - 1 && Math.round(v * 100) / 100 === v,
  },
  { name: "f64", ...whole, none: NaN, make: (n) => new Float64Array(n), holds: (v) => !Number.isNaN(v) },
];

/** The stored form of a value that the kind holds. */
function storedAs({ unit, parts }: Kind, value: number): number {
  return parts === 1 ? value / unit : Math.round(value * parts);
}

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
    return stored === undefined || stored === this.#kind.none ? NaN : (stored * this.#kind.unit) / this.#kind.parts;
  }

  /** NaN takes the value away. */
  set(index: number, value: number): void {
    const isNone = Number.isNaN(value);
    if (isNone && index >= this.#array.length) return;
    if (!isNone && !this.#kind.holds(value)) this.#widen(value);
    if (index >= this.#array.length) this.#resize(grown(this.#array.length, index + 1));
    this.#array[index] = isNone ? this.#kind.none : storedAs(this.#kind, value);
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
      array[index] = Number.isNaN(held) ? kind.none : storedAs(kind, held);
    }
    this.#kind = kind;
    this.#array = array;
  }
}
