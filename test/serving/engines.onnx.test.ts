/** The two engines behind one Worker: either one forced, and one after the other. */
import { expect, it } from "vitest";
import { call } from "../http/caller.ts";
import { appWithItems, registerTiny, type ModelApp } from "../support/put-tiny-model.ts";

interface List {
  source: string;
  items: { itemId: string; score: number; logProbability: number }[];
}

const history = [{ itemId: "item-3" }, { itemId: "item-11" }, { itemId: "item-30" }];

/** An app whose promoted model is not in this isolate's memory. */
async function promotedApp(engine: string): Promise<ModelApp> {
  const app = await appWithItems(40);
  await registerTiny(app, "m1", "three-levels");
  const env = { INFERENCE_ENGINE: engine };
  const promoted = await call("/v1/models/m1/promote", { method: "POST", key: app.secret, env });
  expect([promoted.status, await promoted.json()]).toMatchObject([200, { parity: { cases: 8, texts: 8 } }]);
  return app;
}

async function ask(app: ModelApp, engine: string, more: object = {}): Promise<{ engine: string | null; list: List }> {
  const response = await call("/v1/recommendations", {
    key: app.secret,
    body: { history, count: 20, ...more },
    env: { INFERENCE_ENGINE: engine },
  });
  expect(response.status).toBe(200);
  return { engine: response.headers.get("x-inference-engine"), list: await response.json<List>() };
}

it("gives the same list by either engine, and says which it was", async () => {
  const [typed, onnx] = [await ask(await promotedApp("typed"), "typed"), await ask(await promotedApp("onnx"), "onnx")];
  expect([typed.engine, onnx.engine]).toEqual(["typed", "onnx"]);
  expect([typed.list.source, onnx.list.source]).toEqual(["model", "model"]);
  expect(typed.list.items.map(({ itemId }) => itemId)).toEqual(onnx.list.items.map(({ itemId }) => itemId));
  for (const [at, { score, logProbability }] of onnx.list.items.entries()) {
    expect(typed.list.items[at]!.score).toBeCloseTo(score, 4);
    expect(typed.list.items[at]!.logProbability).toBeCloseTo(logProbability, 4);
  }
});

it("answers a new isolate's first request by the typed engine even where time is short, and hands over to the runtime", async () => {
  const app = await promotedApp("auto");
  const first = await ask(app, "auto", { timeoutMs: 1000 });
  expect([first.engine, first.list.source]).toEqual(["typed", "model"]);
  await expect.poll(async () => (await ask(app, "auto")).engine, { interval: 50, timeout: 10_000 }).toBe("onnx");
  const later = await ask(app, "auto");
  expect(later.list.items.map(({ itemId }) => itemId)).toEqual(first.list.items.map(({ itemId }) => itemId));
});

it("names no engine where the list is not a model's", async () => {
  const app = await appWithItems(5);
  const response = await call("/v1/recommendations", { key: app.secret, body: { history: [], count: 3 } });
  expect([response.status, response.headers.get("x-inference-engine")]).toEqual([200, null]);
});
