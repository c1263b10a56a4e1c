/**
 * The log of one app and shard: takes chunks from users' outboxes, each once; counts; seals segments to R2 and lists them in
 * D1; takes erased subjects out again. Every step that crosses to R2 or D1 is planned in a row first, so that after a crash
 * anywhere the same step is done again with the same result.
 */
import { DurableObject } from "cloudflare:workers";
import { TRENDING_DAYS, count, popularAsOf, trending, type Count, type Counts } from "../domain/history/counters.ts";
import { OUTCOME_MS, REWARD_BOUND } from "../domain/experiments/canary.ts";
import { type Moments, NO_USERS } from "../domain/experiments/sequential.ts";
import { dayName, dayOf } from "../domain/history/event-time.ts";
import { weightOf } from "../domain/history/events.ts";
import { fromLines, toLines, type LogRecord } from "../domain/history/log-record.ts";
import { systemClock } from "../http/clock.ts";
import { describeError, log } from "../http/log.ts";
import * as manifest from "../store/log.ts";
import * as tables from "./log-tables.ts";
import type { Chunk } from "./user-tables.ts";

export interface TakeInput {
  readonly app: number;
  readonly shard: number;
  readonly subject: string;
  /** Name of the user's object. */
  readonly object: string;
  /** In order of their sequence numbers. */
  readonly chunks: readonly Chunk[];
}

export interface TakeResult {
  /** All chunks up to this sequence number are taken (or refused for good) and may be deleted. */
  readonly upTo: number;
}

const SEGMENT_RECORDS = 5000;
const SEGMENT_BYTES = 4 * 1_048_576; // before gzip, which leaves about a twentieth
/** An open segment is sealed when its oldest record is this old. */
const SEAL_AFTER_MS = 300_000;
const LONGEST_WAIT_MS = 300_000;
const POPULAR_ITEMS = 500;

/** The tests' configuration may bind a shorter time; wrangler.toml may not (a test refuses it). */
function sealAfterMs(env: object): number {
  return "TEST_SEAL_AFTER_MS" in env ? Number(env.TEST_SEAL_AFTER_MS) : SEAL_AFTER_MS;
}

