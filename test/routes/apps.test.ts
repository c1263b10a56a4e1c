/** Apps, keys and anonymous tokens. */
import { decode } from "hono/jwt";
import { describe, expect, it } from "vitest";
import { call, json, makeApp, operator } from "../http/caller.ts";

const DAY = 24 * 3600 * 1000;

describe("an app", () => {
  it("is made with a name and two keys that differ every time", async () => {
    const [a, b] = [await makeApp("Larder"), await makeApp("Larder")];
    expect(a.id).toMatch(/^app_[0-9A-Za-z]{11}$/);
    expect(a.secret).toMatch(/^ew_sk_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}$/);
    expect(a.publishable).toMatch(/^ew_pk_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}$/);
    expect(new Set([a.id, b.id, a.secret, b.secret, a.publishable, b.publishable]).size).toBe(6);
    const read = await json(await call(`/v1/apps/${a.id}`, { key: operator }));
    expect(read).toEqual({ id: a.id, name: "Larder", createdAt: expect.stringMatching(/Z$/) });
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
