/** Bodies: bounds, gzip, JSON with its place of error, strict and lenient reading of one schema. */
import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { parseBody, parseQuery, readBytes, readLeniently } from "../../functions/http/body.ts";
import { onError } from "../../functions/http/errors.ts";
import { lineAndColumn, malformedAt } from "../../functions/http/json-position.ts";
import { bodyBound, frame } from "../../functions/http/request.ts";
import { json } from "./caller.ts";
import type { Bindings, Credential } from "../../functions/http/context.ts";

const MIB = 2 ** 20;

interface Predicate {
  readonly field?: string | undefined;
  readonly and?: readonly Predicate[] | undefined;
}
const Filter: z.ZodType<Predicate> = z.lazy(() =>
  z.union([
    z.strictObject({ field: z.string(), op: z.enum(["eq", "ne"]), value: z.union([z.string(), z.number()]) }),
    z.strictObject({ and: z.array(Filter).max(3) }),
  ]),
);
const Body = z.strictObject({
  count: z.int().min(1).max(100).optional(),
  text: z.string().max(10).optional(),
  code: z
    .string()
    .regex(/^[A-Z]{3}$/)
    .optional(),
  at: z.iso.datetime({ offset: true }).optional(),
  list: z
    .array(z.strictObject({ id: z.string().min(1) }))
    .max(2)
    .optional(),
  filter: Filter.optional(),
  free: z.record(z.string(), z.unknown()).optional(),
});

const probe = new Hono<Bindings>();
probe.use(frame, bodyBound);
probe.use(async (c, next) => {
  c.set("credential", { kind: c.req.header("x-kind") ?? "secret", app: 1 } as Credential);
  await next();
});
probe.post("/body", async (c) => c.json({ body: await parseBody(c, Body), warnings: c.get("warnings") }));
probe.put("/v1/models/m/files/a", async (c) => c.json({ bytes: (await readBytes(c, 25 * MIB)).length }));
probe.get("/query", (c) => c.json(parseQuery(c, z.object({ count: z.coerce.number().int().max(5).optional() }))));
probe.onError(onError);

async function send(
  body: string | ReadableStream | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
  path = "/body",
  method = "POST",
) {
  const init: RequestInit = { method, body, headers: { "content-type": "application/json", ...headers } };
  const response = await probe.request(`https://edge.test${path}`, init, { ...env });
  const answer = await json(response);
  return {
    status: response.status,
    code: answer["code"],
    errors: answer["errors"],
    detail: String(answer["detail"]),
    answer,
  };
}
const firstError = async (body: unknown) => ((await send(JSON.stringify(body))).errors as unknown[])[0];
const gzip = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(
    await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );

describe("the bound of a body", () => {
  it("is 1 MiB, with a length or without, and 25 MiB for a file of a model", async () => {
    const big = `{"text":"${"x".repeat(2 * MIB)}"}`;
    expect(await send(big)).toMatchObject({ status: 413, code: "too_large" });
    const stream = new Blob([big]).stream();
    expect(await send(stream)).toMatchObject({ status: 413, code: "too_large" });
    const exact = `{"free":{"a":"${"x".repeat(MIB - 17)}"}}`;
    expect(exact.length).toBe(MIB);
    expect((await send(exact)).status).toBe(200);
    expect((await send(`${exact} `)).status).toBe(413);
    const file = new Uint8Array(2 * MIB);
    expect((await send(file, {}, "/v1/models/m/files/a", "PUT")).answer).toEqual({ bytes: 2 * MIB });
    const tooBig = await send(new Uint8Array(8), { "content-length": String(26 * MIB) }, "/v1/models/m/files/a", "PUT");
    expect(tooBig.status).toBe(413);
  });

  it("holds for gzip after inflating, so that a bomb stops at the bound", async () => {
    const bomb = await gzip(new Uint8Array(32 * MIB));
    expect(bomb.length).toBeLessThan(MIB / 16);
    expect(await send(bomb, { "content-encoding": "gzip" })).toMatchObject({ status: 413, code: "too_large" });
    const small = await gzip(new Uint8Array(new TextEncoder().encode('{"count":3}')));
    expect((await send(small, { "content-encoding": "gzip" })).answer).toEqual({ body: { count: 3 }, warnings: [] });
    expect(await send(new Uint8Array(small.slice(0, 12)), { "content-encoding": "gzip" })).toMatchObject({
      code: "malformed_json",
    });
    expect(await send("{}", { "content-encoding": "gzip" })).toMatchObject({ code: "malformed_json" });
    expect(await send("{}", { "content-encoding": "br" })).toMatchObject({ code: "unsupported_media_type" });
  });
});

