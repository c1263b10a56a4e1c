/**
 * A user is erased over HTTP while a real Worker serves; then everything that lies on disk is read: every row of D1 and of every
 * Durable Object, every object in R2. A SIGKILL in the middle of an erasure is made good by the cron.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startDevServer, type DevServer } from "../../demo/dev-server.ts";
import { everyRow, linesInR2, queryD1, queryObjects, textsInR2 } from "./local-storage.ts";

const OPERATOR_KEY = "ew_op_erase.0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
const VARS = { OPERATOR_KEY, WORKER_SECRET: "erasure-test-secret-of-at-least-32-chars", TEST_SEAL_AFTER_MS: "700" };
const CRON = `/cdn-cgi/local/scheduled?cron=${encodeURIComponent("*/5 * * * *")}`;
const SETTLE_MS = 60_000;

const persist = mkdtempSync(path.join(os.tmpdir(), "edgewise-erasure-"));
let server: DevServer;
let secret = "";

interface Answer {
  readonly status: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- answers are asserted on, field by field
  readonly body: Record<string, any>;
}

async function ask(method: string, route: string, json?: unknown, key = secret): Promise<Answer> {
  const response = await fetch(server.url + route, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(json === undefined ? {} : { "content-type": "application/json" }) },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? {} : (JSON.parse(text) as Answer["body"]) };
}

beforeAll(async () => {
  server = await startDevServer({ persist, vars: VARS });
  const made = await ask("POST", "/v1/apps", { name: "Erasure" }, OPERATOR_KEY);
  secret = (made.body["keys"] as { secret: string }).secret;
  const items = Array.from({ length: 12 }, (_, at) => ({ id: `i${at}`, title: `Item ${at}` }));
  expect((await ask("POST", "/v1/items/batch", { items })).status).toBe(200);
});

afterAll(async () => {
  await server?.stop();
  rmSync(persist, { recursive: true, force: true });
});

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + SETTLE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}\n${server.output()}`);
    await sleep(50);
  }
}

/** Everything of these users was delivered, so that their newest rows are open in the log or sealed. */
const delivered = () =>
  until("delivery", () => queryObjects(persist, "UserState", "SELECT seq FROM outbox").length === 0);
const sealed = () => until("sealing", () => queryObjects(persist, "AppLog", "SELECT id FROM rows").length === 0);

const now = () => new Date().toISOString();

/** All that a user can leave behind: views, a list with its token, a rating, a review, an item nobody knows, a profile. */
async function live(userId: string, round: string): Promise<string[]> {
  const list = await ask("POST", "/v1/recommendations", { userId, history: [], count: 5, exploration: 0.5 });
  const of = (name: string, more: object) => ({ id: `${userId}-${round}-${name}`, userId, occurredAt: now(), ...more });
  const shown = { recommendationId: list.body["recommendationId"] as string };
  const sessionId = `session-of-${userId}`;
  const events = [
    of("view", { type: "view", itemId: "i1", sessionId }),
    of("impression", { type: "impression", ...shown, visibleMs: 900 }),
    of("seen", { type: "impression", itemId: "i2", position: 0, ...shown }),
    of("bought", { type: "purchase", itemId: "i2", price: { amountMinor: 499, currency: "EUR" }, ...shown }),
    of("rating", { type: "rating", itemId: "i3", value: 5, surface: `surface-of-${userId}` }),
    of("review", { type: "review", itemId: "i3", text: `words-of-${userId}` }),
    of("unknown", { type: "save", itemId: `unknown-of-${userId}` }),
    of("hide", { type: "hide", itemId: "i4" }),
  ];
  const { body } = await ask("POST", "/v1/events", { events });
  expect(body).toMatchObject({ accepted: events.length, rejected: 0 });
  expect((await ask("PATCH", `/v1/users/${userId}`, { attributes: { note: `note-of-${userId}` } })).status).toBe(200);
  return events.map(({ id }) => id);
}

/** Lived in several sealed segments and, newest, in rows that are still open. */
async function liveLong(userId: string, rounds: number): Promise<string[]> {
  const ids: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    ids.push(...(await live(userId, `r${round}`)));
    await delivered();
    await sealed();
  }
  ids.push(...(await live(userId, "open")));
  await delivered();
  return ids;
}

/** The subject behind a user, found by a note that only this user has. */
function subjectOf(userId: string): { app: number; object: string; subject: string } {
  const rows = queryObjects(persist, "UserState", "SELECT app, object, subject, attributes FROM meta");
  const row = rows.find(({ attributes }) => String(attributes).includes(`note-of-${userId}"`));
  if (row === undefined) throw new Error(`nobody is ${userId}`);
  return { app: Number(row["app"]), object: String(row["object"]), subject: String(row["subject"]) };
}

/** Tables in which a text stands, as `store/table`. */
function tablesWith(text: string): string[] {
  return [
    ...new Set(everyRow(persist).flatMap(({ store, table, row }) => (row.includes(text) ? `${store}/${table}` : []))),
  ];
}

