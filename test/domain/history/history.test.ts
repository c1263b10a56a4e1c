/** Rules of time, merging, counting and imported ids: pure, against values worked out by hand. */
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  count,
  popularAsOf,
  popularFactor,
  trending,
  type Counts,
} from "../../../functions/domain/history/counters.ts";
import {
  AHEAD_MS,
  DAY_MS,
  clockSkewMs,
  dayName,
  dayOf,
  placeTime,
} from "../../../functions/domain/history/event-time.ts";
import { isPositive, weightOf, type HistoryEvent } from "../../../functions/domain/history/events.ts";
import { importEventId } from "../../../functions/domain/history/import-event-id.ts";
import {
  eventRecord,
  fromLines,
  listRecord,
  toLines,
  type LogRecord,
} from "../../../functions/domain/history/log-record.ts";
import { mergeHistory } from "../../../functions/domain/history/merge.ts";
import { incoming, shownList } from "./samples.ts";

const NOW = Date.UTC(2026, 10, 24, 12);

describe("the time of an event", () => {
  const live = { receivedAt: NOW, skewMs: 0, backfill: false };

  it("is moved by the difference between the device's clock and ours", () => {
    const skewMs = clockSkewMs(NOW, NOW - 3_600_000); // the device is an hour behind
    expect(skewMs).toBe(3_600_000);
    expect(placeTime(NOW - 3_660_000, { ...live, skewMs })).toEqual({ kind: "placed", at: NOW - 60_000 });
    expect(placeTime(NOW + 3_540_000, { ...live, skewMs: -3_600_000 })).toEqual({ kind: "placed", at: NOW - 60_000 });
  });

  it("stays as it is for a difference of up to 5 s, which is the network", () => {
    expect(placeTime(NOW - 1000, { ...live, skewMs: 5000 })).toEqual({ kind: "placed", at: NOW - 1000 });
    expect(clockSkewMs(NOW, null)).toBe(0);
  });

  it("may lie 30 days back and 10 minutes ahead, and then counts as now", () => {
    expect(placeTime(NOW - 30 * DAY_MS, live).kind).toBe("placed");
    expect(placeTime(NOW - 30 * DAY_MS - 1, live)).toMatchObject({ kind: "refused", code: "occurred_at_too_old" });
    expect(placeTime(NOW + AHEAD_MS, live)).toEqual({ kind: "placed", at: NOW });
    expect(placeTime(NOW + AHEAD_MS + 1, live)).toMatchObject({ kind: "refused", code: "occurred_at_ahead" });
  });

  it("is refused when it is no number or beyond every calendar, with the bound named", () => {
    for (const bad of [Number.NaN, Date.UTC(99_999, 0), Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      expect(placeTime(bad, live)).toMatchObject({ kind: "refused", detail: expect.stringContaining("2026-") });
  });

  it("of a backfill is taken as it is, from 1970 to now", () => {
    const backfill = { receivedAt: NOW, skewMs: 3_600_000, backfill: true };
    expect(placeTime(0, backfill)).toEqual({ kind: "placed", at: 0 });
    expect(placeTime(-1, backfill).kind).toBe("refused");
    expect(placeTime(NOW + DAY_MS, backfill).kind).toBe("refused");
  });

  it("falls on its UTC day", () => {
    expect(dayName(dayOf(Date.UTC(2026, 10, 24, 23, 59, 59, 999)))).toBe("2026-11-24");
    expect(dayOf(-1)).toBe(-1);
  });
});

describe("merging histories", () => {
  const entry = (eventId: string, occurredAt: number, more: Partial<HistoryEvent> = {}): HistoryEvent => ({
    eventId,
    item: 1,
    itemId: null,
    type: "view",
    occurredAt,
    value: null,
    ...more,
  });

  it("keeps each id once, stored before undelivered, in order of time", () => {
    const merged = mergeHistory([entry("a", 10), entry("b", 30)], [entry("b", 5), entry("c", 20)]);
    expect(merged.map(({ eventId, occurredAt }) => [eventId, occurredAt])).toEqual([
      ["a", 10],
      ["c", 20],
      ["b", 30],
    ]);
  });

  it("never repeats an id, stays in order and keeps the newest", () => {
    const events = fc.array(fc.record({ id: fc.integer({ min: 0, max: 30 }), at: fc.integer({ min: 0, max: 50 }) }));
    fc.assert(
      fc.property(events, events, fc.integer({ min: 1, max: 20 }), (a, b, limit) => {
        const made = (list: typeof a) => list.map(({ id, at }) => entry(`e${id}`, at));
        const merged = mergeHistory(made(a), made(b), limit);
        expect(new Set(merged.map(({ eventId }) => eventId)).size).toBe(merged.length);
        expect(merged.length).toBe(Math.min(limit, new Set([...a, ...b].map(({ id }) => id)).size));
        const whole = mergeHistory(made(a), made(b), 1000);
        expect(merged).toEqual(whole.slice(-limit));
        for (let i = 1; i < whole.length; i += 1)
          expect(whole[i]!.occurredAt).toBeGreaterThanOrEqual(whole[i - 1]!.occurredAt);
      }),
    );
  });
});

describe("what an event says", () => {
  it("makes views, saves, cooks and custom types positive, impressions nothing, skips and hides negative", () => {
    for (const type of ["view", "click", "like", "save", "purchase", "cook", "review", "bookmarked"])
      expect(isPositive(type), type).toBe(true);
    for (const type of ["impression", "skip", "hide", "refund", "removeFromCart"])
      expect(isPositive(type), type).toBe(false);
    expect(weightOf("toString")).toBe(2); // a custom type, not a property of Object
  });

  it("reads a rating by its value", () => {
    expect([1, 2, 3, 4, 5].map((value) => Math.sign(weightOf("rating", value)))).toEqual([-1, -1, 0, 1, 1]);
    expect(weightOf("rating")).toBe(0);
  });
});

describe("log records", () => {
  const owner = { subject: "ab".repeat(16), consentTraining: 1 } as const;
  const KEYS = [
    "v",
    "kind",
    "subject",
    "eventId",
    "type",
    "item",
    "itemId",
    "occurredAt",
    "receivedAt",
    "sessionId",
    "listId",
    "position",
    "surface",
    "value",
    "quantity",
    "amountMinor",
    "currency",
    "visibleMs",
    "modelVersion",
    "items",
    "source",
    "policy",
    "consentTraining",
  ];

  it("are flat with every key always there, for events and lists alike, without free text", () => {
    const event = incoming({ text: "a private remark" });
    for (const record of [
      eventRecord(event, null, owner),
      eventRecord(event, shownList(), owner),
      listRecord(shownList(), event, owner),
    ]) {
      expect(Object.keys(record)).toEqual(KEYS);
      expect(JSON.stringify(record)).not.toContain("private");
    }
  });

  it("name the item's string id only while its number is not known", () => {
    expect(eventRecord(incoming({ item: 5, itemId: "i5" }), null, owner)).toMatchObject({ item: 5, itemId: null });
    expect(eventRecord(incoming({ item: null, itemId: "i9" }), null, owner)).toMatchObject({
      item: null,
      itemId: "i9",
    });
  });

  it("come back from their lines", () => {
    const records = [eventRecord(incoming(), null, owner), listRecord(shownList(), incoming(), owner)];
    expect(fromLines(`${toLines(records)}\n`)).toEqual(records);
  });
});

describe("counters", () => {
  const owner = { subject: "00".repeat(16), consentTraining: 1 } as const;
  const day = dayOf(NOW);
  const of = (records: LogRecord[], sign: 1 | -1 = 1, counts: Counts = new Map()) => {
    count(counts, records, sign);
    return counts;
  };

  it("count views, positives and impressions by the event's own day", () => {
    const records = [
      eventRecord(incoming({ item: 3, type: "view", occurredAt: NOW }), null, owner),
      eventRecord(incoming({ item: 3, type: "save", occurredAt: NOW }), null, owner),
      eventRecord(incoming({ item: 3, type: "impression", occurredAt: NOW - DAY_MS }), null, owner),
      eventRecord(incoming({ item: null, itemId: "new", type: "view", occurredAt: NOW }), null, owner),
    ];
    expect([...of(records).values()]).toEqual([
      { day, item: 3, views: 1, positives: 2, impressions: 0, weight: 4 },
      { day: day - 1, item: 3, views: 0, positives: 0, impressions: 1, weight: 0 },
    ]);
  });

  it("count an imported list item by item in place of the impression that brought it, a served list not at all", () => {
    const event = incoming({ item: 11, type: "impression", source: "imported" });
    const list = shownList();
    const imported = of([listRecord(list, event, owner), eventRecord(event, list, owner)]);
    expect([...imported.values()].map(({ item, impressions }) => [item, impressions])).toEqual([
      [11, 1],
      [12, 1],
    ]);
    const served = incoming({ item: 11, type: "impression" });
    const counted = of([listRecord(list, served, owner), eventRecord(served, list, owner)]);
    expect([...counted.values()].map(({ item, impressions }) => [item, impressions])).toEqual([[11, 1]]);
  });

  it("go back to nothing when the same records are taken away", () => {
    const records = [
      eventRecord(incoming({ type: "cook" }), null, owner),
      eventRecord(incoming({ type: "impression" }), null, owner),
    ];
    for (const entry of of(records, -1, of(records)).values())
      expect(entry).toMatchObject({ views: 0, positives: 0, impressions: 0, weight: 0 });
  });

  it("halve a popularity weight in 180 days, whatever the day of asking", () => {
    const sum = 8 * popularFactor(day - 180) + 1 * popularFactor(day);
    expect(popularAsOf(sum, day)).toBeCloseTo(5, 9);
    expect(popularAsOf(sum, day + 180)).toBeCloseTo(2.5, 9);
  });

  it("put what rises above what is steady, and leave out what falls", () => {
    const rows = [];
    for (let age = 0; age < 14; age += 1) rows.push({ day: day - age, item: 1, weight: 20 }); // steady
    for (let age = 0; age < 3; age += 1) rows.push({ day: day - age, item: 2, weight: 10 }); // new
    for (let age = 3; age < 14; age += 1) rows.push({ day: day - age, item: 3, weight: 30 }); // over
    rows.push(
      { day, item: 3, weight: 1 },
      { day: day - 20, item: 4, weight: 1000 },
      { day: day + 1, item: 5, weight: 9 },
    );
    const rising = trending(rows, day, 10);
    expect(rising.map(([item]) => item)).toEqual([2]);
    expect(rising[0]![1]).toBeCloseTo(30, 9); // 30 expected 0: 30 / sqrt(1)
  });
});

describe("the id of an imported row", () => {
  it("is imp_ and the first 26 base32 characters of the sha256 of its five values", async () => {
    const row = { userId: "u1", itemId: "i1", type: "view", occurredAt: 1_400_000_000_000, occurrence: 0 };
    const digest = createHash("sha256").update('["u1","i1","view",1400000000000,0]').digest();
    const bits = [...digest].map((byte) => byte.toString(2).padStart(8, "0")).join("");
    const letters = "abcdefghijklmnopqrstuvwxyz234567";
    const expected = Array.from(
      { length: 26 },
      (_, i) => letters[Number.parseInt(bits.slice(5 * i, 5 * i + 5), 2)],
    ).join("");
    expect(await importEventId(row)).toBe(`imp_${expected}`);
    expect(await importEventId({ ...row, occurrence: 1 })).not.toBe(`imp_${expected}`);
  });
});
