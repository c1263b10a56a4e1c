/** /v1/users from outside: unknown users, what is shown, controls and consent, and an erasure that leaves nothing. */
import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { UserState } from "../../functions/objects/user-state.ts";
import { gunzip } from "../../functions/store/log.ts";
import { logStub, userStub } from "../../functions/store/subjects.ts";
import { call, json } from "../http/caller.ts";
import { sealedOf, storedText } from "../objects/objects.ts";
import { deliver, makeShop, post, sent, type Shop, totalsOf } from "./user-events.ts";

const get = (shop: Shop, id: string) => call(`/v1/users/${id}`, { key: shop.secret });

describe("an unknown user", () => {
  it("is a 404 to read and to change, a 202 to erase, and nothing is stored", async () => {
    const shop = await makeShop();
    const missing = await get(shop, "nobody");
    expect([missing.status, (await json(missing))["code"]]).toEqual([404, "not_found"]);
    const patched = await call("/v1/users/nobody", {
      method: "PATCH",
      key: shop.secret,
      body: { consent: { training: false } },
    });
    expect(patched.status).toBe(404);
    const erased = await call("/v1/users/nobody", { method: "DELETE", key: shop.secret });
    expect(erased.status).toBe(202);
    expect(await storedText(await userStub(env, shop.app, "nobody"))).toBe("{}");
    const rows = await env.DB.prepare("SELECT count(*) AS n FROM erasures WHERE app = ?1")
      .bind(shop.app)
      .first<{ n: number }>();
    expect(rows!.n).toBe(0);
    expect(await post(shop, [sent({ userId: "nobody" })])).toMatchObject({ accepted: 1 });
  });
});

describe("a known user", () => {
  it("shows the recent history with ids and titles, newest first", async () => {
    const shop = await makeShop();
    const at = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
    await post(shop, [
      sent({ id: "a", itemId: "i2", occurredAt: at(3) }),
      sent({ id: "b", itemId: "not-there", occurredAt: at(2) }),
      sent({ id: "c", itemId: "i1", type: "hide", occurredAt: at(1) }),
      sent({ id: "d", itemId: "i1", type: "impression" }),
    ]);
    const user = await json(await get(shop, "u1"));
    expect(user).toMatchObject({
      id: "u1",
      history: [
        { eventId: "c", itemId: "i1", title: "Title of i1", type: "hide" },
        { eventId: "b", itemId: "not-there", title: null },
        { eventId: "a", itemId: "i2", title: "Title of i2" },
      ],
      hiddenItemIds: ["i1"],
      controls: { lessMachineMade: false, moreTopics: [], lessTopics: [] },
      consent: { personalization: true, training: true, generatedText: true, policyVersion: null },
    });
    expect(JSON.stringify(user)).not.toContain("subject");
  });

  it("is changed by what is named, the rest stays", async () => {
    const shop = await makeShop();
    await post(shop, [sent()]);
    const patch = (body: unknown) => call("/v1/users/u1", { method: "PATCH", key: shop.secret, body });
    await patch({ attributes: { region: "north", age: 30 }, consent: { training: false, policyVersion: "2026-1" } });
    const user = await json(
      await patch({ attributes: { age: null }, controls: { lessMachineMade: true, moreTopics: ["soup"] } }),
    );
    expect(user).toMatchObject({
      attributes: { region: "north" },
      controls: { lessMachineMade: true, moreTopics: ["soup"], lessTopics: [] },
      consent: { training: false, personalization: true, policyVersion: "2026-1" },
    });
    const bad = await patch({ consent: { training: "no" } });
    expect([bad.status, (await json(bad))["errors"]]).toMatchObject([400, [{ pointer: "/consent/training" }]]);
  });

  it("is `me` on a phone, which sees nobody else", async () => {
    const shop = await makeShop();
    await post(shop, [sent({ userId: "mine" }), sent({ userId: "other" })]);
    const phone = { key: shop.publishable, token: await shop.userToken("mine") };
    expect(await json(await call("/v1/users/me", phone))).toMatchObject({ id: "mine" });
    expect((await call("/v1/users/mine", phone)).status).toBe(200);
    expect((await call("/v1/users/other", phone)).status).toBe(404);
    expect((await call("/v1/users/other", { ...phone, method: "DELETE" })).status).toBe(404);
    expect((await call("/v1/users/me", { key: shop.publishable })).status).toBe(401);
    const eventsOnly = { key: shop.publishable, token: await shop.userToken("mine", { audience: "events" }) };
    expect((await call("/v1/users/me", eventsOnly)).status).toBe(403);
  });

  it("of another app is a 404", async () => {
    const [one, two] = [await makeShop(), await makeShop()];
    await post(one, [sent()]);
    expect((await get(two, "u1")).status).toBe(404);
  });
});

/** Every row of every table of D1. */
async function wholeDatabase(): Promise<string> {
  const { results } = await env.DB.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
  ).all<{ name: string }>();
  const tables = results
    .map(({ name }) => name)
    .filter((name) => name !== "sqlite_sequence" && name !== "d1_migrations");
  const rows = await Promise.all(tables.map((name) => env.DB.prepare(`SELECT * FROM ${name}`).all()));
  return JSON.stringify(rows.map((table) => table.results));
}

