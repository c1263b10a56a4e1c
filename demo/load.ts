/**
 * Loads Larder into a running Worker through its own API: all recipes, and the last 50 positive events of 300 users (`--all`: every
 * event of every user). Days are moved so that the world's last day is yesterday. Event ids are the world's own, so loading twice
 * doubles nothing. On its own (`npm run demo:load -- --all`) it loads into the demo app of the last local start.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { BOUNDS, batchesOf, groupByUser, type Sendable } from "../cli/batches.ts";
import { Client } from "../cli/client.ts";
import { progressOf } from "../cli/progress.ts";
import { offsetToYesterday, shiftedText } from "./calendar.ts";
import { eventRows, type EventRow } from "./write-files.ts";
import { userId, type World } from "./world.ts";

const ITEMS_A_BATCH = 400; // with texts and attributes some 500 KB, half of what a body may have
export const LOADED_USERS = 300;
export const LOADED_EVENTS = 50;
const POSITIVE = new Set(["view", "save", "cook"]);
/** Requests in flight: the local simulator runs on the cores that make the world. */
const AT_ONCE = 3;

/** Ids of users whose histories make a good first look: several dozen events of more than one kind. */
export function demoUsers(world: World, count: number): string[] {
  const users: string[] = [];
  for (let index = 0; index < LOADED_USERS && users.length < count; index += 1) {
    const events = positiveEvents(world, index);
    if (events.length >= 30 && events.slice(-6).some(({ type }) => type === "cook")) users.push(userId(index));
  }
  return users;
}

function positiveEvents(world: World, index: number): EventRow[] {
  return eventRows(index, world.life(index)).filter(({ type }) => POSITIVE.has(type));
}

export async function loadItems(client: Client, world: World): Promise<number> {
  const offset = offsetToYesterday(Date.now());
  const items = [...world.items()].map((item) => ({ ...item, createdAt: shiftedText(item.createdAt, offset) }));
  const progress = progressOf("recipes");
  for (let from = 0; from < items.length; from += ITEMS_A_BATCH) {
    await client.request("POST", "/v1/items/batch", { json: { items: items.slice(from, from + ITEMS_A_BATCH) } });
    progress.update(Math.min(items.length, from + ITEMS_A_BATCH), items.length);
  }
  progress.stop();
  return items.length;
}

export async function loadEvents(client: Client, world: World, options: { readonly all: boolean }): Promise<number> {
  const offset = offsetToYesterday(Date.now());
  const users = options.all ? world.userCount : Math.min(LOADED_USERS, world.userCount);
  const rows: Sendable[] = [];
  for (let index = 0; index < users; index += 1) {
    const events = options.all
      ? eventRows(index, world.life(index))
      : positiveEvents(world, index).slice(-LOADED_EVENTS);
    for (const { id, userId: user, itemId, type, occurredAt, value, sessionId, surface } of events) {
      const body = {
        id,
        userId: user,
        itemId,
        type,
        occurredAt: shiftedText(occurredAt, offset),
        ...(value === null ? {} : { value }),
        sessionId,
        surface,
      };
      rows.push({ line: rows.length + 1, body, bytes: JSON.stringify(body).length });
    }
  }
  const batches = [...batchesOf(groupByUser(rows), BOUNDS)];
  const progress = progressOf("events");
  let done = 0;
  const work = async (): Promise<void> => {
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
      const json = { backfill: true, events: batch.map(({ body }) => body) };
      const answer = await client.request<{ rejected: number; results: { detail: string | null }[] }>(
        "POST",
        "/v1/events",
        { json },
      );
      if (answer.rejected > 0)
        throw new Error(
          `the Worker refused ${answer.rejected} demo events: ${answer.results.find(({ detail }) => detail)?.detail}`,
        );
      done += batch.length;
      progress.update(done, rows.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  progress.stop();
  return rows.length;
}

if (import.meta.main) {
  const file = path.resolve(import.meta.dirname, "../.edgewise/demo.json");
  if (!existsSync(file)) {
    console.error("demo:load: no demo app yet; start one with npm start");
    process.exit(1);
  }
  const { makeWorld } = await import("./world.ts");
  const { url, keys } = JSON.parse(readFileSync(file, "utf8")) as { url: string; keys: { secret: string } };
  const client = new Client({ url, key: keys.secret });
  const world = makeWorld();
  const items = await loadItems(client, world);
  const events = await loadEvents(client, world, { all: process.argv.includes("--all") });
  console.log(`loaded ${items} recipes and ${events} events`);
}
