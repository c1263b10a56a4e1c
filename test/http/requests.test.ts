/** The frame around every request: who may call, what browsers get, limits, idempotency, and what a fault tells. */
import { env } from "cloudflare:workers";
import { Hono } from "hono";
import { afterEach, describe, expect, it, vi } from "vitest";
import { authenticate, hasScope, requireKind, resolvePathUser, resolveUser } from "../../functions/http/auth.ts";
import { onError } from "../../functions/http/errors.ts";
import { idempotent } from "../../functions/http/idempotency.ts";
import { frame } from "../../functions/http/request.ts";
import { signUserToken } from "../../functions/domain/identity/user-token.ts";
import { anonymousSecret } from "../../functions/http/user-token.ts";
import { base64url } from "../../functions/domain/identity/sealed.ts";
import { sweepIdempotencyKeys } from "../../functions/store/idempotency.ts";
import { call, json, makeApp, operator } from "./caller.ts";
import type { Bindings } from "../../functions/http/context.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const anonymous = { body: { installationId: "installation-1" } };
const code = async (response: Response) => (await json(response))["code"];

afterEach(() => {
  vi.restoreAllMocks();
});

describe("keys", () => {
  it("let each kind through on its own routes and give the others 401 or 403", async () => {
    const app = await makeApp();
    const path = `/v1/apps/${app.id}`;
    const admin = [
      ["POST", "/v1/apps", { name: "x" }],
      ["GET", path, undefined],
      ["GET", `${path}/keys`, undefined],
      ["POST", `${path}/keys`, { kind: "secret" }],
      ["DELETE", `${path}/keys/nothing`, undefined],
    ] as const;
    const wrongOperator = `${operator.slice(0, -1)}X`;
    for (const [method, url, body] of admin) {
      const statuses = [];
      for (const key of [undefined, "nonsense", wrongOperator, app.secret, app.publishable]) {
        const response = await call(url, { method, body, ...(key === undefined ? {} : { key }) });
        statuses.push(response.status);
        expect(response.headers.get("content-type")).toBe("application/problem+json");
      }
      expect([method, url, ...statuses]).toEqual([method, url, 401, 401, 401, 403, 403]);
      const allowed = await call(url, { method, body, key: operator });
      expect([200, 201, 404]).toContain(allowed.status);
    }
    expect((await call("/v1/anonymous-tokens", { ...anonymous, key: operator })).status).toBe(403);
    expect((await call("/v1/anonymous-tokens", { ...anonymous, key: app.publishable })).status).toBe(201);
  });

  it("are refused where one character, the kind or the place differs", async () => {
    const app = await makeApp();
    const other = app.secret.endsWith("A") ? "B" : "A";
    const attempts = [
      app.secret.slice(0, -1) + other,
      app.secret.replace("ew_sk", "ew_pk"),
      app.secret.slice(0, -1),
      "",
    ];
    for (const key of attempts) expect((await call("/v1/anonymous-tokens", { ...anonymous, key })).status).toBe(401);
    expect((await call(`/v1/anonymous-tokens?key=${app.secret}`, anonymous)).status).toBe(401);
    const basic = { headers: { authorization: `Basic ${btoa(app.secret)}` } };
    expect((await call("/v1/anonymous-tokens", { ...anonymous, ...basic })).status).toBe(401);
  });

  it("lie in the database as hashes and ciphertexts only", async () => {
    const app = await makeApp();
    const tables = ["api_keys", "token_secrets", "apps"].map((table) => env.DB.prepare(`SELECT * FROM ${table}`).all());
    const dump = JSON.stringify(await Promise.all(tables));
    for (const key of [app.secret, app.publishable, app.tokenSecret.key]) {
      expect(dump).not.toContain(key);
      expect(dump).not.toContain(key.slice(-43));
    }
  });

  it("stop working at once where they are revoked, and within 30 s in an isolate that still knows them", async () => {
    const app = await makeApp();
    const minted = await json<{ id: string; key: string }>(
      await call(`/v1/apps/${app.id}/keys`, { key: operator, body: { kind: "secret" } }),
    );
    const { id, key } = minted;
    const use = (offsetMs: number) => call("/v1/anonymous-tokens", { ...anonymous, key, offsetMs });
    expect((await use(0)).status).toBe(201);
    await env.DB.prepare("UPDATE api_keys SET revoked_at = 1 WHERE id = ?1").bind(id).run(); // as another isolate would
    expect((await use(20_000)).status).toBe(201);
    expect((await use(31_000)).status).toBe(401);
    expect((await call(`/v1/apps/${app.id}/keys/${id}`, { method: "DELETE", key: operator })).status).toBe(404);
    const second = await json<{ id: string; key: string }>(
      await call(`/v1/apps/${app.id}/keys`, { key: operator, body: { kind: "secret" } }),
    );
    const again = second;
    expect((await call("/v1/anonymous-tokens", { ...anonymous, key: again.key })).status).toBe(201);
    expect((await call(`/v1/apps/${app.id}/keys/${again.id}`, { method: "DELETE", key: operator })).status).toBe(204);
    expect((await call("/v1/anonymous-tokens", { ...anonymous, key: again.key })).status).toBe(401);
  });

  it("that were good lately stay good for ten minutes while the database can't be asked", async () => {
    vi.spyOn(console, "error").mockReturnValue();
    const app = await makeApp();
    const token = await app.userToken("u1");
    const DB = {
      prepare: () => {
        throw new Error("D1_ERROR: Network connection lost.");
      },
    } as unknown as D1Database;
    const use = (offsetMs: number, more = {}) =>
      call("/v1/anonymous-tokens", { ...anonymous, key: app.publishable, token, offsetMs, ...more });
    expect((await use(0)).status).toBe(201);
    expect((await use(9 * MINUTE, { env: { DB } })).status).toBe(201);
    expect((await use(11 * MINUTE, { env: { DB } })).status).toBe(503);
    expect((await call("/v1/anonymous-tokens", { ...anonymous, key: app.secret, env: { DB } })).status).toBe(503);
  });

  it("with scopes reach only what these name", async () => {
    const app = await makeApp();
    const body = { kind: "secret", scopes: ["import"] };
    const { key } = await json<{ key: string }>(await call(`/v1/apps/${app.id}/keys`, { key: operator, body }));
    expect(await code(await call("/v1/anonymous-tokens", { ...anonymous, key }))).toBe("forbidden");
    expect((await call("/v1/itemsandmore", { key })).status).toBe(403);
    expect((await call("/v1/models/m1", { key, method: "POST", body: {} })).status).toBe(403);
    expect([403, 401]).not.toContain((await call("/v1/items/nothing", { key })).status);
  });
});

