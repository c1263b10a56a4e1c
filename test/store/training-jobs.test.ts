/** The states of training jobs in D1: who comes second gets nothing, what is done twice is done once. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { LEASE_MS, MAX_ATTEMPTS } from "../../functions/domain/jobs/job.ts";
import {
  claimJob,
  completeJob,
  findJob,
  heartbeat,
  jobChanges,
  JOB_STATEMENTS,
  listJobs,
  moveJob,
  openJobs,
  requestJob,
  requeueJob,
} from "../../functions/store/training-jobs.ts";
import { policiesAfter, writePolicy } from "../../functions/store/training-policies.ts";
import { requestDue } from "../../functions/jobs/training.ts";
import { newApp } from "./new-app.ts";

const NOW = 1_700_000_000_000;
const message = (id: string) => ({ id: `msg_${id}`, type: "training.requested", payload: "{}" });

function ask(app: number, id: string, now = NOW, webhookId?: string) {
  const webhook = webhookId === undefined ? null : ({ scheme: "standard", id: webhookId } as const);
  const request = { source: webhook === null ? "api" : "webhook", reason: `wish of ${id}`, at: now } as const;
  return requestJob(env.DB, app, { id, request, webhook, announcement: message(id) }, now);
}

const claim = (app: number, trainer: string, now = NOW, id: string | null = null) =>
  claimJob(env.DB, app, { id, trainer, leaseHash: `hash of ${trainer}` }, now);

async function listen(app: number, types: string[] = []): Promise<void> {
  const sql = `INSERT INTO webhook_endpoints (app, id, url, types, status, created_at, updated_at)
    VALUES (?1, 'we_1', 'https://example.com', ?2, 'enabled', 0, 0)`;
  await env.DB.prepare(sql).bind(app, JSON.stringify(types)).run();
}

async function deliveries(app: number): Promise<string[]> {
  const sql = "SELECT message FROM webhook_deliveries WHERE app = ?1 ORDER BY message";
  return (await env.DB.prepare(sql).bind(app).all<{ message: string }>()).results.map((row) => row.message);
}

describe("wishes", () => {
  it("merges wishes into the job that waits, and says so", async () => {
    const app = await newApp();
    await listen(app);
    const first = await ask(app, "job_a");
    const second = await ask(app, "job_b", NOW + 1);
    expect([first.outcome, second.outcome]).toEqual(["created", "merged"]);
    expect(second.job).toMatchObject({ id: "job_a", requestCount: 2, status: "queued" });
    expect(second.job.requests.map(({ reason }) => reason)).toEqual(["wish of job_a", "wish of job_b"]);
    expect(await deliveries(app)).toEqual(["msg_job_a"]); // announced once
  });

  it("keeps the first fifty wishes and counts all", async () => {
    const app = await newApp();
    for (let at = 0; at < 53; at += 1) await ask(app, `job_${at}`, NOW + at);
    const { job } = await ask(app, "job_last", NOW + 60);
    expect(job.requestCount).toBe(54);
    expect(job.requests).toHaveLength(50);
  });

  it("takes a webhook once, also when its job has moved on", async () => {
    const app = await newApp();
    expect(await ask(app, "job_a", NOW, "m1")).toMatchObject({ outcome: "created", job: { id: "job_a" } });
    expect(await ask(app, "job_b", NOW, "m1")).toMatchObject({ outcome: "duplicate", job: { requestCount: 1 } });
    await claim(app, "one");
    expect(await ask(app, "job_c", NOW, "m1")).toMatchObject({ outcome: "duplicate", job: { id: "job_a" } });
    expect(await ask(app, "job_d", NOW, "m2")).toMatchObject({ outcome: "created", job: { id: "job_d" } });
  });

  it("makes one job of twenty wishes at once", async () => {
    const app = await newApp();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => ask(app, `job_${at}`)));
    expect(new Set(answers.map(({ job }) => job.id)).size).toBe(1);
    expect(answers.filter(({ outcome }) => outcome === "created")).toHaveLength(1);
    expect((await findJob(env.DB, app, answers[0]!.job.id))?.requestCount).toBe(20);
  });
});

describe("leases", () => {
  it("gives a job to one of many trainers", async () => {
    const app = await newApp();
    await ask(app, "job_a");
    const claims = await Promise.all(Array.from({ length: 10 }, (_, at) => claim(app, `trainer ${at}`)));
    const won = claims.filter((job) => job !== undefined);
    expect(won).toHaveLength(1);
    expect(won[0]).toMatchObject({ id: "job_a", status: "claimed", attempts: 1, leaseUntil: NOW + LEASE_MS });
  });

  it("never gives another app's job", async () => {
    const [app, other] = [await newApp(), await newApp()];
    await ask(app, "job_a");
    expect(await claim(other, "thief")).toBeUndefined();
    expect(await claim(other, "thief", NOW, "job_a")).toBeUndefined();
    expect(await findJob(env.DB, other, "job_a")).toBeUndefined();
  });

  it("lasts while heartbeats come, and passes to the next trainer with the checkpoint when they stop", async () => {
    const app = await newApp();
    await ask(app, "job_a");
    await claim(app, "one");
    const lease = { id: "job_a", hash: "hash of one" };
    const file = { path: "trunk.npz", bytes: 3, sha256: "0".repeat(64) };
    const checkpoint = { stage: "trunk", step: 7, files: [file] };
    const progress = { stage: "trunk", step: 7, loss: 1.5 };
    const later = NOW + LEASE_MS - 1;
    expect(await heartbeat(env.DB, app, lease, { progress, checkpoint }, later)).toMatchObject({ status: "running" });
    expect(await claim(app, "two", later + LEASE_MS - 1)).toBeUndefined();
    const taken = await claim(app, "two", later + LEASE_MS);
    expect(taken).toMatchObject({ attempts: 2, trainer: "two", checkpoint, progress: null, status: "claimed" });
    expect(await heartbeat(env.DB, app, lease, { progress, checkpoint: null }, later + LEASE_MS)).toBeUndefined();
    const result = { modelId: "m", report: {} };
    expect(await completeJob(env.DB, app, lease, result, later + LEASE_MS)).toBeUndefined();
    const history = (await jobChanges(env.DB, app, "job_a")).map(({ status, note }) => `${status} ${note}`);
    expect(history).toEqual(["queued wish of job_a", "claimed one", "running null", "claimed two"]);
  });

  it("are taken five times at most", async () => {
    const app = await newApp();
    await ask(app, "job_a");
    for (let turn = 0; turn < MAX_ATTEMPTS; turn += 1)
      expect(await claim(app, `trainer ${turn}`, NOW + turn * LEASE_MS)).toBeDefined();
    expect(await claim(app, "one more", NOW + MAX_ATTEMPTS * LEASE_MS)).toBeUndefined();
  });
});

describe("ends", () => {
  it("takes a completion twice and changes nothing the second time", async () => {
    const app = await newApp();
    await ask(app, "job_a");
    await claim(app, "one");
    const lease = { id: "job_a", hash: "hash of one" };
    const result = { modelId: "m1", report: { comparedTo: null } };
    const first = await completeJob(env.DB, app, lease, result, NOW + 1);
    expect(first).toMatchObject({ status: "evaluating", modelId: "m1", leaseUntil: null });
    const again = await completeJob(env.DB, app, lease, { modelId: "m2", report: {} }, NOW + 2);
    expect(again).toMatchObject({ status: "evaluating", modelId: "m1", updatedAt: NOW + 1 });
  });

  it("moves only from the states that are named, and tells once", async () => {
    const app = await newApp();
    await listen(app, ["job.completed"]);
    await ask(app, "job_a");
    expect(await moveJob(env.DB, app, "job_a", { from: ["gated"], to: "promoted" }, NOW)).toBeUndefined();
    const told = { id: "msg_end", type: "job.completed", payload: "{}" };
    const move = { from: ["queued"], to: "failed", failure: "no data", messages: [told] } as const;
    expect(await moveJob(env.DB, app, "job_a", move, NOW + 1)).toMatchObject({ status: "failed", finishedAt: NOW + 1 });
    expect(await moveJob(env.DB, app, "job_a", move, NOW + 2)).toBeUndefined();
    expect(await deliveries(app)).toEqual(["msg_end"]); // training.requested is not wanted here
  });

  it("does not move a job that a trainer holds, unless its lease is shown", async () => {
    const app = await newApp();
    await ask(app, "job_a");
    await claim(app, "one");
    const move = { from: ["claimed", "running"], to: "failed", failure: "gave up" } as const;
    expect(await moveJob(env.DB, app, "job_a", move, NOW + 1)).toBeUndefined();
    expect(await moveJob(env.DB, app, "job_a", { ...move, lease: "hash of two" }, NOW + 1)).toBeUndefined();
    expect(await moveJob(env.DB, app, "job_a", { ...move, lease: "hash of one" }, NOW + 1)).toBeDefined();
  });
});

describe("a trainer that fell silent", () => {
  it("puts the job back, and the newer wish that waited goes into it", async () => {
    const app = await newApp();
    await listen(app);
    await ask(app, "job_a");
    await claim(app, "one");
    await ask(app, "job_b", NOW + 5);
    expect(await requeueJob(env.DB, app, "job_a", message("again"), NOW + 10)).toBeUndefined(); // it is held
    const back = await requeueJob(env.DB, app, "job_a", message("again"), NOW + LEASE_MS);
    expect(back).toMatchObject({ id: "job_a", status: "queued", requestCount: 2 });
    expect(back?.requests.map(({ reason }) => reason)).toEqual(["wish of job_a", "wish of job_b"]);
    expect(await findJob(env.DB, app, "job_b")).toMatchObject({ status: "cancelled", failure: "merged into job_a" });
    expect((await jobChanges(env.DB, app, "job_b")).at(-1)).toMatchObject({ status: "cancelled" });
    expect(await deliveries(app)).toEqual(["msg_again", "msg_job_a", "msg_job_b"]);
    const lease = { id: "job_a", hash: "hash of one" };
    expect(await heartbeat(env.DB, app, lease, { progress: null, checkpoint: null }, NOW + LEASE_MS)).toBeUndefined();
  });

  it("is found among the open jobs", async () => {
    const app = await newApp();
    await ask(app, "job_open");
    const found = await openJobs(env.DB, NOW, 1000);
    expect(found).toContainEqual({ app, id: "job_open" });
    expect(await openJobs(env.DB, NOW - 1, 1000)).not.toContainEqual({ app, id: "job_open" });
  });
});

describe("a policy", () => {
  const segment = (app: number, records: number, at: number) =>
    env.DB.prepare(
      "INSERT INTO log_segments (app, key, sha256, bytes, records, first_received_at, last_received_at) VALUES (?1, ?2, 's', 1, ?3, ?4, ?4)",
    )
      .bind(app, `segment ${at}`, records, at)
      .run();
  const policyOf = async (app: number) => (await policiesAfter(env.DB, app - 1, 1))[0];

  it("comes with what was logged since the last job, and whether one is open", async () => {
    const app = await newApp();
    await writePolicy(env.DB, app, { everyHours: 24, afterEvents: 500, canary: { share: 0.1, days: 2 } }, NOW);
    await segment(app, 300, NOW + 1);
    expect(await policyOf(app)).toMatchObject({ app, since: { lastJobAt: null, records: 300, isOpen: false } });
    await ask(app, "job_a", NOW + 2);
    await segment(app, 40, NOW + 3);
    expect((await policyOf(app))?.since).toEqual({ policyAt: NOW, lastJobAt: NOW + 2, records: 40, isOpen: true });
    await moveJob(env.DB, app, "job_a", { from: ["queued"], to: "cancelled" }, NOW + 4);
    expect((await policyOf(app))?.since).toMatchObject({ records: 40, isOpen: false });
  });

  it("makes the cron ask once, with the canary that it names", async () => {
    const app = await newApp();
    await writePolicy(env.DB, app, { everyHours: null, afterEvents: 100, canary: { share: 0.1, days: 2 } }, NOW);
    await requestDue(env, NOW + 5);
    expect(await listJobs(env.DB, app, 10)).toEqual([]);
    await segment(app, 100, NOW + 6);
    await requestDue(env, NOW + 7);
    await requestDue(env, NOW + 8);
    const jobs = await listJobs(env.DB, app, 10);
    expect(jobs).toMatchObject([{ status: "queued", canary: { share: 0.1, days: 2 }, requestCount: 1 }]);
    expect(jobs[0]?.requests[0]).toMatchObject({ source: "events", reason: expect.stringContaining("100 records") });
  });
});

it.each(Object.entries(JOB_STATEMENTS))("reads %s by an index", async (_, sql) => {
  const parameters = new Set(sql.match(/\?\d/g)).size;
  const explain = env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`).bind(...Array.from({ length: parameters }, () => null));
  const { results } = await explain.all<{ detail: string }>();
  for (const { detail } of results) expect(detail).toMatch(/^SEARCH|USING INDEX/);
});
