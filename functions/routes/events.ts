/**
 * POST /v1/events: checks each event by itself, places its time, verifies the list it brings back, and hands each user's events
 * to that user's object in one call. An event is accepted once that object has stored it, never before.
 */
import { Hono } from "hono";
import type { Context } from "hono";
import { clockSkewMs, placeTime } from "../domain/history/event-time.ts";
import type { EventOutcome, IncomingEvent, ShownList } from "../domain/history/events.ts";
import { mapLimited } from "../domain/map-limited.ts";
import { hasScope, requireKind } from "../http/auth.ts";
import { parseBody, readLeniently } from "../http/body.ts";
import type { Bindings } from "../http/context.ts";
import { fieldErrors } from "../http/field-errors.ts";
import { limit } from "../http/limits.ts";
import { describeError, log } from "../http/log.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { numbersOf } from "../store/item-numbers.ts";
import { logShards } from "../store/log.ts";
import { userObjectName, userStubByName } from "../store/subjects.ts";
import { type CheckedEvent, Envelope, EventBody, EventsAnswer, EventsBody, incomingOf } from "./event-schemas.ts";
import { type BroughtBack, importedList, verifyTokens } from "./shown-lists.ts";

describe({
  method: "post",
  path: "/v1/events",
  tag: "Events",
  auth: ["secret", "publishable"],
  userToken: "optional",
  scope: "events",
  summary: "Send what users did",
  description:
    "Each event has its own result; one that is rejected spoils none of the others, and one that was accepted before is a" +
    " `duplicate`. A publishable key needs an `X-User-Token`, whose user all events are of. Events may come 30 days late." +
    " `list_ignored`: accepted, but its `recommendationId` is not this user's, too old or not genuine.",
  request: EventsBody,
  response: EventsAnswer,
  status: 202,
  errors: ["invalid_request"],
  example: {
    sentAt: "2026-11-24T10:00:00Z",
    events: [{ id: "e_1", userId: "u_1", itemId: "i_1", type: "view", occurredAt: "2026-11-24T09:59:58Z" }],
  },
});

const OBJECTS_AT_ONCE = 6;

interface Result {
  readonly id: string | null;
  readonly status: "accepted" | "duplicate" | "rejected";
  readonly code: string | null;
  readonly pointer: string | null;
  readonly detail: string | null;
  readonly retryable: boolean;
}

/** An event past every check of its own, with its place in the request. */
interface Placed {
  readonly index: number;
  readonly userId: string;
  readonly event: CheckedEvent;
  readonly at: number;
}

export const eventsRoutes = new Hono<Bindings>().post("/events", requireKind("secret", "publishable"), async (c) => {
  const envelope = await parseBody(c, Envelope);
  const backfill = envelope.backfill ?? false;
  checkCaller(c, backfill);
  const receivedAt = c.get("clock").now();
  const skewMs = clockSkewMs(receivedAt, envelope.sentAt === undefined ? null : Date.parse(envelope.sentAt));
  const results: Result[] = [];
  const placed: Placed[] = [];
  for (const [index, input] of envelope.events.entries()) {
    const checked = checkEvent(c, input, { index, receivedAt, skewMs, backfill });
    if ("status" in checked) results[index] = checked;
    else placed.push(checked);
  }
  const byUser = Map.groupBy(placed, ({ userId }) => userId);
  if (backfill && byUser.size > limit("backfillUsers")) throw tooManyUsers(byUser.size);
  await store(c, { byUser, receivedAt, backfill, results });
  const total = (status: Result["status"]) => results.filter((result) => result.status === status).length;
  const answer = {
    accepted: total("accepted"),
    duplicates: total("duplicate"),
    rejected: total("rejected"),
    clockSkewMs: skewMs,
    results,
    warnings: c.get("warnings").slice(0, limit("warnings")),
  };
  return c.json(answer, 202);
});

