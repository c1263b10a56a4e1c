/** The OpenAPI document against the routes that are mounted, against OpenAPI's own schema, and against what the routes answer. */
import { Validator } from "@cfworker/json-schema";
import metaSchema from "@seriousme/openapi-schema-validator/schemas/v3.1/schema.json";
import { describe, expect, it } from "vitest";
import { app } from "../../functions/app.ts";
import { describedRoutes } from "../../functions/http/openapi.ts";
import { PROBLEMS } from "../../functions/http/problem.ts";
import { call, json, makeApp, operator } from "../http/caller.ts";
import type { RouteDescription } from "../../functions/http/openapi.ts";
import type { CallOptions, TestApp } from "../http/caller.ts";

type Json = Record<string, unknown>;
interface Answer {
  readonly content?: Record<string, { schema?: Json }>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, { responses: Record<string, Answer>; operationId: string }>>;
  readonly components: { readonly schemas: Record<string, Json> };
}

const text = await (await call("/openapi.json")).text();
const document = JSON.parse(text) as Document;
const routes = describedRoutes();
const nameOf = ({ method, path }: RouteDescription) => `${method.toUpperCase()} ${path}`;

/** A validator of one schema of the document, with the components in reach. */
function validator(schema: Json): Validator {
  const local = JSON.parse(JSON.stringify(schema).replaceAll("#/components/schemas/", "#/$defs/")) as Json;
  const defs = JSON.parse(
    JSON.stringify(document.components.schemas).replaceAll("#/components/schemas/", "#/$defs/"),
  ) as Json;
  return new Validator({ ...local, $defs: defs }, "2020-12", false);
}
const problemShape = validator({ $ref: "#/components/schemas/Problem" });

async function expectProblem(response: Response, where: string): Promise<Json> {
  const body = await json<Json>(response);
  const { valid, errors } = problemShape.validate(body);
  expect([where, valid, errors]).toEqual([where, true, []]);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(body["status"]).toBe(response.status);
  expect(PROBLEMS).toHaveProperty(String(body["code"]));
  expect(body["requestId"]).toBe(response.headers.get("x-request-id"));
  return body;
}

/** A path of the route with a made-up id in each place. */
const somePath = (route: RouteDescription) => route.path.replaceAll(/\{\w+\}/g, "nothing");

function keyOf(kind: string, tenant: TestApp): string {
  return kind === "operator" ? operator : kind === "secret" ? tenant.secret : tenant.publishable;
}