describe("what is not JSON", () => {
  it("is refused with the place where it stops being JSON, and without its text", async () => {
    const cases: [string, string][] = [
      ['{"count": NaN}', "position 10 (line 1, column 11)"],
      ['{"count": Infinity}', "position 10 "],
      ['{"a": 1,\n "b": tru}', "position 15 (line 2, column 7)"],
      ['{"count": 1', "ends before its JSON does, at position 11 "],
      ["", "position 0 "],
      ["{'a': 1}", "position 1 "],
      ["[1, 2,]", "position 6 "],
      ["{} {}", "position 3 "],
      ["01", "position 1 "],
    ];
    for (const [body, place] of cases) {
      const { code, detail } = await send(body);
      expect([body, code]).toEqual([body, "malformed_json"]);
      expect(detail).toContain(place);
      expect(detail).not.toContain("NaN");
    }
    expect(await send(new Uint8Array([0x22, 0xff, 0x22]))).toMatchObject({ code: "malformed_json" });
  });

  it("is told from JSON exactly as the engine tells it", () => {
    const isJson = (text: string) => {
      try {
        JSON.parse(text);
        return true;
      } catch {
        return false;
      }
    };
    fc.assert(
      fc.property(
        fc.json(),
        fc.nat(),
        fc.constantFrom("", "{", "}", "[", "]", ",", ":", '"', "0", "-", "e", "\\", " "),
        (text, at, extra) => {
          const place = at % (text.length + 1);
          for (const changed of [
            text,
            text.slice(0, place) + extra + text.slice(place),
            text.slice(0, place) + text.slice(place + 1),
          ]) {
            expect([changed, malformedAt(changed) === undefined]).toEqual([changed, isJson(changed)]);
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(lineAndColumn("a\nbc", 3)).toEqual({ line: 2, column: 2 });
  });

  it("needs the right media type, and must not nest without end", async () => {
    expect(await send("{}", { "content-type": "text/plain" })).toMatchObject({
      status: 415,
      code: "unsupported_media_type",
    });
    expect((await send("{}", { "content-type": "Application/JSON; charset=utf-8" })).status).toBe(200);
    const deep = `{"free":${'{"a":'.repeat(70)}1${"}".repeat(70)}}`;
    expect(await send(deep)).toMatchObject({ status: 400, errors: [{ code: "too_deep", pointer: "" }] });
    expect((await send("[".repeat(500_000) + "]".repeat(500_000))).status).toBe(400);
  });
});

describe("a body that does not fit", () => {
  it("is told by pointer, code, value and bound", async () => {
    expect(await firstError({ count: 101 })).toEqual({
      pointer: "/count",
      code: "too_large",
      detail: "101, at most 100 allowed",
    });
    expect(await firstError({ count: 0 })).toMatchObject({
      pointer: "/count",
      code: "too_small",
      detail: "0, at least 1 needed",
    });
    expect(await firstError({ count: "3" })).toMatchObject({ code: "wrong_type", detail: '"3" is not of type number' });
    expect(await firstError({ count: 1.5 })).toMatchObject({ pointer: "/count", code: "wrong_type" });
    expect(await firstError({ text: "x".repeat(100) })).toEqual({
      pointer: "/text",
      code: "too_long",
      detail: `"${"x".repeat(36)}... has 100 characters, at most 10 allowed`,
    });
    expect(await firstError({ at: "yesterday" })).toMatchObject({ pointer: "/at", code: "invalid_format" });
    expect(await firstError({ list: [{ id: "a" }, {}] })).toMatchObject({ pointer: "/list/1/id", code: "required" });
    expect(await firstError({ list: [{ id: "a" }, { id: "b" }, { id: "c" }] })).toMatchObject({
      pointer: "/list",
      code: "too_long",
    });
    expect(await firstError({ list: [{ id: "" }] })).toMatchObject({ pointer: "/list/0/id", code: "too_short" });
    expect(await firstError({ "a/b~c": 1 })).toMatchObject({ pointer: "/a~1b~0c", code: "unknown_field" });
    expect(await firstError({ filter: { field: "f", op: "near", value: 1 } })).toMatchObject({
      pointer: "/filter/op",
      code: "not_allowed",
      detail: '"near" is not one of eq, ne',
    });
    expect(await firstError({ filter: { and: [{ field: "f", op: "eq" }] } })).toMatchObject({
      pointer: "/filter/and/0/value",
    });
    expect(await firstError([])).toMatchObject({ pointer: "", code: "wrong_type" });
    expect(await send('{"count": 1e999}')).toMatchObject({
      status: 400,
      errors: [{ pointer: "/count", detail: "Infinity is not of type number" }],
    });
    expect(await firstError({ code: "a1" })).toEqual({
      pointer: "/code",
      code: "invalid_format",
      detail: '"a1": Invalid string: must match pattern /^[A-Z]{3}$/',
    });
  });

  it("is told by name in a query", async () => {
    const response = await probe.request("https://edge.test/query?count=6", {}, { ...env });
    expect(await json(response)).toMatchObject({
      code: "invalid_request",
      errors: [{ pointer: "?count", code: "too_large" }],
    });
  });
});

describe("an unknown field", () => {
  const body = {
    count: 3,
    newFlag: true,
    list: [{ id: "a", colour: "red" }],
    filter: { and: [{ field: "f", op: "eq", value: 1, fuzzy: true }] },
    free: { anything: 1 },
  };

  it("is refused from a back end, each with its pointer", async () => {
    const { status, errors } = await send(JSON.stringify(body));
    expect(status).toBe(400);
    const pointers = (errors as { pointer: string }[]).map(({ pointer }) => pointer);
    expect(pointers.toSorted()).toEqual(["/filter/and/0/fuzzy", "/list/0/colour", "/newFlag"]);
  });

  it("is left out for a phone, at any depth, and reported", async () => {
    const { status, answer } = await send(JSON.stringify(body), { "x-kind": "publishable" });
    expect(status).toBe(200);
    expect(answer["body"]).toEqual({
      count: 3,
      list: [{ id: "a" }],
      filter: { and: [{ field: "f", op: "eq", value: 1 }] },
      free: { anything: 1 },
    });
    const warnings = answer["warnings"] as { pointer: string; code: string }[];
    expect(warnings.map(({ pointer }) => pointer).toSorted()).toEqual([
      "/filter/and/0/fuzzy",
      "/list/0/colour",
      "/newFlag",
    ]);
    expect(new Set(warnings.map(({ code }) => code))).toEqual(new Set(["unknown_field"]));
  });

  it("excuses nothing else", async () => {
    const wrong = { ...body, count: 101 };
    const { status, errors } = await send(JSON.stringify(wrong), { "x-kind": "publishable" });
    expect(status).toBe(400);
    expect(errors).toEqual([{ pointer: "/count", code: "too_large", detail: "101, at most 100 allowed" }]);
    expect(await send('{"__proto__": {"count": 5}}')).toMatchObject({ status: 400 });
    expect((await send('{"__proto__": {"count": 5}}', { "x-kind": "publishable" })).answer["body"]).toEqual({});
  });

  it("changes nothing of what is known: lenient reading of a fitting body equals strict reading", () => {
    const known = fc.record({
      count: fc.integer({ min: 1, max: 100 }),
      list: fc.array(fc.record({ id: fc.string({ minLength: 1 }) }), { maxLength: 2 }),
    });
    const extra = fc.dictionary(
      fc.string().map((name) => `x-${name}`),
      fc.jsonValue(),
      { maxKeys: 4 },
    );
    fc.assert(
      fc.property(known, extra, extra, (value, outer, inner) => {
        const sent = { ...value, ...outer, list: value.list.map((entry) => ({ ...entry, ...inner })) };
        const read = readLeniently(Body, sent);
        expect(read.value).toEqual(Body.parse(value));
        const expected = Object.keys(outer).length + value.list.length * Object.keys(inner).length;
        expect(read.warnings).toHaveLength(Math.min(20, expected));
      }),
      { numRuns: 100 },
    );
  });
});
