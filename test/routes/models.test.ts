import { env } from "cloudflare:workers";
import { describe, expect, test, vi } from "vitest";
import { quantise } from "../../functions/domain/artefact/coded-item.ts";
import { sha256Hex, versionOf } from "../../functions/domain/artefact/digest.ts";
import type { Manifest } from "../../functions/domain/artefact/manifest.ts";
import { readImmutable, readerOf } from "../../functions/store/artefacts.ts";
import { putItems } from "../../functions/store/items.ts";
import {
  codingCursor,
  findModel,
  itemCodesSince,
  MODEL_STATEMENTS,
  promoteModel,
  readRows,
  registered,
  saveItemCodes,
  servingModel,
  writtenSince,
} from "../../functions/store/models.ts";
import { call, json, makeApp } from "../http/caller.ts";
import { item } from "../store/new-app.ts";
import { appWithItems, putFiles, register, registerTiny } from "../support/put-tiny-model.ts";
import { tinyArtefact } from "../support/tiny-artefact.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

async function problem(response: Response) {
  const body = (await response.json()) as {
    code: string;
    detail: string;
    errors?: { pointer: string; code: string; detail: string }[];
  };
  return { status: response.status, ...body };
}

describe("putting files", () => {
  test("a file is kept under its hash, and its hash and size come back", async () => {
    const app = await appWithItems(1);
    const response = await call("/v1/models/m1/files/deep/a.bin", {
      method: "PUT",
      key: app.secret,
      body: bytes("abc"),
    });
    const sha256 = await sha256Hex("abc");
    expect(response.status).toBe(200);
    expect(await json(response)).toEqual({ path: "deep/a.bin", bytes: 3, sha256 });
    expect(await (await env.MODELS.get(`app/${app.app}/files/${sha256}`))?.text()).toBe("abc");
    expect(await json(await call("/v1/models/m1", { key: app.secret }))).toMatchObject({
      id: "m1",
      status: "uploading",
      manifest: null,
    });
  });

  test.each([true, false])(
    "a body with another hash than declared is refused and not kept (streamed: %s)",
    async (isStreamed) => {
      const app = await appWithItems(1);
      const put = (sha256: string) =>
        call("/v1/models/m1/files/a.bin", {
          method: "PUT",
          key: app.secret,
          body: bytes("abc"),
          headers: { "x-content-sha256": sha256, ...(isStreamed ? { "content-length": "3" } : {}) },
        });
      const other = await sha256Hex("abd");
      const refused = await problem(await put(other));
      expect(refused).toMatchObject({
        status: 400,
        code: "invalid_request",
        errors: [{ pointer: "x-content-sha256" }],
      });
      expect(await env.MODELS.head(`app/${app.app}/files/${other}`)).toBeNull();
      expect((await put(await sha256Hex("abc"))).status).toBe(200);
      expect((await problem(await put("xyz"))).status).toBe(400);
    },
  );

  test("a path that leaves the artefact, and an id with other characters, are refused", async () => {
    const app = await appWithItems(1);
    const put = (path: string) => call(path, { method: "PUT", key: app.secret, body: bytes("abc") });
    expect((await put("/v1/models/m1/files/.hidden")).status).toBe(400);
    expect((await put("/v1/models/m1/files/a%2F..%2Fb")).status).toBe(400);
    expect((await put("/v1/models/m%20x/files/a.bin")).status).toBe(400);
    expect((await put("/v1/models/-x/files/a.bin")).status).toBe(400);
  });

  test("a file over 25 MiB is refused", async () => {
    const app = await appWithItems(1);
    const body = new Uint8Array(25 * 1024 * 1024 + 1);
    expect((await call("/v1/models/m1/files/a.bin", { method: "PUT", key: app.secret, body })).status).toBe(413);
  });

  test("only secret keys reach models, and only those of their own app", async () => {
    const app = await appWithItems(1);
    const other = await makeApp();
    await call("/v1/models/m1/files/a.bin", { method: "PUT", key: app.secret, body: bytes("abc") });
    expect((await call("/v1/models", { key: app.publishable })).status).toBe(403);
    expect((await call("/v1/models")).status).toBe(401);
    expect((await call("/v1/models/m1", { key: other.secret })).status).toBe(404);
    expect(await json(await call("/v1/models", { key: other.secret }))).toEqual({ models: [], canary: null });
    expect((await call("/v1/models/m1/promote", { method: "POST", key: other.secret })).status).toBe(404);
  });
});

