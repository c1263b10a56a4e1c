/**
 * What an event is once it is past the door: types and their weights, the entry of a history, and what a user's object takes.
 * Times are milliseconds since 1970; an item is its number, or its string id while the catalogue does not know it.
 */

/** Weight of a type in popularity and as evidence of liking; 0: says nothing of liking; below 0: against the item. */
const WEIGHTS: Readonly<Record<string, number>> = {
  impression: 0,
  view: 1,
  click: 1,
  review: 2,
  like: 3,
  save: 3,
  cook: 4,
  purchase: 5,
  rating: 0, // by its value, see weightOf
  skip: -1,
  removeFromCart: -1,
  refund: -3,
  hide: -5,
};

/** Of types that are not named above: an app's own ones count as positive. */
const CUSTOM_WEIGHT = 2;

/** Ratings are on a scale of 1 to 5: from 4 on they are positive, up to 2 negative. */
export const RATING = { positiveFrom: 4, negativeUpTo: 2, weight: 3 } as const;

/** Evidence of liking in one event. A rating without a value weighs nothing. */
export function weightOf(type: string, value: number | null = null): number {
  if (type !== "rating") return Object.hasOwn(WEIGHTS, type) ? WEIGHTS[type]! : CUSTOM_WEIGHT;
  if (value === null) return 0;
  if (value >= RATING.positiveFrom) return RATING.weight;
  return value <= RATING.negativeUpTo ? -RATING.weight : 0;
}

/** Whether an event is input for the next recommendation and counts as having acted on the item. */
export function isPositive(type: string, value: number | null = null): boolean {
  return weightOf(type, value) > 0;
}

/** One entry of a user's recent history. */
export interface HistoryEvent {
  readonly eventId: string;
  /** Item number; null while the catalogue does not know the item. */
  readonly item: number | null;
  /** String id while the number is not known, else null. */
  readonly itemId: string | null;
  readonly type: string;
  readonly occurredAt: number;
  readonly value: number | null;
}

/** Newest time at which a user did something of one type with one item; reaches further back than the history. */
export interface ActedItem {
  readonly item: number;
  readonly type: string;
  readonly occurredAt: number;
}

export type Slot = "ranked" | "explored" | "pinned";

/** One shown item of a list. `w` is the u16 of the token (formats: w = 2^(-w16 / 4096)); imported lists hold their propensity so. */
export interface ShownItem {
  readonly item: number | null;
  readonly position: number;
  readonly slot: Slot;
  readonly w: number;
}

/** A list that an event brings back: from a verified token, or imported with its event. */
export interface ShownList {
  readonly id: string;
  /** Hex of the subject the token was made for; empty: made for nobody in particular. */
  readonly subject: string;
  readonly issuedAt: number;
  readonly policy: string;
  readonly modelVersion: string | null;
  readonly items: readonly ShownItem[];
}

/** An event that passed validation, time corrected, as the user's object takes it. */
export interface IncomingEvent {
  readonly eventId: string;
  readonly item: number | null;
  readonly itemId: string | null;
  readonly type: string;
  readonly occurredAt: number;
  readonly receivedAt: number;
  readonly value: number | null;
  readonly quantity: number | null;
  readonly sessionId: string | null;
  readonly surface: string | null;
  readonly position: number | null;
  readonly visibleMs: number | null;
  readonly amountMinor: number | null;
  readonly currency: string | null;
  /** Free text (a review); stays in the object, never in the log. */
  readonly text: string | null;
  readonly source: "api" | "imported";
  /** Index into the lists of the same call, or null. */
  readonly list: number | null;
}

/** What became of one event. `code` is null unless something is to be said. */
export interface EventOutcome {
  readonly status: "accepted" | "duplicate" | "rejected";
  readonly code: "list_ignored" | "erased" | null;
}