async function wholeStorage(): Promise<string> {
  const namespaces = [env.USER_STATE, env.APP_LOG] as unknown as DurableObjectNamespace<UserState>[];
  const texts = [];
  for (const namespace of namespaces)
    for (const id of await listDurableObjectIds(namespace)) texts.push(await storedText(namespace.get(id)));
  return texts.join("\n");
}

async function wholeLog(): Promise<string> {
  const texts = [];
  for (const { key } of (await env.LOG.list()).objects)
    texts.push(key, await gunzip(await (await env.LOG.get(key))!.arrayBuffer()));
  return texts.join("\n");
}

describe("erasing", () => {
  it("leaves nothing of the user anywhere, sealed segments included, and keeps everybody else", async () => {
    const shop = await makeShop();
    const marks = [
      "erase-me-user",
      "erase-me-event-1",
      "erase-me-event-2",
      "erase-me-event-3",
      "a remark to forget",
      "erase-me-region",
    ];
    const of = { userId: "erase-me-user" };
    await post(shop, [
      sent({ ...of, id: "erase-me-event-1", itemId: "i2" }),
      sent({ ...of, id: "erase-me-event-2", type: "review", text: "a remark to forget" }),
      sent({ userId: "stays", id: "event-that-stays", itemId: "i2" }),
    ]);
    await call("/v1/users/erase-me-user", {
      method: "PATCH",
      key: shop.secret,
      body: { attributes: { region: "erase-me-region" } },
    });
    await deliver(shop, "erase-me-user");
    await deliver(shop, "stays");
    const shard = logStub(env, shop.app, 0);
    await shard.seal(Date.now(), { force: true });
    await post(shop, [sent({ ...of, id: "erase-me-event-3" })]); // not delivered yet, or open
    const { subject } = await (await userStub(env, shop.app, "erase-me-user")).recall();
    expect(await wholeLog()).toContain("erase-me-event-1");

    const response = await call("/v1/users/erase-me-user", {
      method: "DELETE",
      key: shop.secret,
      headers: { "idempotency-key": "erase-1" },
    });
    expect(response.status).toBe(202);
    const answer = await json(response);
    expect(Object.keys(answer)).toEqual(["servingErasedAt", "logsErasedBy", "modelsForgetBy", "copies"]);
    expect((answer["copies"] as { copy: string }[]).map(({ copy }) => copy)).toEqual([
      "user object",
      "open log rows",
      "sealed log segments",
      "dead letters",
      "point-in-time recovery of database and objects",
      "training checkpoints and models",
    ]);

    const [database, storage, segments] = [await wholeDatabase(), await wholeStorage(), await wholeLog()];
    for (const mark of marks) {
      expect(database).not.toContain(mark);
      expect(storage).not.toContain(mark);
      expect(segments).not.toContain(mark);
    }
    expect(segments).not.toContain(subject);
    expect(segments).toContain("event-that-stays");
    expect((await sealedOf(shop.app)).flatMap(({ records }) => records)).toHaveLength(1);
    expect(await totalsOf(shop, shop.numbers)).toEqual([
      { item: shop.numbers[1], views: 1, positives: 1, impressions: 0 },
    ]);
    const row = await env.DB.prepare("SELECT object_done_at, log_done_at FROM erasures WHERE app = ?1")
      .bind(shop.app)
      .first();
    expect(row).toEqual({ object_done_at: expect.any(Number), log_done_at: expect.any(Number) });
    expect((await get(shop, "stays")).status).toBe(200);
  });

  it("refuses late events for good, reads as a 404, and can be repeated with the same dates", async () => {
    const shop = await makeShop();
    await post(shop, [sent({ id: "before" })]);
    const first = await json(await call("/v1/users/u1", { method: "DELETE", key: shop.secret }));
    const late = await post(shop, [
      sent({ id: "before" }),
      sent({ id: "after", occurredAt: new Date().toISOString() }),
    ]);
    expect(late).toMatchObject({ status: 202, accepted: 0, rejected: 2 });
    for (const result of late.results)
      expect(result).toMatchObject({ status: "rejected", code: "erased", retryable: false });
    expect((await get(shop, "u1")).status).toBe(404);
    const again = await json(await call("/v1/users/u1", { method: "DELETE", key: shop.secret, offsetMs: 3_600_000 }));
    expect(again).toEqual(first);
    const stub = await userStub(env, shop.app, "u1");
    const tables = await runInDurableObject(stub, (_instance, state) =>
      state.storage.sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'").toArray(),
    );
    expect(tables.map(({ name }) => name).filter((name) => !name.startsWith("_cf"))).toEqual(["tombstone"]);
  });

  it("is the phone's right too", async () => {
    const shop = await makeShop();
    const phone = { key: shop.publishable, token: await shop.userToken("leaver") };
    await post(shop, [sent({ userId: "leaver" })]);
    expect((await call("/v1/users/me", { ...phone, method: "DELETE" })).status).toBe(202);
    expect((await call("/v1/users/me", phone)).status).toBe(404);
  });
});