describe("user tokens", () => {
  const use = (key: string, token: string, offsetMs = 0) =>
    call("/v1/anonymous-tokens", { ...anonymous, key, token, offsetMs });

  it("of the app's own secret are accepted, from whichever library they come", async () => {
    const app = await makeApp();
    expect((await use(app.publishable, await app.userToken("u1"))).status).toBe(201);
    const { sign } = await import("hono/jwt");
    const iat = Math.floor(Date.now() / 1000);
    const { id: kid, key } = app.tokenSecret;
    const k = base64url(new TextEncoder().encode(key));
    const token = await sign(
      { sub: "u1", aud: ["edgewise"], iat, exp: iat + 60 },
      { kty: "oct", k, alg: "HS256", kid },
    );
    expect((await use(app.publishable, token)).status).toBe(201);
  });

  it("are refused when expired, too long-lived, from the future, for another audience or without a subject", async () => {
    const app = await makeApp();
    const now = Date.now();
    const bad = {
      expired: await app.userToken("u1", { issuedAt: now - 2 * HOUR, lifetimeSeconds: 3600 }),
      longLived: await app.userToken("u1", { lifetimeSeconds: 25 * 3600 }),
      longEvents: await app.userToken("u1", { audience: "events", lifetimeSeconds: 31 * 24 * 3600 }),
      future: await app.userToken("u1", { issuedAt: now + 5 * MINUTE }),
      audience: await app.userToken("u1", { audience: "other" as "events", lifetimeSeconds: 60 }),
      noSubject: await app.userToken(""),
      longSubject: await app.userToken("u".repeat(257)),
    };
    for (const [why, token] of Object.entries(bad)) {
      const response = await use(app.publishable, token);
      expect([why, response.status, await code(response)]).toEqual([why, 401, "user_token_invalid"]);
    }
    const good = await app.userToken("u1", { lifetimeSeconds: 3600 });
    expect((await use(app.publishable, good, 59 * MINUTE)).status).toBe(201);
    expect((await use(app.publishable, good, 61 * MINUTE)).status).toBe(401);
  });

  it("are refused when signed by another app, by nobody, or by an algorithm of the token's own choice", async () => {
    const [app, foreign] = [await makeApp(), await makeApp()];
    const own = await app.userToken("u1");
    const [, claims = "", signature = ""] = own.split(".");
    const header = (alg: string, kid = app.tokenSecret.id) =>
      base64url(new TextEncoder().encode(JSON.stringify({ alg, typ: "JWT", kid })));
    const { sign } = await import("hono/jwt");
    const iat = Math.floor(Date.now() / 1000);
    const k = base64url(new TextEncoder().encode(app.tokenSecret.key));
    const hs512 = { kty: "oct", k, alg: "HS512" as const, kid: app.tokenSecret.id };
    const row = await env.DB.prepare("SELECT app FROM apps WHERE id = ?1").bind(app.id).first<{ app: number }>();
    const derived = await anonymousSecret(env, row?.app ?? 0);
    const bad = {
      anonymousForAnother: await signUserToken(derived, { kid: "anonymous", userId: "u1", issuedAt: Date.now() }),
      foreign: await foreign.userToken("u1"),
      foreignKid: `${header("HS256", foreign.tokenSecret.id)}.${claims}.${signature}`,
      anonymousKid: `${header("HS256", "anonymous")}.${claims}.${signature}`,
      none: `${header("none")}.${claims}.`,
      noneKeepingSignature: `${header("none")}.${claims}.${signature}`,
      hs512: await sign({ sub: "u1", aud: "edgewise", iat, exp: iat + 60 }, hs512),
      rs256: `${header("RS256")}.${claims}.${signature}`,
      changed: own.replace(claims, `${claims.slice(0, -2)}fQ`),
      noSignature: `${own.slice(0, own.lastIndexOf("."))}.`,
      nonsense: "abc",
      nullHeader: `${base64url(new TextEncoder().encode("null"))}.${claims}.${signature}`,
      long: "a".repeat(5000),
    };
    for (const [why, token] of Object.entries(bad)) {
      const response = await use(app.publishable, token);
      expect([why, response.status, await code(response)]).toEqual([why, 401, "user_token_invalid"]);
    }
  });

  it("for events can do nothing but post events", async () => {
    const app = await makeApp();
    const token = await app.userToken("u1", { audience: "events" });
    expect(await code(await use(app.publishable, token))).toBe("forbidden");
    expect(await code(await call("/v1/recommendations", { key: app.publishable, token, body: {} }))).toBe("forbidden");
    expect(await code(await call("/v1/events", { key: app.publishable, token }))).toBe("forbidden");
    const posted = await call("/v1/events", { key: app.publishable, token, body: {} });
    expect([401, 403]).not.toContain(posted.status);
  });

  it("go on with the second secret while the first is rotated away, and end with their own", async () => {
    const app = await makeApp();
    const keys = `/v1/apps/${app.id}/keys`;
    const mint = () => call(keys, { key: operator, body: { kind: "userTokenSecret" } });
    expect((await mint()).status).toBe(201);
    expect(await code(await mint())).toBe("conflict");
    const token = await app.userToken("u1");
    expect((await use(app.publishable, token)).status).toBe(201);
    expect((await call(`${keys}/${app.tokenSecret.id}`, { method: "DELETE", key: operator })).status).toBe(204);
    expect((await use(app.publishable, token)).status).toBe(401);
    expect((await mint()).status).toBe(201);
  });
});

