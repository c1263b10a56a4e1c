import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batchesOf, groupByUser, type Sendable } from "../../cli/batches.ts";
import { attempt, EventIds, eventOf, exposureOf, impressionOf, itemOf } from "../../cli/rows.ts";

describe("item rows", () => {
  it.each([
    ["4.99", "EUR", 499],
    ["4.9", "EUR", 490],
    ["4", "EUR", 400],
    ["4.990", "EUR", 499],
    ["0.07", "GBP", 7],
    ["1200", "JPY", 1200],
    ["1.234", "KWD", 1234],
    [4.99, "USD", 499],
    ["1.10", "USD", 110],
  ])("turn the price %s %s into %i minor units", (price, currency, amountMinor) => {
    expect(itemOf({ id: "a", title: "t", price, currency })).toMatchObject({ price: { amountMinor, currency } });
  });

  it.each([
    [{ title: "t" }, "id", /missing/],
    [{ id: "a", title: " " }, "title", /missing/],
    [{ id: "a", title: "t", price: "4.999", currency: "EUR" }, "price", /more decimals/],
    [{ id: "a", title: "t", price: "-1", currency: "EUR" }, "price", /at least 0/],
    [{ id: "a", title: "t", price: "1e3", currency: "EUR" }, "price", /decimal number/],
    [{ id: "a", title: "t", price: "1" }, "currency", /missing/],
    [{ id: "a", title: "t", price: "1", currency: "EURO" }, "currency", /ISO 4217/],
    [{ id: "a", title: "t", createdAt: "2026-08-22" }, "createdAt", /RFC 3339/],
    [{ id: "a", title: "t", createdAt: "2026-02-31T99:00:00Z" }, "createdAt", /RFC 3339/],
    [{ id: "a", title: "t", attributes: "{" }, "attributes", /not JSON/],
    [{ id: "a", title: "t", attributes: "[1]" }, "attributes", /not a JSON object/],
    [{ id: "a", title: "t", hidden: "maybe" }, "hidden", /true or false/],
    [{ id: "a", title: "Caf\uFFFD" }, "title", /not UTF-8/],
    [{ id: { x: 1 }, title: "t" }, "id", /not text/],
  ])("%j are bad in column %s", (record, column, reason) => {
    const { fault } = attempt(() => itemOf(record));
    expect(fault?.column).toBe(column);
    expect(fault?.reason).toMatch(reason);
  });

  it("leave out empty fields and null attributes", () => {
    const record = {
      id: 7,
      title: "t",
      text: "",
      price: "",
      currency: "",
      attributes: '{"a":1,"b":null}',
      hidden: "0",
    };
    expect(itemOf(record)).toEqual({ id: "7", title: "t", attributes: { a: 1 }, hidden: false });
  });
});

