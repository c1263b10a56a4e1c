/** Deleting an app: nothing of it remains anywhere, another app keeps everything, and no kill on the way changes that. */
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { quantise } from "../../functions/domain/artefact/coded-item.ts";
import { sha256Hex } from "../../functions/domain/artefact/digest.ts";
import { deleteAppTick, deletionStatement } from "../../functions/jobs/delete-app.ts";
import { eraseUser } from "../../functions/jobs/erase-user.ts";
import { queue } from "../../functions/jobs/queue.ts";
import { runCron } from "../../functions/jobs/scheduled.ts";
import { APP_TABLES, appPrefixes, markDeleted } from "../../functions/store/app-deletions.ts";
import { findApp } from "../../functions/store/apps.ts";
import { fileKey, putFile, putRows } from "../../functions/store/artefacts.ts";
import { requestJob } from "../../functions/store/training-jobs.ts";
import { writePolicy } from "../../functions/store/training-policies.ts";
import { insertEndpoint, insertSecret, settleAttempt, takeDue } from "../../functions/store/webhooks.ts";
import { openErasure } from "../../functions/store/erasures.ts";
import { putItems } from "../../functions/store/items.ts";
import { insertApiKey, insertTokenSecret } from "../../functions/store/keys.ts";
import { saveImport } from "../../functions/store/ledger.ts";
import { saveFile, saveItemCodes } from "../../functions/store/models.ts";
import { writeSnapshot } from "../../functions/store/snapshots.ts";
import { logStub, userStubByName } from "../../functions/store/subjects.ts";
import { event, MINUTE, newUser, NOW, recordInput, storedText } from "../objects/objects.ts";
import { item, newApp } from "../store/new-app.ts";

const CRON = "*/5 * * * *";
const SETTLED = NOW + 20 * MINUTE;

interface Seeded {
  readonly app: number;
  readonly id: string;
  /** Names of users' objects, the erased one last. */
  readonly objects: readonly string[];
}

/** An app with a row in every table, objects under every prefix, users with sealed and open events, and an erased user. */
async function seed(options: { number?: number; users?: number } = {}): Promise<Seeded> {
  const id = `app_${crypto.randomUUID()}`;
  const { app } = (await env.DB.prepare(
    "INSERT INTO apps (app, id, name, created_at) VALUES (?1, ?2, 'x', 0) RETURNING app",
  )
    .bind(options.number ?? null, id)
    .first<{ app: number }>())!;
  const key = { id: `k${app}`, kind: "secret", hash: "h", scopes: [], origins: [] } as const;
  const at = { now: NOW, most: 20 };
  await env.DB.batch([
    insertApiKey(env, id, key, at),
    insertTokenSecret(env, app, { kid: `s${app}`, ciphertext: "c" }, at),
  ]);
  const [put] = await putItems(env, app, [item("a"), item("b")], NOW);
  await writeSnapshot(env, app);

  const file = new TextEncoder().encode(`file of ${app}`);
  const sha256 = await sha256Hex(file);
  await putFile(env, fileKey(app, sha256), sha256, file);
  await saveFile(env.DB, app, { id: "m", path: "model.onnx", bytes: file.length, sha256 }, NOW);
  await putRows(env, { app, modelVersion: "m_1", epoch: 1, rows: Uint32Array.of(1, 2) });
  const coded = {
    number: put!.number,
    codes: Uint8Array.of(1),
    ...quantise(Float32Array.of(1)),
    revision: put!.revision,
  };
  await saveItemCodes(env.DB, app, 1, [coded], { revision: 1, number: put!.number });
  await saveImport(env.DB, app, { file: "f", kind: "items", nextRow: 2, rejected: 0, finished: true }, NOW);

  await seedTraining(app);

  const objects: string[] = [];
  for (let user = 0; user < (options.users ?? 2); user += 1) objects.push(await activeUser(app));
  await logStub(env, app, 0).seal(NOW, { force: true });
  const gone = await newUser(app);
  await gone.stub.record(recordInput(app, gone.object, [event()]));
  await gone.stub.tend(NOW);
  const work: Promise<unknown>[] = [];
  await eraseUser(env, app, gone.userId, { now: NOW, later: (promise) => work.push(promise) });
  await Promise.all(work);
  return { app, id, objects: [...objects, gone.object] };
}