describe("browsers", () => {
  const origin = "https://shop.example";

  it("get a preflight answered without a key, for both credential headers", async () => {
    const response = await call("/v1/recommendations", {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
    });
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    expect(response.headers.get("access-control-allow-headers")).toMatch(/Authorization.*X-User-Token/);
  });

  it("may read an answer only where the key lists their origin, and are refused where it lists others", async () => {
    const app = await makeApp();
    const body = { kind: "publishable", origins: [origin] };
    const { key } = await json<{ key: string }>(await call(`/v1/apps/${app.id}/keys`, { key: operator, body }));
    const from = (name: string, withKey: string) =>
      call("/v1/anonymous-tokens", { ...anonymous, key: withKey, headers: { origin: name } });
    const listed = await from(origin, key);
    expect(listed.status).toBe(201);
    expect(listed.headers.get("access-control-allow-origin")).toBe(origin);
    expect(listed.headers.get("vary")).toContain("Origin");
    const problem = await call("/v1/anonymous-tokens", { key, headers: { origin }, body: {} });
    expect([problem.status, problem.headers.get("access-control-allow-origin")]).toEqual([400, origin]);
    const other = await from("https://evil.example", key);
    expect(other.status).toBe(403);
    expect(other.headers.get("access-control-allow-origin")).toBeNull();
    for (const unbound of [app.publishable, app.secret]) {
      const response = await from(origin, unbound);
      expect(response.status).toBe(201);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
    expect((await call("/v1/anonymous-tokens", { ...anonymous, key })).status).toBe(201); // no browser, no Origin
  });
});

describe("every answer", () => {
  it("bears a request id, rate limits and secure headers, whatever its status", async () => {
    const app = await makeApp();
    for (const response of [
      await call("/healthz"),
      await call("/v1/nothing"),
      await call("/v1/nothing", { key: app.secret }),
      await call("/v1/anonymous-tokens", { key: app.publishable, body: {} }),
      await call("/v1/anonymous-tokens", { key: app.publishable, ...anonymous }),
    ]) {
      expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/);
      expect(response.headers.get("ratelimit-policy")).toBe('"gate";q=600;w=60');
      expect(response.headers.get("ratelimit")).toMatch(/^"gate";r=\d+;t=\d+$/);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      expect(response.headers.get("strict-transport-security")).toContain("max-age=");
      expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(response.headers.get("cache-control")).toBe("no-store");
    }
  });

  it("keeps a sane request id of the caller's and replaces one that could spoil a log", async () => {
    const ask = async (id: string) =>
      (await call("/nothing", { headers: { "x-request-id": id } })).headers.get("x-request-id");
    expect(await ask("trace-01:abc.def")).toBe("trace-01:abc.def");
    for (const id of ["short", "a b c d e f g h", '{"level":"x"}', "x".repeat(129)]) expect(await ask(id)).not.toBe(id);
    const response = await call("/nothing", { headers: { "x-request-id": "trace-01:abc.def" } });
    expect(await json(response)).toMatchObject({
      requestId: "trace-01:abc.def",
      instance: "trace-01:abc.def",
      status: 404,
    });
  });

  it("is 405 with Allow where the path exists with other methods, 404 where it does not", async () => {
    const app = await makeApp();
    const wrong = await call("/v1/apps", { method: "PATCH", key: operator, body: {} });
    expect([wrong.status, wrong.headers.get("allow"), await code(wrong)]).toEqual([405, "POST", "method_not_allowed"]);
    const keys = await call(`/v1/apps/${app.id}/keys`, { method: "PUT", key: operator, body: {} });
    expect(keys.headers.get("allow")).toBe("GET, HEAD, POST");
    expect((await call("/healthz", { method: "POST", body: {} })).status).toBe(405);
    expect((await call("/healthz", { method: "HEAD" })).status).toBe(200);
    expect(await code(await call("/v1/nothing", { key: app.secret }))).toBe("not_found");
    expect(await code(await call(`/v1/apps/app_nothing`, { key: operator }))).toBe("not_found");
  });
});

