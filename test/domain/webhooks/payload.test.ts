/** What a delivery says and how large it may be. */
import { describe, expect, it } from "vitest";
import {
  EVENT_TYPES,
  EventTypeName,
  MAX_PAYLOAD_BYTES,
  WebhookPayload,
  encodePayload,
  type WebhookEvent,
} from "../../../functions/domain/webhooks/payload.ts";

const NOW = Date.UTC(2026, 10, 24, 12, 0, 0, 7);
const EVENTS: readonly WebhookEvent[] = [
  { type: "training.requested", data: { jobId: "job_1", source: "webhook", reason: "new catalogue" } },
  { type: "job.completed", data: { jobId: "job_1", status: "promoted", modelVersion: "m_0123456789ab" } },
  { type: "model.promoted", data: { modelVersion: "m_0123456789ab", previousVersion: null, jobId: null } },
  { type: "model.rolledBack", data: { modelVersion: null, withdrawnVersion: "m_0123456789ab", reason: "errors" } },
  { type: "skill.retired", data: { skillId: "skill_1", reason: "no longer helps" } },
  { type: "trust.alert", data: { dimension: "fairness", reportId: null, reason: "gap over its limit" } },
  {
    type: "user.erased",
    data: { userId: "u_42", logsErasedBy: "2026-11-25T12:00:00.000Z", modelsForgetBy: "2026-12-24T12:00:00.000Z" },
  },
];

describe("a payload", () => {
  it("has a schema for each type of the interface", () => {
    expect(EVENTS.map(({ type }) => type)).toEqual(EVENT_TYPES);
    expect(EVENT_TYPES.every((type) => /^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)+$/.test(type))).toBe(true);
    expect(EventTypeName.safeParse("user.created").success).toBe(false);
  });

  it.each(EVENTS)("of $type is its type, its time and its data", (event) => {
    const encoded = encodePayload(event, NOW);
    if (encoded.kind !== "encoded") throw new Error(encoded.kind);
    const payload: unknown = JSON.parse(new TextDecoder().decode(encoded.body));
    expect(payload).toEqual({ type: event.type, timestamp: "2026-11-24T12:00:00.007Z", data: event.data });
    expect(WebhookPayload.parse(payload)).toEqual(payload);
    expect(WebhookPayload.safeParse({ ...event, timestamp: "yesterday" }).success).toBe(false);
    expect(WebhookPayload.safeParse({ ...event, timestamp: "2026-11-24T12:00:00Z", more: 1 }).success).toBe(false);
  });

  it("does not pair a type with the data of another", () => {
    const mixed = { type: "skill.retired", timestamp: "2026-11-24T12:00:00Z", data: EVENTS[0]!.data };
    expect(WebhookPayload.safeParse(mixed).success).toBe(false);
  });

  it("has at most 20,000 bytes, counted in UTF-8", () => {
    const withReason = (reason: string) =>
      encodePayload({ type: "skill.retired", data: { skillId: "s", reason } }, NOW);
    const empty = withReason("");
    if (empty.kind !== "encoded") throw new Error(empty.kind);
    const room = MAX_PAYLOAD_BYTES - empty.body.length;
    expect(withReason("x".repeat(room))).toMatchObject({ kind: "encoded", body: { length: MAX_PAYLOAD_BYTES } });
    expect(withReason("x".repeat(room + 1))).toEqual({ kind: "too-large", bytes: 20_001, limitBytes: 20_000 });
    expect(withReason("é".repeat(room - 1)).kind).toBe("too-large");
  });
});
