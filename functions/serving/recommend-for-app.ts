/**
 * The recommendation use case over the platform: opens the app's view and the user's object side by side, resolves the string ids
 * of a request, hands pure ports to the domain and signs what was shown. The request path writes nothing.
 */
import { describeError, log } from "../http/log.ts";
import {
  checkPredicate,
  evaluate,
  PredicateError,
  unknownFields,
  type Predicate,
} from "../domain/catalogue/predicate.ts";
import { onlyNumbers } from "../domain/generation/bitmap.ts";
import { quantiseW } from "../domain/generation/exploration.ts";
import { CURSOR_ITEMS, CURSOR_SECONDS, decodeCursor, encodeCursor } from "../domain/history/cursor-token.ts";
import { mergeHistory } from "../domain/history/merge.ts";
import { encodeToken, SLOTS } from "../domain/history/recommendation-token.ts";
import { fromHex } from "../domain/history/text-codec.ts";
import { recommend } from "../domain/recommendation/recommend.ts";
import { ProblemError } from "../http/problem.ts";
import { numbersOf } from "../store/item-numbers.ts";
import { appTokenKey, userStub } from "../store/subjects.ts";
import { openView, type OpenView } from "./app-view.ts";
import { hydrateRows } from "./hydration.ts";
import { popularity } from "./popularity.ts";
import type { HistoryEvent } from "../domain/history/events.ts";
import type {
  RecommendationList,
  RecommendPorts,
  ServedModel,
  ShowableItem,
} from "../domain/recommendation/recommend.ts";
import type { Scoring } from "../domain/generation/types.ts";
import type { EngineName } from "../inference/engines.ts";
import type { RepeatRule } from "../domain/recommendation/repeat.ts";
import type { UserRecall } from "../objects/user-state.ts";
import type { HydratedItem } from "../store/items.ts";
import type { FirstLook } from "../store/models.ts";

/** Id of the key that signs tokens; there is one until secrets rotate. */
const TOKEN_KEY_ID = 1;
const NOBODY = new Uint8Array(16);
const subjectBytes = (hex: string): Uint8Array => (hex === "" ? NOBODY : fromHex(hex));

export interface Ignored {
  readonly pointer: string;
  readonly code: string;
}

/** One entry of a request's own history. */
export interface SentEvent {
  readonly eventId?: string | undefined;
  readonly itemId: string;
  readonly type: string;
  readonly occurredAt?: string | undefined;
}

export interface ListQuery {
  readonly app: number;
  readonly userId: string | undefined;
  readonly requestId: string;
  readonly count: number;
  readonly filter?: Predicate | undefined;
  readonly exclude?: readonly string[] | undefined;
  readonly history?: readonly SentEvent[] | undefined;
  readonly seeds?: readonly string[] | undefined;
  readonly pins?: readonly { readonly itemId: string; readonly position: number }[] | undefined;
  readonly repeat?: RepeatRule | undefined;
  readonly exploration: number;
  readonly consistency?: "bounded" | "strict" | undefined;
  readonly cursor?: string | null | undefined;
  /** Rank these items alone, all of them exactly. */
  readonly only?: readonly string[] | undefined;
  readonly now: number;
  /** What was read of the app for this request. */
  readonly look?: FirstLook | undefined;
}

export interface ListResult {
  readonly list: RecommendationList<HydratedItem>;
  readonly recommendationId: string;
  readonly nextCursor: string | null;
  readonly modelVersion: string | null;
  /** Which of the two engines ran the model; null where the list is not a model's. */
  readonly engine: EngineName | null;
  /** Ids of items that reasons point to, by number. */
  readonly ids: ReadonlyMap<number, string>;
  readonly ignored: readonly Ignored[];
}

/**
 * Makes, signs and explains one list. With `timeoutMs` an answer comes about in time: what the model has not written until then
 * is answered from the counters. @throws ProblemError cursor_expired, invalid_request
 */
export async function recommendForApp(env: Env, query: ListQuery, timeoutMs?: number): Promise<ListResult> {
  if (timeoutMs === undefined) return makeList(env, query, { withModel: true });
  const timer = Promise.withResolvers<"late">();
  const handle = setTimeout(() => timer.resolve("late"), timeoutMs);
  try {
    const first = makeList(env, query, { withModel: true, patienceMs: timeoutMs });
    const outcome = await Promise.race([first, timer.promise]);
    if (outcome !== "late") return outcome;
    first.catch(() => undefined); // it may still fail; nobody waits for it any more
    return await makeList(env, query, { withModel: false });
  } finally {
    clearTimeout(handle);
  }
}

