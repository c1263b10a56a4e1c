/** A training job from the wish to the promotion, over HTTP as a trainer does it, with its workflow and the real gate. */
import { introspectWorkflowInstance } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { hex } from "../../functions/domain/identity/keys.ts";
import { LEASE_MS } from "../../functions/domain/jobs/job.ts";
import { advance, tendJobs } from "../../functions/jobs/training.ts";
import { findAppById } from "../../functions/store/apps.ts";
import { findModel, promoteModel } from "../../functions/store/models.ts";
import { findJob } from "../../functions/store/training-jobs.ts";
import { call, json, makeApp } from "../http/caller.ts";
import { appWithItems, type ModelApp, registerTiny } from "../support/put-tiny-model.ts";

interface Job {
  readonly id: string;
  readonly status: string;
  readonly decision: { readonly checks: readonly { name: string; isPassed: boolean; detail: string }[] } | null;
  readonly history: readonly { readonly status: string }[];
}

const sha256 = async (bytes: ArrayBuffer) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

const post = (app: ModelApp, path: string, body: unknown, lease?: string) =>
  call(`/v1/training-jobs${path}`, {
    method: "POST",
    key: app.secret,
    body,
    ...(lease === undefined ? {} : { headers: { "x-job-lease": lease } }),
  });

async function asked(app: ModelApp): Promise<string> {
  const response = await post(app, "", { reason: "a test" });
  expect(response.status).toBe(202);
  return (await json<{ job: Job }>(response)).job.id;
}

async function claimed(app: ModelApp, id = "next"): Promise<{ job: Job; lease: { token: string } }> {
  const response = await post(app, `/${id}/claim`, { trainer: "test" });
  expect(response.status).toBe(200);
  return json(response);
}

const read = async (app: ModelApp, id: string) => json<Job>(await call(`/v1/training-jobs/${id}`, { key: app.secret }));

async function ends(app: ModelApp, id: string, status: string): Promise<Job> {
  for (let turn = 0; turn < 100; turn += 1) {
    const job = await read(app, id);
    if (job.status === status) return job;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`job ${id} is ${(await read(app, id)).status}, not ${status}`);
}

it("goes from a wish to a promoted model, and its workflow ends with it", async () => {
  const app = await appWithItems();
  const id = await asked(app);
  await using workflow = await introspectWorkflowInstance(env.TRAINING, id);
  const { job, lease } = await claimed(app);
  expect(job).toMatchObject({ id, status: "claimed" });
  const progress = { stage: "trunk", step: 3, steps: 10, loss: 7.5 };
  const beat = await post(app, `/${id}/heartbeat`, { progress }, lease.token);
  expect(await json(beat)).toMatchObject({ isCancelRequested: false });
  expect(await read(app, id)).toMatchObject({ status: "running", progress });
  await registerTiny(app, "trained");
  const done = await post(
    app,
    `/${id}/complete`,
    { modelId: "trained", report: { comparedTo: null, ndcg10: null } },
    lease.token,
  );
  expect(done.status).toBe(200);
  const promoted = await ends(app, id, "promoted");
  expect(promoted.history.map(({ status }) => status)).toEqual([
    "queued",
    "claimed",
    "running",
    "evaluating",
    "gated",
    "promoted",
  ]);
  expect(promoted.decision?.checks.map(({ name, isPassed }) => [name, isPassed])).toEqual([
    ["artefact", true],
    ["ranking", true],
  ]);
  await workflow.waitForStatus("complete");
  const file = await call("/v1/models/trained/files/codes.bin", { key: app.secret });
  expect(file.headers.get("x-content-sha256")).toBe(hex(await sha256(await file.arrayBuffer())));
  expect((await call("/v1/models/trained/files/none.bin", { key: app.secret })).status).toBe(404);
  const list = await call("/v1/recommendations", {
    key: app.secret,
    body: { history: [{ itemId: "item-3" }], count: 5, consistency: "strict" },
  });
  expect(await json(list)).toMatchObject({ source: "model" });
});

it("rejects a model that ranks worse than what serves, and the old one goes on", async () => {
  const app = await appWithItems();
  const { modelVersion } = await registerTiny(app, "old");
  const { model } = (await findModel(env.DB, app.app, "old"))!;
  await promoteModel(env.DB, app.app, model, Date.now());
  await registerTiny(app, "worse", "three-levels");
  const ndcg10 = { difference: -0.01, interval: [-0.013, -0.007], users: 900 };
  for (const [comparedTo, failed] of [
    [modelVersion, /NDCG@10 -0\.0100 \[-0\.0130, -0\.0070\], 900 users/],
    [null, /compared with nothing, and m_[0-9a-f]{12} serves/],
  ] as const) {
    const id = await asked(app);
    const { lease } = await claimed(app, id);
    const report = { comparedTo, ndcg10: comparedTo === null ? null : ndcg10 };
    await post(app, `/${id}/complete`, { modelId: "worse", report }, lease.token);
    const job = await ends(app, id, "rejected");
    expect(job.decision?.checks.find(({ isPassed }) => !isPassed)?.detail).toMatch(failed);
  }
  expect((await findAppById(env, app.id))?.servingModel).toBe(model);
});

