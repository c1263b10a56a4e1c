/** The world's own 120 days: 2026-01-01 to 2026-04-30, UTC. Times are whole seconds since the first midnight. */

export const DAYS = 120;
export const HELD_OUT_DAYS = 14;
export const FIRST_DAY_MS = 1_767_225_600_000;
export const DAY_SECONDS = 86_400;

/** RFC 3339 in UTC with whole seconds, from seconds since the first midnight (negative: before it). */
export function timeText(seconds: number): string {
  return `${new Date(FIRST_DAY_MS + seconds * 1000).toISOString().slice(0, 19)}Z`;
}

/** 0 Monday .. 6 Sunday; the first day is a Thursday. */
export function weekday(day: number): number {
  return (((day + 3) % 7) + 7) % 7;
}

/** How much each season shows on a day: winter fades and spring grows, a little summer at the end of April. */
export function seasonShare(day: number, season: "spring" | "summer" | "autumn" | "winter"): number {
  const progress = day / DAYS;
  if (season === "winter") return 1 - progress;
  if (season === "spring") return progress;
  if (season === "autumn") return Math.max(0, 0.4 - progress);
  return Math.max(0, progress - 0.6);
}

/**
 * Moves rows so that the world's last day becomes the UTC day before `nowMs`, by whole days; order and other fields stay.
 */
export function shiftToYesterday<Row extends { readonly occurredAt: string }>(
  rows: readonly Row[],
  nowMs: number,
): Row[] {
  const offset = offsetToYesterday(nowMs);
  return rows.map((row) => ({ ...row, occurredAt: shiftedText(row.occurredAt, offset) }));
}

/** Milliseconds (whole days) from the world's calendar to one whose last day is yesterday. */
export function offsetToYesterday(nowMs: number): number {
  const today = Math.floor(nowMs / (DAY_SECONDS * 1000)) * DAY_SECONDS * 1000;
  return today - (FIRST_DAY_MS + DAYS * DAY_SECONDS * 1000);
}

/** A time text moved by milliseconds; whole seconds stay whole seconds. */
export function shiftedText(time: string, offsetMs: number): string {
  return `${new Date(Date.parse(time) + offsetMs).toISOString().slice(0, 19)}Z`;
}
