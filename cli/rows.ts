/**
 * Rows of a file -> bodies of the interface. Checks what a file can get wrong (a missing column, a number that is none, a
 * time without a zone); bounds are the server's business, and what it refuses is reported with the row's line too.
 */
import { importEventId } from "../functions/domain/history/import-event-id.ts";
import type { Fault } from "./readers/row.ts";

export type Kind = "items" | "events" | "lists";

type Record_ = Readonly<Record<string, unknown>>;

/** Body of one entry of POST /v1/items/batch. */
export type ItemBody = ReturnType<typeof itemOf>;

/** One event of POST /v1/events, without an id where its row has none. */
export interface EventFields {
  readonly id?: string;
  readonly userId: string;
  readonly itemId: string;
  readonly type: string;
  readonly occurredAt: string;
  readonly value?: number;
  readonly quantity?: number;
  readonly sessionId?: string;
  readonly surface?: string;
  readonly position?: number;
  readonly list?: {
    readonly id: string;
    readonly policy: string;
    readonly items: readonly { readonly itemId: string; readonly position: number; readonly propensity: number }[];
  };
}

export type EventBody = EventFields & { readonly id: string };

export const COLUMNS: Readonly<Record<Kind, { required: readonly string[]; optional: readonly string[] }>> = {
  items: {
    required: ["id", "title"],
    optional: ["text", "creator", "origin", "createdAt", "price", "currency", "attributes", "available", "hidden"],
  },
  events: {
    required: ["userId", "itemId", "type", "occurredAt"],
    optional: ["id", "value", "quantity", "sessionId", "surface", "listId", "position", "propensity"],
  },
  lists: {
    required: ["listId", "userId", "occurredAt", "itemId", "position", "propensity"],
    optional: ["sessionId", "surface", "policy", "list"],
  },
};

/** Thrown inside this file and turned into a fault at its door. */
class RowFault extends Error {
  readonly column: string;
  constructor(column: string, reason: string) {
    super(reason);
    this.column = column;
  }
}

/** Runs a conversion; a fault of the row is a value, everything else escapes. */
export function attempt<T>(convert: () => T): { value: T; fault?: undefined } | { value?: undefined; fault: Fault } {
  try {
    return { value: convert() };
  } catch (error) {
    if (error instanceof RowFault) return { fault: { column: error.column, reason: error.message } };
    throw error;
  }
}

const shown = (value: unknown): string => {
  const json = JSON.stringify(value) ?? "nothing";
  return json.length <= 60 ? json : `${json.slice(0, 57)}...`;
};

function text(record: Record_, column: string): string | undefined {
  const value = record[column];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string" && typeof value !== "number") throw new RowFault(column, `${shown(value)} is not text`);
  const string = String(value);
  if (string.includes("\uFFFD")) throw new RowFault(column, `${shown(string)} is not UTF-8`);
  return string;
}

function needed(record: Record_, column: string): string {
  const value = text(record, column);
  if (value === undefined || value.trim() === "") throw new RowFault(column, "is missing");
  return value;
}

function number(record: Record_, column: string): number | undefined {
  const value = record[column];
  if (value === undefined || value === null || value === "") return undefined;
  const result =
    typeof value === "number" ? value : typeof value === "string" && value.trim() !== "" ? Number(value) : NaN;
  if (!Number.isFinite(result)) throw new RowFault(column, `${shown(value)} is not a number`);
  return result;
}

const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)$/;

/** RFC 3339 with its zone, as it will be sent: in UTC with milliseconds. */
function time(record: Record_, column: string): string | undefined {
  const value = text(record, column);
  if (value === undefined) return undefined;
  const ms = TIME.test(value) ? Date.parse(value.replace(" ", "T")) : NaN;
  if (Number.isNaN(ms))
    throw new RowFault(column, `${shown(value)} is not an RFC 3339 time such as 2026-08-22T16:00:00Z`);
  return new Date(ms).toISOString();
}

const FLAGS: Readonly<Record<string, boolean>> = { true: true, false: false, "1": true, "0": false };

function flag(record: Record_, column: string): boolean | undefined {
  const value = record[column];
  if (value === undefined || value === null || value === "") return undefined;
  const isScalar = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
  const result = isScalar ? FLAGS[String(value).toLowerCase()] : undefined;
  if (result === undefined) throw new RowFault(column, `${shown(value)} is not true or false`);
  return result;
}

const digits = new Map<string, number>();

/** Minor digits of a currency: 2 for EUR, 0 for JPY. */
function minorDigits(currency: string): number {
  let found = digits.get(currency);
  if (found === undefined) {
    found = Intl.supportedValuesOf("currency").includes(currency)
      ? (new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2)
      : -1;
    digits.set(currency, found);
  }
  if (found < 0) throw new RowFault("currency", `${shown(currency)} is not an ISO 4217 code such as EUR`);
  return found;
}

/** A decimal price in minor units, by its digits and without arithmetic on fractions. */
function price(record: Record_): { amountMinor: number; currency: string } | undefined {
  const decimal = text(record, "price");
  if (decimal === undefined) return undefined;
  const currency = needed(record, "currency");
  const places = minorDigits(currency);
  const match = /^(\d{1,12})(?:\.(\d+))?$/.exec(decimal.trim());
  if (match === null) throw new RowFault("price", `${shown(decimal)} is not a decimal number of at least 0`);
  const fraction = (match[2] ?? "").replace(/0+$/, "");
  if (fraction.length > places)
    throw new RowFault("price", `${shown(decimal)} has more decimals than ${currency} (${places})`);
  return { amountMinor: Number(match[1] + fraction.padEnd(places, "0")), currency };
}

