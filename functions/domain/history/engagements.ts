/**
 * What a model reads of a history: engagements. View, save and cook of one item in one sitting are one token, exactly as the
 * trainer merges them (training/data.py, merge_engagements); otherwise input would not be what the model learned from.
 */
import { isPositive, weightOf, type HistoryEvent } from "./events.ts";

/** Events of one item, each within this time of the one before, are one engagement. */
export const ENGAGEMENT_MS = 12 * 3_600_000;

/** Positive events, oldest first, each engagement once: at the place and time of its first event, with its strongest type. */
export function mergeEngagements(history: readonly HistoryEvent[]): HistoryEvent[] {
  const merged: HistoryEvent[] = [];
  const open = new Map<number | string, { readonly at: number; readonly lastMs: number }>();
  for (const event of history) {
    if (!isPositive(event.type, event.value)) continue;
    const item = event.item ?? event.itemId ?? "";
    const known = open.get(item);
    const isSame = known !== undefined && event.occurredAt - known.lastMs <= ENGAGEMENT_MS;
    const at = isSame ? known.at : merged.length;
    const first = merged[at];
    if (first === undefined) merged.push(event);
    else if (weightOf(event.type, event.value) > weightOf(first.type, first.value)) {
      merged[at] = { ...event, occurredAt: first.occurredAt };
    }
    open.set(item, { at, lastMs: event.occurredAt });
  }
  return merged;
}