/** A job that a webhook asked for, and an endpoint that heard of it. */
async function seedTraining(app: number): Promise<void> {
  const sealed = { id: "ws_1", ciphertext: "c", createdAt: NOW };
  await env.DB.batch([
    insertEndpoint(env.DB, app, { id: "we_1", url: "https://example.com/", types: [] }, NOW, 20),
    insertSecret(env.DB, app, "we_1", sealed, 2),
  ]);
  await writePolicy(env.DB, app, { everyHours: 24, afterEvents: null, canary: null }, NOW);
  const request = { source: "webhook", reason: "a test", at: NOW } as const;
  const webhook = { scheme: "standard", id: "msg_in" } as const;
  const announcement = { id: "msg_out", type: "training.requested", payload: "{}" };
  await requestJob(env.DB, app, { id: `job_${app}`, request, webhook, announcement }, NOW);
  const [due] = await takeDue(env.DB, app, NOW, 1);
  const over = { status: 200, error: null, durationMs: 1, dueAt: null };
  await settleAttempt(env.DB, due!, { at: NOW, outcome: "delivered", ...over });
}

/** A user whose event has reached the log; gives the object's name. */
async function activeUser(app: number): Promise<string> {
  const { stub, object } = await newUser(app);
  await stub.record(recordInput(app, object, [event()]));
  await stub.tend(NOW);
  return object;
}

