/**
 * What follows from an attempt to deliver, after Standard Webhooks 1.0.0, "Deliverability and reliability": 2xx is success, 410 ends
 * the endpoint, and every other answer is a failure that is tried again. 4xx is among them: a receiver in the middle of a deployment
 * answers 404 or 401 for a while, and giving up would lose the message. A 3xx gets here when its redirect was not followed.
 */
import { retryAfterSeconds } from "./retry-after.ts";

/** Seconds before each attempt; the specification's example. 10 attempts over 75 h 35 min. */
export const RETRY_SCHEDULE_SECONDS = [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;

/** Longest wait, whatever Retry-After says: also the longest that a queue holds a message back. */
export const MAX_WAIT_SECONDS = 86_400;

/** A wait of the schedule is shortened by up to this share, one that the receiver asked for lengthened by as much. */
export const JITTER = 0.2;

/** Within the 15 to 30 s that the specification recommends. */
export const ATTEMPT_TIMEOUT_MS = 20_000;

/** Answers that say the receiver has too much to do. */
const OVERLOADED: readonly number[] = [429, 502, 503, 504];

export type AttemptOutcome =
  | { readonly kind: "answered"; readonly status: number; readonly retryAfter: string | null }
  | { readonly kind: "unanswered"; readonly fault: "network" | "timeout" | "target-refused" | "target-unresolved" };

export type DeliveryVerdict =
  | { readonly kind: "delivered" }
  /** 410 Gone: the endpoint is disabled and its waiting messages with it. */
  | { readonly kind: "endpoint-gone" }
  | { readonly kind: "retry"; readonly waitMs: number; readonly shouldThrottle: boolean }
  /** The schedule is used up; only a person starts it again. */
  | { readonly kind: "dead"; readonly shouldThrottle: boolean };

export interface RetryOptions {
  readonly nowMs: number;
  /** In [0, 1), fresh for each attempt. */
  readonly random: number;
  /** Default `RETRY_SCHEDULE_SECONDS`. Its length is the number of attempts. */
  readonly scheduleSeconds?: readonly number[];
}

/**
 * @param attempts made so far, the judged one among them: 1 after the first
 * @throws RangeError when attempts or random are out of bounds
 */
export function judgeAttempt(attempts: number, outcome: AttemptOutcome, options: RetryOptions): DeliveryVerdict {
  const { nowMs, random, scheduleSeconds = RETRY_SCHEDULE_SECONDS } = options;
  if (!Number.isInteger(attempts) || attempts < 1) throw new RangeError(`attempts must be 1 or more, got ${attempts}`);
  if (!(random >= 0 && random < 1)) throw new RangeError(`random must lie in [0, 1), got ${random}`);
  const status = outcome.kind === "answered" ? outcome.status : undefined;
  if (status !== undefined && status >= 200 && status <= 299) return { kind: "delivered" };
  if (status === 410) return { kind: "endpoint-gone" };

  const shouldThrottle = status !== undefined && OVERLOADED.includes(status);
  const scheduled = scheduleSeconds[attempts];
  if (scheduled === undefined) return { kind: "dead", shouldThrottle };
  const asked = outcome.kind === "answered" ? (retryAfterSeconds(outcome.retryAfter, nowMs) ?? 0) : 0;
  // the schedule is our own and may be undercut; what the receiver asked for may not
  const waitSeconds = Math.max(scheduled * (1 - JITTER * random), asked * (1 + JITTER * random));
  return { kind: "retry", waitMs: Math.ceil(Math.min(waitSeconds, MAX_WAIT_SECONDS) * 1000), shouldThrottle };
}
