/** Which items of a user's past may not come back: the `repeat` rule of a request, and what the user has hidden. */
import type { ActedItem, HistoryEvent } from "../history/events.ts";

type Acted = Pick<HistoryEvent, "type" | "occurredAt" | "item"> | ActedItem;

export interface RepeatRule {
  /** `exclude`: no item comes back that the user has acted on; `allow`: all may. */
  readonly policy: "allow" | "exclude";
  /** Event types that count as acting; default: every positive type. */
  readonly types?: readonly string[] | undefined;
  /** Only events younger than this many days exclude; default: all. */
  readonly minDays?: number | undefined;
}

const DAY_MS = 86_400_000;

/** Item numbers that `rule` takes out of a list for these acts, hidden items always included. */
export function excludedByHistory(
  acts: Iterable<Acted>,
  rule: RepeatRule,
  isPositive: (type: string) => boolean,
  now: number,
): Set<number> {
  const excluded = new Set<number>();
  const youngest = rule.minDays === undefined ? Number.NEGATIVE_INFINITY : now - rule.minDays * DAY_MS;
  for (const event of acts) {
    if (event.item === null) continue;
    if (event.type === "hide") {
      excluded.add(event.item);
    } else if (rule.policy === "exclude") {
      const counts = rule.types === undefined ? isPositive(event.type) : rule.types.includes(event.type);
      if (counts && event.occurredAt > youngest) excluded.add(event.item);
    }
  }
  return excluded;
}
