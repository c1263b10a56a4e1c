/**
 * One user: recent history, preferences, and an outbox to the app's log. An event counts as accepted when its id, its history
 * entry and its log record lie in one committed transaction here; delivery is the alarm's business. Reading stores nothing.
 */
import { DurableObject } from "cloudflare:workers";
import type { ActedItem, EventOutcome, HistoryEvent, IncomingEvent, ShownList } from "../domain/history/events.ts";
import { eventRecord, listRecord, toLines, type LogRecord } from "../domain/history/log-record.ts";
import {
  DEFAULT_CONSENT,
  DEFAULT_CONTROLS,
  PROFILE_ATTRIBUTES,
  type UserAttributes,
  type UserConsent,
  type UserControls,
} from "../domain/history/preferences.ts";
import { toHex } from "../domain/history/text-codec.ts";
import { systemClock } from "../http/clock.ts";
import { describeError, log } from "../http/log.ts";
import { resolveIds } from "../store/items.ts";
import { logStub, shardOf } from "../store/subjects.ts";
import * as tables from "./user-tables.ts";

export interface UserRecall {
  /** False for a user that nothing is stored of, erased ones included. */
  readonly exists: boolean;
  readonly erased: boolean;
  /** 32 hex characters; "" when there is none. */
  readonly subject: string;
  /** Newest last, at most 200, impressions not among them. */
  readonly events: readonly HistoryEvent[];
  /** Newest time per item and type, further back than `events` (2,000 items, 2,000 hides), in no order. */
  readonly acted: readonly ActedItem[];
  readonly controls: UserControls;
  /** `personalization` false: the history must not be used. */
  readonly consent: UserConsent;
}

export interface UserProfile extends UserRecall {
  readonly createdAt: number;
  readonly attributes: UserAttributes;
  /** Free texts (reviews) by event id. */
  readonly texts: ReadonlyMap<string, string>;
}

export interface RecordInput {
  readonly app: number;
  /** Name of this object, kept so that an app's users can be found again. */
  readonly object: string;
  /** Log shards of the app. */
  readonly shards: number;
  readonly now: number;
  readonly events: readonly IncomingEvent[];
  /** Lists that events bring back; verified, but for the subject, which only this object knows. */
  readonly lists: readonly ShownList[];
}

export interface RecordResult {
  /** One an event, in order. */
  readonly outcomes: readonly EventOutcome[];
}

export interface UserPatch {
  /** A null value takes the attribute away. */
  readonly attributes?: Readonly<Record<string, string | number | boolean | null>> | undefined;
  readonly controls?: { readonly [K in keyof UserControls]?: UserControls[K] | undefined } | undefined;
  readonly consent?: { readonly [K in keyof UserConsent]?: UserConsent[K] | undefined } | undefined;
}

export type PatchOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "unknown-user" }
  | { readonly kind: "too-many-attributes"; readonly count: number };

/** From acceptance to delivery: long enough to gather a burst, short enough for counters to feel live. */
const DELIVER_AFTER_MS = 300;
/** A chunk is one row here and in the log object; rows are at most 2 MB. */
const CHUNK_CHARACTERS = 200_000;
const CHUNKS_A_CALL = 8;
/** Failed deliveries wait 1, 2, 4 ... s. */
const LONGEST_WAIT_MS = 300_000;
/** Look-ups of unknown items wait 15 s, 30 s ... and stop when a month of them failed. */
const FIRST_RESOLVE_MS = 15_000;
const LONGEST_RESOLVE_MS = 6 * 3_600_000;
const RESOLVE_TRIES = 130;

const NOBODY: UserRecall = {
  exists: false,
  erased: false,
  subject: "",
  events: [],
  acted: [],
  controls: DEFAULT_CONTROLS,
  consent: DEFAULT_CONSENT,
};