describe("registering", () => {
  test("verified files and resolved ids make a registered model; the same again gives the same", async () => {
    const app = await appWithItems();
    const { manifest, files } = tinyArtefact("two-levels");
    await putFiles(app, "m1", files);
    const first = await register(app, "m1", manifest);
    expect(first.status).toBe(201);
    const model = await json(first);
    expect(model).toMatchObject({
      id: "m1",
      status: "registered",
      modelVersion: manifest.modelVersion,
      rows: 40,
      liveRows: 40,
    });
    const again = await register(app, "m1", manifest);
    expect([again.status, await json(again)]).toEqual([200, model]);
    expect(await json(await call("/v1/models", { key: app.secret }))).toEqual({ models: [model], canary: null });
    expect(await json(await call("/v1/models/m1", { key: app.secret }))).toEqual({ ...model, manifest });
    const row = registered(app.app, (await findModel(env.DB, app.app, "m1"))!)!;
    expect([...(await readRows(env, row))]).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
    expect(row.rowsKey).toMatch(new RegExp(`^app/${app.app}/rows/${manifest.modelVersion}/e1-[0-9a-f]{32}$`));
  });

  test("files of a registered model don't change any more, and another manifest under its id is a conflict", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    const put = await call("/v1/models/m1/files/items.txt", { method: "PUT", key: app.secret, body: bytes("x\n") });
    expect(put.status).toBe(409);
    const other = tinyArtefact("three-levels");
    expect((await register(app, "m1", other.manifest)).status).toBe(409);
  });

  test("files that an earlier model brought need not be put again", async () => {
    const app = await appWithItems();
    const manifest = await registerTiny(app, "m1");
    expect((await register(app, "m2", manifest)).status).toBe(201);
  });

  async function refusal(change: (manifest: Manifest, files: Map<string, Uint8Array>) => void, items = 40) {
    const app = await appWithItems(items);
    const { manifest, files } = tinyArtefact("two-levels");
    change(manifest, files);
    for (const file of manifest.files) {
      if (files.has(file.path) && file.sha256 === "rehash") {
        Object.assign(file, { sha256: await sha256Hex(files.get(file.path)!), bytes: files.get(file.path)!.length });
      }
    }
    Object.assign(manifest, { modelVersion: await versionOf(manifest.files) });
    await putFiles(app, "m1", files);
    const refused = await problem(await register(app, "m1", manifest));
    const after = await json(await call("/v1/models/m1", { key: app.secret }));
    expect(after).toMatchObject({ status: "uploading" });
    return refused;
  }
  const rehash = (manifest: Manifest, path: string) =>
    Object.assign(
      manifest.files.find((file) => file.path === path)!,
      { sha256: "rehash" },
    );

  test("a missing file is refused by name", async () => {
    const refused = await refusal((_, files) => files.delete("step2.onnx"));
    expect(refused).toMatchObject({
      status: 422,
      code: "model_refused",
      errors: [{ pointer: "step2.onnx", code: "file_missing" }],
    });
  });

  test("a file with other bytes is refused with both hashes", async () => {
    const refused = await refusal((_, files) => files.set("step2.onnx", bytes("other")));
    const sha256 = await sha256Hex("other");
    expect(refused.errors).toMatchObject([{ pointer: "step2.onnx", code: "file_hash" }]);
    expect(refused.detail).toContain(sha256);
  });

  test("a wrong type and a wrong shape are both named", async () => {
    const refused = await refusal((manifest) => {
      Object.assign(manifest.graphs[0]!.inputs[0]!, { dtype: "int32" });
      Object.assign(manifest.graphs[1]!.outputs[0]!, { shape: ["B", 9] });
    });
    expect(refused.errors?.map((error) => error.code)).toEqual(["dtype", "shape"]);
    expect(refused.errors?.[1]?.detail).toBe("step2.onnx outputs/logits: expected (B, 8), got (B, 9)");
  });

  test("an artefact made for another app is refused", async () => {
    expect((await refusal((manifest) => Object.assign(manifest, { app: "app_other" }))).errors).toMatchObject([
      { code: "app" },
    ]);
  });

  test("codes that are not below their level's size are refused, though hash and size fit", async () => {
    const refused = await refusal((manifest, files) => {
      files.set("codes.bin", new Uint8Array(80).fill(200));
      rehash(manifest, "codes.bin");
    });
    expect(refused.errors).toMatchObject([{ pointer: "codes.bin", code: "codes" }]);
  });

  test("items.txt with an id twice is refused", async () => {
    const refused = await refusal((manifest, files) => {
      files.set("items.txt", bytes("item-1\n".repeat(40)));
      rehash(manifest, "items.txt");
    });
    expect(refused.errors).toMatchObject([{ pointer: "items.txt", code: "items" }]);
  });

  test("36 of 40 ids in the catalogue are enough, 35 are not, and dead rows are 0 in the table", async () => {
    const refused = await refusal(() => {}, 35);
    expect(refused.errors).toMatchObject([{ pointer: "items.txt", code: "rows" }]);
    expect(refused.detail).toBe("items.txt: expected at least 36 of 40 ids in the catalogue, got 35");
    const app = await appWithItems(36);
    await registerTiny(app, "m1");
    const row = registered(app.app, (await findModel(env.DB, app.app, "m1"))!)!;
    expect([...(await readRows(env, row)).subarray(34)]).toEqual([35, 36, 0, 0, 0, 0]);
  });

  test("a manifest of another shape is an invalid request with pointers", async () => {
    const app = await appWithItems(1);
    const { manifest } = tinyArtefact("two-levels");
    const body = { id: "m1", manifest: { ...manifest, levels: [8], surprise: true } };
    const refused = await problem(await call("/v1/models", { key: app.secret, body }));
    expect(refused).toMatchObject({ status: 400, code: "invalid_request" });
    expect(refused.errors?.map((error) => error.pointer).sort()).toEqual(["/manifest/levels", "/manifest/surprise"]);
  });

  test("a model whose files are still coming can't be promoted", async () => {
    const app = await appWithItems(1);
    await call("/v1/models/m1/files/a.bin", { method: "PUT", key: app.secret, body: bytes("abc") });
    const refused = await problem(await call("/v1/models/m1/promote", { method: "POST", key: app.secret }));
    expect([refused.status, refused.code]).toEqual([409, "conflict"]);
    expect((await call("/v1/models/none/promote", { method: "POST", key: app.secret })).status).toBe(404);
  });
});

