/** Lists without a model: fallbacks, filters, exclusions, pages, tenants, bad input. With a model: test/serving. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { putItems } from "../../functions/store/items.ts";
import { userStub } from "../../functions/store/subjects.ts";
import { call, makeApp, type TestApp } from "../http/caller.ts";
import { item } from "../store/new-app.ts";
import { deliver, makeShop, post, sent } from "./user-events.ts";

interface Shown {
  itemId: string;
  position: number;
  slot: string;
  propensity?: number;
  item: Record<string, unknown>;
  reasons: { code: string; text: string }[];
}
interface List {
  recommendationId: string;
  source: string;
  degradedReason: string | null;
  items: Shown[];
  nextCursor: string | null;
  ignored: { pointer: string; code: string }[];
  warnings: { pointer: string; code: string }[];
  code?: string;
  errors?: { pointer: string; code: string; detail: string }[];
  detail?: string;
}

async function recommend(
  app: TestApp,
  body: unknown,
  options: { token?: string; path?: string; offsetMs?: number } = {},
) {
  const response = await call(options.path ?? "/v1/recommendations", {
    key: options.token === undefined ? app.secret : app.publishable,
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.offsetMs === undefined ? {} : { offsetMs: options.offsetMs }),
    body,
  });
  return { status: response.status, ...(await response.json<List>()) };
}

const idsOf = (list: { items: Shown[] }): string[] => list.items.map(({ itemId }) => itemId);

/** An app with items a0..a{n-1}; even ones are red, every third is cheap. */
async function makeCatalogue(count: number): Promise<TestApp & { app: number }> {
  const made = await makeApp();
  const row = await env.DB.prepare("SELECT app FROM apps WHERE id = ?1").bind(made.id).first<{ app: number }>();
  const rows = Array.from({ length: count }, (_, at) =>
    item(`a${at}`, {
      attributes: { colour: at % 2 === 0 ? "red" : "blue", tags: at % 4 === 0 ? ["x", "y"] : ["y"] },
      priceMinor: at % 3 === 0 ? 100 : 900,
      currency: "EUR",
    }),
  );
  await putItems(env, row!.app, rows, Date.now());
  return { ...made, app: row!.app };
}

describe("fallbacks", () => {
  it("gives the newest items, labelled, when nothing is known of an app but its catalogue", async () => {
    const app = await makeCatalogue(6);
    const list = await recommend(app, { userId: "nobody", count: 3 });
    expect(idsOf(list)).toEqual(["a5", "a4", "a3"]);
    expect(list).toMatchObject({ status: 200, source: "default", degradedReason: "no_model" });
    expect(list.items[0]!.reasons[0]!.code).toBe("new");
  });

  it("gives what is trending first once people act, and never what the user acted on", async () => {
    const shop = await makeShop();
    await post(shop, [
      sent({ userId: "a", itemId: "i1" }),
      sent({ userId: "b", itemId: "i1" }),
      sent({ userId: "b", itemId: "i2", type: "purchase" }),
    ]);
    await deliver(shop, "a");
    await deliver(shop, "b");
    const fresh = await recommend(shop, { userId: "unknown", count: 3 });
    expect(fresh.source).toBe("trending");
    expect(idsOf(fresh)).toEqual(["i2", "i1", "i3"]);
    const known = await recommend(shop, { userId: "b", count: 3 });
    expect(idsOf(known)).toEqual(["i3"]);
    const again = await recommend(shop, { userId: "b", count: 3, repeat: { policy: "allow" } });
    expect(idsOf(again).toSorted()).toEqual(["i1", "i2", "i3"]);
  });

  it("does not use the history of a user who does not consent, but keeps away what the user hid", async () => {
    const shop = await makeShop();
    await post(shop, [sent({ userId: "u", itemId: "i1" }), sent({ userId: "u", itemId: "i2", type: "hide" })]);
    expect(idsOf(await recommend(shop, { userId: "u" }))).toEqual(["i3"]);
    const consent = { personalization: false };
    await call("/v1/users/u", { method: "PATCH", key: shop.secret, body: { consent } });
    const list = await recommend(shop, { userId: "u", repeat: { policy: "exclude" } });
    expect(idsOf(list)).toEqual(["i3", "i1"]);
  });

  it("reading creates no storage for an unknown user", async () => {
    const app = await makeCatalogue(2);
    await recommend(app, { userId: "ghost" });
    const stub = await userStub(env, app.app, "ghost");
    expect((await stub.recall()).exists).toBe(false);
  });

  it("holds filters and exclusions, and is full while items are left", async () => {
    const app = await makeCatalogue(30);
    const filter = {
      and: [{ field: "colour", op: "eq", value: "red" }, { not: { field: "price", op: "gt", value: 500 } }],
    };
    const list = await recommend(app, { userId: "u", count: 100, filter, exclude: ["a6", "zzz"] });
    expect(idsOf(list)).toEqual(["a24", "a18", "a12", "a0"]);
    expect(list.ignored).toEqual([{ pointer: "/exclude/1", code: "unknown_item" }]);
    const none = await recommend(app, { userId: "u", filter: { field: "weight", op: "lt", value: 3 } });
    expect(none.items).toEqual([]);
    expect(none.ignored).toEqual([{ pointer: "/filter#weight", code: "unknown_field" }]);
  });

  it("pins where asked, but never past a filter or an exclusion", async () => {
    const app = await makeCatalogue(10);
    const body = {
      userId: "u",
      count: 4,
      pin: [
        { itemId: "a0", position: 1 },
        { itemId: "a1", position: 0 },
      ],
    };
    const list = await recommend(app, { ...body, filter: { field: "colour", op: "eq", value: "red" } });
    expect(idsOf(list)).toEqual(["a8", "a0", "a6", "a4"]);
    expect(list.items[1]).toMatchObject({ slot: "pinned", propensity: 1 });
    const excluded = await recommend(app, { ...body, exclude: ["a0", "a1"] });
    expect(excluded.items.every(({ slot }) => slot !== "pinned")).toBe(true);
  });

  it("gives the fields asked for, and attributes beside an item's own", async () => {
    const app = await makeCatalogue(1);
    const all = await recommend(app, { userId: "u" });
    expect(all.items[0]!.item).toMatchObject({
      title: "Title of a0",
      colour: "red",
      price: { amountMinor: 100, currency: "EUR" },
    });
    const some = await recommend(app, { userId: "u", fields: ["title", "nothing"] });
    expect(some.items[0]!.item).toEqual({ title: "Title of a0" });
  });
});

