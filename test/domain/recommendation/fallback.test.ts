import fc from "fast-check";
import { expect, it } from "vitest";
import { fallbackList } from "../../../functions/domain/recommendation/fallback.ts";
import { excludedByHistory } from "../../../functions/domain/recommendation/repeat.ts";
import { isPositive } from "../../../functions/domain/history/events.ts";

const weighted = fc
  .uniqueArray(fc.integer({ min: 1, max: 40 }), { maxLength: 20 })
  .map((numbers) => numbers.map((number, at) => [number, 100 - at] as const));

it("is full while legal items exist, never repeats, never leaves the legal ones, and scores fall", () => {
  fc.assert(
    fc.property(
      weighted,
      weighted,
      fc.uniqueArray(fc.integer({ min: 1, max: 40 })),
      fc.integer({ min: 0, max: 60 }),
      (trending, popular, legal, count) => {
        const allowed = new Set(legal);
        const list = fallbackList({
          trending,
          popular,
          newest: Array.from({ length: 40 }, (_, at) => 40 - at),
          isLegal: (number) => allowed.has(number),
          count,
        });
        expect(list.numbers).toHaveLength(Math.min(count, allowed.size));
        expect(new Set(list.numbers).size).toBe(list.numbers.length);
        for (const number of list.numbers) expect(allowed.has(number)).toBe(true);
        for (let at = 1; at < list.scores.length; at += 1)
          expect(list.scores[at]!).toBeLessThanOrEqual(list.scores[at - 1]!);
      },
    ),
  );
});

const DAY = 86_400_000;
const act = (item: number, type: string, daysAgo: number) => ({ item, type, occurredAt: 100 * DAY - daysAgo * DAY });

it("lets an item come back by type and by age, but never a hidden one", () => {
  const acts = [act(1, "cook", 3), act(2, "view", 1), act(3, "hide", 50), act(4, "cook", 20), act(5, "skip", 1)];
  const out = (rule: Parameters<typeof excludedByHistory>[1]) =>
    [...excludedByHistory(acts, rule, isPositive, 100 * DAY)].toSorted((a, b) => a - b);
  expect(out({ policy: "exclude" })).toEqual([1, 2, 3, 4]);
  expect(out({ policy: "exclude", types: ["cook"] })).toEqual([1, 3, 4]);
  expect(out({ policy: "exclude", types: ["cook"], minDays: 7 })).toEqual([1, 3]);
  expect(out({ policy: "allow" })).toEqual([3]);
});