test("a model whose parity cases are no JSON is refused when it is promoted", async () => {
  const app = await appWithItems();
  const { manifest, files } = tinyArtefact("two-levels");
  files.set("parity.json", Uint8Array.from(bytes("{no JSON")));
  const line = manifest.files.find(({ path }) => path === "parity.json")!;
  Object.assign(line, { bytes: 8, sha256: await sha256Hex("{no JSON") });
  Object.assign(manifest, { modelVersion: await versionOf(manifest.files) });
  await putFiles(app, "m1", files);
  expect((await register(app, "m1", manifest)).status).toBe(201);
  const refused = await problem(await call("/v1/models/m1/promote", { method: "POST", key: app.secret }));
  expect(refused).toMatchObject({ status: 422, errors: [{ pointer: "parity.json", code: "parity" }] });
});

describe("the pointer to the serving model", () => {
  test("swings to a promoted model, retires the one before, and swings back", async () => {
    const app = await appWithItems();
    expect(await servingModel(env, app.app)).toBeUndefined();
    await registerTiny(app, "m1");
    await registerTiny(app, "m2", "three-levels");
    expect(await promoteModel(env.DB, app.app, 1, 5)).toBe(1);
    expect(await servingModel(env, app.app)).toMatchObject({ id: "m1", model: 1, servingVersion: 1 });
    expect(await promoteModel(env.DB, app.app, 2, 6)).toBe(2);
    const statuses = async () =>
      (await Promise.all(["m1", "m2"].map((id) => findModel(env.DB, app.app, id)))).map((m) => m?.status);
    expect(await statuses()).toEqual(["retired", "serving"]);
    expect(await promoteModel(env.DB, app.app, 1, 7)).toBe(3);
    expect(await statuses()).toEqual(["serving", "retired"]);
    expect((await servingModel(env, app.app))?.manifest.levels).toEqual([8, 8]);
  });

  test("a model that is not registered is not promoted, and the one that serves stays", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    await promoteModel(env.DB, app.app, 1, 5);
    await call("/v1/models/m2/files/a.bin", { method: "PUT", key: app.secret, body: bytes("abc") });
    expect(await promoteModel(env.DB, app.app, 2, 6)).toBeUndefined();
    expect(await promoteModel(env.DB, app.app, 9, 6)).toBeUndefined();
    expect(await servingModel(env, app.app)).toMatchObject({ id: "m1", status: "serving", servingVersion: 1 });
  });

  test("item numbers of another epoch make the row table be resolved anew", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    await promoteModel(env.DB, app.app, 1, 5);
    await env.DB.prepare("UPDATE items SET number = number + 100 WHERE app = ?1").bind(app.app).run();
    await env.DB.prepare("UPDATE apps SET epoch = 2 WHERE app = ?1").bind(app.app).run();
    const model = (await servingModel(env, app.app))!;
    expect(model.rowsKey).toContain("/e2-");
    expect((await readRows(env, model))[0]).toBe(101);
    expect((await servingModel(env, app.app))?.rowsKey).toBe(model.rowsKey);
  });
});