describe("freshness", () => {
  it("shows a put item, and drops a hidden and a deleted one, in the next strict request", async () => {
    const app = await makeCatalogue(3);
    await recommend(app, { userId: "u" });
    const put = (id: string, more: object) =>
      call(`/v1/items/${id}`, { method: "PUT", key: app.secret, body: { title: id, ...more } });
    await put("new", {});
    expect(idsOf(await recommend(app, { userId: "u", consistency: "strict" }))).toEqual(["new", "a2", "a1", "a0"]);
    await put("new", { hidden: true });
    await call("/v1/items/a1", { method: "DELETE", key: app.secret });
    expect(idsOf(await recommend(app, { userId: "u", consistency: "strict" }))).toEqual(["a2", "a0"]);
  });

  it("is exact for every request of an app that is set to strict, unless the request says bounded", async () => {
    const made = await call("/v1/apps", { key: env.OPERATOR_KEY, body: { name: "strict", consistency: "strict" } });
    const { keys } = await made.json<{ keys: { secret: string } }>();
    const ask = async (body: object) => {
      const response = await call("/v1/recommendations", { key: keys.secret, body: { userId: "u", ...body } });
      return idsOf(await response.json<List>());
    };
    const put = (id: string) => call(`/v1/items/${id}`, { method: "PUT", key: keys.secret, body: { title: id } });
    await put("one");
    expect(await ask({})).toEqual(["one"]);
    await put("two");
    expect(await ask({ consistency: "bounded" })).toEqual(["one"]);
    expect(await ask({})).toEqual(["two", "one"]);
  });

  it("sees a takedown within two seconds of requests without asking for strict", async () => {
    const app = await makeCatalogue(3);
    await recommend(app, { userId: "u" });
    await call("/v1/items/a2", { method: "PUT", key: app.secret, body: { title: "a2", hidden: true } });
    const bounded = async () => idsOf(await recommend(app, { userId: "u" }, { offsetMs: 1001 }));
    await expect.poll(bounded, { interval: 50, timeout: 1000 }).toEqual(["a1", "a0"]);
  });

  it("reflects an event in the very next list", async () => {
    const shop = await makeShop();
    expect(idsOf(await recommend(shop, { userId: "u" }))).toContain("i1");
    await post(shop, [sent({ userId: "u", itemId: "i1", type: "hide" })]);
    expect(idsOf(await recommend(shop, { userId: "u", repeat: { policy: "allow" } }))).not.toContain("i1");
  });
});

describe("pages", () => {
  it("never repeats an item over the pages of a cursor, and ends", async () => {
    const app = await makeCatalogue(25);
    const seen: string[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < 5; page += 1) {
      const list: List = await recommend(app, { userId: "u", count: 10, cursor });
      seen.push(...idsOf(list));
      cursor = list.nextCursor;
      if (cursor === null) break;
    }
    expect(seen).toHaveLength(25);
    expect(new Set(seen).size).toBe(25);
    expect(cursor).toBeNull();
  });

  it("refuses a cursor that is too old, foreign or made up", async () => {
    const app = await makeCatalogue(25);
    const other = await makeCatalogue(25);
    const { nextCursor } = await recommend(app, { userId: "u", count: 10 });
    const late = await recommend(app, { userId: "u", cursor: nextCursor }, { offsetMs: 31 * 60_000 });
    expect(late).toMatchObject({ status: 410, code: "cursor_expired" });
    expect(await recommend(other, { userId: "u", cursor: nextCursor })).toMatchObject({
      status: 400,
      code: "invalid_request",
    });
    expect(await recommend(app, { userId: "u", cursor: "c_AAAA" })).toMatchObject({ status: 400 });
  });
});