describe("the gate", () => {
  it("refuses a user beyond 600 requests in a minute, counts down, and lets others and secret keys pass", async () => {
    const app = await makeApp();
    const [first, second] = [await app.userToken("busy"), await app.userToken("calm")];
    const use = (key: string, token: string) => call("/v1/nothing", { key, token });
    const before = await use(app.publishable, first);
    expect(before.status).toBe(404);
    expect(before.headers.get("ratelimit")).toMatch(/^"gate";r=599;/);
    const number = await env.DB.prepare("SELECT app FROM apps WHERE id = ?1").bind(app.id).first<{ app: number }>();
    const fill = () =>
      Promise.all(Array.from({ length: 600 }, () => env.LIMITER.limit({ key: `user:${number?.app}:busy` })));
    await fill();
    let refused = await use(app.publishable, first);
    if (refused.status !== 429) refused = await fill().then(() => use(app.publishable, first)); // a new minute had begun
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(refused.headers.get("ratelimit")).toMatch(/^"gate";r=0;/);
    expect(await json(refused)).toMatchObject({ code: "rate_limited", retryable: true });
    expect((await use(app.publishable, second)).status).toBe(404);
    expect((await use(app.secret, first)).status).toBe(404);
  });

  it("asks nobody about a caller whose keys are right, and after ten wrong ones before the database is asked", async () => {
    const asked: string[] = [];
    const LIMITER = {
      limit: async ({ key }: { key: string }) => {
        asked.push(key);
        return { success: true };
      },
    };
    const headers = { "cf-connecting-ip": "192.0.2.77" };
    const isGuess = (key: string) => key === "key-lookup:192.0.2.77";
    const app = await makeApp();
    const use = (key: string, more: Partial<Env> = {}) =>
      call("/v1/nothing", { headers, key, env: { LIMITER, ...more } });
    await use(app.secret);
    expect(asked.filter(isGuess)).toEqual([]);
    let looked = 0;
    const DB = new Proxy(env.DB, {
      get(target, name) {
        if (name === "prepare") looked += 1;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const wrong = (at: number) => `ew_sk_${"g".repeat(10)}${at}_${"b".repeat(43)}`;
    for (let at = 0; at < 10; at += 1) expect((await use(wrong(at), { DB })).status).toBe(401);
    expect([asked.filter(isGuess).length, looked]).toEqual([10, 10]);
    const closed = { limit: async () => ({ success: false }) };
    expect((await use(wrong(10), { DB, LIMITER: closed })).status).toBe(429);
    expect(looked).toBe(10);
  });

  it("makes guessing keys dear for the guesser", async () => {
    const LIMITER = { limit: async ({ key }: { key: string }) => ({ success: !key.startsWith("key-lookup:") }) };
    const app = await makeApp();
    const guess = { ...anonymous, env: { LIMITER } };
    const [start, id] = ["ew_sk", "a".repeat(11)];
    expect((await call("/v1/anonymous-tokens", { ...guess, key: `${start}_${id}_${"b".repeat(43)}` })).status).toBe(
      429,
    );
    expect((await call("/v1/apps/x", { env: { LIMITER }, key: "ew_op_guess" })).status).toBe(429);
    expect((await call("/v1/anonymous-tokens", { ...anonymous, key: app.secret })).status).toBe(201);
    expect((await call("/v1/anonymous-tokens", { ...guess, key: app.secret })).status).toBe(201); // known: no look-up
  });
});

describe("Idempotency-Key", () => {
  const make = (key: string, name: string, more: Parameters<typeof call>[1] = {}) =>
    call("/v1/apps", { key: operator, body: { name }, ...more, headers: { "idempotency-key": key } });
  const countOf = async (name: string) =>
    (await env.DB.prepare("SELECT count(*) AS n FROM apps WHERE name = ?1").bind(name).first<{ n: number }>())?.n;

  it("gives the first answer again, byte for byte, and does the thing once", async () => {
    const first = await make('"k-replay"', "Replay");
    const again = await make("k-replay", "Replay");
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(first.headers.get("idempotent-replay")).toBeNull();
    expect(again.headers.get("idempotent-replay")).toBe("true");
    expect(await again.text()).toBe(await first.text());
    expect(await countOf("Replay")).toBe(1);
  });

  it("keeps no key in the clear", async () => {
    const { keys } = await json<{ keys: { secret: string } }>(await make("k-sealed", "Sealed"));
    const { results } = await env.DB.prepare("SELECT * FROM idempotency_keys").all();
    expect(results.length).toBeGreaterThan(0);
    expect(JSON.stringify(results)).not.toContain("ew_sk");
    expect(JSON.stringify(results)).not.toContain(keys.secret.slice(-43));
  });

  it("is refused for another body or another path, and for characters that no header should hold", async () => {
    await make("k-mismatch", "One");
    const other = await make("k-mismatch", "Two");
    expect([other.status, await code(other)]).toEqual([422, "idempotency_mismatch"]);
    const [a, b] = [await makeApp(), await makeApp()];
    const mint = (id: string) =>
      call(`/v1/apps/${id}/keys`, {
        key: operator,
        body: { kind: "secret" },
        headers: { "idempotency-key": "k-path" },
      });
    expect((await mint(a.id)).status).toBe(201);
    expect((await mint(b.id)).status).toBe(422);
    expect((await make("x".repeat(256), "Three")).status).toBe(400);
    expect((await make('"', "Three")).status).toBe(400);
    expect(await countOf("Two")).toBe(0);
  });

  it("answers 409 while the first request runs, then its answer", async () => {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const DB = withBatch((statements, run) => (statements.length >= 3 ? released.then(run) : run()));
    const first = make("k-flight", "Flight", { env: { DB } });
    await vi.waitFor(async () => {
      const { results } = await env.DB.prepare("SELECT lease_until FROM idempotency_keys WHERE key = 'k-flight'").all();
      expect(results).toHaveLength(1);
    });
    const second = await make("k-flight", "Flight");
    expect([second.status, second.headers.get("retry-after")]).toEqual([409, "1"]);
    expect(await json(second)).toMatchObject({ code: "idempotency_in_flight", retryable: true });
    release();
    const text = await (await first).text();
    expect(await (await make("k-flight", "Flight")).text()).toBe(text);
    expect(await countOf("Flight")).toBe(1);
  });

  it("lets a retry run after a failure, and after the lease of a request that was killed", async () => {
    vi.spyOn(console, "error").mockReturnValue();
    const failing = withBatch((statements, run) =>
      statements.length >= 3 ? Promise.reject(new Error("disk")) : run(),
    );
    expect((await make("k-fail", "Fail", { env: { DB: failing } })).status).toBe(500);
    expect((await make("k-fail", "Fail")).status).toBe(201);
    expect(await countOf("Fail")).toBe(1);
    const hanging = withBatch((statements, run) => (statements.length >= 3 ? new Promise(() => undefined) : run()));
    void make("k-killed", "Killed", { env: { DB: hanging } });
    await vi.waitFor(async () => {
      const { results } = await env.DB.prepare("SELECT key FROM idempotency_keys WHERE key = 'k-killed'").all();
      expect(results).toHaveLength(1);
    });
    expect((await make("k-killed", "Killed")).status).toBe(409);
    expect((await make("k-killed", "Killed", { offsetMs: 61_000 })).status).toBe(201);
    expect(await countOf("Killed")).toBe(1);
  });

  it("repeats a lasting refusal, and forgets everything after 24 h", async () => {
    const refused = await make("k-refused", "");
    const again = await make("k-refused", "");
    expect([refused.status, again.status, again.headers.get("idempotent-replay")]).toEqual([400, 400, "true"]);
    expect(again.headers.get("content-type")).toBe("application/problem+json");
    await make("k-old", "Old");
    const late = await make("k-old", "Older", { offsetMs: 24 * HOUR + MINUTE });
    expect([late.status, late.headers.get("idempotent-replay")]).toEqual([201, null]);
    await make("k-young", "Young", { offsetMs: 12 * HOUR });
    const left = () => env.DB.prepare("SELECT key FROM idempotency_keys").all<{ key: string }>();
    expect(await sweepIdempotencyKeys(env, Date.now() + 25 * HOUR, 1)).toBe(1);
    expect(await sweepIdempotencyKeys(env, Date.now() + 25 * HOUR)).toBeGreaterThan(1);
    expect((await left()).results.map(({ key }) => key).toSorted()).toEqual(["k-old", "k-young"]);
  });

  it("never shows one caller the answer of another", async () => {
    const [one, two] = [await makeApp(), await makeApp()];
    let runs = 0;
    const probe = probeApp((routes) => routes.post("/v1/anonymous-tokens", idempotent, (c) => c.json({ run: ++runs })));
    const ask = async (key: string, token?: string) => {
      const headers = new Headers({
        authorization: `Bearer ${key}`,
        "idempotency-key": "shared",
        "content-type": "application/json",
      });
      if (token !== undefined) headers.set("x-user-token", token);
      const init = { method: "POST", headers, body: "{}" };
      return json(await probe.request("https://edge.test/v1/anonymous-tokens", init, { ...env }));
    };
    const callers: [string, string?][] = [
      [one.secret],
      [one.publishable],
      [two.secret],
      [one.publishable, await one.userToken("u1")],
      [one.publishable, await one.userToken("u2")],
    ];
    for (const [index, [key, token]] of callers.entries()) expect(await ask(key, token)).toEqual({ run: index + 1 });
    for (const [index, [key, token]] of callers.entries()) expect(await ask(key, token)).toEqual({ run: index + 1 });
  });
});

describe("the user of a request", () => {
  it("is the token's for a phone and whom it names for a back end", async () => {
    const app = await makeApp();
    const probe = probeApp((routes) =>
      routes
        .get("/v1/users/:id", requireKind("secret", "publishable"), (c) =>
          c.json({ user: resolvePathUser(c, c.req.param("id")) }),
        )
        .get("/v1/rank", (c) =>
          c.json({ user: resolveUser(c, c.req.query("userId")) ?? null, import: hasScope(c, "import") }),
        ),
    );
    const token = await app.userToken("u1");
    const ask = async (path: string, key: string, userToken?: string) => {
      const headers = new Headers({ authorization: `Bearer ${key}` });
      if (userToken !== undefined) headers.set("x-user-token", userToken);
      const response = await probe.request(`https://edge.test${path}`, { headers }, { ...env });
      return response.ok ? (await json(response))["user"] : response.status;
    };
    expect(await ask("/v1/rank", app.publishable, token)).toBe("u1");
    expect(await ask("/v1/rank", app.publishable)).toBeNull();
    expect(await ask("/v1/rank?userId=u1", app.publishable, token)).toBe("u1");
    expect(await ask("/v1/rank?userId=u2", app.publishable, token)).toBe(403);
    expect(await ask("/v1/rank?userId=u2", app.publishable)).toBe(403);
    expect(await ask("/v1/rank?userId=u2", app.secret)).toBe("u2");
    expect(await ask("/v1/users/me", app.publishable, token)).toBe("u1");
    expect(await ask("/v1/users/me", app.publishable)).toBe(401);
    expect(await ask("/v1/users/u2", app.publishable, token)).toBe(404);
    expect(await ask("/v1/users/u2", app.secret)).toBe("u2");
  });
});

describe("a fault inside", () => {
  it("tells the caller nothing and the log where, without a key, a token, a parameter or a body", async () => {
    const app = await makeApp();
    const token = await app.userToken("private-user");
    const lines: string[] = [];
    for (const level of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, level).mockImplementation(
        (...parts: unknown[]) => void lines.push(parts.map(String).join(" ")),
      );
    }
    const broken = {
      prepare: () => {
        throw new Error("Failed query params: private-parameter");
      },
    } as unknown as D1Database;
    const response = await call("/v1/apps/app_x?secret=private-query", { key: operator, token, env: { DB: broken } });
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ code: "internal", retryable: true });
    const all = lines.join("\n");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      event: "request_failed",
      route: "/v1/apps/:id",
      code: "internal",
    });
    for (const secret of ["private-", operator, token, "at "]) expect(text).not.toContain(secret);
    for (const secret of ["private-", operator, token, "app_x"]) expect(all).not.toContain(secret);
  });

  it("that passes is a 503 that says so", async () => {
    vi.spyOn(console, "error").mockReturnValue();
    const broken = {
      prepare: () => {
        throw new Error("D1_ERROR: Network connection lost.");
      },
    } as unknown as D1Database;
    const response = await call("/v1/apps/app_x", { key: operator, env: { DB: broken } });
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await json(response)).toMatchObject({ code: "unavailable", retryable: true });
  });
});

/** The database with its `batch` in the hands of a test. */
function withBatch(
  around: (statements: D1PreparedStatement[], run: () => Promise<unknown>) => Promise<unknown>,
): D1Database {
  return new Proxy(env.DB, {
    get(target, name) {
      if (name === "batch") return (list: D1PreparedStatement[]) => around(list, () => target.batch(list));
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** A small app behind the same frame and the same authentication. */
function probeApp(build: (routes: Hono<Bindings>) => void): Hono<Bindings> {
  const routes = new Hono<Bindings>();
  routes.use(frame);
  routes.use(authenticate);
  build(routes);
  routes.onError(onError);
  return routes;
}
