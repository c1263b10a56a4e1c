/** POST /v1/events from outside: a result for each event, one bad event spoiling none, and who may say what of whom. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { userStub } from "../../functions/store/subjects.ts";
import { call } from "../http/caller.ts";
import { openRecords } from "../objects/objects.ts";
import { deliver, makeShop, post, sent, tokenFor, totalsOf } from "./user-events.ts";

const DAY = 86_400_000;
const iso = (at: number): string => new Date(at).toISOString();
const historyOf = async (shop: { app: number }, userId: string) =>
  (await (await userStub(env, shop.app, userId)).recall()).events;

describe("an accepted event", () => {
  it("is answered with 202, is in the history at once, and is a duplicate when sent again", async () => {
    const shop = await makeShop();
    const events = [sent({ id: "e1", itemId: "i2", value: 3 }), sent({ id: "e2", userId: "u2" })];
    const first = await post(shop, events);
    expect(first).toMatchObject({ status: 202, accepted: 2, duplicates: 0, rejected: 0, clockSkewMs: 0 });
    expect(first.results[0]).toEqual({
      id: "e1",
      status: "accepted",
      code: null,
      pointer: null,
      detail: null,
      retryable: false,
    });
    expect(await historyOf(shop, "u1")).toMatchObject([
      { eventId: "e1", item: shop.numbers[1], itemId: null, type: "view", value: 3 },
    ]);
    const second = await post(shop, [...events, sent({ id: "e1" })]);
    expect(second).toMatchObject({ accepted: 0, duplicates: 3 });
    expect(await historyOf(shop, "u1")).toHaveLength(1);
  });

  it("of another app's user of the same name is apart", async () => {
    const [one, two] = [await makeShop(), await makeShop()];
    await post(one, [sent({ id: "same" })]);
    expect(await post(two, [sent({ id: "same" })])).toMatchObject({ accepted: 1 });
    expect((await historyOf(two, "u1"))[0]!.item).toBe(two.numbers[0]);
  });

  it("comes in gzip too", async () => {
    const shop = await makeShop();
    const stream = new Blob([JSON.stringify({ events: [sent()] })]).stream().pipeThrough(new CompressionStream("gzip"));
    const body = new Uint8Array(await new Response(stream).arrayBuffer());
    const response = await call("/v1/events", { key: shop.secret, body, headers: { "content-encoding": "gzip" } });
    expect(response.status).toBe(202);
  });

  it("keeps its text with the user and out of the log", async () => {
    const shop = await makeShop();
    await post(shop, [sent({ type: "review", text: "tastes of quince" })]);
    await deliver(shop, "u1");
    expect(JSON.stringify(await openRecords(shop.app))).not.toContain("quince");
    const user = await call("/v1/users/u1", { key: shop.secret });
    expect(await user.json()).toMatchObject({ history: [{ text: "tastes of quince" }] });
  });

  it("is logged flat with what it carried", async () => {
    const shop = await makeShop();
    await post(shop, [
      sent({
        id: "whole",
        type: "purchase",
        sessionId: "s1",
        surface: "home",
        position: 3,
        quantity: 2,
        price: { amountMinor: 499, currency: "EUR" },
      }),
    ]);
    await deliver(shop, "u1");
    expect(await openRecords(shop.app)).toMatchObject([
      {
        kind: "event",
        eventId: "whole",
        type: "purchase",
        item: shop.numbers[0],
        itemId: null,
        sessionId: "s1",
        surface: "home",
        position: 3,
        quantity: 2,
        amountMinor: 499,
        currency: "EUR",
        source: "api",
        consentTraining: 1,
      },
    ]);
  });
});

describe("a bad event", () => {
  it("spoils none of the others; its result names field, value and bound", async () => {
    const shop = await makeShop();
    const answer = await post(shop, [
      sent({ id: "good-1" }),
      sent({ id: "text-value", value: "NaN" }),
      sent({ id: "too-long", sessionId: "s".repeat(129) }),
      sent({ id: "far", occurredAt: "99999-01-01T00:00:00Z" }),
      sent({ id: "old", occurredAt: iso(Date.now() - 31 * DAY) }),
      sent({ id: "ahead", occurredAt: iso(Date.now() + DAY) }),
      sent({ id: "no-item", itemId: undefined }),
      sent({ id: "no-user", userId: undefined }),
      sent({ id: "extra", colour: "red" }),
      "not an object",
      null,
      sent({ id: "good-2" }),
    ]);
    expect(answer).toMatchObject({ status: 202, accepted: 2, rejected: 10 });
    const seen = answer.results.map(({ status, code, pointer }) => [status, code, pointer]);
    expect(seen).toEqual([
      ["accepted", null, null],
      ["rejected", "wrong_type", "/events/1/value"],
      ["rejected", "too_long", "/events/2/sessionId"],
      ["rejected", "invalid_format", "/events/3/occurredAt"],
      ["rejected", "occurred_at_too_old", "/events/4/occurredAt"],
      ["rejected", "occurred_at_ahead", "/events/5/occurredAt"],
      ["rejected", "required", "/events/6/itemId"],
      ["rejected", "required", "/events/7/userId"],
      ["rejected", "unknown_field", "/events/8/colour"],
      ["rejected", "wrong_type", "/events/9"],
      ["rejected", "wrong_type", "/events/10"],
      ["accepted", null, null],
    ]);
    expect(answer.results[1]!.detail).toBe('value: "NaN" is not of type number');
    expect(answer.results[2]!.detail).toMatch(/^sessionId: .*129 characters, at most 128 allowed$/);
    expect(answer.results.every(({ retryable }) => !retryable)).toBe(true);
  });

  it("is refused where its user could never be named again, to be read or erased", async () => {
    const shop = await makeShop();
    for (const userId of ["me", ".", "..", "\ud800"]) {
      const { results } = await post(shop, [sent({ userId })]);
      expect([userId, results[0]]).toMatchObject([userId, { status: "rejected", pointer: "/events/0/userId" }]);
    }
  });

  it("may hold no number beyond JSON's finite ones", async () => {
    const shop = await makeShop();
    const body = JSON.stringify({ events: [sent({ id: "huge", value: 7 })] }).replace('"value":7', '"value":1e999');
    const response = await call("/v1/events", { key: shop.secret, body });
    expect(await response.json()).toMatchObject({ rejected: 1, results: [{ id: "huge", pointer: "/events/0/value" }] });
    const nan = await call("/v1/events", { key: shop.secret, body: body.replace("1e999", "NaN") });
    expect([nan.status, (await nan.json<{ code: string }>()).code]).toEqual([400, "malformed_json"]);
  });
});

describe("the envelope", () => {
  it("of 1,001 events is refused with the bound, of 1,000 taken", async () => {
    const shop = await makeShop();
    const events = Array.from({ length: 1001 }, (_, i) => sent({ id: `m${i}`, type: "impression" }));
    const refused = await post(shop, events);
    expect(refused).toMatchObject({ status: 400, code: "invalid_request" });
    expect(refused.errors![0]).toMatchObject({ pointer: "/events", detail: expect.stringContaining("at most 1000") });
    expect(await post(shop, events.slice(1))).toMatchObject({ status: 202, accepted: 1000 });
  });

  it("over 1 MiB is a 413", async () => {
    const shop = await makeShop();
    const events = Array.from({ length: 600 }, () => sent({ text: "x".repeat(1900) }));
    expect((await post(shop, events)).status).toBe(413);
  });

  it("without events, or unreadable, is a 400", async () => {
    const shop = await makeShop();
    expect((await post(shop, [])).status).toBe(400);
    expect((await call("/v1/events", { key: shop.secret, body: "{" })).status).toBe(400);
  });

  it("tells the clock's difference and places late events by it", async () => {
    const shop = await makeShop();
    const hour = 3_600_000;
    const answer = await post(shop, [sent({ id: "slow", occurredAt: iso(Date.now() - hour - 60_000) })], {
      envelope: { sentAt: iso(Date.now() - hour) },
    });
    expect(Math.abs(answer.clockSkewMs - hour)).toBeLessThan(5000);
    const [event] = await historyOf(shop, "u1");
    expect(Math.abs(event!.occurredAt - (Date.now() - 60_000))).toBeLessThan(5000);
  });
});

describe("a publishable key", () => {
  it("needs a user token, and all events are of its user", async () => {
    const shop = await makeShop();
    const none = await call("/v1/events", { key: shop.publishable, body: { events: [sent()] } });
    expect([none.status, (await none.json<{ code: string }>()).code]).toEqual([401, "user_token_invalid"]);
    const token = await shop.userToken("phone-user");
    const answer = await post(
      shop,
      [sent({ userId: undefined }), sent({ userId: "phone-user" }), sent({ userId: "somebody-else" })],
      { token },
    );
    expect(answer.results.map(({ status, code }) => [status, code])).toEqual([
      ["accepted", null],
      ["accepted", null],
      ["rejected", "user_mismatch"],
    ]);
    expect(await historyOf(shop, "phone-user")).toHaveLength(2);
    expect(await historyOf(shop, "somebody-else")).toHaveLength(0);
  });

  it("may send with a long-lived token of the audience events", async () => {
    const shop = await makeShop();
    const token = await shop.userToken("offline", { audience: "events" });
    expect(await post(shop, [sent({ userId: undefined })], { token })).toMatchObject({ accepted: 1 });
  });

  it("has unknown fields ignored with a warning, in the envelope and in events", async () => {
    const shop = await makeShop();
    const token = await shop.userToken("phone");
    const answer = await post(
      shop,
      [sent({ userId: undefined, shade: 1 }), sent({ userId: undefined, value: "x", shade: 1 })],
      { token, envelope: { build: 77 } },
    );
    expect(answer.results.map(({ status }) => status)).toEqual(["accepted", "rejected"]);
    const pointers = answer.warnings.map(({ pointer }) => pointer);
    expect(pointers).toContain("/build");
    expect(pointers).toContain("/events/0/shade");
  });

  it("may not backfill", async () => {
    const shop = await makeShop();
    const token = await shop.userToken("phone");
    expect((await post(shop, [sent({ userId: undefined })], { token, envelope: { backfill: true } })).status).toBe(403);
  });
});

describe("backfill", () => {
  it("takes any time from 1970, counts it on its own day, and gives no clock correction", async () => {
    const shop = await makeShop();
    const at = Date.UTC(2014, 6, 1, 12);
    const answer = await post(shop, [sent({ id: "then", occurredAt: iso(at), type: "save" })], {
      envelope: { backfill: true, sentAt: iso(Date.now() - DAY) },
    });
    expect(answer).toMatchObject({ status: 202, accepted: 1 });
    expect(await historyOf(shop, "u1")).toMatchObject([{ occurredAt: at }]);
    await deliver(shop, "u1");
    expect(await openRecords(shop.app)).toMatchObject([{ occurredAt: at, source: "imported" }]);
    expect(
      (await post(shop, [sent({ occurredAt: iso(Date.now() + DAY) })], { envelope: { backfill: true } })).rejected,
    ).toBe(1);
  });

  it("holds at most 40 users", async () => {
    const shop = await makeShop();
    const events = Array.from({ length: 41 }, (_, i) => sent({ userId: `b${i}` }));
    const answer = await post(shop, events, { envelope: { backfill: true } });
    expect(answer).toMatchObject({
      status: 400,
      errors: [{ pointer: "/events", detail: expect.stringContaining("41 users, at most 40") }],
    });
    expect(await post(shop, events.slice(1), { envelope: { backfill: true } })).toMatchObject({ accepted: 40 });
    expect(await post(shop, events)).toMatchObject({ status: 202, accepted: 1, duplicates: 40 }); // not bound outside backfill
  });

  it("logs an imported list whole, with its propensities, and counts what was seen in it", async () => {
    const shop = await makeShop();
    const list = {
      id: "L1",
      policy: "random",
      items: [
        { itemId: "i1", position: 0, propensity: 0.5 },
        { itemId: "i3", position: 1, propensity: 0.25 },
      ],
    };
    const event = { ...sent({ id: "seen", type: "impression", list }), itemId: undefined };
    expect(await post(shop, [event])).toMatchObject({ rejected: 1, results: [{ pointer: "/events/0/list" }] });
    expect(await post(shop, [event], { envelope: { backfill: true } })).toMatchObject({ accepted: 1 });
    await deliver(shop, "u1");
    const [logged] = await openRecords(shop.app);
    expect(logged).toMatchObject({
      kind: "list",
      listId: "L1",
      policy: "random",
      source: "imported",
      modelVersion: null,
    });
    expect(logged!.items).toEqual([
      { item: shop.numbers[0], position: 0, slot: "ranked", w: 4096 },
      { item: shop.numbers[2], position: 1, slot: "ranked", w: 8192 },
    ]);
    expect(await totalsOf(shop, shop.numbers)).toMatchObject([
      { item: shop.numbers[0], impressions: 1 },
      { item: shop.numbers[2], impressions: 1 },
    ]);
  });
});

describe("a recommendationId", () => {
  it("logs its list once, however often it comes back", async () => {
    const shop = await makeShop();
    await env.DB.prepare(
      "INSERT INTO models (app, model, id, model_version, status, created_at) VALUES (?1, 4, 'm', 'm_abc', 'serving', 0)",
    )
      .bind(shop.app)
      .run();
    const recommendationId = await tokenFor(shop, shop.numbers, { model: 4 });
    const answer = await post(shop, [
      sent({ type: "impression", recommendationId, visibleMs: 900 }),
      sent({ type: "click", recommendationId }),
    ]);
    expect(answer.results.map(({ code }) => code)).toEqual([null, null]);
    expect(await post(shop, [sent({ type: "purchase", recommendationId })])).toMatchObject({ accepted: 1 });
    await deliver(shop, "u1");
    const records = await openRecords(shop.app);
    const lists = records.filter(({ kind }) => kind === "list");
    expect(lists).toHaveLength(1);
    expect(lists[0]).toMatchObject({ modelVersion: "m_abc", policy: "model", source: "api" });
    expect(lists[0]!.items.map((shown) => [shown.item, shown.slot, shown.w])).toEqual([
      [shop.numbers[0], "ranked", 0],
      [shop.numbers[1], "explored", 100],
      [shop.numbers[2], "ranked", 200],
    ]);
    expect(records.filter(({ kind }) => kind === "event").every(({ listId }) => listId === lists[0]!.listId)).toBe(
      true,
    );
  });

  it("of another user, forged, of another app or too old is ignored, and the event still counts", async () => {
    const [shop, other] = [await makeShop(), await makeShop()];
    await post(shop, [sent({ userId: "u9" })]);
    const { subject } = await (await userStub(env, shop.app, "u9")).recall();
    const foreign = await tokenFor(shop, shop.numbers, { subject });
    const old = await tokenFor(shop, shop.numbers, { issuedAt: Date.now() - 49 * 3_600_000 });
    const forged = `${(await tokenFor(shop, shop.numbers)).slice(0, -4)}AAAA`;
    const elsewhere = await tokenFor(other, other.numbers);
    const ids = [foreign, old, forged, elsewhere, "rec_", "nonsense"];
    const answer = await post(
      shop,
      ids.map((recommendationId) => sent({ recommendationId })),
    );
    for (const [i, result] of answer.results.entries())
      expect(result).toMatchObject({
        status: "accepted",
        code: "list_ignored",
        pointer: `/events/${i}/recommendationId`,
      });
    await deliver(shop, "u1");
    expect((await openRecords(shop.app)).filter(({ kind }) => kind === "list")).toEqual([]);
    const own = await post(shop, [sent({ userId: "u9", recommendationId: foreign })]);
    expect(own.results[0]).toMatchObject({ status: "accepted", code: null });
  });

  it("may name no item in an impression of the whole list", async () => {
    const shop = await makeShop();
    const recommendationId = await tokenFor(shop, shop.numbers);
    expect(await post(shop, [{ ...sent({ type: "impression", recommendationId }), itemId: undefined }])).toMatchObject({
      accepted: 1,
    });
  });
});

describe("an unknown item", () => {
  it("is kept by its id and shown by it, and resolved once the item is there", async () => {
    const shop = await makeShop();
    expect(await post(shop, [sent({ itemId: "later" })])).toMatchObject({ accepted: 1 });
    expect(await historyOf(shop, "u1")).toMatchObject([{ item: null, itemId: "later" }]);
    await call("/v1/items/later", { method: "PUT", key: shop.secret, body: { title: "Later" } });
    await (await userStub(env, shop.app, "u1")).tend(Date.now() + 60_000);
    expect((await historyOf(shop, "u1"))[0]!.item).toBeGreaterThan(0);
    expect(await post(shop, [sent({ itemId: "later" })])).toMatchObject({ accepted: 1 });
    expect((await historyOf(shop, "u1")).every(({ item }) => item !== null)).toBe(true);
  });
});
