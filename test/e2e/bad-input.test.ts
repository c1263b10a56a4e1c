/**
 * Wrong, hostile and foreign input against the built Worker. Every refusal is a problem document that names the field, the value
 * and the bound, and afterwards every row of D1 and of every Durable Object is what it was before.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDevServer, type DevServer } from "../../demo/dev-server.ts";
import { signUserToken, type UserTokenOptions } from "../../functions/domain/identity/user-token.ts";
import { tinyArtefact } from "../support/tiny-artefact.ts";
import { everyRow, queryD1, queryObjects } from "./local-storage.ts";

const OPERATOR_KEY = "ew_op_bad.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";
const VARS = { OPERATOR_KEY, WORKER_SECRET: "bad-input-test-secret-of-at-least-32-chars" };
const MIB = 2 ** 20;
const DAY = 86_400_000;
/** Stands in every item and user of the other app, and must stand in no answer to this one. */
const THEIRS = "zebra";

interface Tenant {
  readonly id: string;
  readonly secret: string;
  readonly publishable: string;
  readonly tokenSecret: { readonly id: string; readonly key: string };
}

interface Options {
  readonly key?: string | undefined;
  readonly token?: string;
  readonly json?: unknown;
  /** Sent as it is. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- answers are asserted on, field by field
  readonly body: Record<string, any>;
}

const persist = mkdtempSync(path.join(os.tmpdir(), "edgewise-bad-"));
let server: DevServer;
let mine: Tenant;
let theirs: Tenant;
let operations: { method: string; path: string; kinds: string[]; isJson: boolean }[];

async function ask(method: string, route: string, options: Options = {}): Promise<Answer> {
  const { token, json, raw } = options;
  const key = "key" in options ? options.key : mine.secret;
  const body = json === undefined ? (raw ?? null) : JSON.stringify(json);
  const response = await fetch(server.url + route, {
    method,
    body,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(token === undefined ? {} : { "x-user-token": token }),
      ...(body === null ? {} : { "content-type": "application/json" }),
      ...options.headers,
    },
  });
  const answer = await response.text();
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const parsed = isJson ? (JSON.parse(answer) as Answer["body"]) : {};
  return { status: response.status, headers: response.headers, text: answer, body: parsed };
}

/**
 * Sends the beginning of a body that is too large, and waits for the answer: it must not need the rest. (One that goes on
 * writing to a socket that is closed may lose the answer to a reset.)
 */
async function begin(
  method: string,
  route: string,
  headers: Record<string, string>,
  bytes: Uint8Array,
): Promise<Answer> {
  const sending = http.request(server.url + route, {
    method,
    headers: { authorization: `Bearer ${mine.secret}`, "content-type": "application/json", ...headers },
  });
  const answered = once(sending, "response") as Promise<[http.IncomingMessage]>;
  sending.write(bytes);
  const [response] = await answered;
  const body = await text(response);
  sending.on("error", () => undefined).destroy();
  const given = new Headers(Object.entries(response.headers).map(([name, value]) => [name, String(value)]));
  return { status: response.statusCode!, headers: given, text: body, body: JSON.parse(body) as Answer["body"] };
}

async function makeTenant(name: string): Promise<Tenant> {
  const { body } = await ask("POST", "/v1/apps", { key: OPERATOR_KEY, json: { name } });
  const { app, keys } = body as { app: { id: string }; keys: { secret: string; publishable: string } };
  const json = { kind: "userTokenSecret" };
  const minted = await ask("POST", `/v1/apps/${app.id}/keys`, { key: OPERATOR_KEY, json });
  return { id: app.id, ...keys, tokenSecret: minted.body as Tenant["tokenSecret"] };
}

function tokenOf(tenant: Tenant, userId: string, more: Partial<UserTokenOptions> = {}): Promise<string> {
  const { id: kid, key } = tenant.tokenSecret;
  return signUserToken(key, { kid, userId, issuedAt: Date.now(), ...more });
}

const now = () => new Date().toISOString();
let made = 0;
const event = (more: object = {}) => ({
  id: `e${made++}`,
  userId: "known",
  itemId: "i1",
  type: "view",
  occurredAt: now(),
  ...more,
});

/** Outboxes are empty and nothing moves by itself. */
async function settle(): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (queryObjects(persist, "UserState", "SELECT seq FROM outbox").length > 0) {
    if (Date.now() > deadline) throw new Error("outboxes were not delivered");
    await sleep(50);
  }
}

/** What `work` does leaves every row of every table as it was. */
async function changesNothing(work: () => Promise<void>): Promise<void> {
  await settle();
  const before = everyRow(persist);
  expect(before.length).toBeGreaterThan(10);
  await work();
  await sleep(400); // longer than the alarm that an accepted event sets
  expect(everyRow(persist)).toEqual(before);
}

