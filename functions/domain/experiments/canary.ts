/** A model that a share of users sees before all do: who they are, and when it has been seen enough. */
import { difference, type Moments, type Sequential } from "./sequential.ts";
import { seededRandom } from "../generation/random.ts";
import { DAY_MS } from "../history/event-time.ts";

/** Users of whom shares are counted. */
export const SHARES = 10_000;

/** What a user does within this time of the first list by a model counts for that model. */
export const OUTCOME_MS = DAY_MS;
/** A user's reward counts up to this, either way: one who buys all day must not decide alone. */
export const REWARD_BOUND = 20;
/** Chance that a model which is no worse is ever taken for one, at however many looks. */
export const ALPHA = 0.05;
/** A difference of the mean reward of a user that matters: a fiftieth of a save. */
export const SCALE = 0.06;

/** Whether a user sees the canary: the same user always does, and other users do for another model. */
export function isInCanary(userId: string, model: number, share: number): boolean {
  return share > 0 && seededRandom(`canary ${model} ${userId}`)() * SHARES < share;
}

/** What one model's users brought. */
export interface Outcomes {
  readonly canary: Moments;
  readonly serving: Moments;
}

export type Verdict =
  | { readonly kind: "go-on"; readonly untilMs: number; readonly seen: Sequential }
  | { readonly kind: "harm"; readonly seen: Sequential }
  | { readonly kind: "passed"; readonly seen: Sequential };

/** How often a canary is looked at. */
export const LOOK_MS = 5 * 60_000;

/** @param days after which a canary that did no harm has passed */
export function judgeCanary(outcomes: Outcomes, since: number, days: number, now: number): Verdict {
  const seen = difference(outcomes.canary, outcomes.serving, { alpha: ALPHA, scale: SCALE });
  if (seen.kind === "measured" && seen.interval[1] < 0) return { kind: "harm", seen };
  const end = since + days * DAY_MS;
  if (now >= end) return { kind: "passed", seen };
  return { kind: "go-on", untilMs: Math.min(now + LOOK_MS, end), seen };
}
