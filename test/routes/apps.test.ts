/** Apps, keys and anonymous tokens. */
import { decode } from "hono/jwt";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { findApp, findAppById, findAppByName } from "../../functions/store/apps.ts";
import { call, json, makeApp, operator } from "../http/caller.ts";
import type { CallOptions } from "../http/caller.ts";

const DAY = 24 * 3600 * 1000;

describe("an app", () => {
  it("is made with a name and two keys that differ every time", async () => {
    const [a, b] = [await makeApp("Larder"), await makeApp("Larder")];
    expect(a.id).toMatch(/^app_[0-9A-Za-z]{11}$/);
    expect(a.secret).toMatch(/^ew_sk_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}$/);
    expect(a.publishable).toMatch(/^ew_pk_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}$/);
    expect(new Set([a.id, b.id, a.secret, b.secret, a.publishable, b.publishable]).size).toBe(6);
    const read = await json(await call(`/v1/apps/${a.id}`, { key: operator }));
    expect(read).toEqual({ id: a.id, name: "Larder", consistency: "bounded", createdAt: expect.stringMatching(/Z$/) });
    expect((await call("/v1/apps/app_00000000000", { key: operator })).status).toBe(404);
  });

  it("needs a name of 1 to 100 characters", async () => {
    for (const name of ["", "   ", "x".repeat(101), 5, null]) {
      const response = await call("/v1/apps", { key: operator, body: { name } });
      expect(response.status).toBe(400);
      expect(await json(response)).toMatchObject({ code: "invalid_request", errors: [{ pointer: "/name" }] });
    }
  });
});

describe("a deleted app", () => {
  const erase = (id: string, more: CallOptions = {}) =>
    call(`/v1/apps/${id}`, { method: "DELETE", key: operator, ...more });

  it("is answered with what goes and by when, and again with the same dates", async () => {
    const app = await makeApp();
    const first = await erase(app.id);
    expect(first.status).toBe(202);
    const told = await json<{ deletedAt: string; keysRefusedBy: string; goneBy: string; copies: { goneBy: string }[] }>(
      first,
    );
    const at = Date.parse(told.deletedAt);
    expect(Date.parse(told.keysRefusedBy)).toBe(at + 30_000);
    expect(Date.parse(told.goneBy)).toBe(at + DAY);
    expect(told.copies.length).toBeGreaterThan(5);
    for (const { goneBy } of told.copies) expect(Date.parse(goneBy)).toBeGreaterThanOrEqual(at + DAY);
    const again = await erase(app.id, { offsetMs: 60_000 });
    expect([again.status, await json(again)]).toEqual([202, told]);
  });

  it("has no key that works, was it used a moment ago or never", async () => {
    const app = await makeApp();
    const token = await app.userToken("u1");
    const body = { installationId: "installation" };
    const use = (key: string) => call("/v1/anonymous-tokens", { key, token, body });
    expect((await use(app.publishable)).status).toBe(201); // now it is cached, the secret one is not
    await erase(app.id);
    for (const key of [app.publishable, app.secret]) {
      const refused = await use(key);
      expect([refused.status, (await json(refused))["code"]]).toEqual([401, "unauthenticated"]);
    }
  });

  it("is absent for every other route, takes no new key, and leaves its neighbour alone", async () => {
    const [app, neighbour] = [await makeApp("Same name"), await makeApp("Same name")];
    const before = await findAppByName(env, "Same name");
    expect(before?.id).toBe(app.id);
    await erase(app.id);
    for (const [method, path, body] of [
      ["GET", "", undefined],
      ["GET", "/keys", undefined],
      ["POST", "/keys", { kind: "secret" }],
      ["POST", "/keys", { kind: "userTokenSecret" }],
      ["DELETE", `/keys/${app.tokenSecret.id}`, undefined],
    ] as const) {
      const response = await call(`/v1/apps/${app.id}${path}`, { method, key: operator, body });
      expect([method, path, response.status]).toEqual([method, path, 404]);
    }
    expect(await findApp(env, before!.app)).toBeUndefined();
    expect(await findAppById(env, app.id)).toBeUndefined();
    expect((await findAppByName(env, "Same name"))?.id).toBe(neighbour.id);
    expect((await call(`/v1/apps/${neighbour.id}`, { key: operator })).status).toBe(200);
    const body = { installationId: "installation" };
    expect((await call("/v1/anonymous-tokens", { key: neighbour.secret, body })).status).toBe(201);
  });

  it("is the operator's alone, 404 when there is none, and does not need its wake-up", async () => {
    const app = await makeApp();
    const asked = await call(`/v1/apps/${app.id}`, { method: "DELETE", key: app.secret });
    expect(asked.status).toBe(403);
    expect((await erase("app_00000000000")).status).toBe(404);
    const jobs = { send: () => Promise.reject(new Error("broken on purpose")) } as unknown as Queue;
    expect((await erase(app.id, { env: { JOBS: jobs } })).status).toBe(202);
  });

  it("wakes its removal", async () => {
    const app = await makeApp();
    const row = await findAppById(env, app.id);
    const sent: unknown[] = [];
    const jobs = { send: async (message: unknown) => void sent.push(message) } as unknown as Queue;
    await erase(app.id, { env: { JOBS: jobs } });
    expect(sent).toEqual([{ type: "delete-app", app: row!.app }]);
  });
});