describe("the document", () => {
  it("describes exactly the routes that are mounted", () => {
    const mounted = app.routes
      .filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`);
    expect([...new Set(mounted)].toSorted()).toEqual(routes.map(nameOf).toSorted());
  });

  it("is valid OpenAPI 3.1 and every reference in it resolves", () => {
    // the validator knows no $dynamicRef; the schema dialect is checked as the plain reference that it defaults to
    const plain = JSON.parse(
      JSON.stringify(metaSchema).replaceAll('"$dynamicRef":"#meta"', '"$ref":"#/$defs/schema"'),
    ) as Json;
    const openapi = new Validator(plain, "2020-12", false);
    expect(openapi.validate({ ...document, paths: { "/x": { get: { responses: [] } } } }).valid).toBe(false);
    const { valid, errors } = openapi.validate(document);
    expect(errors.slice(0, 5)).toEqual([]);
    expect(valid).toBe(true);
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      expect(document.components.schemas).toHaveProperty([String(name)]);
    }
    expect(text).not.toContain("$defs");
  });

  it("gives examples that its own schemas accept", () => {
    const examples = routes.filter(({ request, example }) => request !== undefined && example !== undefined);
    expect(examples.length).toBeGreaterThan(5);
    for (const route of examples) {
      const result = route.request?.safeParse(route.example);
      expect([nameOf(route), result?.error?.issues ?? []]).toEqual([nameOf(route), []]);
    }
  });

  it("has one operation id a route, no verb after a colon, and no shorthand for a tenant", () => {
    const ids = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).map((one) => one.operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
    for (const path of Object.keys(document.paths)) expect(path).not.toContain(":");
  });
});

describe("every route", () => {
  it("refuses a missing key with 401 and a key of another kind with 403, before it looks at anything", async () => {
    const tenant = await makeApp();
    for (const route of routes.filter(({ auth }) => auth.length > 0)) {
      const where = nameOf(route);
      const body = route.request ? { body: {} } : {};
      const bare = await call(somePath(route), { method: route.method.toUpperCase(), ...body });
      expect([where, (await expectProblem(bare, where))["code"]]).toEqual([where, "unauthenticated"]);
      for (const kind of ["operator", "secret", "publishable"] as const) {
        if (route.auth.includes(kind)) continue;
        const other = await call(somePath(route), {
          method: route.method.toUpperCase(),
          key: keyOf(kind, tenant),
          ...body,
        });
        const { code } = await expectProblem(other, where);
        expect([where, kind, code]).toEqual([where, kind, "forbidden"]);
      }
    }
  });

  it("that takes JSON refuses what is not JSON, another media type and, of a back end, an unknown field", async () => {
    const tenant = await makeApp();
    for (const route of routes.filter(({ request }) => request !== undefined)) {
      const kind = route.auth.find((one) => one !== "publishable") ?? "publishable";
      const options = {
        method: route.method.toUpperCase(),
        key: keyOf(kind, tenant),
        token: await tenant.userToken("u1"),
      };
      const ask = async (body: string, headers = {}) => {
        const response = await call(somePath(route), { ...options, body, headers });
        return (await expectProblem(response, nameOf(route)))["code"];
      };
      const where = nameOf(route);
      expect([where, await ask('{"a": NaN}')]).toEqual([where, "malformed_json"]);
      expect([where, await ask("{}", { "content-type": "text/plain" })]).toEqual([where, "unsupported_media_type"]);
      expect([where, await ask('{"surelyUnknown": 1}')]).toEqual([where, "invalid_request"]);
      expect([where, await ask(`"${"x".repeat(2 ** 20)}"`)]).toEqual([where, "too_large"]);
    }
  });
});

describe("answers", () => {
  it("fit the schema that the document gives for their status", async () => {
    const tenant = await makeApp();
    const { secret: key, publishable } = tenant;
    const token = await tenant.userToken("u1");
    const item = { title: "Lentil dal", text: "Red lentils, cumin.", attributes: { cuisine: "indian" } };
    const now = new Date().toISOString();
    const events = [{ id: "e1", itemId: "r1", type: "view", occurredAt: now }];
    const steps: [route: string, path: string, options: CallOptions][] = [
      ["get /healthz", "/healthz", {}],
      ["get /readyz", "/readyz", {}],
      ["post /v1/apps", "/v1/apps", { key: operator, body: { name: "x" } }],
      ["get /v1/apps/{id}", `/v1/apps/${tenant.id}`, { key: operator }],
      ["get /v1/apps/{id}", "/v1/apps/nothing", { key: operator }],
      ["get /v1/apps/{id}/keys", `/v1/apps/${tenant.id}/keys`, { key: operator }],
      ["post /v1/apps/{id}/keys", `/v1/apps/${tenant.id}/keys`, { key: operator, body: { kind: "secret" } }],
      ["delete /v1/apps/{id}/keys/{keyId}", `/v1/apps/${tenant.id}/keys/nothing`, { key: operator, method: "DELETE" }],
      [
        "post /v1/anonymous-tokens",
        "/v1/anonymous-tokens",
        { key: publishable, body: { installationId: "installation" } },
      ],
      ["put /v1/items/{id}", "/v1/items/r1", { key, method: "PUT", body: item }],
      ["get /v1/items/{id}", "/v1/items/r1", { key }],
      ["get /v1/items/{id}", "/v1/items/nothing", { key }],
      ["post /v1/items/batch", "/v1/items/batch", { key, body: { items: [{ id: "r2", ...item }] } }],
      ["get /v1/items", "/v1/items?ids=r1,r2", { key }],
      ["post /v1/events", "/v1/events", { key: publishable, token, body: { events } }],
      ["get /v1/users/{id}", "/v1/users/me", { key: publishable, token }],
      ["get /v1/users/{id}", "/v1/users/nobody", { key }],
      ["delete /v1/users/{id}", "/v1/users/nobody", { key, method: "DELETE" }],
      ["patch /v1/users/{id}", "/v1/users/u1", { key, method: "PATCH", body: { consent: { training: false } } }],
      ["post /v1/recommendations", "/v1/recommendations", { key, body: { userId: "u1", count: 2, explain: true } }],
      ["post /v1/recommendations", "/v1/recommendations", { key: publishable, token, body: { fields: ["title"] } }],
      ["post /v1/similar", "/v1/similar", { key, body: { itemIds: ["r1"], count: 2 } }],
      ["post /v1/rank", "/v1/rank", { key, body: { userId: "u1", itemIds: ["r1", "r2"] } }],
      ["get /v1/imports/{file}", "/v1/imports/nothing", { key }],
      ["get /v1/models", "/v1/models", { key }],
      ["get /v1/models/{id}", "/v1/models/nothing", { key }],
      ["delete /v1/items/{id}", "/v1/items/r1", { key, method: "DELETE" }],
      ["delete /v1/apps/{id}", "/v1/apps/nothing", { key: operator, method: "DELETE" }],
      ["delete /v1/apps/{id}", `/v1/apps/${tenant.id}`, { key: operator, method: "DELETE" }], // the last one of this tenant
    ];
    for (const [route, path, options] of steps) {
      const [method = "", pattern = ""] = route.split(" ");
      const response = await call(path, options);
      const described = document.paths[pattern]?.[method]?.responses[response.status];
      expect([route, path, response.status, described !== undefined]).toEqual([route, path, response.status, true]);
      const [media] = Object.values(described?.content ?? {});
      if (!media?.schema) continue;
      const body = await json(response);
      const { valid, errors } = validator(media.schema).validate(body);
      expect([route, response.status, valid, errors]).toEqual([route, response.status, true, []]);
    }
  });

  it("hold nothing of another app", async () => {
    const [mine, theirs] = [await makeApp(), await makeApp()];
    const item = { title: "Secret sauce", text: "" };
    await call("/v1/items/r1", { key: theirs.secret, method: "PUT", body: item });
    expect((await call("/v1/items/r1", { key: theirs.secret })).status).toBe(200);
    expect((await call("/v1/items/r1", { key: mine.secret })).status).toBe(404);
    const events = [{ id: "e1", itemId: "r1", type: "view", occurredAt: new Date().toISOString() }];
    await call("/v1/events", { key: theirs.publishable, token: await theirs.userToken("u1"), body: { events } });
    expect((await call("/v1/users/u1", { key: theirs.secret })).status).toBe(200);
    expect((await call("/v1/users/u1", { key: mine.secret })).status).toBe(404);
    expect((await call("/v1/users/me", { key: mine.publishable, token: await mine.userToken("u1") })).status).toBe(404);
  });
});
