/** Incoming and outgoing webhooks: the published cases over HTTP, and what receivers do to a sender. */
import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { githubKey, signGithub } from "../../functions/domain/webhooks/github.ts";
import { RETRY_SCHEDULE_SECONDS } from "../../functions/domain/webhooks/retry.ts";
import { deliverDue, type Outside } from "../../functions/jobs/deliver-webhooks.ts";
import { findAppById } from "../../functions/store/apps.ts";
import { call, json, makeApp, operator, type TestApp } from "../http/caller.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const bytes = (text: string) => new TextEncoder().encode(text);

async function withSecret(app: TestApp, scheme: "standard" | "github", secret?: string) {
  const response = await call("/v1/webhook-secrets", { key: app.secret, body: { scheme, secret } });
  expect(response.status).toBe(201);
  return json<{ id: string; secret: string }>(response);
}

/** Signed by the reference library. */
function signed(secret: string, id: string, body: string, at = new Date()): Record<string, string> {
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, at, body),
  };
}

const retrain = (app: { id: string }, body: string, headers: Record<string, string>, offsetMs = 0) =>
  call(`/v1/webhooks/retrain?app=${app.id}`, { body, headers, offsetMs });

describe("an incoming webhook", () => {
  it("signed by the reference library makes a job, once", async () => {
    const app = await makeApp();
    await withSecret(app, "standard", SECRET);
    const body = JSON.stringify({ reason: "nightly" });
    const headers = signed(SECRET, "msg_1", body);
    const first = await retrain(app, body, headers);
    expect(first.status).toBe(202);
    const made = await json<{ job: { id: string }; outcome: string }>(first);
    expect(made).toMatchObject({
      outcome: "created",
      job: { status: "queued", requests: [{ source: "webhook", reason: "nightly" }] },
    });
    const again = await json(await retrain(app, body, headers));
    expect(again).toMatchObject({ outcome: "duplicate", job: { id: made.job.id, requestCount: 1 } });
    const other = await json(await retrain(app, body, signed(SECRET, "msg_2", body)));
    expect(other).toMatchObject({ outcome: "merged", job: { id: made.job.id, requestCount: 2 } });
  });

  it("is refused when it is late, early, altered, of another secret, or of no app, and makes no job", async () => {
    const app = await makeApp();
    await withSecret(app, "standard", SECRET);
    const headers = signed(SECRET, "msg_1", "{}");
    const otherSecret = signed("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "msg_1", "{}");
    const attempts: [string, Response][] = [
      ["late", await retrain(app, "{}", headers, 302_000)],
      ["early", await retrain(app, "{}", headers, -302_000)],
      ["altered", await retrain(app, "{ }", headers)],
      ["other secret", await retrain(app, "{}", otherSecret)],
      ["no headers", await retrain(app, "{}", {})],
      ["no app", await retrain({ id: "app_none" }, "{}", headers)],
      ["app without secrets", await retrain(await makeApp(), "{}", headers)],
    ];
    for (const [name, response] of attempts) {
      expect([name, response.status]).toEqual([name, 401]);
      expect(await json(response)).toMatchObject({ code: "unauthenticated" });
    }
    expect(await json(await call("/v1/training-jobs", { key: app.secret }))).toEqual({ jobs: [] });
    expect((await retrain(app, "{}", headers, 298_000)).status).toBe(202);
    expect((await call("/v1/webhooks/retrain", { body: "{}", headers })).status).toBe(400); // which app?
  });

  it("is good under either of two live secrets, and under none that is revoked", async () => {
    const app = await makeApp();
    const old = await withSecret(app, "standard");
    const fresh = await withSecret(app, "standard");
    const third = await call("/v1/webhook-secrets", { key: app.secret, body: { scheme: "standard" } });
    expect(third.status).toBe(409);
    await third.body?.cancel();
    for (const { secret } of [old, fresh])
      expect((await retrain(app, "{}", signed(secret, secret.slice(7, 20), "{}"))).status).toBe(202);
    const gone = await call(`/v1/webhook-secrets/standard/${old.id}`, { method: "DELETE", key: app.secret });
    expect(gone.status).toBe(204);
    expect((await retrain(app, "{}", signed(old.secret, "msg_3", "{}"))).status).toBe(401);
    expect((await retrain(app, "{}", signed(fresh.secret, "msg_4", "{}"))).status).toBe(202);
    const { secrets } = await json<{ secrets: { id: string }[] }>(
      await call("/v1/webhook-secrets", { key: app.secret }),
    );
    expect(secrets.map(({ id }) => id)).toEqual([fresh.id]);
  });

  it("of GitHub is taken once, whatever delivery id it comes under", async () => {
    const app = await makeApp();
    const secret = "It's a Secret to Everybody";
    await withSecret(app, "github", secret);
    const body = JSON.stringify({ ref: "refs/heads/main", after: "1".repeat(40) });
    const signature = await signGithub(await githubKey(secret), bytes(body));
    const headers = (id: string, event = "push") => ({
      "x-hub-signature-256": signature,
      "x-github-delivery": id,
      "x-github-event": event,
    });
    expect(await json(await retrain(app, body, headers("d-1")))).toMatchObject({
      outcome: "created",
      job: { requests: [{ source: "github", reason: "GitHub: push" }] },
    });
    expect(await json(await retrain(app, body, headers("d-2")))).toMatchObject({ outcome: "duplicate" });
    expect((await retrain(app, body, headers("d-3", "ping"))).status).toBe(204);
    expect((await retrain(app, `${body} `, headers("d-4"))).status).toBe(401);
  });
});

interface Sent {
  readonly url: string;
  readonly headers: Headers;
  readonly body: string;
}

/** The world outside: a name server, and a receiver that answers what it is told. */
function receiver(answers: (Response | Error)[], addresses: readonly string[] = ["93.184.215.14"]) {
  const sent: Sent[] = [];
  const world: Outside = {
    async fetch(url, init) {
      sent.push({ url, headers: new Headers(init.headers), body: new TextDecoder().decode(init.body as Uint8Array) });
      const answer = answers.shift() ?? new Response(null, { status: 200 });
      if (answer instanceof Error) throw answer;
      return answer;
    },
    resolve: async () => addresses,
    random: () => 0,
  };
  return { sent, world };
}

async function listening(url = "https://hooks.example.com/edgewise", more: object = {}) {
  const app = await makeApp();
  const { app: number } = (await findAppById(env, app.id))!;
  const response = await call("/v1/webhook-endpoints", { key: app.secret, body: { url, ...more } });
  expect(response.status).toBe(201);
  const made = await json<{ endpoint: { id: string }; secret: { id: string; secret: string } }>(response);
  return { ...app, number, endpoint: made.endpoint.id, hook: made.secret };
}
type Listening = Awaited<ReturnType<typeof listening>>;

const train = (app: TestApp) => call("/v1/training-jobs", { key: app.secret, body: { reason: "a test" } });
const endpointOf = async (app: Listening) =>
  json<{ status: string; disabledReason: string | null }>(
    await call(`/v1/webhook-endpoints/${app.endpoint}`, { key: app.secret }),
  );

async function log(app: Listening) {
  const path = `/v1/webhook-endpoints/${app.endpoint}/deliveries`;
  type Deliveries = {
    deliveries: { message: string; type: string; status: string; attempts: number; dueAt: string | null }[];
  };
  const [delivery] = (await json<Deliveries>(await call(path, { key: app.secret }))).deliveries;
  type Attempts = { attempts: { outcome: string; status: number | null; error: string | null }[] };
  const { attempts } = await json<Attempts>(await call(`${path}/${delivery!.message}`, { key: app.secret }));
  return { ...delivery!, log: attempts };
}

const seconds = (count: number) => Date.now() + count * 1000;

describe("an outgoing webhook", () => {
  it("is verified by the reference library, and sent once", async () => {
    const app = await listening();
    await train(app);
    const { sent, world } = receiver([]);
    await deliverDue(env, app.number, Date.now(), world);
    await deliverDue(env, app.number, Date.now(), world);
    expect(sent).toHaveLength(1);
    const payload = new Webhook(app.hook.secret).verify(sent[0]!.body, Object.fromEntries(sent[0]!.headers));
    expect(payload).toMatchObject({ type: "training.requested", data: { reason: "a test", source: "api" } });
    expect(await log(app)).toMatchObject({
      status: "delivered",
      attempts: 1,
      log: [{ outcome: "delivered", status: 200 }],
    });
  });

  it("is signed with both secrets while one is exchanged", async () => {
    const app = await listening();
    const rotated = await call(`/v1/webhook-endpoints/${app.endpoint}/secrets`, { method: "POST", key: app.secret });
    const fresh = await json<{ id: string; secret: string }>(rotated);
    await train(app);
    const { sent, world } = receiver([]);
    await deliverDue(env, app.number, Date.now(), world);
    for (const secret of [app.hook.secret, fresh.secret])
      expect(() => new Webhook(secret).verify(sent[0]!.body, Object.fromEntries(sent[0]!.headers))).not.toThrow();
    const remove = (id: string) =>
      call(`/v1/webhook-endpoints/${app.endpoint}/secrets/${id}`, { method: "DELETE", key: app.secret });
    expect((await remove(app.hook.id)).status).toBe(204);
    expect((await remove(fresh.id)).status).toBe(409); // its only one
  });

  it("follows the schedule after 500, a longer wait after Retry-After, and is delivered in the end with one id", async () => {
    const app = await listening();
    await train(app);
    const later = new Response(null, { status: 429, headers: { "retry-after": "600" } });
    const { sent, world } = receiver([new Response(null, { status: 500 }), new TypeError("connection reset"), later]);
    const start = seconds(1);
    const [, second, third] = RETRY_SCHEDULE_SECONDS;
    expect(await deliverDue(env, app.number, start, world)).toBe(start + second * 1000);
    await deliverDue(env, app.number, start + second * 1000 - 1, world);
    expect(sent).toHaveLength(1); // not yet
    const at = start + second * 1000;
    expect(await deliverDue(env, app.number, at, world)).toBe(at + third * 1000);
    const after = at + third * 1000;
    const asked = (await deliverDue(env, app.number, after, world))!;
    expect((asked - after) / 1000).toBeGreaterThanOrEqual(600);
    expect(await deliverDue(env, app.number, asked, world)).toBeNull();
    expect(new Set(sent.map(({ headers }) => headers.get("webhook-id"))).size).toBe(1);
    expect((await log(app)).log.map(({ outcome, status, error }) => [outcome, status, error])).toEqual([
      ["retry", 500, null],
      ["retry", null, "connection reset"],
      ["retry", 429, null],
      ["delivered", 200, null],
    ]);
  });

  it("switches an endpoint off that is gone, with all that waits for it", async () => {
    const app = await listening();
    await train(app);
    const { world } = receiver([new Response(null, { status: 410 })]);
    await deliverDue(env, app.number, seconds(1), world);
    expect(await endpointOf(app)).toMatchObject({ status: "disabled", disabledReason: "it answered 410 Gone" });
    expect(await log(app)).toMatchObject({ status: "cancelled", log: [{ outcome: "disabled", status: 410 }] });
  });

  it("is given up after the schedule, and sent again by hand under the same id", async () => {
    const app = await listening();
    await train(app);
    const failing = receiver(RETRY_SCHEDULE_SECONDS.map(() => new Response(null, { status: 503 })));
    for (let now: number | null = seconds(1); now !== null;)
      now = await deliverDue(env, app.number, now, failing.world);
    expect(failing.sent).toHaveLength(RETRY_SCHEDULE_SECONDS.length);
    const dead = await log(app);
    expect(dead).toMatchObject({ status: "dead", dueAt: null });
    const path = `/v1/webhook-endpoints/${app.endpoint}/deliveries/${dead.message}/replay`;
    expect((await call(path, { method: "POST", key: app.secret })).status).toBe(202);
    const { sent, world } = receiver([]);
    await deliverDue(env, app.number, seconds(1), world);
    expect(sent[0]?.headers.get("webhook-id")).toBe(dead.message);
    expect((await log(app)).status).toBe("delivered");
  });

  it("goes to no private address, also behind a name or a redirect", async () => {
    const app = await listening();
    await train(app);
    const inside = receiver([], ["10.0.0.7"]);
    await deliverDue(env, app.number, seconds(1), inside.world);
    expect(inside.sent).toEqual([]);
    expect((await log(app)).log[0]?.error).toMatch(/leads to 10\.0\.0\.7/);
    const redirect = new Response(null, { status: 307, headers: { location: "https://169.254.169.254/latest" } });
    const redirecting = receiver([redirect]);
    await deliverDue(env, app.number, seconds(20), redirecting.world);
    expect(redirecting.sent.map(({ url }) => url)).toEqual(["https://hooks.example.com/edgewise"]);
    const followed = receiver([new Response(null, { status: 308, headers: { location: "/moved" } })]);
    await deliverDue(env, app.number, seconds(1000), followed.world);
    expect(followed.sent.map(({ url }) => url)).toEqual([
      "https://hooks.example.com/edgewise",
      "https://hooks.example.com/moved",
    ]);
    expect((await log(app)).status).toBe("delivered");
  });

  it("is entered for public https targets alone, unless the app is for development", async () => {
    const app = await makeApp();
    for (const url of [
      "http://example.com/",
      "https://127.0.0.1/",
      "https://[::1]/",
      "https://localhost/",
      "ftp://example.com",
      "no url",
    ]) {
      const response = await call("/v1/webhook-endpoints", { key: app.secret, body: { url } });
      expect([url, response.status, await json(response)]).toMatchObject([url, 400, { errors: [{ pointer: "/url" }] }]);
    }
    const made = await call("/v1/apps", { key: operator, body: { name: "Dev", development: true } });
    const { keys } = await json<{ keys: { secret: string } }>(made);
    const local = await call("/v1/webhook-endpoints", { key: keys.secret, body: { url: "http://127.0.0.1:9000/" } });
    expect(local.status).toBe(201);
  });

  it("comes only of the types that were asked for, and not while the endpoint is off", async () => {
    const app = await listening(undefined, { types: ["model.promoted"] });
    await train(app);
    const { sent, world } = receiver([]);
    await deliverDue(env, app.number, seconds(1), world);
    expect(sent).toEqual([]);
    const patch = (body: object) =>
      call(`/v1/webhook-endpoints/${app.endpoint}`, { method: "PATCH", key: app.secret, body });
    expect(await json(await patch({ types: [], status: "disabled" }))).toMatchObject({ status: "disabled", types: [] });
  });

  it("is another app's business alone", async () => {
    const app = await listening();
    const other = await makeApp();
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["GET", "/deliveries"],
      ["POST", "/secrets"],
      ["PATCH", ""],
    ] as const) {
      const response = await call(`/v1/webhook-endpoints/${app.endpoint}${path}`, {
        method,
        key: other.secret,
        ...(method === "PATCH" ? { body: {} } : {}),
      });
      expect([method, path, response.status]).toEqual([method, path, 404]);
      await response.body?.cancel();
    }
    expect((await call(`/v1/webhook-endpoints/${app.endpoint}`, { method: "DELETE", key: app.secret })).status).toBe(
      204,
    );
    expect((await call(`/v1/webhook-endpoints/${app.endpoint}`, { key: app.secret })).status).toBe(404);
  });
});