describe("keys", () => {
  it("are listed without themselves, revoked ones too", async () => {
    const app = await makeApp();
    const keys = `/v1/apps/${app.id}/keys`;
    const body = { kind: "publishable", origins: ["https://a.example", "http://localhost:3000"] };
    const minted = await json<{ id: string; key: string }>(await call(keys, { key: operator, body }));
    await call(`${keys}/${minted.id}`, { method: "DELETE", key: operator });
    const text = await (await call(keys, { key: operator })).text();
    expect(text).not.toContain("ew_");
    const list = (JSON.parse(text) as { keys: { id: string; kind: string; revokedAt: string | null }[] }).keys;
    expect(list.map(({ kind }) => kind).toSorted()).toEqual([
      "publishable",
      "publishable",
      "secret",
      "userTokenSecret",
    ]);
    expect(list.find(({ id }) => id === minted.id)).toMatchObject({
      origins: body.origins,
      revokedAt: expect.any(String),
    });
    expect(list.filter(({ revokedAt }) => revokedAt === null)).toHaveLength(3);
  });

  it("of one app can't be revoked through another", async () => {
    const [mine, theirs] = [await makeApp(), await makeApp()];
    const id = theirs.secret.split("_")[2];
    for (const keyId of [id, theirs.tokenSecret.id]) {
      expect((await call(`/v1/apps/${mine.id}/keys/${keyId}`, { method: "DELETE", key: operator })).status).toBe(404);
    }
    const use = { key: theirs.secret, token: await theirs.userToken("u"), body: { installationId: "installation" } };
    expect((await call("/v1/anonymous-tokens", use)).status).toBe(201);
    expect((await call("/v1/apps/app_x/keys", { key: operator, body: { kind: "secret" } })).status).toBe(404);
  });

  it("take scopes when secret and origins when publishable, and nothing malformed", async () => {
    const app = await makeApp();
    const mint = async (body: unknown) => (await call(`/v1/apps/${app.id}/keys`, { key: operator, body })).status;
    expect(await mint({ kind: "secret", scopes: ["trainer"] })).toBe(201);
    expect(await mint({ kind: "secret", scopes: ["everything"] })).toBe(400);
    expect(await mint({ kind: "publishable", scopes: ["trainer"] })).toBe(400);
    expect(await mint({ kind: "secret", origins: ["https://a.example"] })).toBe(400);
    for (const origin of ["a.example", "https://a.example/", "https://a.example/path", "javascript:alert(1)", "null"]) {
      expect([origin, await mint({ kind: "publishable", origins: [origin] })]).toEqual([origin, 400]);
    }
    expect(await mint({ kind: "operator" })).toBe(400);
  });

  it("end at twenty live ones, and a refused one frees its idempotency key's answer as a refusal", async () => {
    const app = await makeApp();
    const mint = (key: string) =>
      call(`/v1/apps/${app.id}/keys`, { key: operator, body: { kind: "secret" }, headers: { "idempotency-key": key } });
    const statuses = [];
    for (let count = 2; count < 22; count++) statuses.push((await mint(`key-${count}`)).status);
    expect(statuses.filter((status) => status === 201)).toHaveLength(18);
    expect(statuses.slice(-2)).toEqual([409, 409]);
    const replay = await mint("key-21");
    expect([replay.status, replay.headers.get("idempotent-replay")]).toEqual([409, "true"]);
    const first = await mint("key-2");
    expect([first.status, first.headers.get("idempotent-replay")]).toEqual([201, "true"]);
  });
});

