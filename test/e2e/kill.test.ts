/**
 * The server is killed (SIGKILL to its whole process group) at random moments under a stream of events and started again on the
 * same storage. Afterwards every event that was answered for is in its user's history once, in the sealed log once, and in the
 * counters once. KILLS sets how often, KILL_SEED repeats a run.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { startDevServer, type DevServer } from "../../demo/dev-server.ts";
import { linesInR2, queryD1, queryObjects } from "./local-storage.ts";

const KILLS = Number(process.env["KILLS"] ?? (process.env["EDGEWISE_SOAK"] === undefined ? 3 : 50));
const SEED = Number(process.env["KILL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const OPERATOR_KEY = "ew_op_kill.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";
const VARS = { OPERATOR_KEY, WORKER_SECRET: "kill-test-secret-of-at-least-32-characters", TEST_SEAL_AFTER_MS: "400" };
const ITEMS = 20;
const SENDERS = 4;
const USERS_A_ROUND = 12;
const EVENTS_A_USER = 150; // below the 200 that a history keeps, so that each can be looked for
const SETTLE_MS = 90_000;

const persist = mkdtempSync(path.join(os.tmpdir(), "edgewise-kill-"));
let server: DevServer | undefined;

afterAll(async () => {
  await server?.stop();
  rmSync(persist, { recursive: true, force: true });
});

/** mulberry32: a small seeded generator, [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface SentEvent {
  readonly id: string;
  readonly userId: string;
  readonly itemId: string;
}

/** What was sent, and what was answered for by a 202 that was read to its end. */
const sent = new Map<string, SentEvent>();
const answered = new Set<string>();
const next = random(SEED);
let secret = "";

async function post(
  url: string,
  route: string,
  key: string,
  body: unknown,
): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url + route, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  return { status: response.status, body: JSON.parse(await response.text()) as unknown };
}

/** True when the answer came whole. */
async function send(url: string, events: readonly SentEvent[]): Promise<boolean> {
  const occurredAt = new Date().toISOString();
  try {
    const { status, body } = await post(url, "/v1/events", secret, {
      events: events.map((event) => ({ ...event, type: "view", occurredAt })),
    });
    if (status !== 202) throw new Error(`events were answered with ${status}: ${JSON.stringify(body)}`);
    for (const result of (body as { results: { id: string; status: string }[] }).results)
      if (result.status === "accepted" || result.status === "duplicate") answered.add(result.id);
    return true;
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError || (error as Error).name === "TimeoutError")
      return false; // killed
    throw error;
  }
}

/** Sends batches until `isOver`; of those that the kill cut off, every other one is kept to be sent again. */
async function stream(url: string, round: number, sender: number, isOver: () => boolean): Promise<SentEvent[][]> {
  const again: SentEvent[][] = [];
  const perUser = new Map<string, number>();
  for (let batch = 0; !isOver(); batch += 1) {
    const events: SentEvent[] = [];
    for (let i = 0; i < 1 + Math.floor(next() * 8); i += 1) {
      const userId = `u-${round}-${sender}-${Math.floor(next() * (USERS_A_ROUND / SENDERS))}`;
      const count = perUser.get(userId) ?? 0;
      if (count >= EVENTS_A_USER) continue;
      perUser.set(userId, count + 1);
      const event = { id: `k-${round}-${sender}-${batch}-${i}`, userId, itemId: `i${1 + Math.floor(next() * ITEMS)}` };
      sent.set(event.id, event);
      events.push(event);
    }
    if (events.length === 0) return again;
    if (!(await send(url, events))) {
      if (batch % 2 === 0) again.push(events);
      return again;
    }
  }
  return again;
}