/** A refusal in the form of RFC 9457; `where` tells which case failed. */
function expectProblem(answer: Answer, where: unknown, expected: { status: number; code: string }): void {
  expect([where, answer.status, answer.body["code"]]).toEqual([where, expected.status, expected.code]);
  expect([where, answer.headers.get("content-type")]).toEqual([where, "application/problem+json"]);
  const { requestId, retryable, detail, title } = answer.body;
  expect([where, requestId]).toEqual([where, answer.headers.get("x-request-id")]);
  expect([where, typeof retryable, typeof detail, typeof title]).toEqual([where, "boolean", "string", "string"]);
  expect(answer.text).not.toMatch(/at \w+ \(|node_modules|SQLITE|D1_ERROR/);
}

/** The refusal of a body by one field. */
function expectField(answer: Answer, where: unknown, pointer: string, detail: RegExp): void {
  expectProblem(answer, where, { status: 400, code: "invalid_request" });
  const errors = answer.body["errors"] as { pointer: string; code: string; detail: string }[];
  const found = errors.find((error) => error.pointer === pointer);
  expect([where, found?.pointer, found?.code]).toEqual([where, pointer, expect.stringMatching(/^[a-z_]+$/)]);
  expect(found!.detail, String(where)).toMatch(detail);
}

/** A path with something harmless in each place. */
const somePath = (route: string) => route.replace("{file}", "0".repeat(64)).replaceAll(/\{\w+\}/g, "nothing");
const keyFor = (kinds: readonly string[]) =>
  kinds.includes("operatorKey") ? OPERATOR_KEY : kinds.includes("secretKey") ? mine.secret : mine.publishable;

beforeAll(async () => {
  server = await startDevServer({ persist, vars: VARS });
  [mine, theirs] = [await makeTenant("Mine"), await makeTenant("Theirs")];
  const items = Array.from({ length: 6 }, (_, at) => ({ id: `i${at}`, title: `Item ${at}`, attributes: { size: at } }));
  await ask("POST", "/v1/items/batch", { json: { items } });
  await ask("POST", "/v1/events", { json: { events: [event()] } });

  const key = theirs.secret;
  const other = Array.from({ length: 40 }, (_, at) => ({
    id: `item-${at}`,
    title: `${THEIRS} ${at}`,
    creator: THEIRS,
  }));
  await ask("POST", "/v1/items/batch", { key, json: { items: other } });
  await ask("POST", "/v1/events", {
    key,
    json: { events: [event({ userId: "their-user", itemId: "item-1", type: "review", text: THEIRS })] },
  });
  await ask("PATCH", "/v1/users/their-user", { key, json: { attributes: { note: THEIRS } } });
  await ask("PUT", `/v1/imports/${"a".repeat(64)}`, { key, json: { kind: "items", nextRow: 40, finished: true } });
  const { manifest, files } = tinyArtefact("two-levels");
  const headers = { "content-type": "application/octet-stream" };
  for (const [name, raw] of files) await ask("PUT", `/v1/models/their-model/files/${name}`, { key, raw, headers });
  expect((await ask("POST", "/v1/models", { key, json: { id: "their-model", manifest } })).status).toBe(201);
  // looks at every item for the model before it answers, so that the queue finds nothing left to write later
  expect((await ask("PUT", "/v1/items/item-0", { key, json: other[0] })).status).toBe(200);

  const document = (await ask("GET", "/openapi.json")).body as {
    paths: Record<string, Record<string, { security?: Record<string, unknown>[]; requestBody?: { content: object } }>>;
  };
  operations = Object.entries(document.paths).flatMap(([route, methods]) =>
    Object.entries(methods).map(([method, { security = [], requestBody }]) => ({
      method: method.toUpperCase(),
      path: route,
      kinds: security.flatMap((one) => Object.keys(one)),
      isJson: requestBody !== undefined && "application/json" in requestBody.content,
    })),
  );
});

afterAll(async () => {
  await server?.stop();
  rmSync(persist, { recursive: true, force: true });
});

/** Nothing is sent there: no message of its type exists. */
const HOOK = "https://hooks.example.com/edgewise";

describe("a body", () => {
  it("that is no JSON, or of another type than the route's, is refused at every route that takes one", async () => {
    const takers = operations.filter(({ isJson }) => isJson);
    expect(takers.length).toBeGreaterThan(10);
    await changesNothing(async () => {
      for (const { method, path: route, kinds } of takers) {
        const options = { key: keyFor(kinds) };
        const where = `${method} ${route}`;
        const send = (raw: string | Uint8Array<ArrayBuffer>, headers = {}) =>
          ask(method, somePath(route), { ...options, raw, headers });
        for (const raw of ['{"a": NaN}', '{"a":', "{'a': 1}", "[1,]", "\u0000", Uint8Array.of(0x22, 0xff, 0x22)])
          expectProblem(await send(raw), [where, raw], { status: 400, code: "malformed_json" });
        expect((await send('{"a":\n  NaN}')).body["detail"]).toMatch(/position 8 \(line 2, column 3\)/);
        for (const raw of ["[]", '"text"', "5", "null", "true"])
          expectField(await send(raw), [where, raw], "", /is not of type object/);
        expectProblem(await send("{}", { "content-type": "text/plain" }), where, {
          status: 415,
          code: "unsupported_media_type",
        });
        expectProblem(await send("{}", { "content-encoding": "br" }), where, {
          status: 415,
          code: "unsupported_media_type",
        });
        expectProblem(await send("{}", { "content-encoding": "gzip" }), where, { status: 400, code: "malformed_json" });
      }
    });
  });

  it("with a field of a wrong type, a number out of bounds or beyond JSON's, or a time that is none, is told by field, value and bound", async () => {
    const list = (more: string) => ["POST", "/v1/recommendations", `{"history":[],${more}}`] as const;
    const put = (more: string) => ["PUT", "/v1/items/bad", `{"title":"t",${more}}`] as const;
    const cases: [request: readonly [string, string, string], pointer: string, detail: RegExp][] = [
      [list('"count":"3"'), "/count", /^"3" is not of type number$/],
      [list('"count":101'), "/count", /^101, at most 100 allowed$/],
      [list('"count":0'), "/count", /^0, at least 1 needed$/],
      [list('"count":1.5'), "/count", /^1.5 is not of type int$/],
      [list('"exploration":1e999'), "/exploration", /^Infinity is not of type number$/],
      [list('"exploration":-0.1'), "/exploration", /^-0.1, at least 0 needed$/],
      [
        list(`"exclude":${JSON.stringify(Array.from({ length: 1001 }, (_, at) => `x${at}`))}`),
        "/exclude",
        /1001 entries, at most 1000 allowed/,
      ],
      [list('"exclude":[7]'), "/exclude/0", /^7 is not of type string$/],
      [list('"consistency":"eventual"'), "/consistency", /^"eventual" is not one of bounded, strict$/],
      [list('"filter":{"field":"size","op":"near","value":1}'), "/filter/op", /^"near" is not one of eq, ne, /],
      [
        list(`"filter":${'{"not":'.repeat(9)}{"field":"size","op":"eq","value":1}${"}".repeat(9)}`),
        `/filter${"/not".repeat(8)}`,
        /at most 8 deep/,
      ],
      [
        list(
          `"filter":{"and":[${Array.from({ length: 3 }, () => `{"or":[${Array.from({ length: 30 }, () => '{"field":"size","op":"eq","value":1}').join()}]}`).join()}]}`,
        ),
        "/filter",
        /at most 64 nodes/,
      ],
      [list(`"filter":${'{"not":'.repeat(90)}1${"}".repeat(90)}`), "", /at most 64 levels are allowed/],
      [
        ["POST", "/v1/recommendations", `{"history":[{"itemId":"i1","occurredAt":"99999-01-01T00:00:00Z"}]}`],
        "/history/0/occurredAt",
        /^"99999-01-01T00:00:00Z" is not a valid datetime$/,
      ],
      [["POST", "/v1/recommendations", "{}"], "/userId", /give userId/],
      [["POST", "/v1/similar", '{"itemIds":[]}'], "/itemIds", /0 entries, at least 1 needed/],
      [["POST", "/v1/rank", '{"itemIds":"i1"}'], "/itemIds", /^"i1" is not of type array$/],
      [put('"createdAt":"99999-01-01T00:00:00Z"'), "/createdAt", /^"99999-01-01T00:00:00Z" is not a valid datetime$/],
      [put('"createdAt":"9999-12-31T23:59:59-14:00"'), "/createdAt", /1970 to 9999/],
      [put('"price":{"amountMinor":-1,"currency":"EUR"}'), "/price/amountMinor", /^-1, at least 0 needed$/],
      [put('"attributes":{"size":{"deep":1}}'), "/attributes/size", /none of the allowed forms/],
      [put(`"text":"${"x".repeat(2001)}"`), "/text", /2001 characters, at most 2000 allowed$/],
      [
        ["PATCH", "/v1/users/known", '{"consent":{"training":"no"}}'],
        "/consent/training",
        /^"no" is not of type boolean$/,
      ],
      [["POST", "/v1/events", '{"events":[]}'], "/events", /0 entries, at least 1 needed/],
      [
        ["POST", "/v1/events", '{"events":[{}],"sentAt":"99999-01-01T00:00:00Z"}'],
        "/sentAt",
        /^"99999-01-01T00:00:00Z" is not a valid datetime$/,
      ],
      [
        ["PUT", `/v1/imports/${"b".repeat(64)}`, '{"kind":"things","nextRow":1}'],
        "/kind",
        /^"things" is not one of items, events, lists$/,
      ],
      [["PUT", "/v1/imports/xyz", '{"kind":"items","nextRow":1}'], "{file}", /64 hex digits/],
      [["GET", "/v1/items?limit=201", ""], "?limit", /at most 200/],
      [["GET", "/v1/items?limit=NaN", ""], "?limit", /is not of type number/],
      [["GET", "/v1/items?updatedSince=yesterday", ""], "?updatedSince", /"yesterday"/],
      [["GET", "/v1/items?cursor=c_x", ""], "?cursor", /not a nextCursor/],
    ];
    await changesNothing(async () => {
      for (const [[method, route, body], pointer, detail] of cases)
        expectField(
          await ask(method, route, body === "" ? {} : { raw: body }),
          [method, route, body.slice(0, 80)],
          pointer,
          detail,
        );
    });
  });

  it("of 1,001 events or 1,001 items is refused with the bound", async () => {
    await changesNothing(async () => {
      const events = Array.from({ length: 1001 }, () => event());
      const bound = /^the array has 1001 entries, at most 1000 allowed$/;
      expectField(await ask("POST", "/v1/events", { json: { events } }), "events", "/events", bound);
      const items = events.map(({ id }) => ({ id, title: "t" }));
      expectField(await ask("POST", "/v1/items/batch", { json: { items } }), "items", "/items", bound);
    });
  });

  it("of 2 MiB is refused, whether it says its length, hides it or is 2 KB of gzip", async () => {
    const raw = Buffer.from(JSON.stringify({ events: [event({ text: "x".repeat(2 * MIB) })] }));
    const gzip = gzipSync(raw);
    expect(gzip.length).toBeLessThan(4096);
    const head = raw.subarray(0, 1024);
    await changesNothing(async () => {
      for (const [method, route, headers, bytes, bound] of [
        ["POST", "/v1/events", { "content-length": String(raw.length) }, head, /1048576/],
        ["POST", "/v1/events", { "transfer-encoding": "chunked" }, raw.subarray(0, MIB + 1), /1048576/],
        ["POST", "/v1/events", { "content-encoding": "gzip", "content-length": String(gzip.length) }, gzip, /1048576/],
        ["PUT", "/v1/models/m/files/a.bin", { "content-length": String(25 * MIB + 1) }, head, /26214400/],
      ] as const) {
        const answer = await begin(method, route, headers, bytes);
        expectProblem(answer, headers, { status: 413, code: "too_large" });
        expect(answer.body["detail"]).toMatch(bound);
      }
    });
  });

  it("with an unknown field is refused from a back end at every route, with the field's pointer", async () => {
    await changesNothing(async () => {
      for (const { method, path: route, kinds } of operations.filter(
        (one) => one.isJson && one.kinds.some((kind) => kind !== "publishableKey"),
      )) {
        const where = `${method} ${route}`;
        expectField(
          await ask(method, somePath(route), { key: keyFor(kinds), json: { surely: 1 } }),
          where,
          "/surely",
          /^"surely" is not a field here$/,
        );
      }
      const { body } = await ask("POST", "/v1/events", { json: { events: [event({ surely: 1 })] } });
      expect(body["results"]).toMatchObject([
        { status: "rejected", code: "unknown_field", pointer: "/events/0/surely" },
      ]);
    });
  });

  it("with an unknown field is taken from a phone without it, which is told", async () => {
    const token = await tokenOf(mine, "known");
    const bodies: Record<string, object> = {
      "POST /v1/anonymous-tokens": { installationId: "installation" },
      "POST /v1/events": { events: [{ ...event(), userId: undefined, surely: { deep: 1 } }] },
      "POST /v1/recommendations": { filter: { and: [{ field: "size", op: "gte", value: 0, surely: 1 }] } },
      "POST /v1/similar": { itemIds: ["i1"] },
      "POST /v1/rank": { itemIds: ["i1"] },
      "PATCH /v1/users/{id}": {},
    };
    const takers = operations.filter(({ isJson, kinds }) => isJson && kinds.includes("publishableKey"));
    expect(takers.map(({ method, path: route }) => `${method} ${route}`).toSorted()).toEqual(
      Object.keys(bodies).toSorted(),
    );
    for (const [where, body] of Object.entries(bodies)) {
      const [method = "", route = ""] = where.replace("{id}", "me").split(" ");
      const answer = await ask(method, route, { key: mine.publishable, token, json: { ...body, surely: true } });
      expect([where, Math.floor(answer.status / 100)]).toEqual([where, 2]);
      const warnings = answer.body["warnings"] as { pointer: string; code: string }[];
      const inner = JSON.stringify(body).includes("surely") ? 2 : 1;
      expect([where, warnings.map(({ code }) => code)]).toEqual([
        where,
        Array.from({ length: inner }, () => "unknown_field"),
      ]);
      expect(warnings.map(({ pointer }) => pointer)).toContain("/surely");
    }
  });
});

describe("an event", () => {
  it("that does not fit is rejected by itself, by field, value and bound, and stores nothing", async () => {
    const at = (ms: number) => new Date(Date.now() + ms).toISOString();
    const cases: [more: object, code: string, detail: RegExp][] = [
      [{ value: "NaN" }, "wrong_type", /^value: "NaN" is not of type number$/],
      [{ value: 1e10 }, "too_large", /^value: 10000000000, at most 1000000000 allowed$/],
      [{ position: -1 }, "too_small", /^position: -1, at least 0 needed$/],
      [
        { occurredAt: "99999-01-01T00:00:00Z" },
        "invalid_format",
        /^occurredAt: "99999-01-01T00:00:00Z" is not a valid datetime$/,
      ],
      [{ occurredAt: at(-31 * DAY) }, "occurred_at_too_old", /is before .*, the oldest time allowed/],
      [{ occurredAt: at(DAY) }, "occurred_at_ahead", /is after .*, 10 minutes ahead/],
      [{ type: "View" }, "invalid_format", /^type: "View": .*\^\[a-z\]/],
      [{ id: "" }, "too_short", /^id: "" has 0 characters, at least 1 needed$/],
      [{ id: "x".repeat(129) }, "too_long", /129 characters, at most 128 allowed$/],
      [{ itemId: null }, "required", /^itemId: /],
      [{ itemId: ".." }, "invalid", /^itemId: .*dot segment/],
      [{ userId: undefined }, "required", /^userId: /],
      [{ userId: "me" }, "invalid", /^userId: .*\bme\b/],
      [{ text: "x".repeat(2001) }, "too_long", /2001 characters, at most 2000 allowed$/],
      [{ price: { amountMinor: 1.5, currency: "EUR" } }, "wrong_type", /^price.amountMinor: 1.5 is not of type int$/],
      [{ list: { id: "l", policy: "p", items: [{ itemId: "i1", position: 0 }] } }, "not_allowed", /backfill/],
    ];
    await changesNothing(async () => {
      const { status, body } = await ask("POST", "/v1/events", {
        json: { events: cases.map(([more]) => event(more)) },
      });
      expect([status, body["accepted"], body["rejected"]]).toEqual([202, 0, cases.length]);
      const results = body["results"] as {
        status: string;
        code: string;
        detail: string;
        pointer: string;
        retryable: boolean;
      }[];
      for (const [place, [more, code, detail]] of cases.entries()) {
        const result = results[place]!;
        expect([more, result.status, result.code, result.retryable]).toEqual([more, "rejected", code, false]);
        expect(result.pointer).toMatch(new RegExp(`^/events/${place}/${Object.keys(more)[0]}`));
        expect(result.detail).toMatch(detail);
      }
      for (const odd of [5, null, "text", [], true]) {
        const one = await ask("POST", "/v1/events", { json: { events: [odd] } });
        expect([odd, one.status, one.body["rejected"], one.body["results"][0].code]).toEqual([
          odd,
          202,
          1,
          "wrong_type",
        ]);
      }
    });
  });
});

describe("a caller", () => {
  it("without a key is a 401, with a publishable key at every route of a back end or the operator a 403", async () => {
    await changesNothing(async () => {
      const closed = operations.filter(({ kinds }) => kinds.length > 0);
      expect(closed.length).toBeGreaterThan(20);
      for (const { method, path: route, kinds } of closed) {
        const where = `${method} ${route}`;
        const json = method === "GET" || method === "DELETE" ? {} : { json: {} };
        expectProblem(await ask(method, somePath(route), { key: undefined, ...json }), where, {
          status: 401,
          code: "unauthenticated",
        });
        expectProblem(await ask(method, somePath(route), { key: `${mine.secret.slice(0, -1)}_`, ...json }), where, {
          status: 401,
          code: "unauthenticated",
        });
        if (!kinds.includes("publishableKey")) {
          const phone = { key: mine.publishable, token: await tokenOf(mine, "known"), ...json };
          expectProblem(await ask(method, somePath(route), phone), where, { status: 403, code: "forbidden" });
        }
        if (!kinds.includes("secretKey"))
          expectProblem(await ask(method, somePath(route), json), where, { status: 403, code: "forbidden" });
      }
    });
  });

  it("with a user token that is expired, foreign, forged or none is a 401 that says why", async () => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const good = await tokenOf(mine, "known");
    const [header = "", claims = "", signature = ""] = good.split(".");
    const tokens: [token: string, reason: RegExp][] = [
      [await tokenOf(mine, "known", { issuedAt: Date.now() - 2 * DAY, lifetimeSeconds: 3600 }), /has expired/],
      [await tokenOf(mine, "known", { lifetimeSeconds: 25 * 3600 }), /more than 24 h/],
      [await tokenOf(theirs, "known"), /a key that this app does not have/],
      [
        await signUserToken(theirs.tokenSecret.key, {
          kid: mine.tokenSecret.id,
          userId: "known",
          issuedAt: Date.now(),
        }),
        /signature/,
      ],
      [`${header}.${part({ sub: "victim", aud: "edgewise", iat: 1, exp: 2 })}.${signature}`, /signature/],
      [`${part({ alg: "none", kid: mine.tokenSecret.id })}.${claims}.`, /HS256/],
      [`${part(null)}.${claims}.${signature}`, /HS256/],
      [await tokenOf(mine, "me"), /user id/],
      ["nonsense", /not a JWT/],
    ];
    await changesNothing(async () => {
      for (const [token, reason] of tokens)
        for (const [method, route, json] of [
          ["POST", "/v1/events", { events: [{ ...event(), userId: undefined }] }],
          ["POST", "/v1/recommendations", {}],
          ["GET", "/v1/users/me", undefined],
          ["DELETE", "/v1/users/me", undefined],
        ] as const) {
          const answer = await ask(method, route, {
            key: mine.publishable,
            token,
            ...(json === undefined ? {} : { json }),
          });
          expectProblem(answer, [route, reason], { status: 401, code: "user_token_invalid" });
          expect(answer.body["detail"]).toMatch(reason);
        }
      const writeOnly = { key: mine.publishable, token: await tokenOf(mine, "known", { audience: "events" }) };
      expectProblem(await ask("GET", "/v1/users/me", writeOnly), "events token", { status: 403, code: "forbidden" });
      const phone = { key: mine.publishable, token: good };
      expectProblem(await ask("POST", "/v1/recommendations", { ...phone, json: { userId: "victim" } }), "other", {
        status: 403,
        code: "forbidden",
      });
      expectProblem(await ask("GET", "/v1/users/victim", phone), "other", { status: 404, code: "not_found" });
      const named = await ask("POST", "/v1/events", { ...phone, json: { events: [event({ userId: "victim" })] } });
      expect(named.body["results"]).toMatchObject([{ status: "rejected", code: "user_mismatch" }]);
    });
  });
});