it("takes a checkpoint in files and gives it to the next trainer when the first falls silent", async () => {
  const app = await appWithItems(1);
  const id = await asked(app);
  const first = await claimed(app);
  const body = new TextEncoder().encode("weights");
  const put = await call(`/v1/training-jobs/${id}/files/trunk.npz`, {
    method: "PUT",
    key: app.secret,
    body,
    headers: { "x-job-lease": first.lease.token },
  });
  const file = await json<{ path: string; bytes: number; sha256: string }>(put);
  expect(file).toMatchObject({ path: "trunk.npz", bytes: 7 });
  const checkpoint = { stage: "trunk", step: 1, files: [file] };
  await post(app, `/${id}/heartbeat`, { checkpoint }, first.lease.token);
  await advance(env, app.app, id, Date.now() + LEASE_MS + 1);
  expect(await read(app, id)).toMatchObject({ status: "queued", checkpoint });
  const second = await claimed(app);
  expect(second.job).toMatchObject({ id, checkpoint });
  const large = {
    method: "PUT",
    key: app.secret,
    body: new Uint8Array(3 * 2 ** 20),
    headers: { "x-job-lease": second.lease.token },
  };
  expect((await call(`/v1/training-jobs/${id}/files/large.part-1`, large)).status).toBe(200);
  const content = await call(`/v1/training-jobs/${id}/files/trunk.npz`, { key: app.secret });
  expect(await content.text()).toBe("weights");
  const late = await post(app, `/${id}/heartbeat`, {}, first.lease.token);
  expect(late.status).toBe(409);
  expect(await json(late)).toMatchObject({ code: "conflict", detail: expect.stringContaining("has ended") });
  await post(app, `/${id}/fail`, { reason: "no data" }, second.lease.token);
  expect(await ends(app, id, "failed")).toMatchObject({ failure: "no data" });
  await expect.poll(async () => (await env.MODELS.list({ prefix: `app/${app.app}/jobs/` })).objects).toEqual([]);
});

it("refuses an upload with another hash, and a lease that is missing", async () => {
  const app = await appWithItems(1);
  const id = await asked(app);
  const { lease } = await claimed(app);
  const path = `/v1/training-jobs/${id}/files/a.bin`;
  const headers = { "x-job-lease": lease.token, "x-content-sha256": "0".repeat(64) };
  const wrong = await call(path, { method: "PUT", key: app.secret, body: new Uint8Array(4), headers });
  expect([wrong.status, await json(wrong)]).toMatchObject([400, { code: "invalid_request" }]);
  const without = await call(path, { method: "PUT", key: app.secret, body: new Uint8Array(4) });
  expect([without.status, await json(without)]).toMatchObject([400, { errors: [{ pointer: "X-Job-Lease" }] }]);
  const unregistered = await post(app, `/${id}/complete`, { modelId: "none", report: {} }, lease.token);
  expect([unregistered.status, await json(unregistered)]).toMatchObject([409, { errors: [{ pointer: "/modelId" }] }]);
});

it("cancels what waits at once, and what is held when its trainer next reports", async () => {
  const app = await appWithItems(1);
  const waiting = await asked(app);
  await post(app, `/${waiting}/cancel`, undefined);
  await ends(app, waiting, "cancelled");
  const held = await asked(app);
  const { lease } = await claimed(app);
  await post(app, `/${held}/cancel`, undefined);
  expect(await read(app, held)).toMatchObject({ status: "claimed", isCancelRequested: true });
  expect(await json(await post(app, `/${held}/heartbeat`, {}, lease.token))).toMatchObject({ isCancelRequested: true });
  await post(app, `/${held}/fail`, { reason: "as asked" }, lease.token);
  await ends(app, held, "cancelled");
});

it("goes on by the cron where the workflow is lost", async () => {
  const app = await appWithItems(1);
  const id = await asked(app);
  await claimed(app);
  await (await env.TRAINING.get(id)).terminate();
  await tendJobs(env, Date.now() + LEASE_MS + 60_001);
  expect((await findJob(env.DB, app.app, id))?.status).toBe("queued");
});

it("shows a job to its own app alone, and lets nobody else claim it", async () => {
  const app = await appWithItems(1);
  const id = await asked(app);
  const other = await makeApp();
  for (const [path, body] of [
    [`/${id}`, undefined],
    [`/${id}/claim`, { trainer: "thief" }],
    [`/${id}/cancel`, {}],
  ] as const) {
    const response = await call(`/v1/training-jobs${path}`, {
      key: other.secret,
      ...(body === undefined ? {} : { body }),
    });
    expect([path, response.status]).toEqual([path, 404]);
    await response.body?.cancel();
  }
  expect((await call("/v1/training-jobs/next/claim", { key: other.secret, body: { trainer: "thief" } })).status).toBe(
    204,
  );
  expect((await call("/v1/training-jobs", { key: other.publishable, body: {} })).status).toBe(403);
});
