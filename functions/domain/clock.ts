/** Time as a value: milliseconds since 1970, handed in so that rules never read a clock. */
export interface Clock {
  now(): number;
}
