/** A model that some users see first: who they are, what they get, and how it ends. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { isInCanary, OUTCOME_MS } from "../../functions/domain/experiments/canary.ts";
import { DAY_MS } from "../../functions/domain/history/event-time.ts";
import { advance } from "../../functions/jobs/training.ts";
import { addReward, addShown, createTables, hasTables } from "../../functions/objects/log-tables.ts";
import { findApp } from "../../functions/store/apps.ts";
import { findModel, promoteModel } from "../../functions/store/models.ts";
import { claimJob, completeJob, findJob, requestJob } from "../../functions/store/training-jobs.ts";
import { logStub, userStub } from "../../functions/store/subjects.ts";
import { call, json } from "../http/caller.ts";
import { appWithItems, type ModelApp, registerTiny } from "../support/put-tiny-model.ts";

const SHARE = 0.5;
const NDCG10 = { difference: 0, interval: [-0.0005, 0.0005], users: 500 };

interface OnTrial extends ModelApp {
  readonly job: string;
  readonly since: number;
  readonly versions: { readonly serving: string; readonly canary: string };
}

/** `old` serves, `new` has passed the gate and is shown to half of the users for a day. */
async function onTrial(): Promise<OnTrial> {
  const app = await appWithItems();
  const serving = await registerTiny(app, "old");
  await promoteModel(env.DB, app.app, (await findModel(env.DB, app.app, "old"))!.model, Date.now());
  const canary = await registerTiny(app, "new", "three-levels");
  const since = Date.now();
  const id = `job_${crypto.randomUUID().slice(0, 8)}`;
  const request = { source: "api", reason: "a test", at: since } as const;
  const announcement = { id: `msg_${id}`, type: "training.requested", payload: "{}" };
  await requestJob(
    env.DB,
    app.app,
    { id, request, webhook: null, canary: { share: SHARE, days: 1 }, announcement },
    since,
  );
  await claimJob(env.DB, app.app, { id, trainer: "test", leaseHash: "h" }, since);
  await completeJob(
    env.DB,
    app.app,
    { id, hash: "h" },
    { modelId: "new", report: { comparedTo: serving.modelVersion, ndcg10: NDCG10 } },
    since,
  );
  expect(await advance(env, app.app, id, since)).toMatchObject({ isFinished: false });
  expect(await findJob(env.DB, app.app, id)).toMatchObject({ status: "canary" });
  return { ...app, job: id, since, versions: { serving: serving.modelVersion, canary: canary.modelVersion } };
}

async function versionFor(app: ModelApp, userId: string): Promise<string | null> {
  const body = { userId, history: [{ itemId: "item-3" }], count: 3, consistency: "strict" };
  const answer = await call("/v1/recommendations", { key: app.secret, body });
  return (await json<{ modelVersion: string | null }>(answer)).modelVersion;
}

/** Users of a version, each with a reward, as the log counts them. */
async function brought(app: OnTrial, version: string, rewards: readonly number[]): Promise<void> {
  await runInDurableObject(logStub(env, app.app, 0), (_, { storage: { sql } }) => {
    if (!hasTables(sql)) createTables(sql, app.app, 0);
    for (const [user, value] of rewards.entries()) {
      const subject = `${version} ${user}`;
      addShown(sql, version, subject, app.since + 1);
      addReward(sql, { version, subject, at: app.since + 2, value }, OUTCOME_MS);
    }
  });
}

const rewards = (users: number, mean: number) => Array.from({ length: users }, (_, user) => mean + (user % 5) - 2);

it("shows the new model to its share of users, the same ones each time, and the old one to the others", async () => {
  const app = await onTrial();
  const { model } = (await findModel(env.DB, app.app, "new"))!;
  const users = Array.from({ length: 12 }, (_, at) => `user ${at}`);
  const chosen = users.filter((user) => isInCanary(user, model, SHARE * 10_000));
  expect(chosen.length).toBeGreaterThan(0);
  expect(chosen.length).toBeLessThan(users.length);
  // nobody waits for the model on trial: until it is loaded its users see the old one
  expect(await versionFor(app, chosen[0]!)).toBe(app.versions.serving);
  await expect.poll(() => versionFor(app, chosen[0]!), { timeout: 10_000 }).toBe(app.versions.canary);
  for (const user of users) {
    const expected = chosen.includes(user) ? app.versions.canary : app.versions.serving;
    expect([user, await versionFor(app, user)]).toEqual([user, expected]);
  }
  const { app: number } = app;
  expect(await findApp(env, number)).toMatchObject({ canaryModel: model, canaryShare: 5000 });
});

