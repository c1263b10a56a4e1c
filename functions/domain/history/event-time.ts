/** When an event happened: the device's time moved by the difference between the two clocks, held to bounds. */

export const DAY_MS = 86_400_000;
/** Events may come this late (a phone's offline queue). */
export const LATE_MS = 30 * DAY_MS;
/** After correction an event may lie this far ahead of the receipt; it is then placed at the receipt. */
export const AHEAD_MS = 10 * 60_000;
/** Below this the difference is the way through the network, not a wrong clock: times stay as they are. */
export const SKEW_IGNORED_MS = 5000;

/** Milliseconds to add to a device's time to get the server's; 0 without `sentAt`. */
export function clockSkewMs(receivedAt: number, sentAt: number | null): number {
  return sentAt === null ? 0 : receivedAt - sentAt;
}

export type PlacedTime =
  | { readonly kind: "placed"; readonly at: number }
  | { readonly kind: "refused"; readonly code: "occurred_at_too_old" | "occurred_at_ahead"; readonly detail: string };

/**
 * Places an event. Backfilled ones keep their time, anything from 1970 to the receipt; others are corrected and may be
 * 30 days late and 10 minutes ahead.
 */
export function placeTime(
  occurredAt: number,
  context: { readonly receivedAt: number; readonly skewMs: number; readonly backfill: boolean },
): PlacedTime {
  const { receivedAt, backfill } = context;
  const shift = backfill || Math.abs(context.skewMs) <= SKEW_IGNORED_MS ? 0 : context.skewMs;
  const at = occurredAt + shift;
  const oldest = backfill ? 0 : receivedAt - LATE_MS;
  if (!(at >= oldest))
    return {
      kind: "refused",
      code: "occurred_at_too_old",
      detail: `occurredAt ${say(at)} is before ${say(oldest)}, the oldest time allowed${backfill ? "" : " (30 days back)"}`,
    };
  if (at > receivedAt + AHEAD_MS)
    return {
      kind: "refused",
      code: "occurred_at_ahead",
      detail: `occurredAt ${say(at)} is after ${say(receivedAt + AHEAD_MS)}, 10 minutes ahead of the receipt`,
    };
  return { kind: "placed", at: Math.min(at, receivedAt) };
}

function say(at: number): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : date.toISOString();
}

/** UTC day of a time, as days since 1970. */
export function dayOf(at: number): number {
  return Math.floor(at / DAY_MS);
}

/** `2026-11-24` of a day counted from 1970. */
export function dayName(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}
