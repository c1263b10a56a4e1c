/**
 * Random numbers that are the same on every machine: sfc32 seeded by a hash of a seed and a name, and exp, log and normal deviates
 * built from the four operations and the square root alone, which IEEE 754 rounds exactly. (Math.exp and Math.log may differ in the last bit.)
 */

/** 32-bit hash of a text (FNV-1a over UTF-16 units, finished as in murmur3). */
export function hash32(text: string, start = 0x811c9dc5): number {
  let hash = start;
  for (let place = 0; place < text.length; place += 1) hash = Math.imul(hash ^ text.charCodeAt(place), 0x01000193);
  return mix32(hash);
}

/** The finishing step of murmur3: every input bit moves every output bit. */
export function mix32(value: number): number {
  let mixed = value | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const TWO_52 = 4503599627370496;

/** e^x to about 1 part in 10^15; 0 under -700, capped at x = 700. */
export function exp(x: number): number {
  if (x < -700) return 0;
  const bounded = x > 700 ? 700 : x;
  const whole = Math.floor(bounded / Math.LN2 + 0.5);
  const rest = (bounded - whole * Math.LN2) / 8;
  let sum = 1;
  for (let term = 9; term >= 1; term -= 1) sum = 1 + (rest * sum) / term;
  const squared = sum * sum;
  const fourth = squared * squared;
  let result = fourth * fourth;
  let power = whole < 0 ? 0.5 : 2;
  for (let left = whole < 0 ? -whole : whole; left > 0; left >>= 1) {
    if (left & 1) result *= power;
    power *= power;
  }
  return result;
}

/** Natural logarithm of a positive number. @throws RangeError for what is not positive and finite. */
export function log(x: number): number {
  if (!(x > 0) || x > 1e300) throw new RangeError(`log needs a positive finite number, got ${x}`);
  let mantissa = x;
  let power = 0;
  if (mantissa < 1 / TWO_52) return log(mantissa * TWO_52) - 52 * Math.LN2;
  for (; mantissa > Math.SQRT2; power += 1) mantissa /= 2;
  for (; mantissa < Math.SQRT1_2; power -= 1) mantissa *= 2;
  const ratio = (mantissa - 1) / (mantissa + 1);
  const square = ratio * ratio;
  let sum = 0;
  for (let odd = 21; odd >= 1; odd -= 2) sum = sum * square + 1 / odd;
  return 2 * ratio * sum + power * Math.LN2;
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: number): number {
  return 1 / (1 + exp(-x));
}

/** Rounds to a number of decimals, so that a written figure never depends on the last bits. */
export function quantise(x: number, decimals: number): number {
  let unit = 1;
  for (let count = 0; count < decimals; count += 1) unit *= 10;
  return Math.round(x * unit) / unit;
}

/** A stream of random numbers of its own; equal seed and name give equal streams, whatever other streams do. */
export class Random {
  private a: number;
  private b: number;
  private c: number;
  private counter: number;
  private spare = Number.NaN;

  constructor(seed: number, name: string) {
    const root = hash32(name, mix32(seed ^ 0x9e3779b9));
    this.a = mix32(root ^ 0x243f6a88);
    this.b = mix32(root ^ 0x85a308d3);
    this.c = mix32(root ^ 0x13198a2e);
    this.counter = 1;
    for (let round = 0; round < 12; round += 1) this.bits();
  }

  /** 32 random bits (sfc32, C. Doty-Humphrey, PractRand). */
  bits(): number {
    const sum = (this.a + this.b + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Uniform in [0, 1), 32 bits. */
  next(): number {
    return this.bits() / 4294967296;
  }

  /** Whole number in [0, below). */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  /** Whole number in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** @throws RangeError for an empty list. */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError("nothing to pick from");
    return list[this.below(list.length)] as T;
  }

  /** Standard normal deviate (Marsaglia's polar method). */
  normal(): number {
    if (!Number.isNaN(this.spare)) {
      const kept = this.spare;
      this.spare = Number.NaN;
      return kept;
    }
    for (;;) {
      const x = 2 * this.next() - 1;
      const y = 2 * this.next() - 1;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const factor = Math.sqrt((-2 * log(square)) / square);
      this.spare = y * factor;
      return x * factor;
    }
  }

  /** Exponential deviate with a mean. */
  exponential(mean: number): number {
    return -mean * log(1 - this.next());
  }

  /** Place of a draw in proportion to weights that need not sum to 1. @throws RangeError where no weight is positive. */
  weighted(weights: ArrayLike<number>): number {
    let total = 0;
    for (let place = 0; place < weights.length; place += 1) total += weights[place]!;
    if (!(total > 0)) throw new RangeError("no weight is positive");
    let left = this.next() * total;
    for (let place = 0; place < weights.length; place += 1) {
      left -= weights[place]!;
      if (left < 0) return place;
    }
    for (let place = weights.length - 1; place > 0; place -= 1) if (weights[place]! > 0) return place;
    return 0;
  }

  /** The list in random order (Fisher–Yates), in place. */
  shuffle<T>(list: T[]): T[] {
    for (let place = list.length - 1; place > 0; place -= 1) {
      const other = this.below(place + 1);
      const kept = list[place] as T;
      list[place] = list[other] as T;
      list[other] = kept;
    }
    return list;
  }
}
