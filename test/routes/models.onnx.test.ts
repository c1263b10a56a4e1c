/** A model's whole life inside workerd: over HTTP into R2, parity, promotion, decoding, items that are newer than it. */
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { sha256Hex, versionOf } from "../../functions/domain/artefact/digest.ts";
import { PlaceBitmap } from "../../functions/domain/generation/bitmap.ts";
import { generate } from "../../functions/domain/generation/generate.ts";
import { ModelCache } from "../../functions/inference/budget.ts";
import { loadModel, type LoadedModel } from "../../functions/inference/load-model.ts";
import { checkParity, historyVectors, Parity } from "../../functions/inference/parity.ts";
import { createSession, once, runtimeMemoryBytes, within } from "../../functions/inference/runtime.ts";
import { codeItems } from "../../functions/jobs/code-items.ts";
import { artefactSource } from "../../functions/store/artefacts.ts";
import { deleteItems, putItems } from "../../functions/store/items.ts";
import { itemCodesSince, readRows, servingModel } from "../../functions/store/models.ts";
import { call, json } from "../http/caller.ts";
import { item } from "../store/new-app.ts";
import { appWithItems, putFiles, register, registerTiny } from "../support/put-tiny-model.ts";
import { tinyArtefact, tinySource } from "../support/tiny-artefact.ts";

const promote = (app: { secret: string }, id: string) =>
  call(`/v1/models/${id}/promote`, { method: "POST", key: app.secret });

async function loadServing(app: number): Promise<LoadedModel> {
  const serving = (await servingModel(env, app))!;
  const rows = await readRows(env, serving);
  const { items } = await itemCodesSince(env.DB, app, serving, 0);
  return loadModel(artefactSource(env, app, serving.manifest), rows, items);
}

/** Numbers and log-probabilities of all items, best first. */
async function rank(model: LoadedModel, numbers: readonly number[]) {
  const places = numbers.map((number) => model.order.placeOf(number));
  const legal = PlaceBitmap.all(model.order.size);
  const history = { vectors: historyVectors(model, places), length: places.length };
  const found = await generate(model, history, legal, { count: legal.total });
  return { numbers: [...found.places].map((place) => model.order.numbers[place]!), found };
}

describe("the runtime in workerd", () => {
  test("five first requests that read their model from R2 share one attempt, and a failed one isn't kept", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    const { manifest } = tinyArtefact("two-levels");
    const rows = Uint32Array.from({ length: 40 }, (_, row) => row + 1);
    let attempts = 0;
    const open = once(async () => {
      attempts += 1;
      if (attempts === 1) throw new Error("store away");
      return loadModel(artefactSource(env, app.app, manifest), rows);
    });
    const failed = await Promise.allSettled([open(), open()]);
    expect([attempts, ...failed.map((one) => one.status)]).toEqual([1, "rejected", "rejected"]);
    const models = await Promise.all([1, 2, 3, 4, 5].map(() => open()));
    expect([attempts, new Set(models).size]).toEqual([2, 1]);
    expect(runtimeMemoryBytes()).toBeGreaterThan(1 << 20);
    await models[0]!.dispose();
  });

  test.each(["two-levels", "three-levels"] as const)("reproduces the figures of %s that NumPy made", async (name) => {
    const source = tinySource(name);
    const rows = Uint32Array.from({ length: 40 }, (_, row) => row + 1);
    const model = await loadModel(source, rows);
    const parity = Parity.parse(JSON.parse(new TextDecoder().decode(source.files.get("parity.json"))));
    const report = await checkParity(model, rows, parity);
    await model.dispose();
    expect(report).toMatchObject({ refusals: [], cases: 8, texts: 8 });
    expect(report.deviation).toBeLessThan(5e-6);
  });

  test("an attempt that takes too long becomes an error", async () => {
    const never = new Promise<never>(() => {});
    await expect(within(20, "opening", never)).rejects.toThrow("opening took longer than 20 ms");
    await expect(createSession(new Uint8Array(9))).rejects.toThrow();
  });

  test("a model that the budget put out is loaded again and answers the same", async () => {
    const rows = Uint32Array.from({ length: 40 }, (_, row) => row + 1);
    const one = await loadModel(tinySource("two-levels"), rows);
    await one.dispose();
    const cache = new ModelCache<LoadedModel>(1.5 * one.bytes);
    const answer = async (name: "two-levels" | "three-levels") => {
      const lease = await cache.acquire(name, () => loadModel(tinySource(name), rows));
      const { numbers } = await rank(lease.value, [1, 2, 3]);
      lease.release();
      return { numbers, bytes: lease.value.bytes };
    };
    const first = await answer("two-levels");
    expect(first.bytes * 2).toBeGreaterThan(cache.budgetBytes);
    await answer("three-levels");
    expect(cache.keys).toEqual(["three-levels"]);
    expect(await answer("two-levels")).toEqual(first);
  });
});

