/** Puts what a phone has not delivered yet together with what its user's object holds. */
import type { HistoryEvent } from "./events.ts";

export const HISTORY_EVENTS = 200;

/**
 * Newest `limit` events of both, newest last, each event id once. An id that both know is taken from `stored`, whose time is
 * corrected. Equal times keep the order of arrival, stored before undelivered.
 */
export function mergeHistory(
  stored: readonly HistoryEvent[],
  undelivered: readonly HistoryEvent[],
  limit: number = HISTORY_EVENTS,
): HistoryEvent[] {
  const byId = new Map<string, HistoryEvent>();
  for (const event of [...stored, ...undelivered]) if (!byId.has(event.eventId)) byId.set(event.eventId, event);
  return [...byId.values()].sort((a, b) => a.occurredAt - b.occurredAt).slice(-limit);
}
