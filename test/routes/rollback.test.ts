/** Going back to the model that served before. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { findModel, promoteModel } from "../../functions/store/models.ts";
import { call, json } from "../http/caller.ts";
import { appWithItems, type ModelApp, registerTiny } from "../support/put-tiny-model.ts";

/** An app that was served by the models in turn. The route would hold each to the parity vectors, which another test does. */
async function servedBy(...ids: readonly string[]): Promise<ModelApp> {
  const app = await appWithItems();
  let now = Date.now() - 1000;
  for (const id of ids) {
    await registerTiny(app, id);
    await promoteModel(env.DB, app.app, (await findModel(env.DB, app.app, id))!.model, (now += 1));
  }
  return app;
}

const rollBack = (app: ModelApp, id: string, body: object = {}) =>
  call(`/v1/models/${id}/rollback`, { key: app.secret, body });

async function serving(app: ModelApp): Promise<readonly string[]> {
  const { models } = await json<{ models: { id: string; status: string }[] }>(
    await call("/v1/models", { key: app.secret }),
  );
  return models.filter(({ status }) => status === "serving").map(({ id }) => id);
}

it("lets the model that served before serve again, and tells whoever listens", async () => {
  const app = await servedBy("a", "b");
  const hook = { url: "https://hooks.example.com/", types: ["model.rolledBack"] };
  const made = await call("/v1/webhook-endpoints", { key: app.secret, body: hook });
  const { endpoint } = await json<{ endpoint: { id: string } }>(made);
  const first = await rollBack(app, "b", { reason: "fewer saves" });
  expect(first.status).toBe(200);
  expect(await json(first)).toMatchObject({ model: { id: "a", status: "serving" }, servingVersion: 3 });
  expect(await serving(app)).toEqual(["a"]);
  expect(await json(await rollBack(app, "b"))).toMatchObject({ model: { id: "a" }, servingVersion: 3 }); // again
  const list = { history: [{ itemId: "item-3" }], count: 3, consistency: "strict" };
  expect(await json(await call("/v1/recommendations", { key: app.secret, body: list }))).toMatchObject({
    source: "model",
  });
  const log = await call(`/v1/webhook-endpoints/${endpoint.id}/deliveries`, { key: app.secret });
  expect((await json<{ deliveries: unknown[] }>(log)).deliveries).toMatchObject([{ type: "model.rolledBack" }]);
});

it("goes back one model at a time and never to one that was taken back", async () => {
  const app = await servedBy("a", "b", "c");
  await rollBack(app, "c");
  expect(await serving(app)).toEqual(["b"]);
  await rollBack(app, "b");
  expect(await serving(app)).toEqual(["a"]);
  const last = await rollBack(app, "a");
  expect([last.status, await json(last)]).toMatchObject([
    409,
    { detail: expect.stringContaining("no model to go back to") },
  ]);
  expect(await serving(app)).toEqual(["a"]);
});

it("refuses a model that does not serve, and forgets a roll-back when the model is promoted again", async () => {
  const app = await servedBy("a", "b");
  const idle = await rollBack(app, "a");
  expect([idle.status, await json(idle)]).toMatchObject([409, { detail: "Model a does not serve: it is retired" }]);
  expect((await rollBack(app, "none")).status).toBe(404);
  await rollBack(app, "b");
  const { model } = (await findModel(env.DB, app.app, "b"))!;
  await promoteModel(env.DB, app.app, model, Date.now() + 1000);
  expect((await findModel(env.DB, app.app, "b"))?.withdrawnAt).toBeNull();
  await rollBack(app, "b");
  expect(await serving(app)).toEqual(["a"]);
});