describe("an idempotency key", () => {
  it("that comes again with another body or path is refused, and what it did stays done once", async () => {
    const headers = { "idempotency-key": "once" };
    const first = await ask("PUT", "/v1/items/once", { json: { title: "first" }, headers });
    expect(first.status).toBe(201);
    await changesNothing(async () => {
      const again = await ask("PUT", "/v1/items/once", { json: { title: "first" }, headers });
      expect([again.status, again.text, again.headers.get("idempotent-replay")]).toEqual([201, first.text, "true"]);
      for (const [route, title] of [
        ["/v1/items/once", "second"],
        ["/v1/items/other", "first"],
      ] as const)
        expectProblem(await ask("PUT", route, { json: { title }, headers }), route, {
          status: 422,
          code: "idempotency_mismatch",
        });
      const long = { "idempotency-key": "x".repeat(256) };
      expectField(
        await ask("PUT", "/v1/items/once", { json: { title: "x" }, headers: long }),
        "long",
        "Idempotency-Key",
        /1 to 255/,
      );
    });
  });
});

describe("ids that are not there", () => {
  it("are reported in `ignored` by a list, which comes all the same", async () => {
    await changesNothing(async () => {
      const { status, body } = await ask("POST", "/v1/recommendations", {
        json: {
          history: [{ itemId: "none-1" }, { itemId: "i1" }],
          exclude: ["i5", "none-2"],
          pin: [{ itemId: "none-3", position: 0 }],
          context: { seedItemIds: ["none-4"] },
          filter: { not: { field: "colour", op: "eq", value: "red" } },
          count: 3,
        },
      });
      expect([status, (body["items"] as unknown[]).length]).toEqual([200, 3]);
      expect(body["ignored"]).toEqual([
        { pointer: "/history/0/itemId", code: "unknown_item" },
        { pointer: "/context/seedItemIds/0", code: "unknown_item" },
        { pointer: "/exclude/1", code: "unknown_item" },
        { pointer: "/pin/0/itemId", code: "unknown_item" },
        { pointer: "/filter#colour", code: "unknown_field" },
      ]);
    });
  });

  it("of a user are a 404 to read and change, a 202 to erase, a fallback list, and no storage", async () => {
    await changesNothing(async () => {
      for (const id of [
        "nobody",
        "\u{1f35d}",
        "../",
        "a/b",
        "%2e%2e",
        "__proto__",
        "constructor",
        "x".repeat(256),
        "x".repeat(5000),
      ]) {
        const route = `/v1/users/${encodeURIComponent(id)}`;
        expectProblem(await ask("GET", route), id, { status: 404, code: "not_found" });
        expectProblem(await ask("PATCH", route, { json: { attributes: { a: 1 } } }), id, {
          status: 404,
          code: "not_found",
        });
        expect([id, (await ask("DELETE", route)).status]).toEqual([id, 202]);
        if (id.length > 256) continue;
        const list = await ask("POST", "/v1/recommendations", { json: { userId: id, count: 4 } });
        expect([id, list.status, list.body["items"].length, list.body["degradedReason"]]).toEqual([
          id,
          200,
          4,
          "no_model",
        ]);
        expect(["trending", "default"]).toContain(list.body["source"]);
      }
    });
  });
});

