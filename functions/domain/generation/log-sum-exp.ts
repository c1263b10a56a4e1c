/** log(sum(exp(x))) over a stream, never overflowing and right for -Infinity (a candidate of probability zero). */
export class LogSumExp {
  #max = Number.NEGATIVE_INFINITY;
  #sum = 0;

  add(x: number): void {
    if (x <= this.#max) {
      // -Infinity after only -Infinity adds nothing: exp(-Infinity - -Infinity) would be NaN
      if (x !== Number.NEGATIVE_INFINITY) this.#sum += Math.exp(x - this.#max);
    } else {
      this.#sum = this.#sum * Math.exp(this.#max - x) + 1;
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