function checkCaller(c: Context<Bindings>, backfill: boolean): void {
  if (c.get("credential").kind === "publishable" && c.get("user") === undefined)
    throw new ProblemError("user_token_invalid", "Events of a publishable key need an X-User-Token");
  if (backfill && !hasScope(c, "import"))
    throw new ProblemError("forbidden", "backfill needs a secret key with the scope import");
}

function tooManyUsers(users: number): ProblemError {
  const detail = `the events are of ${users} users, at most ${limit("backfillUsers")} allowed in one backfill`;
  return new ProblemError("invalid_request", detail, {
    errors: [{ pointer: "/events", code: "too_many_users", detail }],
  });
}

interface Place {
  readonly index: number;
  readonly receivedAt: number;
  readonly skewMs: number;
  readonly backfill: boolean;
}

function checkEvent(c: Context<Bindings>, input: unknown, place: Place): Placed | Result {
  const { index, backfill } = place;
  const refuse = (field: string, code: string, detail: string): Result => ({
    id: idOf(input),
    status: "rejected",
    code,
    pointer: `/events/${index}${field}`,
    detail,
    retryable: false,
  });
  const event = parseEvent(c, input, index);
  if ("fault" in event) return refuse(event.fault.pointer, event.fault.code, event.fault.detail);
  const isListed = event.type === "impression" && (event.recommendationId != null || event.list != null);
  if (event.itemId == null && !isListed)
    return refuse("/itemId", "required", "itemId: the id of an item is needed here");
  if (event.list != null && (!backfill || event.type !== "impression"))
    return refuse("/list", "not_allowed", "list: only an impression of a backfill may carry a list");
  const tokenUser = c.get("user")?.userId;
  const userId = event.userId ?? tokenUser;
  if (userId === undefined) return refuse("/userId", "required", "userId: a back end names the user of each event");
  if (c.get("credential").kind === "publishable" && userId !== tokenUser)
    return refuse("/userId", "user_mismatch", "userId: differs from the user of X-User-Token");
  const time = placeTime(Date.parse(event.occurredAt), place);
  if (time.kind === "refused") return refuse("/occurredAt", time.code, time.detail);
  return { index, userId, event, at: time.at };
}

/** Unknown fields: refused for secret keys, left out with a warning for publishable ones. */
function parseEvent(
  c: Context<Bindings>,
  input: unknown,
  index: number,
): CheckedEvent | { readonly fault: { pointer: string; code: string; detail: string } } {
  const parsed = EventBody.safeParse(input);
  if (parsed.success) return parsed.data;
  if (c.get("credential").kind === "publishable") {
    try {
      const { value, warnings } = readLeniently(EventBody, input);
      c.get("warnings").push(
        ...warnings.map((warning) => ({ ...warning, pointer: `/events/${index}${warning.pointer}` })),
      );
      return value;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      return { fault: named(error.errors) };
    }
  }
  return { fault: named(fieldErrors(parsed.error, input)) };
}

/** The first fault, its detail opening with the field. */
function named(errors: readonly { pointer: string; code: string; detail: string }[]): {
  pointer: string;
  code: string;
  detail: string;
} {
  const { pointer, code, detail } = errors[0] ?? { pointer: "", code: "invalid", detail: "does not fit its schema" };
  const field = pointer.slice(1).replaceAll("/", ".");
  return { pointer, code, detail: field === "" ? detail : `${field}: ${detail}` };
}

function idOf(input: unknown): string | null {
  if (typeof input !== "object" || input === null || !("id" in input) || typeof input.id !== "string") return null;
  return input.id.slice(0, 128);
}

interface StoreInput {
  readonly byUser: ReadonlyMap<string, readonly Placed[]>;
  readonly receivedAt: number;
  readonly backfill: boolean;
  /** Filled at each event's index. */
  readonly results: Result[];
}

