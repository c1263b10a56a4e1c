/** Cron and queue: the table of expressions, erasures that resume, messages acknowledged one by one. */
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import wrangler from "../../wrangler.toml?raw";
import { queue } from "../../functions/jobs/queue.ts";
import { CRONS, runCron } from "../../functions/jobs/scheduled.ts";
import { openErasure } from "../../functions/store/erasures.ts";
import { putItems } from "../../functions/store/items.ts";
import { logStub } from "../../functions/store/subjects.ts";
import { event, MINUTE, newUser, NOW, openRecords, recordInput, sealedOf, storedText } from "../objects/objects.ts";
import { item, newApp } from "../store/new-app.ts";

const CRON = "*/5 * * * *";

describe("cron", () => {
  it("has a job for exactly the expressions of wrangler.toml", () => {
    const listed = /crons = (\[[^\]]*\])/.exec(wrangler)![1]!;
    expect(JSON.parse(listed)).toEqual([...CRONS]);
  });

  it("throws for an expression that it does not know", async () => {
    await expect(runCron(env, "0 4 * * *", NOW)).rejects.toThrow("no job for the cron expression");
    await expect(runCron(env, "toString", NOW)).rejects.toThrow("no job");
  });

  it("seals what an app's own alarm left open", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event()]));
    await stub.tend(NOW);
    await runCron(env, CRON, NOW + 6 * MINUTE);
    expect(await sealedOf(app)).toHaveLength(1);
  });

  it("finishes an erasure that died right after its row was written", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event({ eventId: "to-go" })]));
    await stub.tend(NOW);
    await logStub(env, app, 0).seal(NOW, { force: true });
    const { subject } = await stub.recall();
    await openErasure(env, { app, object, subject, requestedAt: NOW });
    await runCron(env, CRON, NOW + MINUTE);
    expect(JSON.parse(await storedText(stub))).toEqual({ tombstone: [{ erased_at: NOW + MINUTE }] });
    expect(await sealedOf(app)).toEqual([]);
    const row = await env.DB.prepare("SELECT object_done_at, log_done_at FROM erasures WHERE app = ?1")
      .bind(app)
      .first();
    expect(row).toEqual({ object_done_at: NOW + MINUTE, log_done_at: NOW + MINUTE });
  });

  it("also erases a subject that came back between a crash and the resumed erasure", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event()]));
    await stub.tend(NOW);
    const { subject: later } = await stub.recall();
    await openErasure(env, { app, object, subject: "cd".repeat(16), requestedAt: NOW }); // of a generation that is gone
    await runCron(env, CRON, NOW + MINUTE);
    await runCron(env, CRON, NOW + 2 * MINUTE);
    expect(await openRecords(app)).toEqual([]);
    const { results } = await env.DB.prepare(
      "SELECT subject FROM erasures WHERE app = ?1 AND log_done_at IS NOT NULL ORDER BY requested_at",
    )
      .bind(app)
      .all();
    expect(results).toEqual([{ subject: "cd".repeat(16) }, { subject: later }]);
  });

  it("sweeps idempotency keys older than a day", async () => {
    const insert = "INSERT INTO idempotency_keys (scope, key, body_hash, created_at) VALUES ('s', ?1, 'h', ?2)";
    await env.DB.batch([
      env.DB.prepare(insert).bind("old", NOW - 25 * 3_600_000),
      env.DB.prepare(insert).bind("new", NOW),
    ]);
    await runCron(env, CRON, NOW);
    const { results } = await env.DB.prepare("SELECT key FROM idempotency_keys WHERE scope = 's'").all();
    expect(results).toEqual([{ key: "new" }]);
  });

  it("writes a snapshot where many rows were written since the last", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a"), item("b")], NOW);
    await env.DB.prepare("UPDATE apps SET unsnapshotted_rows = 5000 WHERE app = ?1").bind(app).run();
    await runCron(env, CRON, NOW);
    const row = await env.DB.prepare(
      "SELECT snapshot_revision AS revision, snapshot_key AS key FROM apps WHERE app = ?1",
    )
      .bind(app)
      .first<{ revision: number; key: string | null }>();
    expect(row!.revision).toBe(1);
    expect(await env.MODELS.head(row!.key ?? "none")).not.toBeNull();
  });
});

describe("queue", () => {
  it("acknowledges each message by itself, and refuses what is none", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a")], NOW);
    const batch = createMessageBatch("edgewise-jobs", [
      { id: "1", timestamp: new Date(NOW), attempts: 1, body: { type: "snapshot", app } },
      { id: "2", timestamp: new Date(NOW), attempts: 1, body: { type: "no such job", app } },
      { id: "3", timestamp: new Date(NOW), attempts: 1, body: { type: "snapshot", app: -1 } },
      { id: "4", timestamp: new Date(NOW), attempts: 1, body: { type: "code-items", app } },
    ]);
    const ctx = createExecutionContext();
    await queue(batch, env, ctx);
    const result = await getQueueResult(batch, ctx);
    expect(result.explicitAcks).toEqual(["1", "2", "3", "4"]);
    expect(result.retryMessages).toEqual([]);
    const row = await env.DB.prepare("SELECT snapshot_key AS key FROM apps WHERE app = ?1")
      .bind(app)
      .first<{ key: string | null }>();
    expect(row!.key).not.toBeNull();
  });

  it("does nothing for an app that is being deleted or gone, and does not try again", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a")], NOW);
    await env.DB.prepare("UPDATE apps SET deleted_at = ?2 WHERE app = ?1").bind(app, NOW).run();
    const batch = createMessageBatch("edgewise-jobs", [
      { id: "1", timestamp: new Date(NOW), attempts: 1, body: { type: "snapshot", app } },
      { id: "2", timestamp: new Date(NOW), attempts: 1, body: { type: "snapshot", app: 4_000_000_000 } },
      { id: "3", timestamp: new Date(NOW), attempts: 1, body: { type: "code-items", app: 4_000_000_000 } },
    ]);
    const ctx = createExecutionContext();
    await queue(batch, env, ctx);
    expect((await getQueueResult(batch, ctx)).explicitAcks).toEqual(["1", "2", "3"]);
    expect((await env.MODELS.list({ prefix: `catalogue/app=${app}/` })).objects).toEqual([]);
  });

  it("retries only the message whose job failed", async () => {
    const app = await newApp();
    const batch = createMessageBatch("edgewise-jobs", [
      { id: "1", timestamp: new Date(NOW), attempts: 1, body: { type: "no such job", app } },
      { id: "2", timestamp: new Date(NOW), attempts: 1, body: { type: "snapshot", app } },
    ]);
    const ctx = createExecutionContext();
    const broken = {
      ...env,
      MODELS: {},
      DB: {
        prepare: () => {
          throw new Error("broken on purpose");
        },
        withSession: () => {
          throw new Error("broken on purpose");
        },
      },
    } as unknown as Env;
    await queue(batch, broken, ctx);
    const result = await getQueueResult(batch, ctx);
    expect(result.retryMessages.map(({ msgId }) => msgId)).toEqual(["2"]);
    expect(result.explicitAcks).toEqual(["1"]);
  });
});
