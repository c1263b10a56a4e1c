import { expect, it } from "vitest";
import { mergeEngagements } from "../../../functions/domain/history/engagements.ts";

const HOUR = 3_600_000;
const event = (item: number, type: string, hours: number) => ({
  eventId: `${item}-${type}-${hours}`,
  item,
  itemId: null,
  type,
  occurredAt: hours * HOUR,
  value: null,
});

it("makes one token of what was done with an item in one sitting, where it began, with the strongest type", () => {
  const merged = mergeEngagements([
    event(1, "view", 0),
    event(2, "view", 1),
    event(1, "cook", 2),
    event(1, "save", 3),
    event(3, "skip", 4),
    event(1, "view", 14), // 11 hours after the last of the sitting: still the same
    event(1, "view", 27), // 13 hours: another one
  ]);
  expect(merged.map(({ item, type, occurredAt }) => [item, type, occurredAt / HOUR])).toEqual([
    [1, "cook", 0],
    [2, "view", 1],
    [1, "view", 27],
  ]);
});