describe("similar and rank without a model", () => {
  it("falls back, and leaves the given items out of similar", async () => {
    const app = await makeCatalogue(4);
    const similar = await recommend(app, { itemIds: ["a3"] }, { path: "/v1/similar" });
    expect(similar).toMatchObject({ status: 200, degradedReason: "no_model" });
    expect(idsOf(similar)).toEqual(["a2", "a1", "a0"]);
    expect(similar.nextCursor).toBeNull();
    const unknown = { itemIds: ["a3", "nope"], exclude: ["none"], count: 1, filter: { field: "size", op: "exists" } };
    expect(await recommend(app, unknown, { path: "/v1/similar" })).toMatchObject({
      nextCursor: null,
      ignored: [
        { pointer: "/itemIds/1", code: "unknown_item" },
        { pointer: "/exclude/0", code: "unknown_item" },
        { pointer: "/filter#size", code: "unknown_field" },
      ],
    });
    const first = await recommend(app, { userId: "u", itemIds: ["a1", "a3"], count: 1 }, { path: "/v1/rank" });
    expect([first.items.length, first.nextCursor]).toEqual([1, null]);
    const rank = await recommend(app, { userId: "u", itemIds: ["a1", "a3", "nope"] }, { path: "/v1/rank" });
    expect(idsOf(rank).toSorted()).toEqual(["a1", "a3"]);
    expect(rank.ignored).toEqual([{ pointer: "/itemIds/2", code: "unknown_item" }]);
  });
});

describe("who may ask, and for what", () => {
  it("serves the bearer of a user token, and nobody else by a publishable key", async () => {
    const app = await makeCatalogue(3);
    const token = await app.userToken("phone");
    const own = await recommend(app, { count: 2 }, { token });
    expect(own.status).toBe(200);
    expect(own.items[0]).not.toHaveProperty("propensity");
    expect((await recommend(app, { count: 2, explain: true }, { token })).items[0]).toHaveProperty("propensity");
    expect(await recommend(app, { userId: "somebody" }, { token })).toMatchObject({ status: 403 });
    const lenient = await recommend(app, { count: 1, newThing: 1 }, { token });
    expect(lenient).toMatchObject({ status: 200, warnings: [{ pointer: "/newThing", code: "unknown_field" }] });
  });

  it("never lets another app's items into exclude, history, pin, similar or rank", async () => {
    const [app, other] = [await makeCatalogue(2), await makeApp()];
    const foreign = await recommend(other, {
      userId: "u",
      history: [{ itemId: "a1" }],
      exclude: ["a0"],
      pin: [{ itemId: "a1", position: 0 }],
    });
    expect(foreign.items).toEqual([]);
    expect(foreign.ignored.map(({ pointer }) => pointer)).toEqual(["/history/0/itemId", "/exclude/0", "/pin/0/itemId"]);
    expect((await recommend(other, { userId: "u", itemIds: ["a0"] }, { path: "/v1/rank" })).items).toEqual([]);
    expect(idsOf(await recommend(app, { userId: "u" }))).toEqual(["a1", "a0"]);
  });

  it("refuses a filter of ten thousand nodes at once", async () => {
    const app = await makeApp();
    const leaf = { field: "colour", op: "eq", value: "red" };
    const answer = await recommend(app, { userId: "u", filter: { or: Array.from({ length: 10_000 }, () => leaf) } });
    expect(answer).toMatchObject({ status: 400, errors: [{ pointer: "/filter", code: "invalid_filter" }] });
  });

  it.each([
    [{ userId: "u", count: 0 }, "/count"],
    [{ userId: "u", count: 101 }, "/count"],
    [{ userId: "u", count: "ten" }, "/count"],
    [{ userId: "u", exploration: 1.5 }, "/exploration"],
    [{ userId: "u", surprise: true }, "/surprise"],
    [{ userId: "u", filter: { field: "colour", op: "like", value: "r" } }, "/filter"],
    [{ userId: "u", filter: { field: "colour", op: "in", value: "r" } }, "/filter"],
    [{ userId: "u", history: [{ itemId: "a", occurredAt: "yesterday" }] }, "/history/0/occurredAt"],
    [{}, "/userId"],
  ])("names the field of %j", async (body, pointer) => {
    const app = await makeApp();
    const answer = await recommend(app, body);
    expect(answer).toMatchObject({ status: 400, code: "invalid_request" });
    expect(answer.errors!.map((error) => error.pointer).some((at) => at.startsWith(pointer))).toBe(true);
    expect(answer.errors![0]!.detail.length).toBeGreaterThan(5);
  });
});