describe("promotion", () => {
  test("a model that reproduces its figures serves, and decodes every item with probabilities that sum to 1", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1", "three-levels");
    const response = await promote(app, "m1");
    expect(response.status).toBe(200);
    expect(await json(response)).toMatchObject({
      model: { id: "m1", status: "serving" },
      servingVersion: 1,
      parity: { cases: 8, texts: 8 },
      codedItems: 0,
    });
    const model = await loadServing(app.app);
    const { numbers, found } = await rank(model, [3, 5]);
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, row) => row + 1));
    expect(found.logProbability.reduce((sum, value) => sum + Math.exp(value), 0)).toBeCloseTo(1, 9);
    await model.dispose();
  });

  test("a model whose figures differ is refused with the figure, and the one before keeps serving", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    expect((await promote(app, "m1")).status).toBe(200);
    const { manifest, files } = tinyArtefact("two-levels");
    const parity = Parity.parse(JSON.parse(new TextDecoder().decode(files.get("parity.json"))));
    parity.cases[0]!.h[0]! += 1;
    files.set("parity.json", Uint8Array.from(new TextEncoder().encode(JSON.stringify(parity))));
    await relist(manifest, files, "parity.json");
    await putFiles(app, "m2", files);
    expect((await register(app, "m2", manifest)).status).toBe(201);
    const refused = await promote(app, "m2");
    expect(refused.status).toBe(422);
    const { errors } = (await json(refused)) as unknown as { errors: { pointer: string; code: string }[] };
    expect(errors).toMatchObject([
      { pointer: "parity.json case 0 h", code: "parity" },
      { pointer: "parity.json case 0 typed h", code: "parity" }, // both engines are held to the figures
    ]);
    expect(await servingModel(env, app.app)).toMatchObject({ id: "m1", status: "serving", servingVersion: 1 });
  });

  test("a graph that does not open is refused by name, and one that came damaged out of the store as well", async () => {
    const app = await appWithItems();
    const { manifest, files } = tinyArtefact("two-levels");
    files.set("encoder.onnx", new Uint8Array(100).fill(1));
    await relist(manifest, files, "encoder.onnx");
    await putFiles(app, "m1", files);
    expect((await register(app, "m1", manifest)).status).toBe(201);
    const unreadable = await promote(app, "m1");
    expect([unreadable.status, await unreadable.text()]).toEqual([422, expect.stringContaining("encoder.onnx")]);

    const good = tinyArtefact("two-levels");
    const step = good.manifest.files.find((file) => file.path === "step2.onnx")!;
    const other = await appWithItems();
    await registerTiny(other, "m1");
    await env.MODELS.put(`app/${other.app}/files/${step.sha256}`, "damaged");
    const damaged = await promote(other, "m1");
    expect([damaged.status, await damaged.text()]).toEqual([422, expect.stringContaining("step2.onnx: expected")]);
    expect(await servingModel(env, other.app)).toBeUndefined();
  });
});

describe("items newer than the model", () => {
  test("get codes from the model's own graphs and can be recommended; rows of the artefact are not coded again", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    await putItems(env, app.app, [item("new-1", { title: "Green tea", text: "fresh" })], Date.now());
    const promoted = await json(await promote(app, "m1"));
    expect(promoted).toMatchObject({ codedItems: 1 });
    await putItems(env, app.app, [item("item-3"), item("new-2", { title: "Lentil soup" })], Date.now());
    expect(await codeItems(env, app.app, { limit: 10 })).toEqual({ coded: 1, pending: 0 });
    expect(await codeItems(env, app.app, { limit: 10 })).toEqual({ coded: 0, pending: 0 });
    const model = await loadServing(app.app);
    expect(model.order.size).toBe(42);
    const { numbers } = await rank(model, [41, 42]);
    expect(numbers).toEqual(expect.arrayContaining([41, 42]));
    expect(numbers).toHaveLength(42);
    await model.dispose();
  });

  test("an item whose text changes gets other codes, a deleted one none", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    await promote(app, "m1");
    const serving = (await servingModel(env, app.app))!;
    const codesOf = async () => (await itemCodesSince(env.DB, app.app, serving, 0)).items;
    await putItems(env, app.app, [item("new-1", { title: "tea" }), item("new-2", { title: "soup" })], Date.now());
    await deleteItems(env, app.app, ["new-2"], { now: Date.now() });
    await codeItems(env, app.app, { limit: 10 });
    const [before, ...others] = await codesOf();
    expect(others).toEqual([]);
    await putItems(env, app.app, [item("new-1", { title: "pepper bread cake lemon" })], Date.now());
    await codeItems(env, app.app, { limit: 10 });
    const [after] = await codesOf();
    expect(after!.number).toBe(before!.number);
    expect(after!.vector).not.toEqual(before!.vector);
  });

  test("a limit leaves the rest pending, twice at once does no harm, and repeated calls finish", async () => {
    const app = await appWithItems();
    await registerTiny(app, "m1");
    await promote(app, "m1");
    const many = Array.from({ length: 150 }, (_, at) => item(`new-${at}`, { title: `tea ${at}` }));
    await putItems(env, app.app, many, Date.now());
    const first = await codeItems(env, app.app, { limit: 10 });
    expect(first).toEqual({ coded: 10, pending: 140 });
    await Promise.all([codeItems(env, app.app, { limit: 100 }), codeItems(env, app.app, { limit: 120 })]);
    await codeItems(env, app.app, { limit: 1000 });
    const serving = (await servingModel(env, app.app))!;
    const { items } = await itemCodesSince(env.DB, app.app, serving, 0);
    expect(items.map((one) => one.number).toSorted((a, b) => a - b)).toEqual(many.map((_, at) => 41 + at));
    expect(await codeItems(env, app.app, { limit: 1 })).toEqual({ coded: 0, pending: 0 });
  });

  test("an app without a model has nothing to code", async () => {
    const app = await appWithItems(3);
    expect(await codeItems(env, app.app, { limit: 5 })).toEqual({ coded: 0, pending: 0 });
  });
});

async function relist(
  manifest: ReturnType<typeof tinyArtefact>["manifest"],
  files: Map<string, Uint8Array>,
  path: string,
) {
  const content = files.get(path)!;
  const line = manifest.files.find((file) => file.path === path)!;
  Object.assign(line, { bytes: content.length, sha256: await sha256Hex(content) });
  Object.assign(manifest, { modelVersion: await versionOf(manifest.files) });
}
