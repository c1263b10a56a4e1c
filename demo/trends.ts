/** Fashions for one ingredient each, that begin on a known day, peak within a week and fade; one begins inside the held-out period. */
import { exp } from "./prng.ts";

export interface Trend {
  readonly ingredient: string;
  /** Day 0 is 2026-01-01. */
  readonly day: number;
  readonly halfLifeDays: number;
}

export const TRENDS: readonly Trend[] = [
  { ingredient: "miso", day: 26, halfLifeDays: 18 },
  { ingredient: "pistachio", day: 61, halfLifeDays: 24 },
  { ingredient: "gochujang", day: 92, halfLifeDays: 20 },
  { ingredient: "rhubarb", day: 109, halfLifeDays: 15 },
];

/** 0 before its day, up to 1 within five days, then halving every half-life. */
export function trendStrength(trend: Trend, day: number): number {
  const age = day - trend.day;
  if (age < 0) return 0;
  if (age < 5) return (age + 1) / 6;
  return exp((-Math.LN2 * (age - 5)) / trend.halfLifeDays);
}
