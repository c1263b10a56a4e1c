/** The app's log in workerd: chunks taken once, counters that equal the log, segments sealed once whatever crashes between. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { listRecord, toLines } from "../../functions/domain/history/log-record.ts";
import type { AppLog } from "../../functions/objects/app-log.ts";
import { appPopularity, gunzip, gzip } from "../../functions/store/log.ts";
import { logStub } from "../../functions/store/subjects.ts";
import { shownList } from "../domain/history/samples.ts";
import { newApp } from "../store/new-app.ts";
import {
  DAY,
  MINUTE,
  NOW,
  chunkOf,
  event,
  keysInR2,
  openRecords,
  sealedOf,
  storedText,
  takeInput,
  withFailures,
} from "./objects.ts";

const A = "aa".repeat(16);
const B = "bb".repeat(16);

async function shardWith(...takes: [subject: string, chunks: { seq: number; lines: string }[]][]) {
  const app = await newApp();
  const shard = logStub(env, app, 0);
  for (const [subject, chunks] of takes) await shard.take(takeInput(app, subject, chunks));
  return { app, shard };
}

describe("taking chunks", () => {
  it("takes only what is above the subject's mark", async () => {
    const { app, shard } = await shardWith([A, [chunkOf(A, 1, [1]), chunkOf(A, 2, [2])]]);
    expect(
      await shard.take(takeInput(app, A, [chunkOf(A, 1, [1]), chunkOf(A, 2, [2]), chunkOf(A, 3, [3])])),
    ).toMatchObject({ upTo: 3 });
    expect(await shard.take(takeInput(app, A, [chunkOf(A, 2, [2])]))).toMatchObject({ upTo: 3 });
    expect(await shard.take(takeInput(app, B, [chunkOf(B, 1, [1])]))).toMatchObject({ upTo: 1 });
    expect((await openRecords(app)).map(({ subject, item }) => [subject, item])).toEqual([
      [A, 1],
      [A, 2],
      [A, 3],
      [B, 1],
    ]);
    expect(await shard.totals([1, 2, 3])).toEqual([
      { item: 1, views: 2, positives: 2, impressions: 0 },
      { item: 2, views: 1, positives: 1, impressions: 0 },
      { item: 3, views: 1, positives: 1, impressions: 0 },
    ]);
  });

  it("logs a served list once, also when two users bring it back", async () => {
    const record = (subject: string) => listRecord(shownList(), event(), { subject, consentTraining: 1 });
    const { app } = await shardWith(
      [A, [{ seq: 1, lines: toLines([record(A)]) }]],
      [B, [{ seq: 1, lines: `${toLines([record(B)])}\n${chunkOf(B, 1, [4]).lines}` }]],
    );
    expect((await openRecords(app)).map(({ kind, subject }) => [kind, subject])).toEqual([
      ["list", A],
      ["event", B],
    ]);
  });

  it("keeps the names of users' objects, a page at a time", async () => {
    const { shard } = await shardWith([A, [chunkOf(A, 1, [1])]], [B, [chunkOf(B, 1, [1])]]);
    const first = await shard.objects("", 1);
    expect(first).toMatchObject([{ subject: A, object: `object-of-${A}` }]);
    expect(await shard.objects(A, 10)).toMatchObject([{ subject: B }]);
  });

  it("stores nothing when it is only asked", async () => {
    const app = await newApp();
    expect(await appPopularity(env, app, 1, NOW)).toMatchObject({ popular: [], trending: [] });
    await logStub(env, app, 0).tend(NOW);
    expect(await storedText(logStub(env, app, 0))).toBe("{}");
  });
});

describe("popular and trending", () => {
  it("follow weights and time: old favourites in the one, what rises in the other", async () => {
    const app = await newApp();
    const old = Array.from({ length: 30 }, (_, i) => ({
      ...chunkOf(A, i + 1, [1], { type: "cook", occurredAt: NOW - (20 + i) * DAY }),
    }));
    const fresh = chunkOf(A, 31, [2, 2, 2, 3], { type: "save", occurredAt: NOW - DAY });
    await logStub(env, app, 0).take(takeInput(app, A, [...old, fresh]));
    const { popular, trending } = await appPopularity(env, app, 1, NOW);
    expect(popular.map(([item]) => item)).toEqual([1, 2, 3]);
    expect(trending.map(([item]) => item)).toEqual([2, 3]);
    expect(popular[1]![1]).toBeCloseTo(9 * 2 ** (-1 / 180), 6); // 3 saves of weight 3, a day old
  });

  it("see a chunk at once", async () => {
    const { app, shard } = await shardWith([A, [chunkOf(A, 1, [1])]]);
    expect((await shard.popular(NOW)).popular).toHaveLength(1);
    await shard.take(takeInput(app, B, [chunkOf(B, 1, [2])]));
    expect((await shard.popular(NOW)).popular).toHaveLength(2);
  });
});

describe("sealing", () => {
  it("waits until the oldest record is five minutes old, then seals what is open", async () => {
    const { app, shard } = await shardWith([A, [chunkOf(A, 1, [1])]]);
    expect(await shard.seal(NOW + 5 * MINUTE - 1)).toBe(0);
    expect(await shard.seal(NOW + 5 * MINUTE)).toBe(1);
    expect(await shard.seal(NOW + 50 * MINUTE)).toBe(0);
    expect(await sealedOf(app)).toHaveLength(1);
  });

  it("cuts by size and by day of receipt, and lists the subjects of each segment", async () => {
    const app = await newApp();
    const shard = logStub(env, app, 0);
    const thousand = Array.from({ length: 1000 }, (_, i) => i + 1);
    for (let seq = 1; seq <= 6; seq += 1)
      await shard.take(takeInput(app, A, [chunkOf(A, seq, thousand.slice(0, 900))]));
    await shard.take(takeInput(app, B, [chunkOf(B, 1, [1], { receivedAt: NOW + DAY })]));
    expect(await shard.seal(NOW + 2 * DAY)).toBe(3);
    const sealed = await sealedOf(app);
    expect(sealed.map(({ key, records }) => [key.slice(key.indexOf("day=")), records.length])).toEqual([
      ["day=2026-11-24/shard=000/00000001.ndjson.gz", expect.any(Number)],
      ["day=2026-11-24/shard=000/00000002.ndjson.gz", expect.any(Number)],
      ["day=2026-11-25/shard=000/00000003.ndjson.gz", 1],
    ]);
    expect(sealed.flatMap(({ records }) => records)).toHaveLength(5401);
    for (const { records } of sealed) expect(records.length).toBeLessThanOrEqual(5000);
    const { results } = await env.DB.prepare("SELECT subject, key FROM segment_subjects WHERE app = ?1 ORDER BY key")
      .bind(app)
      .all();
    expect(results).toEqual([
      { subject: A, key: sealed[0]!.key },
      { subject: A, key: sealed[1]!.key },
      { subject: B, key: sealed[2]!.key },
    ]);
  });

  it.each([
    ["before the put", { binding: "LOG", method: "put", when: "before" }],
    ["after the put", { binding: "LOG", method: "put", when: "after" }],
    ["before the manifest", { binding: "DB", method: "batch", when: "before" }],
    ["after the manifest", { binding: "DB", method: "batch", when: "after" }],
  ] as const)("ends the same when it is interrupted %s", async (_name, failure) => {
    const { app, shard } = await shardWith([A, [chunkOf(A, 1, [1, 2])]], [B, [chunkOf(B, 1, [3])]]);
    await withFailures<AppLog>(shard, failure, async (instance) => {
      await expect(instance.seal(NOW + 6 * MINUTE)).rejects.toThrow("broken on purpose");
    });
    await shard.take(takeInput(app, A, [chunkOf(A, 2, [4])])); // what comes meanwhile goes into the next segment
    await shard.seal(NOW + 6 * MINUTE, { force: true });
    const sealed = await sealedOf(app);
    expect(sealed.map(({ records }) => records.map(({ item }) => item))).toEqual([[1, 2, 3], [4]]);
    expect(await keysInR2(app)).toEqual(sealed.map(({ key }) => key));
    expect(await openRecords(app)).toEqual([]);
  });

  it("never overwrites an object that it did not write, and goes on under the next number", async () => {
    const { app, shard } = await shardWith([A, [chunkOf(A, 1, [1])]]);
    const key = `log/app=${app}/day=2026-11-24/shard=000/00000001.ndjson.gz`;
    await env.LOG.put(key, await gzip("somebody else's\n"));
    await shard.seal(NOW, { force: true });
    expect(await gunzip(await (await env.LOG.get(key))!.arrayBuffer())).toBe("somebody else's\n");
    expect((await sealedOf(app)).map((sealed) => sealed.key)).toEqual([key.replace("00000001", "00000002")]);
  });

  it("tries again by its own alarm after a failure", async () => {
    const { app, shard } = await shardWith([A, [chunkOf(A, 1, [1])]]);
    await withFailures<AppLog>(shard, { binding: "LOG", method: "put", when: "before" }, (instance) =>
      instance.tend(NOW + 6 * MINUTE),
    );
    expect(await runInDurableObject(shard, (_instance, state) => state.storage.getAlarm())).not.toBeNull();
    await shard.tend(NOW + 7 * MINUTE);
    expect(await sealedOf(app)).toHaveLength(1);
  });
});

describe("counters", () => {
  it("equal what a rebuild from the log gives", async () => {
    const { app, shard } = await shardWith(
      [A, [chunkOf(A, 1, [1, 2, 2]), chunkOf(A, 2, [2], { type: "save", occurredAt: NOW - 40 * DAY })]],
      [B, [chunkOf(B, 1, [1, 5], { type: "impression" })]],
    );
    await shard.seal(NOW, { force: true });
    await shard.take(takeInput(app, B, [chunkOf(B, 2, [7], { type: "rating", value: 5 })]));
    const before = await shard.counters();
    const popular = (await shard.popular(NOW)).popular;
    await runInDurableObject(shard, (_instance, state) => {
      state.storage.sql.exec("UPDATE counters SET views = 99, weight = 99");
      state.storage.sql.exec("DELETE FROM totals");
    });
    expect(await shard.rebuild()).toBe(7);
    expect(await shard.counters()).toEqual(before);
    const after = (await shard.popular(NOW)).popular;
    expect(after.map(([item]) => item)).toEqual(popular.map(([item]) => item));
    for (const [i, [, weight]] of after.entries()) expect(weight).toBeCloseTo(popular[i]![1]!, 9);
  });
});

describe("dropping a subject", () => {
  const mixed = () => shardWith([A, [chunkOf(A, 1, [1, 2])]], [B, [chunkOf(B, 1, [2])]]);

  it("takes open rows and what they had counted, and refuses what comes later", async () => {
    const { app, shard } = await mixed();
    await shard.drop({ app, shard: 0, subject: A, now: NOW });
    expect(await shard.take(takeInput(app, A, [chunkOf(A, 2, [9])]))).toMatchObject({ upTo: 2 });
    expect((await openRecords(app)).map(({ subject }) => subject)).toEqual([B]);
    expect(await shard.counters()).toEqual([
      { day: 20_781, item: 2, views: 1, positives: 1, impressions: 0, weight: 1 },
    ]);
    expect(await shard.objects("", 10)).toMatchObject([{ subject: B }]);
  });

  it("rewrites sealed segments: the manifest swings, the old object goes, counters follow", async () => {
    const { app, shard } = await mixed();
    await shard.seal(NOW, { force: true });
    const [old] = await sealedOf(app);
    await shard.drop({ app, shard: 0, subject: A, now: NOW });
    await shard.rewrite(A);
    const sealed = await sealedOf(app);
    expect(sealed).toHaveLength(1);
    expect(sealed[0]!.manifest).toMatchObject({ records: 1, generation: 2 });
    expect(sealed[0]!.records.map(({ subject, item }) => [subject, item])).toEqual([[B, 2]]);
    expect(await keysInR2(app)).toEqual([sealed[0]!.key]);
    expect(sealed[0]!.key).not.toBe(old!.key);
    const { results } = await env.DB.prepare("SELECT subject FROM segment_subjects WHERE app = ?1").bind(app).all();
    expect(results).toEqual([{ subject: B }]);
    const counters = await shard.counters();
    expect(counters).toEqual([{ day: 20_781, item: 2, views: 1, positives: 1, impressions: 0, weight: 1 }]);
    await shard.rebuild();
    expect(await shard.counters()).toEqual(counters);
    await shard.rewrite(A);
    expect(await sealedOf(app)).toEqual(sealed);
  });

  it("takes a segment away whole when nothing is left in it", async () => {
    const { app, shard } = await shardWith([A, [chunkOf(A, 1, [1])]]);
    await shard.seal(NOW, { force: true });
    await shard.drop({ app, shard: 0, subject: A, now: NOW });
    await shard.rewrite(A);
    expect(await sealedOf(app)).toEqual([]);
    expect(await keysInR2(app)).toEqual([]);
    expect(await shard.counters()).toEqual([]);
  });

  it.each([
    ["before the put", { binding: "LOG", method: "put", when: "before" }],
    ["after the put", { binding: "LOG", method: "put", when: "after" }],
    ["before the manifest swings", { binding: "DB", method: "batch", when: "before" }],
    ["after the manifest swung", { binding: "DB", method: "batch", when: "after" }],
    ["before the old object goes", { binding: "LOG", method: "delete", when: "before" }],
    ["after the old object went", { binding: "LOG", method: "delete", when: "after" }],
  ] as const)("ends the same when the rewriting is interrupted %s", async (_name, failure) => {
    const { app, shard } = await mixed();
    await shard.seal(NOW, { force: true });
    await shard.drop({ app, shard: 0, subject: A, now: NOW });
    await withFailures<AppLog>(shard, failure, async (instance) => {
      await expect(instance.rewrite(A)).rejects.toThrow("broken on purpose");
    });
    await shard.rewrite(A);
    const sealed = await sealedOf(app);
    expect(sealed.flatMap(({ records }) => records.map(({ subject }) => subject))).toEqual([B]);
    expect(await keysInR2(app)).toEqual(sealed.map(({ key }) => key));
    expect(await shard.counters()).toEqual([
      { day: 20_781, item: 2, views: 1, positives: 1, impressions: 0, weight: 1 },
    ]);
  });

  it("also reaches a segment whose sealing was interrupted", async () => {
    const { app, shard } = await mixed();
    await withFailures<AppLog>(shard, { binding: "LOG", method: "put", when: "before" }, async (instance) => {
      await expect(instance.seal(NOW, { force: true })).rejects.toThrow("broken on purpose");
    });
    await shard.drop({ app, shard: 0, subject: A, now: NOW });
    await shard.rewrite(A);
    expect((await sealedOf(app)).flatMap(({ records }) => records.map(({ subject }) => subject))).toEqual([B]);
    expect(await openRecords(app)).toEqual([]);
    expect(await shard.counters()).toHaveLength(1);
  });
});
