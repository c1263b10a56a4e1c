/**
 * The flat record of the event log: one type for events and lists, every key always there, one JSON object a line. Free
 * text never enters it.
 */
import type { IncomingEvent, ShownItem, ShownList } from "./events.ts";

export const LOG_VERSION = 1;

export interface LogRecord {
  readonly v: number;
  readonly kind: "event" | "list";
  /** Hex of the user's random subject. */
  readonly subject: string;
  readonly eventId: string | null;
  readonly type: string | null;
  readonly item: number | null;
  /** Only while the item's number was not known at receipt. */
  readonly itemId: string | null;
  readonly occurredAt: number;
  readonly receivedAt: number;
  readonly sessionId: string | null;
  readonly listId: string | null;
  readonly position: number | null;
  readonly surface: string | null;
  readonly value: number | null;
  readonly quantity: number | null;
  readonly amountMinor: number | null;
  readonly currency: string | null;
  readonly visibleMs: number | null;
  readonly modelVersion: string | null;
  /** The items of a list; empty for an event. */
  readonly items: readonly ShownItem[];
  readonly source: "api" | "imported";
  readonly policy: string | null;
  /** 1: may be trained on. */
  readonly consentTraining: 0 | 1;
}

interface Owner {
  readonly subject: string;
  readonly consentTraining: 0 | 1;
}

export function eventRecord(event: IncomingEvent, list: ShownList | null, owner: Owner): LogRecord {
  return {
    v: LOG_VERSION,
    kind: "event",
    subject: owner.subject,
    eventId: event.eventId,
    type: event.type,
    item: event.item,
    itemId: event.item === null ? event.itemId : null,
    occurredAt: event.occurredAt,
    receivedAt: event.receivedAt,
    sessionId: event.sessionId,
    listId: list?.id ?? null,
    position: event.position,
    surface: event.surface,
    value: event.value,
    quantity: event.quantity,
    amountMinor: event.amountMinor,
    currency: event.currency,
    visibleMs: event.visibleMs,
    modelVersion: list?.modelVersion ?? null,
    items: [],
    source: event.source,
    policy: list?.policy ?? null,
    consentTraining: owner.consentTraining,
  };
}

/** The list that `event` brought back; `occurredAt` is when it was made (imported: when it was seen). */
export function listRecord(list: ShownList, event: IncomingEvent, owner: Owner): LogRecord {
  return {
    v: LOG_VERSION,
    kind: "list",
    subject: owner.subject,
    eventId: null,
    type: null,
    item: null,
    itemId: null,
    occurredAt: list.issuedAt,
    receivedAt: event.receivedAt,
    sessionId: event.sessionId,
    listId: list.id,
    position: null,
    surface: event.surface,
    value: null,
    quantity: null,
    amountMinor: null,
    currency: null,
    visibleMs: null,
    modelVersion: list.modelVersion,
    items: list.items,
    source: event.source,
    policy: list.policy,
    consentTraining: owner.consentTraining,
  };
}

/** Lines without the last newline. Keys stand in the order of the constructors above, so equal records give equal bytes. */
export function toLines(records: readonly LogRecord[]): string {
  return records.map((record) => JSON.stringify(record)).join("\n");
}

/** Records of lines that `toLines` wrote. */
export function fromLines(lines: string): LogRecord[] {
  return lines
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LogRecord);
}
