/**
 * What log records add up to: views, positives, impressions and popularity weight per item and UTC day, and from those what
 * is popular and what is trending. Projections only: the same records always give the same counts.
 */
import { dayOf } from "./event-time.ts";
import { weightOf } from "./events.ts";
import type { LogRecord } from "./log-record.ts";

export interface Count {
  readonly day: number;
  readonly item: number;
  views: number;
  positives: number;
  impressions: number;
  /** Sum of positive weights. */
  weight: number;
}

export type Counts = Map<string, Count>;

/**
 * Adds records to `counts`; sign -1 takes them away again. An item counts as seen by its own impression; a list that was
 * imported (all of it was seen) counts each of its items in place of the impression that brought it.
 */
export function count(counts: Counts, records: readonly LogRecord[], sign: 1 | -1 = 1): void {
  for (const record of records) {
    const day = dayOf(record.occurredAt);
    if (record.kind === "list") {
      if (record.source !== "imported") continue;
      for (const shown of record.items) if (shown.item !== null) countOf(counts, day, shown.item).impressions += sign;
      continue;
    }
    if (record.item === null || record.type === null) continue;
    const isListed = record.source === "imported" && record.listId !== null;
    if (record.type === "impression" && isListed) continue;
    const entry = countOf(counts, day, record.item);
    if (record.type === "impression") entry.impressions += sign;
    if (record.type === "view" || record.type === "click") entry.views += sign;
    const weight = weightOf(record.type, record.value);
    if (weight > 0) {
      entry.positives += sign;
      entry.weight += sign * weight;
    }
  }
}

function countOf(counts: Counts, day: number, item: number): Count {
  const key = `${day}:${item}`;
  let entry = counts.get(key);
  if (entry === undefined) {
    entry = { day, item, views: 0, positives: 0, impressions: 0, weight: 0 };
    counts.set(key, entry);
  }
  return entry;
}

/** Popularity halves in half a year. */
export const POPULAR_HALF_LIFE_DAYS = 180;
/** 2020-01-01; any fixed day would do. */
const ORIGIN_DAY = 18_262;

/** Factor that makes decayed sums additive: a weight of `day` counts 2^((day - origin) / half-life), and only ratios matter. */
export function popularFactor(day: number): number {
  return 2 ** ((day - ORIGIN_DAY) / POPULAR_HALF_LIFE_DAYS);
}

/** Turns an additive sum into the decayed weight as of `today`. */
export function popularAsOf(sum: number, today: number): number {
  return sum / popularFactor(today);
}

/** Days that trending looks back over; the newest three stand against the days before. */
export const TRENDING_DAYS = 14;
const RECENT_DAYS = 3;

/**
 * Items that rise: z = (recent - expected) / sqrt(expected + 1), recent being the weight of the last three days and expected
 * three days at the average of the days before. Only z > 0, best first, ties by number.
 */
export function trending(
  days: Iterable<{ readonly day: number; readonly item: number; readonly weight: number }>,
  today: number,
  limit: number,
): [number, number][] {
  const recent = new Map<number, number>();
  const before = new Map<number, number>();
  for (const { day, item, weight } of days) {
    const age = today - day;
    if (age < 0 || age >= TRENDING_DAYS) continue;
    const side = age < RECENT_DAYS ? recent : before;
    side.set(item, (side.get(item) ?? 0) + weight);
  }
  const scored: [number, number][] = [];
  for (const [item, weight] of recent) {
    const expected = ((before.get(item) ?? 0) * RECENT_DAYS) / (TRENDING_DAYS - RECENT_DAYS);
    const z = (weight - expected) / Math.sqrt(expected + 1);
    if (z > 0) scored.push([item, z]);
  }
  return scored.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, limit);
}