async function tables(): Promise<string[]> {
  const sql = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf%'
    ESCAPE '\\' AND name NOT LIKE 'd1_%' ORDER BY name`;
  return (await env.DB.prepare(sql).all<{ name: string }>()).results.map(({ name }) => name);
}

/** Every row of D1 and every object of R2. */
async function world(): Promise<Record<string, unknown>> {
  const rows: Record<string, unknown> = {};
  for (const table of await tables()) rows[table] = (await env.DB.prepare(`SELECT * FROM ${table}`).all()).results;
  for (const bucket of ["MODELS", "LOG"] as const) {
    const { objects } = await env[bucket].list();
    rows[bucket] = objects.map(({ key, etag }) => [key, etag]);
  }
  return rows;
}

/** What is left of an app, by place; empty when nothing is. */
async function remains({ app, objects }: Seeded): Promise<Record<string, unknown>> {
  const left: Record<string, unknown> = {};
  for (const table of await tables()) {
    const columns = await env.DB.prepare(`SELECT name FROM pragma_table_info('${table}')`).all<{ name: string }>();
    if (!columns.results.some(({ name }) => name === "app")) continue;
    const { results } = await env.DB.prepare(`SELECT * FROM ${table} WHERE app = ?1`).bind(app).all();
    if (results.length > 0) left[table] = results.length;
  }
  for (const { bucket, prefix } of appPrefixes(app)) {
    const { objects: keys } = await env[bucket].list({ prefix });
    if (keys.length > 0) left[prefix] = keys.length;
  }
  for (const object of objects) {
    const text = await storedText(userStubByName(env, object));
    if (text !== "{}") left[object] = text;
  }
  const log = await storedText(logStub(env, app, 0));
  if (log !== "{}") left["log"] = log;
  return left;
}

async function ticksUntilDone(app: number, now: number, removals?: number): Promise<string[]> {
  const states: string[] = [];
  while (states.at(-1) !== "done" && states.length < 200) states.push(await deleteAppTick(env, app, now, removals));
  return states;
}

describe("deleting an app", () => {
  it("leaves nothing of it anywhere, and another app as it was", async () => {
    const other = await seed({ number: 71 }); // whose number begins with the other's
    const textsOf = ({ app, objects }: Seeded) =>
      Promise.all([...objects.map((object) => userStubByName(env, object)), logStub(env, app, 0)].map(storedText));
    const [before, textsBefore] = [await world(), await textsOf(other)];

    const sealed = await seed({ number: 7 });
    const app = { ...sealed, objects: [await activeUser(7), ...sealed.objects] }; // of the last one nothing is sealed
    const full = await remains(app);
    for (const place of [...APP_TABLES, "apps", "erasures", "log", ...appPrefixes(7).map(({ prefix }) => prefix)])
      expect(full).toHaveProperty([place]);

    await markDeleted(env, app.id, NOW);
    expect(await deleteAppTick(env, 7, NOW)).toBe("waiting");
    expect(new Set(Object.keys(await remains(app)))).toEqual(
      new Set(["apps", "erasures", "log", app.objects.at(-1)]), // what finds late writers, and a tombstone
    );
    expect(await deleteAppTick(env, 7, SETTLED)).toBe("done");

    expect(await remains(app)).toEqual({});
    expect(await world()).toEqual(before);
    expect(await textsOf(other)).toEqual(textsBefore);
    expect(await deleteAppTick(env, 7, SETTLED)).toBe("done"); // a message that came twice
    expect(await world()).toEqual(before);
  });

  it("knows every table that has rows of an app", async () => {
    const withApp: string[] = [];
    for (const table of await tables()) {
      const columns = await env.DB.prepare(`SELECT name FROM pragma_table_info('${table}')`).all<{ name: string }>();
      if (columns.results.some(({ name }) => name === "app")) withApp.push(table);
    }
    expect([...APP_TABLES, "apps", "erasures"].toSorted()).toEqual(withApp.toSorted());
  });

  it("does nothing to an app that is not marked", async () => {
    const { app } = await seed();
    const before = await world();
    expect(await deleteAppTick(env, app, SETTLED)).toBe("done");
    expect(await world()).toEqual(before);
  });

  it("never gives its number to another app", async () => {
    const app = await newApp();
    await env.DB.prepare("UPDATE apps SET deleted_at = ?2 WHERE app = ?1").bind(app, NOW).run();
    expect(await ticksUntilDone(app, SETTLED)).toEqual(["done"]);
    expect(await newApp()).toBeGreaterThan(app);
  });

  it("keeps the first time when it is marked again, and gives the keys that were live", async () => {
    const { app, id } = await seed();
    expect(await markDeleted(env, id, NOW)).toEqual({ app, deletedAt: NOW, keyIds: [`k${app}`], kids: [`s${app}`] });
    expect(await markDeleted(env, id, NOW + 1)).toEqual({ app, deletedAt: NOW, keyIds: [], kids: [] });
    expect(await markDeleted(env, "app_none", NOW)).toBeUndefined();
  });

  it("also removes what comes in after its first tick, under a key that is still cached", async () => {
    const app = await seed();
    await markDeleted(env, app.id, NOW);
    expect(await deleteAppTick(env, app.app, NOW)).toBe("waiting");
    const late = { ...app, objects: [...app.objects, await activeUser(app.app)] };
    await logStub(env, app.app, 0).seal(NOW, { force: true });
    await putItems(env, app.app, [item("late")], NOW);
    await openErasure(env, { app: app.app, object: late.objects[0]!, subject: "ab".repeat(16), requestedAt: NOW });
    expect(await ticksUntilDone(app.app, SETTLED)).toEqual(["more", "done"]);
    expect(await remains(late)).toEqual({});
  });

  it("does a bounded part of it in each tick", async () => {
    const app = await seed({ users: 5 });
    await markDeleted(env, app.id, NOW);
    const left = [];
    for (const state of ["more", "more", "waiting"]) {
      expect(await deleteAppTick(env, app.app, NOW, 4)).toBe(state);
      left.push((await logStub(env, app.app, 0).objects("", 10)).length);
    }
    expect(left).toEqual([3, 1, 0]);
    expect((await ticksUntilDone(app.app, SETTLED, 4)).at(-1)).toBe("done");
    expect(await remains(app)).toEqual({});
  });

  it("deletes the rows of a large table over several ticks", async () => {
    const app = await newApp();
    const rows = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
      INSERT INTO segment_subjects (app, subject, key) SELECT ?1, i, 'k' FROM n`;
    await env.DB.prepare(rows).bind(app).run();
    await env.DB.prepare("UPDATE apps SET deleted_at = ?2 WHERE app = ?1").bind(app, NOW).run();
    expect(await ticksUntilDone(app, SETTLED, 1)).toEqual(["more", "more", "done"]);
  });

  it("comes to its end from a kill at any of its calls", { timeout: 240_000 }, async () => {
    let at = 0;
    for (let isKilled = true; isKilled;) {
      at += 1;
      const app = await seed({ users: 1 });
      await markDeleted(env, app.id, NOW);
      const mortal = dyingAt(at);
      isKilled = false;
      try {
        await deleteAppTick(mortal, app.app, NOW);
        await deleteAppTick(mortal, app.app, SETTLED);
      } catch (error) {
        expect(String(error)).toContain("killed");
        isKilled = true;
      }
      expect([at, await findApp(env, app.app)]).toEqual([at, undefined]);
      expect((await ticksUntilDone(app.app, SETTLED)).at(-1)).toBe("done");
      expect([at, await remains(app)]).toEqual([at, {}]);
    }
    expect(at).toBeGreaterThan(40);
  });

  it("done twice at once, it still ends with nothing", async () => {
    const app = await seed();
    await markDeleted(env, app.id, NOW);
    await Promise.all([deleteAppTick(env, app.app, NOW), deleteAppTick(env, app.app, NOW)]);
    await Promise.all([deleteAppTick(env, app.app, SETTLED), deleteAppTick(env, app.app, SETTLED)]);
    await ticksUntilDone(app.app, SETTLED);
    expect(await remains(app)).toEqual({});
  });
});