/** Nothing of the user is left but the erasure's own row, the log's refusal, and a tombstone. */
async function expectErased(
  userId: string,
  who: ReturnType<typeof subjectOf>,
  eventIds: readonly string[],
): Promise<void> {
  const { subject, object, app } = who;
  const texts = [userId, `session-of-${userId}`, `words-of-${userId}`, `note-of-${userId}`, `surface-of-${userId}`];
  for (const text of [...texts, `unknown-of-${userId}`, ...eventIds]) {
    expect([text, tablesWith(text)]).toEqual([text, []]);
    expect([text, textsInR2(persist, "edgewise-log").filter((stored) => stored.includes(text))]).toEqual([text, []]);
  }
  expect(tablesWith(subject)).toEqual(["D1/erasures", "AppLog/refused"]);
  expect(tablesWith(object)).toEqual(["D1/erasures"]);
  expect(textsInR2(persist, "edgewise-log").some((stored) => stored.includes(subject))).toBe(false);
  const erasures = queryD1(persist, `SELECT * FROM erasures WHERE object = '${object}'`);
  expect(erasures).toMatchObject([
    { app, object, subject, object_done_at: expect.any(Number), log_done_at: expect.any(Number) },
  ]);
  const late = await ask("POST", "/v1/events", {
    events: [{ id: `late-${userId}`, userId, type: "view", itemId: "i1", occurredAt: now() }],
  });
  expect(late.body["results"]).toMatchObject([{ status: "rejected", code: "erased", retryable: false }]);
  expect(tablesWith(`late-${userId}`)).toEqual([]);
  expect((await ask("GET", `/v1/users/${userId}`)).status).toBe(404);
  expect((await ask("PATCH", `/v1/users/${userId}`, { attributes: { a: 1 } })).status).toBe(404);
  const list = await ask("POST", "/v1/recommendations", { userId, count: 12 });
  expect([list.status, (list.body["items"] as unknown[]).length]).toEqual([200, 12]); // i4 is hidden no more
}

/** Tables with rows of each user's object, by its file. */
function userTables(): Map<string, string[]> {
  const files = new Map<string, string[]>();
  for (const { store, file, table } of everyRow(persist))
    if (store === "UserState") files.set(file, [...(files.get(file) ?? []), table]);
  return files;
}

it("leaves a tombstone and the row of the erasure, and takes nobody else's data along", async () => {
  const kept = await liveLong("neighbour", 1);
  const ids = await liveLong("leaver", 2);
  const who = subjectOf("leaver");
  const neighbour = subjectOf("neighbour");
  for (const text of [who.subject, ids[0]!, ids.at(-1)!]) expect(tablesWith(text).length, text).toBeGreaterThan(0);
  expect(tablesWith("words-of-leaver")).toEqual(["UserState/texts"]);
  const stored = textsInR2(persist, "edgewise-log");
  expect(stored.some((text) => text.includes(who.subject))).toBe(true);
  expect(stored.some((text) => text.includes("words-of-leaver"))).toBe(false);
  const old = queryD1(persist, `SELECT key FROM segment_subjects WHERE subject = '${who.subject}'`);
  expect(old.length).toBeGreaterThanOrEqual(2);

  const first = await ask("DELETE", "/v1/users/leaver");
  expect(first.status).toBe(202);
  const until30Days = Date.parse(String(first.body["servingErasedAt"])) + 31 * 86_400_000;
  for (const { goneBy } of first.body["copies"] as { goneBy: string }[])
    expect(Date.parse(goneBy)).toBeLessThanOrEqual(until30Days);
  expect(
    queryObjects(persist, "AppLog", `SELECT id FROM rows WHERE segment IS NULL AND subject = '${who.subject}'`),
  ).toEqual([]);
  await until(
    "the log's rewriting",
    () => queryD1(persist, "SELECT log_done_at FROM erasures WHERE log_done_at IS NULL").length === 0,
  );

  await expectErased("leaver", who, ids);
  expect([...userTables().values()].filter((tables) => tables.join() === "tombstone")).toHaveLength(1);
  for (const { key } of old) await expect(linesInR2(server.url, "edgewise-log", String(key))).rejects.toThrow(/404/);

  await sealed();
  const lines: string[] = [];
  for (const { key, records } of queryD1(persist, "SELECT key, records FROM log_segments ORDER BY key")) {
    const segment = await linesInR2(server.url, "edgewise-log", String(key));
    expect([key, segment.length]).toEqual([key, records]);
    lines.push(...segment);
  }
  const logged = lines.map((line) => JSON.parse(line) as { kind: string; eventId: string | null; subject: string });
  const events = logged.filter(({ kind }) => kind === "event").map(({ eventId }) => String(eventId));
  expect(events.toSorted()).toEqual(kept.toSorted());
  expect(new Set(logged.map(({ subject }) => subject))).toEqual(new Set([neighbour.subject]));
  const totals = queryObjects(
    persist,
    "AppLog",
    "SELECT item, views, positives, impressions FROM totals ORDER BY item",
  );
  expect(totals).toEqual([
    { item: 2, views: 2, positives: 2, impressions: 0 },
    { item: 3, views: 0, positives: 2, impressions: 2 },
    { item: 4, views: 0, positives: 4, impressions: 0 },
  ]);
  expect((await ask("GET", "/v1/users/neighbour")).body).toMatchObject({ attributes: { note: "note-of-neighbour" } });
});

