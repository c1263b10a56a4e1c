import { beforeAll, describe, expect, it } from "vitest";
import { call as callApp, json as jsonOf, makeApp, type TestApp } from "../http/caller.ts";

let keys: TestApp;
let others: TestApp;

beforeAll(async () => {
  [keys, others] = [await makeApp(), await makeApp()];
});

/** With the secret key of the first app, unless `headers` bring another. */
function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return callApp(path, {
    method,
    headers: { authorization: `Bearer ${keys.secret}`, ...headers },
    ...(body === undefined ? {} : { body }),
  });
}

interface Body {
  readonly id: string;
  readonly title: string;
  readonly code: string;
  readonly created: boolean;
  readonly item: Readonly<Record<string, unknown>>;
  readonly items: readonly { readonly id: string; readonly deleted?: boolean }[];
  readonly missing: readonly string[];
  readonly nextCursor: string | null;
  readonly results: readonly {
    readonly id: string | null;
    readonly status: string;
    readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
  }[];
  readonly errors: readonly { readonly pointer: string; readonly detail: string }[];
}

const json = (response: Response): Promise<Body> => jsonOf<Body>(response);

describe("PUT /v1/items/{id}", () => {
  it("creates with 201, replaces with 200, and gives the item back whole", async () => {
    const item = {
      title: "Lentil dal",
      text: "Slow and warm",
      creator: "c_7",
      origin: "human",
      createdAt: "2026-08-22T18:04:00+02:00",
      price: { amountMinor: 499, currency: "EUR" },
      attributes: { minutes: 25, diet: ["vegan"], season: "summer", quick: true },
      available: false,
    };
    const created = await call("PUT", "/v1/items/dal", item);
    expect(created.status).toBe(201);
    expect(await json(created)).toMatchObject({
      created: true,
      pendingCodes: false,
      item: { ...item, id: "dal", createdAt: "2026-08-22T16:04:00.000Z", hidden: false },
    });
    const replaced = await call("PUT", "/v1/items/dal", { id: "dal", title: "Dal" });
    expect(replaced.status).toBe(200);
    expect(await json(replaced)).toMatchObject({
      created: false,
      item: {
        title: "Dal",
        text: "",
        price: null,
        attributes: {},
        available: true,
        createdAt: "2026-08-22T16:04:00.000Z",
      },
    });
  });

  it("takes ids with slashes, spaces, percent signs and letters of any script", async () => {
    for (const id of ["a/b", "50%", "x y", "日本", "a?b#c", "batch.1", "%2F"]) {
      const path = `/v1/items/${encodeURIComponent(id)}`;
      expect([id, (await call("PUT", path, { title: "t" })).status]).toEqual([id, 201]);
      expect((await json(await call("GET", path))).id).toBe(id);
    }
  });

  it.each([
    ["no title", {}, "/title", /needed/],
    ["an empty title", { title: "" }, "/title", /at least 1/],
    ["a long title", { title: "x".repeat(501) }, "/title", /501 characters, at most 500/],
    ["a long text", { title: "t", text: "x".repeat(2001) }, "/text", /2001 characters, at most 2000/],
    ["a NUL in the title", { title: "t\u0000" }, "/title", /U\+0000/],
    ["half a surrogate pair", '{"title":"\\ud800"}', "/title", /surrogate/],
    ["an unknown origin", { title: "t", origin: "robot" }, "/origin", /"robot" is not one of human, machine/],
    ["a time before 1970", { title: "t", createdAt: "1969-12-31T23:59:59Z" }, "/createdAt", /1970 to 9999/],
    ["a time after 9999", { title: "t", createdAt: "9999-12-31T23:59:59-01:00" }, "/createdAt", /1970 to 9999/],
    ["a time that is none", { title: "t", createdAt: "yesterday" }, "/createdAt", /"yesterday"/],
    [
      "a negative price",
      { title: "t", price: { amountMinor: -1, currency: "EUR" } },
      "/price/amountMinor",
      /-1, at least 0/,
    ],
    ["a broken price", { title: "t", price: { amountMinor: 1.5, currency: "EUR" } }, "/price/amountMinor", /1.5/],
    ["an unknown currency", { title: "t", price: { amountMinor: 1, currency: "euro" } }, "/price/currency", /ISO 4217/],
    [
      "a long attribute",
      { title: "t", attributes: { a: "x".repeat(257) } },
      "/attributes/a",
      /257 characters, at most 256/,
    ],
    [
      "a long attribute list",
      { title: "t", attributes: { a: Array(65).fill("x") } },
      "/attributes/a",
      /65 entries, at most 64/,
    ],
    ["a null attribute", { title: "t", attributes: { a: null } }, "/attributes/a", /./],
    ["an object as attribute", { title: "t", attributes: { a: { b: 1 } } }, "/attributes/a", /./],
    ["an infinite attribute", '{"title":"t","attributes":{"a":1e999}}', "/attributes/a", /./],
    ["an attribute named as a field", { title: "t", attributes: { price: 1 } }, "/attributes", /field of the item/],
    [
      "65 attributes",
      { title: "t", attributes: Object.fromEntries(Array.from({ length: 65 }, (_, k) => [`a${k}`, k])) },
      "/attributes",
      /at most 64/,
    ],
    ["an unknown field", { title: "t", colour: "red" }, "/colour", /not a field/],
    ["another id than the path", { title: "t", id: "other" }, "/id", /differs/],
  ])("refuses %s and names the field, the value and the bound", async (_, body, pointer, detail) => {
    const response = await call("PUT", "/v1/items/bad", body);
    expect(response.status).toBe(400);
    const { code, errors } = await json(response);
    expect(code).toBe("invalid_request");
    expect(errors[0]?.pointer).toMatch(new RegExp(`^${pointer}(/|$)`));
    expect(errors[0]?.detail).toMatch(detail);
    expect((await call("GET", "/v1/items/bad")).status).toBe(404);
  });

  it("does not take __proto__ for the name of an attribute", async () => {
    const body = '{"title":"t","attributes":{"__proto__":{"polluted":true},"a":1}}';
    expect((await json(await call("PUT", "/v1/items/proto", body))).item).toMatchObject({ attributes: { a: 1 } });
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it("writes under If-Match only while the item is the version it names", async () => {
    await call("PUT", "/v1/items/versioned", { title: "one" });
    const etag = (await call("GET", "/v1/items/versioned")).headers.get("etag")!;
    expect((await call("PUT", "/v1/items/versioned", { title: "two" }, { "if-match": etag })).status).toBe(200);
    const stale = await call("PUT", "/v1/items/versioned", { title: "three" }, { "if-match": etag });
    expect(stale.status).toBe(412);
    expect((await call("DELETE", "/v1/items/versioned", undefined, { "if-match": etag })).status).toBe(412);
    expect((await json(await call("GET", "/v1/items/versioned"))).title).toBe("two");
    expect((await call("DELETE", "/v1/items/versioned", undefined, { "if-match": "*" })).status).toBe(204);
    expect((await call("PUT", "/v1/items/versioned", { title: "x" }, { "if-match": "*" })).status).toBe(404);
  });

  it("answers a repeated Idempotency-Key with the first answer", async () => {
    const headers = { "idempotency-key": "put-once" };
    const first = await json(await call("PUT", "/v1/items/once", { title: "one" }, headers));
    await call("PUT", "/v1/items/once", { title: "two" });
    expect(await json(await call("PUT", "/v1/items/once", { title: "one" }, headers))).toEqual(first);
    expect((await json(await call("GET", "/v1/items/once"))).title).toBe("two");
  });
});

describe("GET and DELETE /v1/items/{id}", () => {
  it("answer 304 to the ETag they gave until the item changes", async () => {
    await call("PUT", "/v1/items/tagged", { title: "one" });
    const etag = (await call("GET", "/v1/items/tagged")).headers.get("etag")!;
    const same = await call("GET", "/v1/items/tagged", undefined, { "if-none-match": `"other", W/${etag}` });
    expect([same.status, same.headers.get("etag"), await same.text()]).toEqual([304, etag, ""]);
    await call("PUT", "/v1/items/tagged", { title: "two" });
    expect((await call("GET", "/v1/items/tagged", undefined, { "if-none-match": etag })).status).toBe(200);
  });

  it("know nothing of a deleted item or of one that never was", async () => {
    await call("PUT", "/v1/items/gone", { title: "t" });
    expect((await call("DELETE", "/v1/items/gone")).status).toBe(204);
    expect((await call("GET", "/v1/items/gone")).status).toBe(404);
    expect((await call("DELETE", "/v1/items/gone")).status).toBe(404);
    expect((await call("GET", "/v1/items/never")).status).toBe(404);
  });
});

describe("POST /v1/items/batch", () => {
  it("stores the good entries and tells what is wrong with each bad one", async () => {
    const items = [
      { id: "b1", title: "one" },
      { id: "b2" },
      "three",
      { id: "", title: "t" },
      { id: "b1", title: "again" },
      { id: "b3", title: "t", x: 1 },
    ];
    const response = await call("POST", "/v1/items/batch", { items });
    expect(response.status).toBe(200);
    const body = await json(response);
    expect(body).toMatchObject({ created: 2, updated: 0, rejected: 4, pendingCodes: false });
    expect(body.results.map(({ id, status }) => [id, status])).toEqual([
      ["b1", "created"],
      ["b2", "rejected"],
      [null, "rejected"],
      ["", "rejected"],
      ["b1", "created"],
      ["b3", "rejected"],
    ]);
    expect(body.results.flatMap(({ errors }) => errors?.map(({ pointer }) => pointer) ?? [])).toEqual([
      "/items/1/title",
      "/items/2",
      "/items/3/id",
      "/items/5/x",
    ]);
    expect((await json(await call("GET", "/v1/items/b1"))).title).toBe("again");
    expect((await call("GET", "/v1/items/b3")).status).toBe(404);
  });

  it("takes 1,000 items at once, says that codes are pending, and refuses 1,001", async () => {
    const items = Array.from({ length: 1001 }, (_, k) => ({ id: `m${k}`, title: `Item ${k}` }));
    const body = await json(await call("POST", "/v1/items/batch", { items: items.slice(0, 1000) }));
    expect(body).toMatchObject({ created: 1000, rejected: 0, pendingCodes: true });
    expect(body.results).toHaveLength(1000);
    const over = await call("POST", "/v1/items/batch", { items });
    expect(over.status).toBe(400);
    expect((await json(over)).errors).toEqual([
      { pointer: "/items", code: "too_long", detail: "the array has 1001 entries, at most 1000 allowed" },
    ]);
  });

  it("refuses ids that no path can name", async () => {
    const { results } = await json(
      await call("POST", "/v1/items/batch", { items: [".", "..", "..."].map((id) => ({ id, title: "t" })) }),
    );
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "created"]);
    expect(results[1]!.errors![0]).toMatchObject({
      pointer: "/items/1/id",
      detail: expect.stringMatching(/dot segment/),
    });
  });

  it("refuses an envelope that is none", async () => {
    expect((await call("POST", "/v1/items/batch", { items: [] })).status).toBe(400);
    expect((await call("POST", "/v1/items/batch", { items: [{ id: "a", title: "t" }], more: 1 })).status).toBe(400);
    expect((await call("POST", "/v1/items/batch", "{")).status).toBe(400);
  });
});