describe("an anonymous token", () => {
  const ask = async (key: string, body: unknown, offsetMs = 0): Promise<Record<string, unknown>> => {
    const response = await call("/v1/anonymous-tokens", { key, body, offsetMs });
    return { status: response.status, ...(await json<Record<string, string>>(response)) };
  };
  const installationId = "7f1c9a52";

  it("is for a fresh user each time and is accepted by its own app only", async () => {
    const [app, other] = [await makeApp(), await makeApp()];
    const first = await ask(app.publishable, { installationId });
    const second = await ask(app.publishable, { installationId });
    expect(first["userId"]).toMatch(/^anon_[0-9A-Za-z]{22}$/);
    expect(second["userId"]).not.toBe(first["userId"]);
    const use = (key: string, token: string) => call("/v1/anonymous-tokens", { key, token, body: { installationId } });
    expect((await use(app.publishable, String(first["token"]))).status).toBe(201);
    expect((await use(other.publishable, String(first["token"]))).status).toBe(401);
    const { payload } = decode(String(first["token"]));
    expect(payload).toMatchObject({ sub: first["userId"], aud: "edgewise" });
    expect(JSON.stringify(payload)).not.toContain(installationId);
    expect(decode(String(first["eventsToken"])).payload).toMatchObject({ sub: first["userId"], aud: "events" });
    expect((await use(app.publishable, String(first["eventsToken"]))).status).toBe(403);
  });

  it("keeps its user when it is brought back within 30 days, by the same installation", async () => {
    const [app, other] = [await makeApp(), await makeApp()];
    const first = await ask(app.publishable, { installationId });
    const again = { installationId, token: String(first["token"]) };
    expect((await ask(app.publishable, again, 2 * DAY))["userId"]).toBe(first["userId"]);
    expect((await ask(app.publishable, again, 29 * DAY))["userId"]).toBe(first["userId"]);
    expect(await ask(app.publishable, again, 31 * DAY)).toMatchObject({ status: 401, code: "user_token_invalid" });
    expect((await ask(app.publishable, { ...again, installationId: "another-one" }))["status"]).toBe(401);
    expect((await ask(other.publishable, again))["status"]).toBe(401);
    expect((await ask(app.publishable, { installationId, token: await app.userToken("u1") }))["status"]).toBe(401);
  });

  it("reports a field that it does not know to a phone, and refuses it from a back end", async () => {
    const app = await makeApp();
    const body = { installationId, platform: "ios" };
    expect(await ask(app.publishable, body)).toMatchObject({
      status: 201,
      warnings: [{ pointer: "/platform", code: "unknown_field" }],
    });
    expect(await ask(app.secret, body)).toMatchObject({
      status: 400,
      errors: [{ pointer: "/platform", code: "unknown_field" }],
    });
  });
});