describe("a deletion under way", () => {
  const deliver = async (app: number, bindings: Env) => {
    const body = { type: "delete-app", app };
    const batch = createMessageBatch("edgewise-jobs", [{ id: "1", timestamp: new Date(NOW), attempts: 1, body }]);
    const ctx = createExecutionContext();
    await queue(batch, bindings, ctx);
    return await getQueueResult(batch, ctx);
  };
  /** Bindings whose clock stands at `now` and whose queue only notes what is sent. */
  const listening = (now: number) => {
    const sent: unknown[] = [];
    const jobs = { send: async (body: unknown, options?: unknown) => void sent.push([body, options]) };
    return { sent, bindings: { ...env, JOBS: jobs, TEST_CLOCK_OFFSET_MS: String(now - Date.now()) } as unknown as Env };
  };

  it("is woken by a message, which asks for the last look at the time when nobody writes any more", async () => {
    const app = await seed();
    await markDeleted(env, app.id, NOW);
    const first = listening(NOW);
    expect((await deliver(app.app, first.bindings)).explicitAcks).toEqual(["1"]);
    expect(first.sent).toEqual([[{ type: "delete-app", app: app.app }, { delaySeconds: 1200 }]]);
    const second = listening(SETTLED + MINUTE);
    await deliver(app.app, second.bindings);
    expect(second.sent).toEqual([]);
    expect(await remains(app)).toEqual({});
  });

  it("asks for the next tick at once while there is more", async () => {
    const app = await seed();
    await markDeleted(env, app.id, NOW);
    await deleteAppTick(env, app.app, NOW);
    await activeUser(app.app);
    const { sent, bindings } = listening(SETTLED + MINUTE);
    await deliver(app.app, bindings);
    expect(sent).toEqual([[{ type: "delete-app", app: app.app }, {}]]);
    await ticksUntilDone(app.app, SETTLED);
  });

  it("is finished by the cron when every message was lost, which makes nothing new for the app meanwhile", async () => {
    const app = await seed();
    await env.DB.prepare("UPDATE apps SET unsnapshotted_rows = 5000 WHERE app = ?1").bind(app.app).run();
    await markDeleted(env, app.id, NOW);
    await runCron(env, CRON, NOW + MINUTE);
    expect(new Set(Object.keys(await remains(app)))).toEqual(
      new Set(["apps", "erasures", "log", app.objects.at(-1)]), // what finds late writers, and a tombstone
    );
    await runCron(env, CRON, SETTLED + MINUTE);
    expect(await remains(app)).toEqual({});
  });

  it("is left to its messages by the cron while they come", async () => {
    const app = await seed();
    await markDeleted(env, app.id, NOW);
    await deleteAppTick(env, app.app, NOW + MINUTE);
    const object = await activeUser(app.app);
    await runCron(env, CRON, NOW + 2 * MINUTE);
    expect(await storedText(userStubByName(env, object))).not.toBe("{}");
    await runCron(env, CRON, NOW + 4 * MINUTE);
    expect(await storedText(userStubByName(env, object))).toBe("{}");
  });
});

describe("what is said about a deletion", () => {
  it("names no date before the app itself is gone, and nothing after backups and caches", () => {
    const { goneBy, copies } = deletionStatement(NOW);
    const dates = copies.map((copy) => Date.parse(copy.goneBy));
    expect(Math.min(...dates)).toBe(Date.parse(goneBy));
    expect(copies.find(({ copy }) => copy.startsWith("point-in-time"))!.goneBy).toBe("2026-12-25T12:00:00.000Z");
  });
});

/** Bindings of a process that dies at its call number `at`: neither that call nor any later one happens. */
function dyingAt(at: number): Env {
  let calls = 0;
  const guard = <T>(call: () => T): T => {
    calls += 1;
    if (calls >= at) throw new Error("killed on purpose");
    return call();
  };
  /** Every method of the target counts as a call. */
  const guarded = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(inner, name) {
        const value: unknown = Reflect.get(inner, name);
        if (typeof value !== "function") return value;
        return (...given: unknown[]) => guard(() => Reflect.apply(value, inner, given) as unknown);
      },
    });
  const statements = new WeakMap<object, D1PreparedStatement>();
  const statement = (real: D1PreparedStatement): D1PreparedStatement => {
    const wrapped = {
      bind: (...values: unknown[]) => statement(real.bind(...values)),
      run: () => guard(() => real.run()),
      all: () => guard(() => real.all()),
    } as unknown as D1PreparedStatement;
    statements.set(wrapped, real);
    return wrapped;
  };
  const namespace = (real: { getByName(name: string): object }) => ({
    getByName: (name: string) => guarded(real.getByName(name)),
  });
  return {
    ...env,
    DB: {
      prepare: (sql: string) => statement(env.DB.prepare(sql)),
      batch: (list: D1PreparedStatement[]) => guard(() => env.DB.batch(list.map((one) => statements.get(one)!))),
    },
    MODELS: guarded(env.MODELS),
    LOG: guarded(env.LOG),
    USER_STATE: namespace(env.USER_STATE),
    APP_LOG: namespace(env.APP_LOG),
  } as unknown as Env;
}
