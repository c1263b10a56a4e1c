/** The softmax of a stream of scores: an exponential fast enough for thousands of children a step, and a normaliser. */

/** Steps between two powers of two, and 2^(step / STEPS). */
const STEPS = 256;
const FRACTIONS = Float64Array.from({ length: STEPS }, (_, step) => 2 ** (step / STEPS));
/** ln 2 / STEPS in two parts, so that a whole multiple of the first is exact (Cody and Waite 1980). */
const STEP_HIGH = 0.0027076061523985118;
const STEP_LOW = 2.1663774597523674e-11;
const SHIFT = 2 ** 19;
const NEAREST = SHIFT + 0.5;
const LOWEST = -1022;
const POWERS = Float64Array.from({ length: 1024 - LOWEST }, (_, at) => 2 ** (at + LOWEST));

/** e^x within 2 units of the last place, for what a softmax sums: from -708 down it is 0. About twice as fast as Math.exp. */
export function exponential(x: number): number {
  if (!(x > -708 && x < 709)) return x <= -708 ? 0 : Math.exp(x);
  const step = ((x * (STEPS / Math.LN2) + NEAREST) | 0) - SHIFT; // positive where it is cut off
  const rest = x - step * STEP_HIGH - step * STEP_LOW;
  const fraction = FRACTIONS[step & (STEPS - 1)]!;
  const more = rest + rest * rest * (0.5 + rest * (1 / 6 + rest * (1 / 24)));
  return (fraction + fraction * more) * POWERS[(step >> 8) - LOWEST]!;
}

/** log(sum(exp(x))) over a stream, never overflowing and right for -Infinity (a candidate of probability zero). */
export class LogSumExp {
  #max = Number.NEGATIVE_INFINITY;
  #sum = 0;

  add(x: number): void {
    if (x <= this.#max) {
      // -Infinity after only -Infinity adds nothing: exp(-Infinity - -Infinity) would be NaN
      if (x !== Number.NEGATIVE_INFINITY) this.#sum += exponential(x - this.#max);
    } else {
      this.#sum = this.#sum * exponential(this.#max - x) + 1;
      this.#max = x;
    }
  }

  /** -Infinity when nothing but -Infinity was added; not finite when a NaN or +Infinity was. */
  get value(): number {
    return this.#sum === 0 ? this.#max : this.#max + Math.log(this.#sum);
  }

  reset(): void {
    this.#max = Number.NEGATIVE_INFINITY;
    this.#sum = 0;
  }
}