it("is harmless when it is done again, and nothing for somebody who never was there", async () => {
  const before = everyRow(persist);
  const [again, twice] = [await ask("DELETE", "/v1/users/leaver"), await ask("DELETE", "/v1/users/leaver")];
  expect(again.status).toBe(202);
  expect(twice).toEqual(again);
  expect((await ask("DELETE", "/v1/users/never-there")).status).toBe(202);
  expect((await fetch(server.url + CRON)).status).toBe(200);
  expect(everyRow(persist)).toEqual(before);
});

it("asked for ten times at once erases once", async () => {
  const ids = await liveLong("impatient", 1);
  const who = subjectOf("impatient");
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask("DELETE", "/v1/users/impatient")));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
  await until(
    "the log's rewriting",
    () => queryD1(persist, "SELECT log_done_at FROM erasures WHERE log_done_at IS NULL").length === 0,
  );
  for (const text of [who.subject, ...ids, "impatient"])
    expect(tablesWith(text).filter((table) => table !== "D1/erasures" && table !== "AppLog/refused")).toEqual([]);
  expect((await ask("GET", "/v1/users/impatient")).status).toBe(404);
});

async function restart(): Promise<void> {
  await server.kill();
  server = await startDevServer({ persist, vars: VARS });
}

/** Rows of erasures that are not finished. */
const openOf = (object: string) =>
  queryD1(persist, `SELECT object_done_at FROM erasures WHERE object = '${object}' AND log_done_at IS NULL`);

it("that a SIGKILL cut off between the object and the log is finished by the cron", async () => {
  const ids = await liveLong("cut-late", 4);
  const who = subjectOf("cut-late");
  const asked = ask("DELETE", "/v1/users/cut-late").catch(() => undefined);
  // four segments are to be rewritten once the object is done, which takes longer than the signal
  while (openOf(who.object)[0]?.["object_done_at"] == null) await sleep(0);
  await restart();
  await asked;
  expect(openOf(who.object), "the kill came too late to cut anything off").toHaveLength(1);
  expect((await ask("GET", "/v1/users/cut-late")).status).toBe(404);
  expect((await fetch(server.url + CRON)).status).toBe(200);
  expect(openOf(who.object)).toEqual([]);
  await expectErased("cut-late", who, ids);
});

it("that ended right after its first step is done as a whole by the cron", async () => {
  const ids = await liveLong("cut-early", 1);
  const who = subjectOf("cut-early");
  await server.kill();
  // what a process leaves behind that dies between the row in the database and the call to the object
  const [file] = everyRow(persist).filter(({ store, table }) => store === "D1" && table === "erasures");
  const database = new DatabaseSync(path.join(persist, "v3/d1/miniflare-D1DatabaseObject", file!.file), {
    timeout: 10_000,
  });
  database
    .prepare("INSERT INTO erasures (app, object, subject, requested_at) VALUES (?, ?, ?, ?)")
    .run(who.app, who.object, who.subject, Date.now());
  database.close();
  server = await startDevServer({ persist, vars: VARS });
  expect((await ask("GET", "/v1/users/cut-early")).status).toBe(200);
  expect((await fetch(server.url + CRON)).status).toBe(200);
  expect(openOf(who.object)).toEqual([]);
  await expectErased("cut-early", who, ids);
});

it("that a SIGKILL met anywhere before its answer is either not begun or finished by the cron", async () => {
  let begun = 0;
  for (const [at, delayMs] of [3, 12, 30].entries()) {
    const userId = `cut-${at}-early-or-not`;
    const ids = await liveLong(userId, 1);
    const who = subjectOf(userId);
    const asked = ask("DELETE", `/v1/users/${userId}`).catch(() => undefined);
    await sleep(delayMs);
    await restart();
    await asked;
    const isBegun = queryD1(persist, `SELECT app FROM erasures WHERE object = '${who.object}'`).length === 1;
    if (isBegun) begun += 1;
    else {
      expect((await ask("GET", `/v1/users/${userId}`)).body["history"]).toHaveLength(12);
      expect((await ask("DELETE", `/v1/users/${userId}`)).status).toBe(202);
    }
    expect((await fetch(server.url + CRON)).status).toBe(200);
    await until("the log's rewriting", () => openOf(who.object).length === 0);
    await expectErased(userId, who, ids);
  }
  console.log(`erasures that a kill met in their course: ${begun} of 3`);
});
