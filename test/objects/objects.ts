/** Durable Objects for tests: an app and its stubs, records, what lies in R2, and bindings that fail on purpose. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { IncomingEvent, ShownList } from "../../functions/domain/history/events.ts";
import { eventRecord, fromLines, toLines, type LogRecord } from "../../functions/domain/history/log-record.ts";
import type { AppLog } from "../../functions/objects/app-log.ts";
import type { UserState } from "../../functions/objects/user-state.ts";
import { gunzip } from "../../functions/store/log.ts";
import { logStub, userObjectName, userStubByName } from "../../functions/store/subjects.ts";
import { incoming } from "../domain/history/samples.ts";

export const NOW = Date.UTC(2026, 10, 24, 12);
export const MINUTE = 60_000;
export const DAY = 86_400_000;

let users = 0;

export async function newUser(
  app: number,
): Promise<{ object: string; stub: DurableObjectStub<UserState>; userId: string }> {
  users += 1;
  const userId = `user-${users}`;
  const object = await userObjectName(env, app, userId);
  return { object, stub: userStubByName(env, object), userId };
}

/** An event at NOW. */
export function event(more: Partial<IncomingEvent> = {}): IncomingEvent {
  return incoming({ occurredAt: NOW, receivedAt: NOW, ...more });
}

export function recordInput(
  app: number,
  object: string,
  events: readonly IncomingEvent[],
  more: { now?: number; lists?: readonly ShownList[] } = {},
) {
  return { app, object, shards: 1, now: more.now ?? NOW, events, lists: more.lists ?? [] };
}

/** A chunk of view events of one subject, as an outbox holds it. */
export function chunkOf(subject: string, seq: number, items: readonly number[], more: Partial<IncomingEvent> = {}) {
  const records = items.map((item) => eventRecord(event({ item, ...more }), null, { subject, consentTraining: 1 }));
  return { seq, lines: toLines(records) };
}

export function takeInput(app: number, subject: string, chunks: readonly { seq: number; lines: string }[]) {
  return { app, shard: 0, subject, object: `object-of-${subject}`, chunks };
}

export interface Sealed {
  readonly key: string;
  readonly records: LogRecord[];
  readonly manifest: { sha256: string; bytes: number; records: number; generation: number };
}

/** Every segment that the manifest lists, read from R2 with its hash checked. */
export async function sealedOf(app: number): Promise<Sealed[]> {
  const { results } = await env.DB.prepare(
    "SELECT key, sha256, bytes, records, generation FROM log_segments WHERE app = ?1 ORDER BY key",
  )
    .bind(app)
    .all<Sealed["manifest"] & { key: string }>();
  return await Promise.all(
    results.map(async ({ key, ...manifest }) => {
      const object = await env.LOG.get(key);
      if (object === null) throw new Error(`${key} is listed and not there`);
      const bytes = await object.arrayBuffer();
      const digest = await crypto.subtle.digest("SHA-256", bytes);
      const sha256 = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      if (sha256 !== manifest.sha256) throw new Error(`${key} does not have the listed hash`);
      return { key, manifest, records: fromLines(await gunzip(bytes)) };
    }),
  );
}

export async function keysInR2(app: number): Promise<string[]> {
  const { objects } = await env.LOG.list({ prefix: `log/app=${app}/` });
  return objects.map(({ key }) => key);
}

/** Records that a log object holds and has not sealed. */
export async function openRecords(app: number): Promise<LogRecord[]> {
  return await runInDurableObject(logStub(env, app, 0), (_instance: AppLog, state) => {
    const rows = state.storage.sql.exec<{ lines: string }>("SELECT lines FROM rows ORDER BY id").toArray();
    return rows.flatMap(({ lines }) => fromLines(lines));
  });
}

/** Every row of every table of an object, as text. */
export async function storedText(stub: DurableObjectStub<UserState> | DurableObjectStub<AppLog>): Promise<string> {
  return await runInDurableObject(stub as DurableObjectStub<UserState>, async (_instance, state) => {
    const { sql } = state.storage;
    const names = sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'").toArray();
    const tables = names.filter(({ name }) => !name.startsWith("_cf_") && !name.startsWith("sqlite_"));
    return JSON.stringify(
      Object.fromEntries(tables.map(({ name }) => [name, sql.exec(`SELECT * FROM ${name}`).toArray()])),
    );
  });
}

/** Runs `work` on an object one of whose bindings fails at a method: before the call is carried out, or after it. */
export async function withFailures<T extends UserState | AppLog>(
  stub: DurableObjectStub<T>,
  fails: { readonly binding: "DB" | "LOG" | "APP_LOG"; readonly method: string; readonly when: "before" | "after" },
  work: (instance: T, sql: SqlStorage) => Promise<unknown>,
): Promise<void> {
  await runInDurableObject(stub as unknown as DurableObjectStub<UserState>, async (instance, state) => {
    const holder = instance as unknown as { env: Env };
    const whole = holder.env;
    const target = whole[fails.binding] as unknown as object;
    const broken = breaking(target, fails.method, fails.when);
    holder.env = { ...whole, [fails.binding]: fails.binding === "APP_LOG" ? stubsOf(target, fails) : broken };
    try {
      await work(instance as T, state.storage.sql);
    } finally {
      holder.env = whole;
    }
  });
}

function breaking(target: object, method: string, when: "before" | "after"): object {
  return new Proxy(target, {
    get(inner, name) {
      const value: unknown = Reflect.get(inner, name);
      if (typeof value !== "function") return value;
      if (name !== method) return value.bind(inner) as unknown;
      return async (...given: unknown[]) => {
        if (when === "after") await Reflect.apply(value, inner, given);
        throw new Error("broken on purpose");
      };
    },
  });
}

function stubsOf(namespace: object, fails: { method: string; when: "before" | "after" }): object {
  return {
    getByName: (name: string) => {
      const stub = (namespace as DurableObjectNamespace<AppLog>).getByName(name);
      return {
        take: async (input: Parameters<AppLog["take"]>[0]) => {
          if (fails.when === "after") await stub.take(input);
          throw new Error("broken on purpose");
        },
      };
    },
  };
}