describe("another app's ids", () => {
  it("are a 404 or `ignored` in every route of the document, never data, and theirs stays as it is", async () => {
    const key = theirs.secret;
    const list = await ask("POST", "/v1/recommendations", { key, json: { userId: "their-user", count: 2 } });
    const { recommendationId, nextCursor: cursor } = list.body as { recommendationId: string; nextCursor: string };
    expect(cursor).toMatch(/^c_/);
    const anonymous = await ask("POST", "/v1/anonymous-tokens", {
      key: theirs.publishable,
      json: { installationId: "installation" },
    });
    const theirKeyId = theirs.secret.split("_")[2]!;
    const theirNumber = Number(queryD1(persist, `SELECT app FROM apps WHERE id = '${theirs.id}'`)[0]!["app"]);
    const asked = await ask("POST", "/v1/training-jobs", { key, json: { reason: "theirs" } });
    const theirJob = `/v1/training-jobs/${(asked.body["job"] as { id: string }).id}`;
    const hook = await ask("POST", "/v1/webhook-endpoints", { key, json: { url: HOOK, types: ["trust.alert"] } });
    const { endpoint, secret } = hook.body as { endpoint: { id: string }; secret: { id: string } };
    const theirEndpoint = `/v1/webhook-endpoints/${endpoint.id}`;
    const theirSecret = secret.id;
    const lease = { headers: { "x-job-lease": "ew_jl_none" } };
    const { manifest } = tinyArtefact("two-levels");
    const octets = { raw: "x", headers: { "content-type": "application/octet-stream" } };
    const asOperator = { key: OPERATOR_KEY };
    const forbidden = 403;
    const history = [{ itemId: "item-3" }];

    /** Requests of this app, and of the operator in this app's name, with the other app's ids; and the status that each gets. */
    const requests: Record<string, [status: number, route: string, options: Options][]> = {
      "POST /v1/apps": [[forbidden, "/v1/apps", { json: { name: theirs.id } }]],
      "GET /v1/apps/{id}": [
        [forbidden, `/v1/apps/${theirs.id}`, {}],
        [404, "/v1/apps/app_none", asOperator],
      ],
      "DELETE /v1/apps/{id}": [[forbidden, `/v1/apps/${theirs.id}`, {}]],
      "GET /v1/apps/{id}/keys": [[forbidden, `/v1/apps/${theirs.id}/keys`, {}]],
      "POST /v1/apps/{id}/keys": [[forbidden, `/v1/apps/${theirs.id}/keys`, { json: { kind: "secret" } }]],
      "DELETE /v1/apps/{id}/keys/{keyId}": [
        [forbidden, `/v1/apps/${theirs.id}/keys/${theirKeyId}`, {}],
        [404, `/v1/apps/${mine.id}/keys/${theirKeyId}`, asOperator],
        [404, `/v1/apps/${mine.id}/keys/${theirs.tokenSecret.id}`, asOperator],
      ],
      "POST /v1/anonymous-tokens": [
        [401, "/v1/anonymous-tokens", { json: { installationId: "installation", token: anonymous.body["token"] } }],
      ],
      "POST /v1/events": [
        [
          202,
          "/v1/events",
          { json: { events: [event({ userId: "their-user", itemId: "item-1", recommendationId })] } },
        ],
        [
          401,
          "/v1/events",
          { key: mine.publishable, token: await tokenOf(theirs, "their-user"), json: { events: [event()] } },
        ],
      ],
      "GET /v1/imports/{file}": [[404, `/v1/imports/${"a".repeat(64)}`, {}]],
      "PUT /v1/imports/{file}": [[200, `/v1/imports/${"a".repeat(64)}`, { json: { kind: "events", nextRow: 1 } }]],
      "GET /v1/items/{id}": [[404, "/v1/items/item-1", {}]],
      "DELETE /v1/items/{id}": [[404, "/v1/items/item-1", {}]],
      "GET /v1/items": [
        [200, "/v1/items?ids=item-1,item-2", {}],
        [200, "/v1/items?limit=200", {}],
      ],
      "PUT /v1/items/{id}": [
        [404, "/v1/items/item-1", { json: { title: "x" }, headers: { "if-match": "*" } }],
        [201, "/v1/items/item-38", { json: { title: "x" } }],
      ],
      "POST /v1/items/batch": [[200, "/v1/items/batch", { json: { items: [{ id: "item-39", title: "x" }] } }]],
      "GET /v1/models": [[200, "/v1/models", {}]],
      "GET /v1/models/{id}": [[404, "/v1/models/their-model", {}]],
      "GET /v1/models/{id}/files/{path}": [[404, "/v1/models/their-model/files/codes.bin", {}]],
      "POST /v1/models/{id}/promote": [[404, "/v1/models/their-model/promote", {}]],
      "POST /v1/models/{id}/canary": [[404, "/v1/models/their-model/canary", { json: { share: 0.1 } }]],
      "DELETE /v1/models/{id}/canary": [[404, "/v1/models/their-model/canary", {}]],
      "POST /v1/models/{id}/rollback": [[404, "/v1/models/their-model/rollback", { json: {} }]],
      "POST /v1/models": [[422, "/v1/models", { json: { id: "their-model", manifest } }]], // their files are not this app's
      "PUT /v1/models/{id}/files/{path}": [[200, "/v1/models/their-model/files/a.bin", octets]],
      "POST /v1/training-jobs": [[202, "/v1/training-jobs", { json: { reason: "mine" } }]],
      "GET /v1/training-jobs": [[200, "/v1/training-jobs", {}]],
      "GET /v1/training-jobs/{id}": [[404, theirJob, {}]],
      "POST /v1/training-jobs/{id}/claim": [[404, `${theirJob}/claim`, { json: { trainer: "mine" } }]],
      "POST /v1/training-jobs/{id}/heartbeat": [[404, `${theirJob}/heartbeat`, { json: {}, ...lease }]],
      "PUT /v1/training-jobs/{id}/files/{path}": [
        [404, `${theirJob}/files/a.bin`, { raw: "x", headers: { ...octets.headers, ...lease.headers } }],
      ],
      "GET /v1/training-jobs/{id}/files/{path}": [[404, `${theirJob}/files/a.bin`, {}]],
      "POST /v1/training-jobs/{id}/complete": [
        [409, `${theirJob}/complete`, { json: { modelId: "none", report: {} }, ...lease }], // no model of this app
      ],
      "POST /v1/training-jobs/{id}/fail": [[404, `${theirJob}/fail`, { json: { reason: "mine" }, ...lease }]],
      "POST /v1/training-jobs/{id}/cancel": [[404, `${theirJob}/cancel`, {}]],
      "GET /v1/training-policy": [[200, "/v1/training-policy", {}]],
      "PUT /v1/training-policy": [[200, "/v1/training-policy", { json: {} }]],
      "POST /v1/webhooks/retrain": [[401, `/v1/webhooks/retrain?app=${theirs.id}`, { raw: "{}" }]],
      "POST /v1/webhook-endpoints": [[201, "/v1/webhook-endpoints", { json: { url: HOOK, types: ["trust.alert"] } }]],
      "GET /v1/webhook-endpoints": [[200, "/v1/webhook-endpoints", {}]],
      "GET /v1/webhook-endpoints/{id}": [[404, theirEndpoint, {}]],
      "PATCH /v1/webhook-endpoints/{id}": [[404, theirEndpoint, { json: { status: "disabled" } }]],
      "DELETE /v1/webhook-endpoints/{id}": [[404, theirEndpoint, {}]],
      "POST /v1/webhook-endpoints/{id}/secrets": [[404, `${theirEndpoint}/secrets`, {}]],
      "DELETE /v1/webhook-endpoints/{id}/secrets/{secret}": [[404, `${theirEndpoint}/secrets/${theirSecret}`, {}]],
      "GET /v1/webhook-endpoints/{id}/deliveries": [[404, `${theirEndpoint}/deliveries`, {}]],
      "GET /v1/webhook-endpoints/{id}/deliveries/{message}": [[404, `${theirEndpoint}/deliveries/msg_1`, {}]],
      "POST /v1/webhook-endpoints/{id}/deliveries/{message}/replay": [
        [404, `${theirEndpoint}/deliveries/msg_1/replay`, {}],
      ],
      "POST /v1/webhook-secrets": [[201, "/v1/webhook-secrets", { json: { scheme: "standard" } }]],
      "GET /v1/webhook-secrets": [[200, "/v1/webhook-secrets", {}]],
      "DELETE /v1/webhook-secrets/{scheme}/{id}": [[404, `/v1/webhook-secrets/standard/${theirSecret}`, {}]],
      "POST /v1/log/seal": [[200, "/v1/log/seal", {}]],
      "GET /v1/log/segments": [[200, "/v1/log/segments", {}]],
      "GET /v1/log/segments/{key}": [
        [404, `/v1/log/segments/log/app=${theirNumber}/day=2026-01-01/shard=000/00000001.ndjson.gz`, {}],
      ],
      "GET /v1/log/items": [[200, "/v1/log/items", {}]],
      "POST /v1/recommendations": [
        [
          200,
          "/v1/recommendations",
          { json: { userId: "their-user", history, exclude: ["item-4"], pin: [{ itemId: "item-5", position: 0 }] } },
        ],
        [400, "/v1/recommendations", { json: { userId: "their-user", cursor } }],
        [401, "/v1/recommendations", { key: mine.publishable, token: await tokenOf(theirs, "their-user"), json: {} }],
      ],
      "POST /v1/similar": [[200, "/v1/similar", { json: { itemIds: ["item-3"], exclude: ["item-4"] } }]],
      "POST /v1/rank": [[200, "/v1/rank", { json: { userId: "their-user", itemIds: ["item-3", "item-4"] } }]],
      "GET /v1/users/{id}": [
        [404, "/v1/users/their-user-2", {}],
        [401, "/v1/users/me", { key: mine.publishable, token: await tokenOf(theirs, "their-user") }],
      ],
      "PATCH /v1/users/{id}": [[404, "/v1/users/their-user-2", { json: { attributes: { a: 1 } } }]],
      "DELETE /v1/users/{id}": [[202, "/v1/users/their-user", {}]],
      "GET /openapi.json": [[200, "/openapi.json", {}]],
      "GET /docs": [[200, "/docs", {}]],
      "GET /healthz": [[200, "/healthz", {}]],
      "GET /readyz": [[200, "/readyz", {}]],
      "GET /": [[200, "/", {}]],
    };
    const names = operations.map(({ method, path: route }) => `${method} ${route}`);
    expect(
      names.filter((name) => !(name in requests)),
      "a new route needs its place here",
    ).toEqual([]);

    const read = async () => ({
      rows: everyRow(persist).filter(({ store, row }) => store === "D1" && row.startsWith(`{"app":${theirNumber},`)),
      user: (await ask("GET", "/v1/users/their-user", { key })).body,
      model: (await ask("GET", "/v1/models/their-model", { key })).body,
      keys: (await ask("GET", `/v1/apps/${theirs.id}/keys`, asOperator)).body,
      items: (await ask("GET", "/v1/items?limit=200", { key })).body,
      file: (await ask("GET", `/v1/imports/${"a".repeat(64)}`, { key })).body,
    });
    const before = await read();
    expect(before.rows.length).toBeGreaterThan(40);

    const answers = new Map<string, Answer[]>();
    for (const where of Object.keys(requests).filter((name) => names.includes(name))) {
      const method = where.slice(0, where.indexOf(" "));
      for (const [status, route, options] of requests[where]!) {
        const answer = await ask(method, route, options);
        expect([where, route, answer.status]).toEqual([where, route, status]);
        expect([where, answer.text.includes(THEIRS)]).toEqual([where, false]);
        answers.set(where, [...(answers.get(where) ?? []), answer]);
      }
    }
    const bodyOf = (where: string) => answers.get(where)![0]!.body;
    expect(bodyOf("POST /v1/events")["results"]).toMatchObject([{ status: "accepted", code: "list_ignored" }]);
    expect(bodyOf("GET /v1/items")).toMatchObject({ items: [], missing: ["item-1", "item-2"] });
    expect(bodyOf("GET /v1/models")).toEqual({ models: [], canary: null });
    expect(bodyOf("POST /v1/models")["errors"][0]).toMatchObject({ code: "file_missing" });
    expect(bodyOf("POST /v1/recommendations")["ignored"]).toEqual([
      { pointer: "/history/0/itemId", code: "unknown_item" },
      { pointer: "/exclude/0", code: "unknown_item" },
      { pointer: "/pin/0/itemId", code: "unknown_item" },
    ]);
    expect(bodyOf("POST /v1/similar")["ignored"]).toEqual([
      { pointer: "/itemIds/0", code: "unknown_item" },
      { pointer: "/exclude/0", code: "unknown_item" },
    ]);
    expect(bodyOf("POST /v1/rank")).toMatchObject({
      items: [],
      ignored: [{ pointer: "/itemIds/0" }, { pointer: "/itemIds/1" }],
    });
    await settle();
    expect(await read()).toEqual(before);
  });
});
