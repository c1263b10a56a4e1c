/** Events and lists for tests, whole but for what a test names. */
import type { IncomingEvent, ShownList } from "../../../functions/domain/history/events.ts";

let made = 0;

export function incoming(more: Partial<IncomingEvent> = {}): IncomingEvent {
  made += 1;
  return {
    eventId: `e_${made}`,
    item: 1,
    itemId: null,
    type: "view",
    occurredAt: 1_795_521_600_000,
    receivedAt: 1_795_521_600_000,
    value: null,
    quantity: null,
    sessionId: null,
    surface: null,
    position: null,
    visibleMs: null,
    amountMinor: null,
    currency: null,
    text: null,
    source: "api",
    list: null,
    ...more,
  };
}

export function shownList(more: Partial<ShownList> = {}): ShownList {
  return {
    id: "0011223344556677",
    subject: "",
    issuedAt: 1_795_521_500_000,
    policy: "model",
    modelVersion: "m_1",
    items: [
      { item: 11, position: 0, slot: "ranked", w: 0 },
      { item: 12, position: 1, slot: "explored", w: 4096 },
    ],
    ...more,
  };
}
