/** When an app wants a new model by itself: by the hours since the last job, or by what was logged since. */
import * as z from "zod";
import { Canary, type JobRequest } from "./job.ts";

const HOUR_MS = 3_600_000;

export const Policy = z
  .strictObject({
    everyHours: z.int().min(1).max(8760).nullable().default(null),
    afterEvents: z.int().min(100).max(1_000_000_000).nullable().default(null),
    canary: Canary.nullable().default(null),
  })
  .meta({ id: "TrainingPolicy", description: "null switches a reason off; with both the first one counts" });
export type Policy = z.infer<typeof Policy>;

/** What has happened in an app. Times are milliseconds since 1970. */
export interface Since {
  /** When the policy was written: hours count from there until there is a job. */
  readonly policyAt: number;
  /** When the last job was asked for, whatever became of it; null: never. */
  readonly lastJobAt: number | null;
  /** Records sealed since then. */
  readonly records: number;
  /** Whether a job waits or is worked on. */
  readonly isOpen: boolean;
}

/** The wish that is due, or null. Nothing is asked for while a job is open: it will have the newest events. */
export function dueRequest(
  policy: Pick<Policy, "everyHours" | "afterEvents">,
  since: Since,
  now: number,
): JobRequest | null {
  if (since.isOpen) return null;
  const { everyHours, afterEvents } = policy;
  if (afterEvents !== null && since.records >= afterEvents) {
    return {
      source: "events",
      reason: `${since.records} records since the last training; ${afterEvents} are enough`,
      at: now,
    };
  }
  const waited = now - Math.max(since.lastJobAt ?? 0, since.policyAt);
  if (everyHours !== null && waited >= everyHours * HOUR_MS) {
    return { source: "schedule", reason: `every ${everyHours} hours`, at: now };
  }
  return null;
}
