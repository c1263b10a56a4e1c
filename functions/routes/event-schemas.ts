/** The body of POST /v1/events: the envelope, one event, and how a checked event becomes what a user's object takes. */
import * as z from "zod";
import { isUserId, USER_ID_RULE } from "../domain/identity/user-token.ts";
import { limit } from "../http/limits.ts";
import { Money, WarningSchema } from "../http/openapi.ts";
import type { IncomingEvent } from "../domain/history/events.ts";
import { ItemId } from "./item-schemas.ts";

/** Ids of events, sessions, lists and installations. */
const Id = z
  .string()
  .min(1)
  .max(128)
  .refine((id) => id.isWellFormed() && !id.includes("\0"), "holds U+0000 or half of a surrogate pair");
const Time = z.iso.datetime({ offset: true });
/** Number of items in a list: the token counts them in one byte. */
const LIST_ITEMS = 255;

const ImportedList = z
  .strictObject({
    id: Id,
    policy: z.string().min(1).max(64),
    items: z
      .array(
        z.strictObject({
          itemId: ItemId,
          position: z.int().min(0).max(10_000),
          propensity: z.number().gt(0).max(1).nullish(),
        }),
      )
      .min(1)
      .max(LIST_ITEMS),
  })
  .meta({ id: "ImportedList", description: "Only with `backfill`, in an impression: the whole list that was seen" });

export const EventBody = z
  .strictObject({
    id: Id.describe("Yours; the same id is accepted once in 30 days at least"),
    itemId: ItemId.nullish().describe("Needed, but for an impression that brings a list back"),
    type: z
      .string()
      .regex(/^[a-z][A-Za-z0-9_.-]{0,63}$/)
      .meta({
        description: "One of the examples, or a type of your own, which counts as positive",
        examples: [
          "view",
          "click",
          "like",
          "save",
          "purchase",
          "cook",
          "skip",
          "hide",
          "rating",
          "review",
          "impression",
        ],
      }),
    occurredAt: Time.describe("The device's time; corrected by `sentAt`"),
    userId: z
      .string()
      .min(1)
      .max(limit("idCharacters"))
      .refine(isUserId, USER_ID_RULE)
      .nullish()
      .describe("Of back ends; a phone's user token names the user"),
    sessionId: Id.nullish(),
    recommendationId: z.string().min(1).max(4096).nullish(),
    position: z.int().min(0).max(10_000).nullish(),
    surface: z.string().max(128).nullish(),
    value: z.number().min(-1e9).max(1e9).nullish().describe("Of a rating: 1 to 5"),
    quantity: z.number().min(0).max(1e6).nullish(),
    price: Money.nullish(),
    text: z.string().max(limit("textCharacters")).nullish().describe("Kept with the user, never in the log"),
    visibleMs: z.int().min(0).max(86_400_000).nullish(),
    list: ImportedList.nullish(),
  })
  .meta({ id: "Event" });

const ENVELOPE = {
  sentAt: Time.optional().describe("The device's time when it sends: the difference to ours corrects every occurredAt"),
  installationId: Id.optional(),
  backfill: z
    .boolean()
    .optional()
    .describe("Secret keys with the scope import: history, any time from 1970, at most 40 users"),
};

export const EventsBody = z
  .strictObject({ ...ENVELOPE, events: z.array(EventBody).min(1).max(limit("events")) })
  .meta({ id: "EventBatch" });

/** As `EventsBody`, but each event is checked by itself, so that a bad one spoils none of the others. */
export const Envelope = z.strictObject({ ...ENVELOPE, events: z.array(z.unknown()).min(1).max(limit("events")) });

export const EventResult = z
  .object({
    id: z.string().nullable(),
    status: z.string().meta({ examples: ["accepted", "duplicate", "rejected"] }),
    code: z
      .string()
      .nullable()
      .meta({ examples: ["list_ignored", "erased", "unknown_field", "occurred_at_too_old"] }),
    pointer: z.string().nullable(),
    detail: z.string().nullable(),
    retryable: z.boolean(),
  })
  .meta({ id: "EventResult", description: "In the order of the request" });

export const EventsAnswer = z
  .object({
    accepted: z.int(),
    duplicates: z.int(),
    rejected: z.int(),
    clockSkewMs: z
      .number()
      .meta({ description: "What was added to the device's times when beyond 5 s; 0 without sentAt" }),
    results: z.array(EventResult),
    warnings: z.array(WarningSchema),
  })
  .meta({ id: "EventsAnswer" });

export type CheckedEvent = z.output<typeof EventBody>;

/** The event without its item number and its list. */
export function incomingOf(
  event: CheckedEvent,
  context: { readonly at: number; readonly receivedAt: number; readonly backfill: boolean },
): Omit<IncomingEvent, "item" | "list"> {
  return {
    eventId: event.id,
    itemId: event.itemId ?? null,
    type: event.type,
    occurredAt: context.at,
    receivedAt: context.receivedAt,
    value: event.value ?? null,
    quantity: event.quantity ?? null,
    sessionId: event.sessionId ?? null,
    surface: event.surface ?? null,
    position: event.position ?? null,
    visibleMs: event.visibleMs ?? null,
    amountMinor: event.price?.amountMinor ?? null,
    currency: event.price?.currency ?? null,
    text: event.text ?? null,
    source: context.backfill ? "imported" : "api",
  };
}