export class UserState extends DurableObject<Env> {
  /** What `recall` gave last; dropped by every write. */
  #recalled: UserRecall | undefined;

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }

  async recall(): Promise<UserRecall> {
    this.#recalled ??= this.#read();
    return this.#recalled;
  }

  #read(): UserRecall {
    const state = tables.stateOf(this.#sql);
    if (state !== "live") return { ...NOBODY, erased: state === "erased" };
    const { subject, controls, consent } = tables.readMeta(this.#sql);
    const events = tables.readHistory(this.#sql);
    return { exists: true, erased: false, subject, events, acted: tables.readActed(this.#sql), controls, consent };
  }

  async profile(): Promise<UserProfile | undefined> {
    if (tables.stateOf(this.#sql) !== "live") return undefined;
    const { createdAt, attributes } = tables.readMeta(this.#sql);
    return { ...this.#read(), createdAt, attributes, texts: tables.readTexts(this.#sql) };
  }

  /** Takes events: ids, history and outbox in one transaction, the alarm with it. */
  async record(input: RecordInput): Promise<RecordResult> {
    const alarmAt = await this.ctx.storage.getAlarm(); // first: from here on there is no await before the alarm is set
    const state = tables.stateOf(this.#sql);
    if (state === "erased")
      return { outcomes: input.events.map(() => ({ status: "rejected", code: "erased" }) as const) };
    this.#recalled = undefined;
    const outcomes = this.ctx.storage.transactionSync(() => {
      if (state === "none") tables.createTables(this.#sql, freshMeta(input));
      return this.#take(input);
    });
    if (outcomes.some(({ status }) => status === "accepted"))
      await this.#wakeBy(alarmAt, Date.now() + DELIVER_AFTER_MS);
    return { outcomes };
  }

  #take(input: RecordInput): EventOutcome[] {
    const meta = tables.readMeta(this.#sql);
    const owner = { subject: meta.subject, consentTraining: meta.consent.training ? 1 : 0 } as const;
    const records: LogRecord[] = [];
    let hasUnknown = false;
    const outcomes = input.events.map((event): EventOutcome => {
      if (!tables.takeEventId(this.#sql, event.eventId, event.receivedAt)) return { status: "duplicate", code: null };
      tables.addEvent(this.#sql, event);
      hasUnknown ||= event.item === null && event.itemId !== null;
      const named = event.list === null ? undefined : input.lists[event.list];
      const isForeign = named !== undefined && named.subject !== "" && named.subject !== meta.subject;
      const list = named === undefined || isForeign ? null : named;
      if (list !== null && tables.takeListId(this.#sql, list.id, event.receivedAt))
        records.push(listRecord(list, event, owner));
      records.push(eventRecord(event, list, owner));
      return { status: "accepted", code: isForeign ? "list_ignored" : null };
    });
    tables.trim(this.#sql, input.now);
    for (const lines of chunked(records)) tables.addChunk(this.#sql, lines);
    if (hasUnknown) tables.writeResolve(this.#sql, input.now + FIRST_RESOLVE_MS, 0);
    return outcomes;
  }

  /** Tells the numbers of items that were unknown when their events came. */
  async resolve(numbers: ReadonlyMap<string, number>): Promise<void> {
    if (tables.stateOf(this.#sql) !== "live" || numbers.size === 0) return;
    this.#recalled = undefined;
    this.ctx.storage.transactionSync(() => {
      tables.resolveItems(this.#sql, numbers);
      if (tables.unknownItemIds(this.#sql).length === 0) tables.writeResolve(this.#sql, null, 0);
    });
  }

  /** Changes what is named and keeps the rest; nothing when the whole would hold more attributes than a profile may. */
  async patchProfile(patch: UserPatch): Promise<PatchOutcome> {
    if (tables.stateOf(this.#sql) !== "live") return { kind: "unknown-user" };
    const old = tables.readMeta(this.#sql);
    const attributes = Object.entries({ ...old.attributes, ...patch.attributes }).filter(([, value]) => value !== null);
    if (attributes.length > PROFILE_ATTRIBUTES) return { kind: "too-many-attributes", count: attributes.length };
    this.#recalled = undefined;
    this.ctx.storage.transactionSync(() => {
      tables.writePreferences(this.#sql, {
        attributes: Object.fromEntries(attributes) as UserAttributes,
        controls: { ...old.controls, ...defined(patch.controls) },
        consent: { ...old.consent, ...defined(patch.consent) },
      });
    });
    return { kind: "done" };
  }

  /**
   * Leaves a tombstone and nothing else; what was not delivered to the log is dropped. Can be repeated. Gives the subject that
   * was stored, or undefined where nothing was. An object that holds nothing gets its tombstone too.
   */
  async erase(now: number): Promise<string | undefined> {
    return await this.ctx.blockConcurrencyWhile(async () => {
      const state = tables.stateOf(this.#sql);
      if (state === "erased") return undefined;
      const subject = state === "live" ? tables.readMeta(this.#sql).subject : undefined;
      this.#recalled = undefined;
      // the rows go first: if the process dies after deleteAll, the object is empty and the row in D1 makes the cron come back
      this.ctx.storage.transactionSync(() => {
        if (state === "live") tables.clearTables(this.#sql);
        tables.writeTombstone(this.#sql, now);
      });
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll(); // frees the pages that the rows lay in
      tables.writeTombstone(this.#sql, now);
      await this.ctx.storage.sync();
      return subject;
    });
  }

  /** Removes everything, the tombstone too: for an app that is deleted as a whole. */
  async destroy(): Promise<void> {
    this.#recalled = undefined;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  override async alarm(): Promise<void> {
    await this.tend(systemClock(this.env).now());
  }

  /** The alarm's work: delivers the outbox, looks unknown items up, and sets the next alarm itself. Never throws. */
  async tend(now: number): Promise<void> {
    try {
      await this.#deliver();
      await this.#resolveUnknown(now);
      if (this.#isLive && tables.readMeta(this.#sql).tries > 0) tables.writeTries(this.#sql, 0);
    } catch (error) {
      log("warn", "delivery_failed", { job: "user-outbox", error: describeError(error) });
      if (this.#isLive) tables.writeTries(this.#sql, tables.readMeta(this.#sql).tries + 1);
    }
    await this.#scheduleNext(now);
  }

  /** False once erased, also in the middle of a delivery. */
  get #isLive(): boolean {
    return tables.stateOf(this.#sql) === "live";
  }

  async #deliver(): Promise<void> {
    while (this.#isLive) {
      const chunks = tables.readChunks(this.#sql, CHUNKS_A_CALL);
      if (chunks.length === 0) return;
      const { app, object, shards, subject } = tables.readMeta(this.#sql);
      const shard = shardOf(subject, shards);
      const { upTo } = await logStub(this.env, app, shard).take({ app, shard, object, subject, chunks });
      if (this.#isLive) tables.dropChunks(this.#sql, upTo);
    }
  }

  async #resolveUnknown(now: number): Promise<void> {
    if (!this.#isLive) return;
    const { app, resolveAt, resolveTries } = tables.readMeta(this.#sql);
    if (resolveAt === null || resolveAt > now) return;
    const ids = tables.unknownItemIds(this.#sql);
    const numbers = ids.length === 0 ? new Map<string, number>() : await resolveIds(this.env, app, ids);
    await this.resolve(numbers);
    if (!this.#isLive) return;
    const isDone = tables.unknownItemIds(this.#sql).length === 0 || resolveTries >= RESOLVE_TRIES;
    const wait = Math.min(FIRST_RESOLVE_MS * 2 ** (resolveTries + 1), LONGEST_RESOLVE_MS);
    tables.writeResolve(this.#sql, isDone ? null : now + wait, isDone ? 0 : resolveTries + 1);
  }

  async #scheduleNext(now: number): Promise<void> {
    if (!this.#isLive) return;
    const alarmAt = await this.ctx.storage.getAlarm();
    const { tries, resolveAt } = tables.readMeta(this.#sql);
    const waits: number[] = [];
    if (tables.readChunks(this.#sql, 1).length > 0)
      waits.push(Math.min(1000 * 2 ** Math.max(0, tries - 1), LONGEST_WAIT_MS));
    if (resolveAt !== null) waits.push(Math.max(1000, resolveAt - now));
    if (waits.length > 0) await this.#wakeBy(alarmAt, Date.now() + Math.min(...waits));
  }

  /** Alarms go by the real clock, whatever time tests play. */
  async #wakeBy(alarmAt: number | null, at: number): Promise<void> {
    if (alarmAt === null || alarmAt > at) await this.ctx.storage.setAlarm(at);
  }
}

function freshMeta(input: RecordInput): tables.Meta {
  return {
    app: input.app,
    object: input.object,
    shards: input.shards,
    subject: toHex(crypto.getRandomValues(new Uint8Array(16))),
    createdAt: input.now,
    tries: 0,
    resolveAt: null,
    resolveTries: 0,
    attributes: {},
    controls: DEFAULT_CONTROLS,
    consent: DEFAULT_CONSENT,
  };
}

function chunked(records: readonly LogRecord[]): string[] {
  const chunks: string[] = [];
  let open: string[] = [];
  let characters = 0;
  for (const record of records) {
    const line = toLines([record]);
    if (characters + line.length > CHUNK_CHARACTERS && open.length > 0) {
      chunks.push(open.join("\n"));
      open = [];
      characters = 0;
    }
    open.push(line);
    characters += line.length + 1;
  }
  if (open.length > 0) chunks.push(open.join("\n"));
  return chunks;
}

/** Without keys whose value is undefined, which would take a stored one away. */
function defined<T extends object>(part: T | undefined): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(part ?? {}).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