describe("GET /v1/items", () => {
  it("reads items by id in the order asked, names the missing ones, and answers 304 while none changed", async () => {
    await call("POST", "/v1/items/batch", { items: ["g1", "g2"].map((id) => ({ id, title: id })) });
    const response = await call("GET", "/v1/items?ids=g2,nobody,g1,g2");
    const body = await json(response);
    expect(body.items.map((item) => item.id)).toEqual(["g2", "g1"]);
    expect(body.missing).toEqual(["nobody"]);
    const headers = { "if-none-match": response.headers.get("etag")! };
    expect((await call("GET", "/v1/items?ids=g2,nobody,g1,g2", undefined, headers)).status).toBe(304);
    await call("PUT", "/v1/items/g1", { title: "new" });
    expect((await call("GET", "/v1/items?ids=g2,nobody,g1,g2", undefined, headers)).status).toBe(200);
    const many = Array.from({ length: 101 }, (_, k) => `i${k}`).join(",");
    expect((await call("GET", `/v1/items?ids=${many}`)).status).toBe(400);
  });

  it("pages through what changed since a time, deleted items included", async () => {
    const app = await makeApp();
    const headers = { authorization: `Bearer ${app.secret}` };
    const items = Array.from({ length: 5 }, (_, k) => ({ id: `p${k}`, title: `t${k}` }));
    await call("POST", "/v1/items/batch", { items }, headers);
    await call("DELETE", "/v1/items/p0", undefined, headers);
    const seen: string[] = [];
    let query = "limit=2";
    for (;;) {
      const page = await json(await call("GET", `/v1/items?${query}`, undefined, headers));
      seen.push(...page.items.map((item) => `${item.id}${item.deleted === true ? " deleted" : ""}`));
      if (page.nextCursor === null) break;
      query = `limit=2&cursor=${page.nextCursor}`;
    }
    expect(seen).toEqual(["p1", "p2", "p3", "p4", "p0 deleted"]);
    const later = new Date(Date.now() + 60_000).toISOString();
    expect((await json(await call("GET", `/v1/items?updatedSince=${later}`, undefined, headers))).items).toEqual([]);
    expect((await call("GET", "/v1/items?cursor=u_x", undefined, headers)).status).toBe(400);
    expect((await call("GET", "/v1/items?limit=201", undefined, headers)).status).toBe(400);
    expect((await call("GET", "/v1/items?updatedSince=now", undefined, headers)).status).toBe(400);
  });
});