it("counts what users do on account of a list for the model that made it, and forgets whom it must", async () => {
  const app = await onTrial();
  const userId = "user 1";
  const body = { userId, history: [{ itemId: "item-3" }], count: 3, consistency: "strict" };
  type List = { recommendationId: string; modelVersion: string; items: { itemId: string }[] };
  const list = await json<List>(await call("/v1/recommendations", { key: app.secret, body }));
  const at = new Date().toISOString();
  const event = { userId, itemId: list.items[0]!.itemId, occurredAt: at, recommendationId: list.recommendationId };
  const events = [
    { ...event, id: "e1", type: "impression" },
    { ...event, id: "e2", type: "save" },
    { ...event, id: "e3", type: "purchase", recommendationId: undefined }, // not on account of the list
  ];
  expect((await call("/v1/events", { key: app.secret, body: { events } })).status).toBe(202);
  const stub = await userStub(env, app.app, userId);
  await stub.tend(Date.now());
  const log = logStub(env, app.app, 0);
  const since = app.since - 1000; // tokens keep whole seconds
  expect(await log.outcomes(list.modelVersion, since)).toEqual({ users: 1, mean: 3, squares: 0 });
  expect(await log.outcomes(list.modelVersion, Date.now() + 1000)).toMatchObject({ users: 0 });
  const { subject } = await stub.recall();
  await log.drop({ app: app.app, shard: 0, subject, now: Date.now() });
  expect(await log.outcomes(list.modelVersion, since)).toMatchObject({ users: 0 });
});

it("is begun and ended by hand too", async () => {
  const app = await onTrial();
  const path = "/v1/models/new/canary";
  expect((await call(path, { method: "DELETE", key: app.secret })).status).toBe(204);
  expect(await findApp(env, app.app)).toMatchObject({ canaryModel: null });
  expect(await json(await call(path, { key: app.secret, body: { share: 0.1 } }))).toMatchObject({
    id: "new",
    share: 0.1,
  });
  const list = await json(await call("/v1/models", { key: app.secret }));
  expect(list).toMatchObject({ canary: { id: "new", share: 0.1 } });
  expect((await call("/v1/models/old/canary", { key: app.secret, body: { share: 0.1 } })).status).toBe(409);
  expect((await call(path, { key: app.secret, body: { share: 0.9 } })).status).toBe(400);
});

it("takes a model back that is worse online, before its days are over", async () => {
  const app = await onTrial();
  await brought(app, app.versions.serving, rewards(400, 3));
  await brought(app, app.versions.canary, rewards(400, 2));
  expect(await advance(env, app.app, app.job, app.since + 3)).toEqual({ isFinished: true });
  const job = await findJob(env.DB, app.app, app.job);
  expect(job).toMatchObject({ status: "rejected", decision: { canary: { kind: "measured", users: 400 } } });
  expect(job?.failure).toMatch(/^users of the new model brought -1\.000 \[-1\.\d+, -0\.\d+\] more$/);
  expect(await findApp(env, app.app)).toMatchObject({ canaryModel: null });
  expect(await versionFor(app, "user 1")).toBe(app.versions.serving);
  const told = await env.DB.prepare("SELECT type FROM webhook_messages WHERE app = ?1 ORDER BY type")
    .bind(app.app)
    .all();
  expect(told.results.map(({ type }) => type)).toEqual(["job.completed", "model.rolledBack", "training.requested"]);
});

it("goes on while nothing is certain, and promotes a model that did no harm", async () => {
  const app = await onTrial();
  await brought(app, app.versions.serving, rewards(150, 2));
  await brought(app, app.versions.canary, rewards(150, 2));
  expect(await advance(env, app.app, app.job, app.since + 10)).toMatchObject({ isFinished: false });
  expect(await findJob(env.DB, app.app, app.job)).toMatchObject({ status: "canary" });
  expect(await advance(env, app.app, app.job, app.since + DAY_MS)).toEqual({ isFinished: true });
  expect(await findJob(env.DB, app.app, app.job)).toMatchObject({ status: "promoted" });
  expect(await findApp(env, app.app)).toMatchObject({ canaryModel: null });
  for (const user of ["user 1", "user 2", "user 3"]) expect(await versionFor(app, user)).toBe(app.versions.canary);
});

it("ends when another model is promoted in its place, or the job is cancelled", async () => {
  const app = await onTrial();
  await call(`/v1/training-jobs/${app.job}/cancel`, { method: "POST", key: app.secret });
  expect(await advance(env, app.app, app.job, app.since + 10)).toEqual({ isFinished: true });
  expect(await findJob(env.DB, app.app, app.job)).toMatchObject({ status: "cancelled" });
  expect(await findApp(env, app.app)).toMatchObject({ canaryModel: null });
});
