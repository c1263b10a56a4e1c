/**
 * What a delivery says: `{ type, timestamp, data }` (Standard Webhooks 1.0.0, "Payload structure"). Data is thin, ids and a word of
 * why; whoever needs more asks the interface with a key, which is audited.
 */
import * as z from "zod";

/** "Usually smaller than 20kb", says the specification. */
export const MAX_PAYLOAD_BYTES = 20_000;

const Id = z.string().min(1).max(256);
const Version = z.string().min(1).max(64);
const Reason = z.string().max(500);

/** The data of each type. A field may be added; none changes its meaning. */
export const EVENT_DATA = {
  "training.requested": z.strictObject({ jobId: Id, source: z.string().min(1).max(64), reason: Reason }),
  "job.completed": z.strictObject({
    jobId: Id,
    status: z.enum(["promoted", "rejected", "failed", "cancelled"]),
    modelVersion: Version.nullable(),
  }),
  "model.promoted": z.strictObject({
    modelVersion: Version,
    previousVersion: Version.nullable(),
    jobId: Id.nullable(),
  }),
  /** `modelVersion` serves again, null where the app has none left. */
  "model.rolledBack": z.strictObject({ modelVersion: Version.nullable(), withdrawnVersion: Version, reason: Reason }),
  "skill.retired": z.strictObject({ skillId: Id, reason: Reason }),
  "trust.alert": z.strictObject({ dimension: z.string().min(1).max(64), reportId: Id.nullable(), reason: Reason }),
  "user.erased": z.strictObject({ userId: Id, logsErasedBy: z.iso.datetime(), modelsForgetBy: z.iso.datetime() }),
} as const;

export type EventType = keyof typeof EVENT_DATA;
export const EVENT_TYPES = Object.keys(EVENT_DATA) as [EventType, ...EventType[]];
export const EventTypeName = z.enum(EVENT_TYPES);

const envelope = <T extends EventType>(type: T) =>
  z.strictObject({ type: z.literal(type), timestamp: z.iso.datetime(), data: EVENT_DATA[type] });

export const WebhookPayload = z.discriminatedUnion("type", [
  envelope("training.requested"),
  envelope("job.completed"),
  envelope("model.promoted"),
  envelope("model.rolledBack"),
  envelope("skill.retired"),
  envelope("trust.alert"),
  envelope("user.erased"),
]);
export type WebhookPayload = z.infer<typeof WebhookPayload>;

/** An event before it has its time: type and data that belong together. */
export type WebhookEvent = { [T in EventType]: { type: T; data: z.infer<(typeof EVENT_DATA)[T]> } }[EventType];

export type EncodedPayload =
  | { readonly kind: "encoded"; readonly body: Uint8Array }
  | { readonly kind: "too-large"; readonly bytes: number; readonly limitBytes: number };

/** The bytes to keep, sign and send: encoded once, so that every attempt sends the same. `occurredAt` in ms since 1970. */
export function encodePayload({ type, data }: WebhookEvent, occurredAt: number): EncodedPayload {
  const timestamp = new Date(occurredAt).toISOString();
  const body = new TextEncoder().encode(JSON.stringify({ type, timestamp, data }));
  if (body.length <= MAX_PAYLOAD_BYTES) return { kind: "encoded", body };
  return { kind: "too-large", bytes: body.length, limitBytes: MAX_PAYLOAD_BYTES };
}