async function makeList(
  env: Env,
  query: ListQuery,
  options: { readonly withModel: boolean; readonly patienceMs?: number },
): Promise<ListResult> {
  const { app, now } = query;
  if (query.filter !== undefined) checkFilter(query.filter);
  const [view, recalled, key] = await Promise.all([
    openView(env, app, {
      strict: strictness(query.consistency),
      now,
      userId: query.userId,
      look: query.look,
      ...options,
    }),
    recall(env, app, query.userId),
    appTokenKey(env, app),
  ]);
  try {
    const cursor = await readCursor(query, key, recalled.subject);
    const resolved = await resolveRequest(env, app, query);
    const history = mergeHistory(recalled.events, resolved.history);
    const exclude = new Set([...resolved.exclude, ...cursor]);
    const ignored = [...resolved.ignored];
    if (query.filter !== undefined) {
      for (const field of unknownFields(view.columns, query.filter))
        ignored.push({ pointer: `/filter#${field}`, code: "unknown_field" });
    }
    const seen = { ids: new Map<number, string>(), isWhole: true };
    const engine = view.model?.engine ?? null; // the one that the ports hold
    const ports =
      resolved.only === null
        ? portsOf(env, view, query, seen)
        : onlyAmong(resolved.only, portsOf(env, view, query, seen));
    const list = await recommend(ports, {
      history,
      acted: recalled.acted,
      count: query.count,
      exclude,
      repeat: query.repeat,
      pins: resolved.pins,
      exploration: query.exploration,
      seed: query.requestId,
    });
    const { subject } = recalled;
    const shown = [...cursor, ...list.shown.map(({ item }) => item.number)];
    const [recommendationId, nextCursor] = await Promise.all([
      signList(list, { app, subject, model: view.model?.model ?? 0, now }, key),
      list.hasMore && query.only === undefined && list.shown.length > 0 && shown.length <= CURSOR_ITEMS
        ? encodeCursor(
            {
              keyId: TOKEN_KEY_ID,
              app,
              subject: subjectBytes(subject),
              expiresSeconds: Math.floor(now / 1000) + CURSOR_SECONDS,
              shown,
            },
            key,
          )
        : null,
    ]);
    const degradedReason = list.degradedReason ?? recalled.degraded ?? (seen.isWhole ? null : "catalogue_unavailable");
    return {
      list: { ...list, degradedReason },
      recommendationId,
      nextCursor,
      modelVersion: list.source === "model" ? (view.model?.modelVersion ?? null) : null,
      engine: list.source === "model" ? engine : null,
      ids: seen.ids,
      ignored,
    };
  } finally {
    view.release();
  }
}

/** A request's word on consistency; undefined where it has none. */
export function strictness(consistency: "bounded" | "strict" | undefined): boolean | undefined {
  return consistency === undefined ? undefined : consistency === "strict";
}

/** @throws ProblemError invalid_request for a filter that is too large or compares what can't be compared */
export function checkFilter(filter: Predicate): void {
  try {
    checkPredicate(filter);
  } catch (error) {
    if (!(error instanceof PredicateError)) throw error;
    const errors = [{ pointer: `/filter${error.pointer}`, code: "invalid_filter", detail: error.message }];
    throw new ProblemError("invalid_request", "The filter can't be used", { errors });
  }
}

/** The domain's ports over an open view. What is hydrated leaves its ids in `seen`. */
export function portsOf(
  env: Env,
  view: OpenView,
  query: Pick<ListQuery, "app" | "filter" | "now">,
  seen: { readonly ids: Map<number, string>; isWhole: boolean },
): RecommendPorts<HydratedItem> {
  const { columns, model, row } = view;
  const { app, filter, now } = query;
  const matches = filter === undefined ? () => true : evaluate(columns, filter);
  return {
    // one engine for one list: another may take over while it is made
    model: model === null ? null : withScoring(model, model.scoring),
    modelAbsence: view.modelAbsence,
    legalPlaces: (excluded) => model!.legalPlaces(columns, filter, excluded), // asked only where there is a model
    isLegal: (number) => columns.isShowable(number) && matches(number),
    newest: () => downFrom(columns.largestNumber),
    uncoded: () => model!.uncoded(columns), // as above
    popularity: () => popularity(env, app, row.logShards, now),
    hydrate: async (numbers) => {
      const { rows, isWhole } = await hydrateRows(env, app, numbers, { strict: view.isStrict });
      if (!isWhole) seen.isWhole = false;
      for (const item of rows.values()) seen.ids.set(item.number, item.id);
      return rows;
    },
    now,
  };
}

function* downFrom(largest: number): Generator<number> {
  for (let number = largest; number > 0; number -= 1) yield number;
}

/** The same ports with nothing legal but `numbers`, all of which are scored exactly. */
function onlyAmong<Item extends ShowableItem>(
  numbers: ReadonlySet<number>,
  ports: RecommendPorts<Item>,
): RecommendPorts<Item> {
  const { model } = ports;
  return {
    ...ports,
    model: model === null ? null : withScoring(model, { ...model.scoring, mode: "exact" }),
    legalPlaces: () =>
      onlyNumbers(
        model!.order,
        [...numbers].filter((number) => ports.isLegal(number)),
      ),
    isLegal: (number) => numbers.has(number) && ports.isLegal(number),
    newest: () => [...numbers].sort((a, b) => b - a),
    uncoded: () => [...numbers].filter((number) => model!.order.placeOf(number) < 0).sort((a, b) => b - a),
  };
}

function withScoring(model: ServedModel, scoring: Scoring): ServedModel {
  const { order, vectors, network, historyLength, modelVersion, repeatShare } = model;
  return { order, vectors, network, historyLength, modelVersion, repeatShare, scoring };
}