describe("event rows", () => {
  it("bring their times to UTC", () => {
    const record = {
      userId: "u",
      itemId: "i",
      type: "view",
      occurredAt: "2026-08-22 18:04:00+02:00",
      value: "2",
      quantity: "",
    };
    expect(eventOf(record)).toEqual({
      userId: "u",
      itemId: "i",
      type: "view",
      occurredAt: "2026-08-22T16:04:00.000Z",
      value: 2,
    });
  });

  it.each([
    [{ itemId: "i", type: "view", occurredAt: "2026-08-22T00:00:00Z" }, "userId"],
    [{ userId: "u", itemId: "i", type: "view" }, "occurredAt"],
    [{ userId: "u", itemId: "i", type: "view", occurredAt: "1377000000" }, "occurredAt"],
    [{ userId: "u", itemId: "i", type: "view", occurredAt: "2026-08-22T00:00:00" }, "occurredAt"],
    [{ userId: "u", itemId: "i", type: "view", occurredAt: "2026-08-22T00:00:00Z", value: "many" }, "value"],
  ])("%j are bad in column %s", (record, column) => {
    expect(attempt(() => eventOf(record)).fault?.column).toBe(column);
  });

  it("without an id always get the same one, and equal rows different ones", async () => {
    const event = eventOf({ userId: "u", itemId: "i", type: "view", occurredAt: "2026-08-22T00:00:00Z" });
    const [first, second] = [new EventIds(), new EventIds()];
    const ids = [await first.identify(event), await first.identify(event)].map(({ id }) => id);
    expect([await second.identify(event), await second.identify(event)].map(({ id }) => id)).toEqual(ids);
    expect(new Set(ids).size).toBe(2);
    expect(ids[0]).toMatch(/^imp_[a-z2-7]{26}$/);
    expect((await first.identify({ ...event, id: "mine" })).id).toBe("mine");
  });

  it("of a list become one impression with the items by position", () => {
    const row = { listId: "l1", userId: "u", occurredAt: "2026-08-22T00:00:00Z", surface: "home", propensity: "0.5" };
    const exposures = [
      exposureOf({ ...row, itemId: "b", position: "1" }),
      exposureOf({ ...row, itemId: "a", position: "0", propensity: "0.25" }),
    ];
    expect(impressionOf(exposures)).toEqual({
      id: "imp_l1",
      userId: "u",
      itemId: "a",
      type: "impression",
      occurredAt: "2026-08-22T00:00:00.000Z",
      surface: "home",
      list: {
        id: "l1",
        policy: "imported",
        items: [
          { itemId: "a", position: 0, propensity: 0.25 },
          { itemId: "b", position: 1, propensity: 0.5 },
        ],
      },
    });
    expect(attempt(() => exposureOf({ ...row, itemId: "a", position: "0", propensity: "0" })).fault?.column).toBe(
      "propensity",
    );
  });
});

describe("batches", () => {
  const rows = fc
    .array(
      fc.record({
        user: fc.integer({ min: 0, max: 9 }),
        day: fc.integer({ min: 0, max: 20 }),
        bytes: fc.integer({ min: 1, max: 60 }),
      }),
      {
        maxLength: 120,
      },
    )
    .map((list) =>
      list.map(({ user, day, bytes }, line): Sendable => {
        const occurredAt = new Date(Date.UTC(2026, 0, 1 + day)).toISOString();
        return { line, bytes, body: { id: `e${line}`, userId: `u${user}`, occurredAt } };
      }),
    );
  const bounds = { rows: 7, users: 3, bytes: 100 };

  it("hold every row once, keep to all bounds, and keep each user's events in the order of time", () => {
    fc.assert(
      fc.property(rows, (list) => {
        const batches = [...batchesOf(groupByUser(list), bounds)];
        expect(
          batches
            .flat()
            .map((row) => row.line)
            .sort((a, b) => a - b),
        ).toEqual(list.map((row) => row.line));
        for (const batch of batches) {
          expect(batch.length).toBeLessThanOrEqual(bounds.rows);
          expect(new Set(batch.map((row) => row.body.userId)).size).toBeLessThanOrEqual(bounds.users);
          if (batch.length > 1)
            expect(batch.reduce((sum, row) => sum + row.bytes + 1, 0)).toBeLessThanOrEqual(bounds.bytes);
        }
        const lastOf = new Map<string, string>();
        for (const { body } of batches.flat()) {
          expect(body.occurredAt! >= (lastOf.get(body.userId!) ?? "")).toBe(true);
          lastOf.set(body.userId!, body.occurredAt!);
        }
      }),
    );
  });

  it("do not mix users more than the order by user needs", () => {
    const list = Array.from({ length: 200 }, (_, line): Sendable => {
      return { line, bytes: 10, body: { id: `e${line}`, userId: `u${line % 50}`, occurredAt: "2026-01-01T00:00:00Z" } };
    });
    expect(
      [...batchesOf(groupByUser(list), { rows: 1000, users: 40, bytes: 1e6 })].map((batch) => batch.length),
    ).toEqual([160, 40]);
  });
});