export class AppLog extends DurableObject<Env> {
  /** Size of what is open; undefined: to be read. */
  #open: tables.OpenSize | undefined;
  /** Dropped by every count. */
  #popularity: { day: number; value: manifest.Popularity } | undefined;
  /** Sealing, rewriting and rebuilding run one after another. */
  #queue: Promise<unknown> = Promise.resolve();
  /** While counters are rebuilt nothing may be counted. */
  #rebuilding: Promise<unknown> | undefined;

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }

  /** Takes what is above the subject's high-water mark, in one transaction with its counters. */
  async take(input: TakeInput): Promise<TakeResult> {
    await this.#rebuilding;
    const alarmAt = await this.ctx.storage.getAlarm();
    this.#popularity = undefined;
    try {
      const result = this.ctx.storage.transactionSync(() => this.#take(input));
      await this.#schedule(alarmAt);
      return result;
    } catch (error) {
      this.#open = undefined; // it may have grown inside the transaction that failed
      throw error;
    }
  }

  #take(input: TakeInput): TakeResult {
    if (!tables.hasTables(this.#sql)) tables.createTables(this.#sql, input.app, input.shard);
    const last = input.chunks.at(-1)?.seq ?? 0;
    if (tables.isRefused(this.#sql, input.subject)) return { upTo: last };
    const mark = tables.markOf(this.#sql, input.subject);
    const counts: Counts = new Map();
    for (const chunk of input.chunks) {
      if (chunk.seq <= mark) continue;
      const records = fromLines(chunk.lines).filter((record) => this.#isNew(record));
      const receivedAt = records[0]?.receivedAt;
      if (receivedAt === undefined) continue;
      const lines = toLines(records);
      tables.addRow(this.#sql, { subject: input.subject, receivedAt, records: records.length, lines });
      count(counts, records);
      this.#addOutcomes(records);
      this.#grow(records.length, lines.length, receivedAt);
    }
    if (last > mark) tables.writeMark(this.#sql, input.subject, input.object, last);
    tables.applyCounts(this.#sql, counts.values());
    return { upTo: Math.max(last, mark) };
  }

  /** What comes of lists by each model: whoever saw one, and what they did on account of it. */
  #addOutcomes(records: readonly LogRecord[]): void {
    for (const { kind, source, subject, modelVersion: version, occurredAt: at, type, value } of records) {
      if (source !== "api" || version === null) continue;
      if (kind === "list") tables.addShown(this.#sql, version, subject, at);
      const weight = type === null ? 0 : weightOf(type, value);
      if (weight !== 0) tables.addReward(this.#sql, { version, subject, at, value: weight }, OUTCOME_MS);
    }
  }

  /** What users brought who first saw a list by the model at `since` or later. */
  async outcomes(version: string, since: number): Promise<Moments> {
    const { users, total, squares } = tables.outcomesOf(this.#sql, version, since, REWARD_BOUND);
    if (users === 0) return NO_USERS;
    const mean = total / users;
    return { users, mean, squares: Math.max(0, squares - users * mean * mean) };
  }

  /** A served list made for nobody in particular may be brought back by several users; it is logged once. */
  #isNew({ kind, listId, source, receivedAt }: LogRecord): boolean {
    return (
      kind === "event" || listId === null || source === "imported" || tables.takeListId(this.#sql, listId, receivedAt)
    );
  }

  #grow(records: number, bytes: number, receivedAt: number): void {
    if (this.#open === undefined) return;
    this.#open.records += records;
    this.#open.bytes += bytes;
    this.#open.oldest = Math.min(this.#open.oldest ?? receivedAt, receivedAt);
  }

  /** The 500 best of each kind by item number; empty, and nothing stored, for an app without events. */
  async popular(now: number): Promise<manifest.Popularity> {
    const today = dayOf(now);
    if (this.#popularity?.day === today) return this.#popularity.value;
    if (!tables.hasTables(this.#sql)) return { popular: [], trending: [] };
    const best = tables.mostPopular(this.#sql, POPULAR_ITEMS);
    const value: manifest.Popularity = {
      popular: best.map(({ item, popular }) => [item, popularAsOf(popular, today)]),
      trending: trending(tables.weightsSince(this.#sql, today - TRENDING_DAYS + 1), today, POPULAR_ITEMS),
    };
    this.#popularity = { day: today, value };
    return value;
  }

  /** Views, positives and impressions over all days. */
  async totals(items: readonly number[]): Promise<tables.Totals[]> {
    return tables.hasTables(this.#sql) ? tables.readTotals(this.#sql, items) : [];
  }

  /** Names of users' objects, a page at a time: what deleting an app needs. */
  async objects(after: string, limit: number): Promise<{ subject: string; object: string }[]> {
    return tables.hasTables(this.#sql) ? tables.readObjects(this.#sql, after, limit) : [];
  }

  /** Removes all that this object holds: for an app that is deleted as a whole. */
  async destroy(): Promise<void> {
    await this.#exclusive(async () => {
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll();
      this.#open = undefined;
      this.#popularity = undefined;
    });
  }

  override async alarm(): Promise<void> {
    await this.tend(systemClock(this.env).now());
  }

  /** The alarm's work: goes on with what was begun, seals what is full or old, sets the next alarm itself. Never throws. */
  async tend(now: number): Promise<void> {
    if (!tables.hasTables(this.#sql)) return;
    try {
      await this.seal(now);
      await this.#exclusive(() => this.#finishRewrites());
      tables.trimLists(this.#sql, now);
      tables.trimOutcomes(this.#sql, now);
      if (tables.readMeta(this.#sql).tries > 0) tables.writeTries(this.#sql, 0);
    } catch (error) {
      log("error", "sealing_failed", { job: "app-log", error: describeError(error) });
      if (!tables.hasTables(this.#sql)) return;
      tables.writeTries(this.#sql, tables.readMeta(this.#sql).tries + 1);
    }
    if (tables.hasTables(this.#sql)) await this.#schedule(await this.ctx.storage.getAlarm());
  }

  /** Seals whatever is full or old; `force` seals all that is open. Gives how many segments were sealed. */
  async seal(now: number, options: { readonly force?: boolean } = {}): Promise<number> {
    return await this.#exclusive(async () => {
      if (!tables.hasTables(this.#sql)) return 0;
      let sealed = await this.#finishSegments();
      while (options.force === true || this.#isDue(now)) {
        const number = this.ctx.storage.transactionSync(() =>
          tables.planSegment(this.#sql, (records, bytes) => records <= SEGMENT_RECORDS && bytes <= SEGMENT_BYTES),
        );
        this.#open = undefined;
        if (number === undefined) break;
        sealed += await this.#finishSegments();
      }
      return sealed;
    });
  }

  get #size(): tables.OpenSize {
    this.#open ??= tables.openSize(this.#sql);
    return this.#open;
  }

  get #isFull(): boolean {
    return this.#size.records >= SEGMENT_RECORDS || this.#size.bytes >= SEGMENT_BYTES;
  }

  #isDue(now: number): boolean {
    const { oldest } = this.#size;
    return oldest !== null && (this.#isFull || now - oldest >= sealAfterMs(this.env));
  }

  /** Puts, lists and drops every planned segment; each of the three may have happened before. */
  async #finishSegments(): Promise<number> {
    const planned = tables.plannedSegments(this.#sql);
    for (const { number, day } of planned) await this.#finishSegment(number, day);
    return planned.length;
  }

  async #finishSegment(number: number, day: number): Promise<void> {
    const { app, shard } = tables.readMeta(this.#sql);
    const rows = tables.rowsOfSegment(this.#sql, number);
    const key = manifest.segmentKey(app, dayName(day), shard, number);
    const put = await manifest.putOnce(this.env.LOG, key, `${rows.map((row) => row.lines).join("\n")}\n`);
    if (put.kind === "taken") {
      // numbers were rewound (a restored object): what lies there stays, ours goes on under the next number
      this.ctx.storage.transactionSync(() => tables.renumberSegment(this.#sql, number));
      await this.#finishSegments();
      return;
    }
    const segment: manifest.Segment = {
      key,
      sha256: put.sha256,
      bytes: put.bytes,
      records: rows.reduce((sum, row) => sum + row.records, 0),
      firstReceivedAt: Math.min(...rows.map((row) => row.received_at)),
      lastReceivedAt: Math.max(...rows.map((row) => row.received_at)),
      generation: 1,
    };
    await manifest.listSegment(this.env, app, segment, [...new Set(rows.map((row) => row.subject))]);
    this.ctx.storage.transactionSync(() => tables.dropSegment(this.#sql, number));
  }

  /** Refuses a subject from now on and drops its open rows with what they counted. Can be repeated. */
  async drop(input: {
    readonly app: number;
    readonly shard: number;
    readonly subject: string;
    readonly now: number;
  }): Promise<void> {
    await this.#rebuilding;
    this.ctx.storage.transactionSync(() => {
      if (!tables.hasTables(this.#sql)) tables.createTables(this.#sql, input.app, input.shard);
      tables.refuse(this.#sql, input.subject, input.now);
      tables.dropOutcomes(this.#sql, input.subject);
      const counts: Counts = new Map();
      for (const lines of tables.dropOpenRows(this.#sql, input.subject)) count(counts, fromLines(lines));
      tables.applyCounts(this.#sql, counts.values(), -1);
    });
    this.#open = undefined;
    this.#popularity = undefined;
  }

  /** Rewrites every sealed segment that holds a dropped subject. When this returns, no segment does. */
  async rewrite(subject: string): Promise<void> {
    await this.#exclusive(async () => {
      if (!tables.hasTables(this.#sql)) return;
      await this.#finishSegments();
      await this.#finishRewrites();
      const { app } = tables.readMeta(this.#sql);
      for (const oldKey of await manifest.segmentKeysOfSubject(this.env, app, subject)) {
        const gone: Counts = new Map();
        count(
          gone,
          (await this.#recordsOf(oldKey)).filter((record) => record.subject === subject),
        );
        this.ctx.storage.transactionSync(() => {
          const number = tables.takeSegmentNumber(this.#sql);
          tables.addRewrite(this.#sql, { oldKey, number, subjects: [subject], removed: [...gone.values()] });
        });
        await this.#finishRewrites();
      }
    });
  }

  async #finishRewrites(): Promise<void> {
    if (!tables.hasTables(this.#sql)) return;
    for (const planned of tables.readRewrites(this.#sql)) await this.#finishRewrite(planned);
  }

  /** Put what stays, swing the manifest, delete the old object, take its counts away: each may have happened before. */
  async #finishRewrite(planned: tables.Rewrite): Promise<void> {
    const { app, shard } = tables.readMeta(this.#sql);
    const old = await manifest.segmentByKey(this.env, app, planned.oldKey);
    if (old !== undefined) {
      const records = await this.#recordsOf(planned.oldKey);
      const kept = records.filter((record) => !planned.subjects.includes(record.subject));
      const next = kept.length === 0 ? undefined : await this.#putRewritten(old, kept, planned, { app, shard });
      if (next === "renumbered") return await this.#finishRewrites();
      await manifest.swapSegment(this.env, app, { key: planned.oldKey, subjects: subjectsOf(records) }, next);
    }
    await this.env.LOG.delete(planned.oldKey);
    this.ctx.storage.transactionSync(() => {
      tables.applyCounts(this.#sql, planned.removed, -1);
      tables.dropRewrite(this.#sql, planned.oldKey);
    });
    this.#popularity = undefined;
  }

  async #putRewritten(
    old: manifest.Segment,
    kept: readonly LogRecord[],
    planned: tables.Rewrite,
    place: { readonly app: number; readonly shard: number },
  ): Promise<{ segment: manifest.Segment; subjects: string[] } | "renumbered"> {
    const received = kept.map((record) => record.receivedAt);
    const key = manifest.segmentKey(place.app, dayName(dayOf(received[0]!)), place.shard, planned.number);
    const put = await manifest.putOnce(this.env.LOG, key, `${toLines(kept)}\n`);
    if (put.kind === "taken") {
      this.ctx.storage.transactionSync(() => {
        tables.moveRewrite(this.#sql, planned.oldKey, tables.takeSegmentNumber(this.#sql));
      });
      return "renumbered";
    }
    const segment: manifest.Segment = {
      key,
      sha256: put.sha256,
      bytes: put.bytes,
      records: kept.length,
      firstReceivedAt: Math.min(...received),
      lastReceivedAt: Math.max(...received),
      generation: old.generation + 1,
    };
    return { segment, subjects: subjectsOf(kept) };
  }

  async #recordsOf(key: string): Promise<LogRecord[]> {
    const object = await this.env.LOG.get(key);
    if (object === null) throw new Error("a listed segment is not in R2");
    return fromLines(await manifest.gunzip(await object.arrayBuffer()));
  }

  /** Counts everything again from the sealed segments and the open rows. Gives the number of records read. */
  async rebuild(): Promise<number> {
    return await this.#exclusive(async () => {
      if (!tables.hasTables(this.#sql)) return 0;
      await this.#finishSegments();
      await this.#finishRewrites();
      const work = this.#rebuild();
      this.#rebuilding = work.catch(() => undefined);
      try {
        return await work;
      } finally {
        this.#rebuilding = undefined;
      }
    });
  }

  async #rebuild(): Promise<number> {
    const { app, shard } = tables.readMeta(this.#sql);
    const counts: Counts = new Map();
    let read = 0;
    const add = (records: readonly LogRecord[]): void => {
      count(counts, records);
      read += records.length;
    };
    for (const row of tables.openRows(this.#sql)) add(fromLines(row.lines));
    for (const { key } of await manifest.segmentsOfShard(this.env, app, shard)) add(await this.#recordsOf(key));
    this.ctx.storage.transactionSync(() => {
      tables.clearCounts(this.#sql);
      tables.applyCounts(this.#sql, counts.values());
    });
    this.#popularity = undefined;
    return read;
  }

  /** All counters by day and item. */
  async counters(): Promise<Count[]> {
    return tables.hasTables(this.#sql) ? tables.readCounts(this.#sql) : [];
  }

  /** The alarm that what is open and what was begun needs, unless an earlier one is set. Alarms go by the real clock. */
  async #schedule(alarmAt: number | null): Promise<void> {
    const { tries } = tables.readMeta(this.#sql);
    const { oldest } = this.#size;
    const isBegun = tables.plannedSegments(this.#sql).length > 0 || tables.readRewrites(this.#sql).length > 0;
    if (oldest === null && !isBegun) return;
    const now = systemClock(this.env).now();
    const wait = isBegun || this.#isFull || oldest === null ? 0 : Math.max(0, oldest + sealAfterMs(this.env) - now);
    const backOff = tries === 0 ? 0 : Math.min(1000 * 2 ** (tries - 1), LONGEST_WAIT_MS);
    const at = Date.now() + Math.max(wait, backOff);
    if (alarmAt === null || alarmAt > at) await this.ctx.storage.setAlarm(at);
  }

  /** Runs after everything that was given to it before, whether that failed or not. */
  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work, work);
    this.#queue = turn.catch(() => undefined);
    return await turn;
  }
}

function subjectsOf(records: readonly LogRecord[]): string[] {
  return [...new Set(records.map((record) => record.subject))];
}