describe("objects named by their content", () => {
  test("come out of the cache once read, and damaged ones don't go in", async () => {
    const sha256 = await sha256Hex("good");
    const key = `app/0/files/${sha256}`;
    const text = async () => new TextDecoder().decode((await readImmutable(env, key))?.bytes);
    expect(await readImmutable(env, key)).toBeUndefined();
    await env.MODELS.put(key, "damaged");
    expect(await text()).toBe("damaged");
    await env.MODELS.put(key, "good");
    expect(await text()).toBe("good");
    await env.MODELS.delete(key);
    await vi.waitFor(async () => expect(await text()).toBe("good"));
    const spoilt = new Response("damaged", { headers: { "cache-control": "max-age=60" } });
    await caches.default.put(`https://artefacts.invalid/${key}`, spoilt);
    expect(await readImmutable(env, key)).toBeUndefined();
  });

  test("are read together by one look-up, each whole, and one that is damaged is read from the store again", async () => {
    const texts = ["one", "two more", "", "three"];
    const keys = await Promise.all(texts.map(async (text) => `app/0/files/${await sha256Hex(text)}`));
    for (const [at, key] of keys.entries()) await env.MODELS.put(key, texts[at]!);
    const read = async (wanted = keys) => {
      const reader = readerOf(env, keys);
      const reads = await Promise.all(wanted.map((key) => reader(key)));
      return reads.map((one) => one && [new TextDecoder().decode(one.bytes), one.intact]);
    };
    const whole = texts.map((text) => [text, true]);
    expect(await read()).toEqual(whole);
    const url = `https://artefacts.invalid/together/${encodeURIComponent(keys.join())}`;
    await vi.waitFor(async () => expect(await caches.default.match(url)).toBeDefined());
    await env.MODELS.delete(keys);
    expect(await read([keys[3]!, keys[1]!])).toEqual([whole[3], whole[1]]);
    expect(await read(["app/0/files/absent"])).toEqual([undefined]);
    const spoilt = new Response(new Uint8Array(40), { headers: { "cache-control": "max-age=60" } });
    await caches.default.put(url, spoilt);
    await env.MODELS.put(keys[0]!, "damaged");
    expect(await read()).toEqual([["damaged", false], undefined, undefined, undefined]);
  });
});

