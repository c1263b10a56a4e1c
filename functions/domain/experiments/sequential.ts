/**
 * Whether one group of users does worse than another, looked at as often as one likes. An interval of fixed size, tested at every look,
 * raises false alarms without end; a confidence sequence holds at all looks at once (mixture sequential probability ratio test:
 * Robbins 1970; Johari, Pekelis and Walsh, "Always Valid Inference", arXiv 1512.04922, section 4; for means of any distribution
 * asymptotically: Waudby-Smith et al., arXiv 2103.06476). Users are the unit: what one user does hangs together.
 */

/** Count, mean and sum of squared deviations of what each user brought (Welford 1962). */
export interface Moments {
  readonly users: number;
  readonly mean: number;
  readonly squares: number;
}

export const NO_USERS: Moments = { users: 0, mean: 0, squares: 0 };

export function withUser({ users, mean, squares }: Moments, value: number): Moments {
  const count = users + 1;
  const delta = value - mean;
  const next = mean + delta / count;
  return { users: count, mean: next, squares: squares + delta * (value - next) };
}

/** Moments of users who were counted in two places (Chan, Golub and LeVeque 1979). */
export function joined(left: Moments, right: Moments): Moments {
  const users = left.users + right.users;
  if (users === 0) return NO_USERS;
  const delta = right.mean - left.mean;
  return {
    users,
    mean: left.mean + (delta * right.users) / users,
    squares: left.squares + right.squares + (delta * delta * left.users * right.users) / users,
  };
}

export interface SequentialOptions {
  /** Chance that the interval ever, at any look, misses the truth. */
  readonly alpha: number;
  /** Size of a difference that matters, in units of the reward: the sequence is narrowest there. Positive. */
  readonly scale: number;
}

/** Users of either group before anything is said: below, a variance says little. */
export const FEWEST_USERS = 100;

export type Sequential =
  | { readonly kind: "too-few"; readonly users: number; readonly needed: number }
  | {
      readonly kind: "measured";
      /** Mean of the first group minus mean of the second. */
      readonly difference: number;
      readonly interval: readonly [low: number, high: number];
    };

/** The difference of two groups' means with an interval that is good at every look. @throws RangeError for alpha or scale out of bounds */
export function difference(first: Moments, second: Moments, { alpha, scale }: SequentialOptions): Sequential {
  if (!(alpha > 0 && alpha < 1)) throw new RangeError(`alpha must lie in (0, 1), got ${alpha}`);
  if (!(scale > 0)) throw new RangeError(`scale must be positive, got ${scale}`);
  const users = Math.min(first.users, second.users);
  if (users < FEWEST_USERS) return { kind: "too-few", users, needed: FEWEST_USERS };
  const variance = varianceOfMean(first) + varianceOfMean(second);
  const value = first.mean - second.mean;
  if (variance === 0) return { kind: "measured", difference: value, interval: [value, value] };
  const mixture = scale * scale;
  const ratio = (variance + mixture) / mixture;
  const half = Math.sqrt(variance * ratio * (2 * Math.log(1 / alpha) + Math.log((variance + mixture) / variance)));
  return { kind: "measured", difference: value, interval: [value - half, value + half] };
}

const varianceOfMean = ({ users, squares }: Moments): number => squares / (users - 1) / users;