it(
  `keeps every accepted event exactly once through ${KILLS} kills`,
  async () => {
    console.log(`kill test: ${KILLS} kills, KILL_SEED=${SEED}`);
    server = await startDevServer({ persist, vars: VARS });
    const made = await post(server.url, "/v1/apps", OPERATOR_KEY, { name: "Kill" });
    secret = (made.body as { keys: { secret: string } }).keys.secret;
    const items = Array.from({ length: ITEMS }, (_, i) => ({ id: `i${i + 1}`, title: `Item ${i + 1}` }));
    expect((await post(server.url, "/v1/items/batch", secret, { items })).status).toBe(200);

    let again: SentEvent[][] = [];
    for (let round = 0; round < KILLS; round += 1) {
      const { url } = server;
      let isOver = false;
      const senders = Array.from({ length: SENDERS }, (_, sender) => stream(url, round, sender, () => isOver));
      for (const events of again) await send(url, events); // what the last kill cut off, sent again
      await new Promise((resolve) => setTimeout(resolve, 50 + next() * 2000));
      const killed = server.kill();
      const cut = await Promise.all(senders);
      await killed;
      isOver = true;
      again = cut.flat();
      server = await startDevServer({ persist, vars: VARS });
    }
    for (const events of again) expect(await send(server.url, events)).toBe(true);
    expect(answered.size).toBeGreaterThan(KILLS);

    const logged = await settled(server.url);
    console.log(`${sent.size} events sent, ${answered.size} answered for, ${logged.length} logged`);
    expect(new Set(logged.map(({ eventId }) => eventId)).size, "an event is in the log twice").toBe(logged.length);
    const inLog = new Set(logged.map(({ eventId }) => eventId));
    expect(
      [...answered].filter((id) => !inLog.has(id)),
      "answered for and not in the log",
    ).toEqual([]);
    expect(
      [...inLog].filter((id) => !sent.has(id)),
      "in the log and never sent",
    ).toEqual([]);

    const histories = await readHistories(server.url);
    expect(new Set(histories).size, "an event is in a history twice").toBe(histories.length);
    expect(histories.toSorted()).toEqual([...inLog].toSorted());

    await server.stop();
    server = undefined;
    const views = new Map<number, number>();
    for (const { item } of logged) views.set(item, (views.get(item) ?? 0) + 1);
    const totals = queryObjects(
      persist,
      "AppLog",
      "SELECT item, views, positives, impressions FROM totals ORDER BY item",
    );
    expect(totals).toEqual(
      [...views]
        .sort(([a], [b]) => a - b)
        .map(([item, count]) => ({ item, views: count, positives: count, impressions: 0 })),
    );
    const daily = queryObjects(
      persist,
      "AppLog",
      "SELECT item, sum(views) AS views FROM counters GROUP BY item ORDER BY item",
    );
    expect(daily).toEqual(totals.map(({ item, views: count }) => ({ item, views: count })));
    expect(queryObjects(persist, "UserState", "SELECT seq FROM outbox")).toEqual([]);
    expect(queryObjects(persist, "AppLog", "SELECT id FROM rows")).toEqual([]);
  },
  120_000 + KILLS * 20_000,
);

/** Waits until alarms alone have delivered and sealed everything that was answered for; gives all records of the manifest. */
async function settled(url: string): Promise<{ eventId: string; item: number }[]> {
  const deadline = Date.now() + SETTLE_MS;
  for (;;) {
    const isDelivered = queryObjects(persist, "UserState", "SELECT seq FROM outbox").length === 0;
    const isSealed = queryObjects(persist, "AppLog", "SELECT id FROM rows").length === 0;
    if (isDelivered && isSealed) break;
    if (Date.now() > deadline) throw new Error("alarms did not deliver and seal everything in time");
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  const records: { eventId: string; item: number }[] = [];
  for (const { key, records: listed } of queryD1(persist, "SELECT key, records FROM log_segments ORDER BY key")) {
    const lines = await linesInR2(url, "edgewise-log", String(key));
    expect(lines.length, `records of ${key}`).toBe(listed);
    for (const line of lines) records.push(JSON.parse(line) as { eventId: string; item: number });
  }
  return records;
}

async function readHistories(url: string): Promise<string[]> {
  const ids: string[] = [];
  for (const userId of new Set([...sent.values()].map((event) => event.userId))) {
    const response = await fetch(`${url}/v1/users/${userId}`, { headers: { authorization: `Bearer ${secret}` } });
    if (response.status === 404) continue; // nothing of this user got through before a kill
    const { history } = (await response.json()) as { history: { eventId: string; itemId: string }[] };
    for (const { eventId, itemId } of history) {
      expect(itemId).toBe(sent.get(eventId)?.itemId);
      ids.push(eventId);
    }
  }
  return ids;
}