describe("codes of newer items", () => {
  const coded = (number: number, revision: number, value = 1) => ({
    number,
    revision,
    codes: Uint8Array.of(value, 2),
    ...quantise(new Float32Array(8).fill(value)),
  });
  const model = { model: 1, manifest: tinyArtefact("two-levels").manifest };

  test("are read since a revision that grows with every write of them, whatever the order of their items", async () => {
    const { app } = await appWithItems(5);
    const [first] = await writtenSince(env.DB, app, { revision: 0, number: 0 }, 1);
    const revision = first!.revision;
    await saveItemCodes(env.DB, app, 1, [coded(4, revision)], { revision, number: 4 });
    const one = await itemCodesSince(env.DB, app, model, 0);
    expect(one).toMatchObject({ revision: 1, isWhole: true, items: [{ number: 4, codes: Uint8Array.of(1, 2) }] });
    await saveItemCodes(env.DB, app, 1, [coded(2, revision, 3), coded(4, revision, 5)], { revision, number: 4 });
    const two = await itemCodesSince(env.DB, app, model, one.revision);
    const read = two.items.map((row) => [row.number, row.codes[0]!, Math.round(row.scale * row.vector[0]!)]);
    expect(read.toSorted((a, b) => a[0]! - b[0]!)).toEqual([
      [2, 3, 3],
      [4, 5, 5],
    ]);
    expect((await itemCodesSince(env.DB, app, model, two.revision)).items).toEqual([]);
    const cut = await itemCodesSince(env.DB, app, model, 0, 2);
    expect(cut.items).toHaveLength(2);
    await saveItemCodes(env.DB, app, 1, [coded(1, revision)], { revision, number: 4 });
    const part = await itemCodesSince(env.DB, app, model, 0, 2);
    const numbers = part.items.map((row) => row.number).toSorted((a, b) => a - b);
    expect([numbers, part.revision, part.isWhole]).toEqual([[2, 4], 2, false]);
  });

  test("of an item that was written again meanwhile are not saved: its new text lies behind the cursor", async () => {
    const { app } = await appWithItems(2);
    const old = (await writtenSince(env.DB, app, { revision: 0, number: 0 }, 9)).find((row) => row.number === 2)!;
    await putItems(env, app, [item("item-1", { title: "New" })], Date.now());
    await saveItemCodes(env.DB, app, 1, [coded(2, old.revision)], { revision: old.revision, number: 2 });
    expect((await itemCodesSince(env.DB, app, model, 0)).items).toEqual([]);
    const cursor = await codingCursor(env.DB, app, 1);
    expect((await writtenSince(env.DB, app, cursor, 9)).map((row) => row.number)).toEqual([2]);
  });

  test("the cursor never goes back", async () => {
    const { app } = await appWithItems(1);
    await saveItemCodes(env.DB, app, 1, [], { revision: 300, number: 2 });
    await saveItemCodes(env.DB, app, 1, [], { revision: 299, number: 900 });
    await saveItemCodes(env.DB, app, 1, [], { revision: 300, number: 1 });
    expect(await codingCursor(env.DB, app, 1)).toEqual({ revision: 300, number: 2 });
    expect(await codingCursor(env.DB, app, 2)).toEqual({ revision: 0, number: 0 });
  });
});

test("every statement on models finds its rows by an index", async () => {
  for (const [name, sql] of Object.entries(MODEL_STATEMENTS)) {
    const parameters = [...new Set(sql.match(/\?\d/g))].map(() => 1);
    const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...parameters)
      .all<{ detail: string }>();
    const scans = results.map((row) => row.detail).filter((detail) => /^SCAN|TEMP B-TREE/.test(detail));
    expect(scans, name).toEqual([]);
  }
});