function attributes(record: Record_): Record_ | undefined {
  const value = record["attributes"];
  if (value === undefined || value === null || value === "") return undefined;
  let parsed: unknown = value;
  if (typeof value === "string") {
    try {
      parsed = JSON.parse(value);
    } catch {
      throw new RowFault("attributes", `${shown(value)} is not JSON`);
    }
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new RowFault("attributes", `${shown(value)} is not a JSON object`);
  }
  return Object.fromEntries(Object.entries(parsed).filter(([, inner]) => inner !== null));
}

/** Without the fields that are undefined. */
type Compact<T> = { readonly [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  readonly [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

function compact<T extends object>(fields: T): Compact<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Compact<T>;
}

export function itemOf(record: Record_) {
  return compact({
    id: needed(record, "id"),
    title: needed(record, "title"),
    text: text(record, "text"),
    creator: text(record, "creator"),
    origin: text(record, "origin"),
    createdAt: time(record, "createdAt"),
    price: price(record),
    attributes: attributes(record),
    available: flag(record, "available"),
    hidden: flag(record, "hidden"),
  });
}

export function eventOf(record: Record_): EventFields {
  const occurredAt = time(record, "occurredAt");
  if (occurredAt === undefined) throw new RowFault("occurredAt", "is missing");
  return compact({
    id: text(record, "id"),
    userId: needed(record, "userId"),
    itemId: needed(record, "itemId"),
    type: needed(record, "type"),
    occurredAt,
    value: number(record, "value"),
    quantity: number(record, "quantity"),
    sessionId: text(record, "sessionId"),
    surface: text(record, "surface"),
    position: number(record, "position"),
  });
}

/** One exposure: an item that was shown to a user at a place of a list. */
export interface Exposure {
  readonly listId: string;
  readonly userId: string;
  readonly occurredAt: string;
  readonly sessionId: string | undefined;
  readonly surface: string | undefined;
  readonly policy: string | undefined;
  readonly itemId: string;
  readonly position: number;
  readonly propensity: number;
}

export function exposureOf(record: Record_): Exposure {
  const occurredAt = time(record, "occurredAt");
  const [position, propensity] = [number(record, "position"), number(record, "propensity")];
  if (occurredAt === undefined) throw new RowFault("occurredAt", "is missing");
  if (position === undefined) throw new RowFault("position", "is missing");
  if (propensity === undefined) throw new RowFault("propensity", "is missing");
  if (!Number.isInteger(position) || position < 0)
    throw new RowFault("position", `${position} is not a whole number of at least 0`);
  if (propensity <= 0 || propensity > 1) throw new RowFault("propensity", `${propensity} is not above 0 and at most 1`);
  return {
    listId: needed(record, "listId"),
    userId: needed(record, "userId"),
    occurredAt,
    sessionId: text(record, "sessionId"),
    surface: text(record, "surface"),
    policy: text(record, "policy"),
    itemId: needed(record, "itemId"),
    position,
    propensity,
  };
}

/** The impression of a list whose exposures stand together in a file. */
export function impressionOf(exposures: readonly Exposure[]): EventBody {
  const first = exposures[0]!;
  const ordered = [...exposures].sort((a, b) => a.position - b.position);
  return compact({
    id: `imp_${first.listId}`,
    userId: first.userId,
    itemId: ordered[0]!.itemId,
    type: "impression",
    occurredAt: first.occurredAt,
    sessionId: first.sessionId,
    surface: first.surface,
    list: {
      id: first.listId,
      policy: first.policy ?? "imported",
      items: ordered.map(({ itemId, position, propensity }) => ({ itemId, position, propensity })),
    },
  });
}

/**
 * The impression of a list that stands whole in one row of JSON Lines: `userId, occurredAt, sessionId, surface` and
 * `list: { id, policy, items: [{ itemId, position, propensity }] }`.
 */
export function listOf(record: Record_): EventBody {
  const occurredAt = time(record, "occurredAt");
  if (occurredAt === undefined) throw new RowFault("occurredAt", "is missing");
  const list = record["list"];
  if (!isRecord(list)) throw new RowFault("list", `${shown(list)} is not a JSON object`);
  const entries = list["items"];
  if (!Array.isArray(entries) || entries.length === 0) throw new RowFault("list", "has no items");
  const common = { ...record, listId: list["id"], policy: list["policy"] };
  return impressionOf(
    entries.map((entry: unknown) => {
      if (!isRecord(entry)) throw new RowFault("list", `${shown(entry)} is not an item of a list`);
      return exposureOf({ ...common, ...entry });
    }),
  );
}

function isRecord(value: unknown): value is Record_ {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Gives rows without an id the one that the same row always gets, so that importing twice doubles nothing. */
export class EventIds {
  readonly #seen = new Map<string, number>();

  async identify(event: EventFields): Promise<EventBody> {
    if (event.id !== undefined) return { ...event, id: event.id };
    const key = JSON.stringify([event.userId, event.itemId, event.type, event.occurredAt]);
    const occurrence = this.#seen.get(key) ?? 0;
    this.#seen.set(key, occurrence + 1);
    const { userId, itemId, type } = event;
    const id = await importEventId({ userId, itemId, type, occurredAt: Date.parse(event.occurredAt), occurrence });
    return { ...event, id };
  }
}