describe("the catalogue of an app", () => {
  it("is out of reach for another app and for publishable keys", async () => {
    await call("PUT", "/v1/items/mine", { title: "t" });
    const other = { authorization: `Bearer ${others.secret}` };
    expect((await call("GET", "/v1/items/mine", undefined, other)).status).toBe(404);
    expect((await call("DELETE", "/v1/items/mine", undefined, other)).status).toBe(404);
    expect((await json(await call("GET", "/v1/items?ids=mine", undefined, other))).items).toEqual([]);
    expect((await json(await call("GET", "/v1/items", undefined, other))).items).toEqual([]);
    expect((await json(await call("PUT", "/v1/items/mine", { title: "theirs" }, other))).created).toBe(true);
    expect((await json(await call("GET", "/v1/items/mine"))).title).toBe("t");
    const publishable = { authorization: `Bearer ${keys.publishable}` };
    expect((await call("GET", "/v1/items/mine", undefined, publishable)).status).toBe(403);
    expect((await call("POST", "/v1/items/batch", { items: [] }, publishable)).status).toBe(403);
  });
});

describe("the import ledger", () => {
  const file = "a".repeat(64);

  it("remembers how far a file has come and refuses to move a finished one", async () => {
    expect((await call("GET", `/v1/imports/${file}`)).status).toBe(404);
    expect(
      await json(await call("PUT", `/v1/imports/${file}`, { kind: "events", nextRow: 100, rejected: 2 })),
    ).toMatchObject({
      nextRow: 100,
      rejected: 2,
      finished: false,
    });
    await call("PUT", `/v1/imports/${file}`, { kind: "events", nextRow: 150, rejected: 2, finished: true });
    expect(await json(await call("GET", `/v1/imports/${file}`))).toMatchObject({ nextRow: 150, finished: true });
    expect((await call("PUT", `/v1/imports/${file}`, { kind: "events", nextRow: 120 })).status).toBe(409);
    expect((await call("PUT", `/v1/imports/${file}`, { kind: "events", nextRow: 150, finished: true })).status).toBe(
      200,
    );
    expect((await call("PUT", `/v1/imports/${file}`, { kind: "items", nextRow: 0 })).status).toBe(409);
    expect(await json(await call("PUT", `/v1/imports/${file}`, { kind: "events", nextRow: 0 }))).toMatchObject({
      finished: false,
    });
  });

  it("belongs to the app and takes hashes only", async () => {
    await call("PUT", `/v1/imports/${"b".repeat(64)}`, { kind: "items", nextRow: 7 });
    const other = { authorization: `Bearer ${others.secret}` };
    expect((await call("GET", `/v1/imports/${"b".repeat(64)}`, undefined, other)).status).toBe(404);
    expect((await call("GET", "/v1/imports/readme")).status).toBe(400);
    expect((await call("PUT", `/v1/imports/${"b".repeat(64)}`, { kind: "items", nextRow: -1 })).status).toBe(400);
  });
});