type Recalled = Pick<UserRecall, "subject" | "events" | "acted"> & { readonly degraded: string | null };

const NO_HISTORY: Recalled = { subject: "", events: [], acted: [], degraded: null };

/** What the user's object knows. When it can't be reached the request goes on with its own history. */
async function recall(env: Env, app: number, userId: string | undefined): Promise<Recalled> {
  if (userId === undefined) return NO_HISTORY;
  try {
    const stub = await userStub(env, app, userId);
    const { subject, events, acted, consent } = await stub.recall();
    if (consent.personalization) return { subject, events, acted, degraded: null };
    // what was hidden is no inference from the history but the user's own word, and it holds
    return { ...NO_HISTORY, subject, acted: acted.filter(({ type }) => type === "hide") };
  } catch (error) {
    log("warn", "recall_failed", { app, error: describeError(error) });
    return { ...NO_HISTORY, degraded: "history_unavailable" };
  }
}

interface Resolved {
  readonly history: readonly HistoryEvent[];
  readonly exclude: readonly number[];
  readonly pins: readonly { readonly number: number; readonly position: number }[];
  /** Null: the whole catalogue. */
  readonly only: ReadonlySet<number> | null;
  readonly ignored: readonly Ignored[];
}

/** Numbers of every id that a request names, in at most one query; unknown ones are reported and go no further. */
async function resolveRequest(env: Env, app: number, query: ListQuery): Promise<Resolved> {
  const { history = [], exclude = [], seeds = [], pins = [], only, now } = query;
  const wanted = [
    ...history.map(({ itemId }) => itemId),
    ...exclude,
    ...seeds,
    ...(only ?? []),
    ...pins.map(({ itemId }) => itemId),
  ];
  const numbers = await numbersOf(env, app, wanted);
  const ignored: Ignored[] = [];
  const known = (itemId: string, pointer: string): number | undefined => {
    const number = numbers.get(itemId);
    if (number === undefined) ignored.push({ pointer, code: "unknown_item" });
    return number;
  };
  const events: HistoryEvent[] = [];
  for (const [at, event] of history.entries()) {
    const item = known(event.itemId, `/history/${at}/itemId`);
    if (item === undefined) continue;
    // without a time it happened last, in the order given
    const occurredAt = event.occurredAt === undefined ? now : Math.min(Date.parse(event.occurredAt), now);
    events.push({
      eventId: event.eventId ?? `sent/${at}`,
      item,
      itemId: null,
      type: event.type,
      occurredAt,
      value: null,
    });
  }
  for (const [at, itemId] of seeds.entries()) {
    const item = known(itemId, `/context/seedItemIds/${at}`);
    if (item === undefined) continue;
    events.push({ eventId: `seed/${at}`, item, itemId: null, type: "view", occurredAt: now, value: null });
  }
  return {
    history: events,
    exclude: exclude.flatMap((itemId, at) => known(itemId, `/exclude/${at}`) ?? []),
    pins: pins.flatMap(({ itemId, position }, at) => {
      const number = known(itemId, `/pin/${at}/itemId`);
      return number === undefined ? [] : [{ number, position }];
    }),
    only: only === undefined ? null : new Set(only.flatMap((itemId, at) => known(itemId, `/itemIds/${at}`) ?? [])),
    ignored,
  };
}

/** Item numbers that earlier pages showed. @throws ProblemError where the cursor is not this caller's, or too old */
async function readCursor(query: ListQuery, key: CryptoKey, subject: string): Promise<readonly number[]> {
  if (query.cursor === undefined || query.cursor === null) return [];
  const parts = await decodeCursor(query.cursor, key);
  const owner = subjectBytes(subject);
  // a cursor of nobody stays good when the first event gives its user a subject
  const isOwn = parts?.subject.every((byte, at) => byte === 0 || byte === owner[at]);
  if (parts === undefined || parts.app !== query.app || isOwn !== true) {
    const errors = [{ pointer: "/cursor", code: "not_a_cursor", detail: "is not a nextCursor of this user" }];
    throw new ProblemError("invalid_request", "The cursor is not one of this user", { errors });
  }
  if (parts.expiresSeconds * 1000 < query.now)
    throw new ProblemError("cursor_expired", "The cursor was good for 30 minutes");
  return parts.shown;
}

/** The list as a recommendation token. `subject` is hex, empty for nobody in particular. */
export async function signList(
  list: RecommendationList<HydratedItem>,
  owner: { readonly app: number; readonly subject: string; readonly model: number; readonly now: number },
  key: CryptoKey,
): Promise<string> {
  const items = list.shown.map(({ item, slot, w }) => ({
    number: item.number,
    slot: SLOTS.indexOf(slot),
    w: quantiseW(w),
  }));
  const listId = crypto.getRandomValues(new Uint8Array(8));
  const model = list.source === "model" ? owner.model : 0;
  const issuedSeconds = Math.floor(owner.now / 1000);
  const subject = subjectBytes(owner.subject);
  return encodeToken({ keyId: TOKEN_KEY_ID, app: owner.app, subject, issuedSeconds, model, listId, items }, key);
}