async function store(c: Context<Bindings>, input: StoreInput): Promise<void> {
  const { app } = c.get("credential");
  const all = [...input.byUser.values()].flat();
  if (all.length === 0) return;
  const ids = all.flatMap(({ event }) =>
    [event.itemId ?? [], event.list?.items.map(({ itemId }) => itemId) ?? []].flat(),
  );
  const [numbers, tokens, shards] = await Promise.all([
    numbersOf(c.env, app, ids),
    verifyTokens(
      c.env,
      app,
      all.flatMap(({ event }) => event.recommendationId ?? []),
    ),
    logShards(c.env, app),
  ]);
  await mapLimited([...input.byUser], OBJECTS_AT_ONCE, async ([userId, events]) => {
    const call = callOf(events, { numbers, tokens, receivedAt: input.receivedAt, backfill: input.backfill });
    const object = await userObjectName(c.env, app, userId);
    const outcomes = await recorded(c, object, { app, object, shards, now: input.receivedAt, ...call });
    for (const [at, { index, event }] of events.entries())
      input.results[index] = resultOf(event, index, outcomes?.[at], call.ignored.has(at));
  });
}

interface Found {
  readonly numbers: ReadonlyMap<string, number>;
  readonly tokens: ReadonlyMap<string, BroughtBack>;
  readonly receivedAt: number;
  readonly backfill: boolean;
}

/** What one user's object is given; `ignored`: places of events whose list is not to be believed. */
function callOf(
  events: readonly Placed[],
  found: Found,
): { events: IncomingEvent[]; lists: ShownList[]; ignored: ReadonlySet<number> } {
  const lists: ShownList[] = [];
  const places = new Map<string, number>();
  const ignored = new Set<number>();
  const incoming = events.map(({ event, at }, place): IncomingEvent => {
    const brought = event.recommendationId == null ? undefined : found.tokens.get(event.recommendationId);
    const isGood = brought?.isTimely(at, found.receivedAt) ?? false;
    if (event.recommendationId != null && !isGood) ignored.add(place);
    const list =
      event.list == null ? (isGood ? brought!.list : undefined) : importedList(event.list, at, found.numbers);
    if (list !== undefined && !places.has(list.id)) places.set(list.id, lists.push(list) - 1);
    return {
      ...incomingOf(event, { at, receivedAt: found.receivedAt, backfill: found.backfill }),
      item: event.itemId == null ? null : (found.numbers.get(event.itemId) ?? null),
      list: list === undefined ? null : places.get(list.id)!,
    };
  });
  return { events: incoming, lists, ignored };
}

/** Undefined when the object could not be reached or failed: nothing of the call is stored then. */
async function recorded(
  c: Context<Bindings>,
  object: string,
  input: Parameters<ReturnType<typeof userStubByName>["record"]>[0],
): Promise<readonly EventOutcome[] | undefined> {
  try {
    return (await userStubByName(c.env, object).record(input)).outcomes;
  } catch (error) {
    log("error", "record_failed", { requestId: c.get("requestId"), app: input.app, error: describeError(error) });
    return undefined;
  }
}

const SAYS = {
  list_ignored: "recommendationId: not of this user, too old or not genuine; the event counts without it",
  erased: "the user was erased; an erased user id takes no more events",
} as const;

function resultOf(event: CheckedEvent, index: number, outcome: EventOutcome | undefined, isIgnored: boolean): Result {
  if (outcome === undefined) {
    const detail = "the user's storage could not be reached; send the event again";
    return {
      id: event.id,
      status: "rejected",
      code: "unavailable",
      pointer: `/events/${index}`,
      detail,
      retryable: true,
    };
  }
  const code = outcome.code ?? (isIgnored && outcome.status === "accepted" ? "list_ignored" : null);
  const field = code === "list_ignored" ? "/recommendationId" : "";
  return {
    id: event.id,
    status: outcome.status,
    code,
    pointer: code === null ? null : `/events/${index}${field}`,
    detail: code === null ? null : SAYS[code],
    retryable: false,
  };
}
