/**
 * The life of a training job. A trainer elsewhere leases a waiting job and says now and then that it lives; when it falls silent the
 * job waits again, and the next one goes on from the last checkpoint. What comes out is judged before anybody is served by it.
 */
import * as z from "zod";

export const JOB_STATUSES = [
  "queued", // waits for a trainer
  "claimed", // leased, nothing reported yet
  "running", // reports progress
  "evaluating", // the model is registered, the gate looks at it
  "gated", // let through, not shown to anybody yet
  "canary", // shown to a share of users
  "promoted",
  "rejected",
  "failed",
  "cancelled",
] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];

/** States that can follow. Final ones have none. */
export const TRANSITIONS: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  queued: ["claimed", "cancelled", "failed"],
  claimed: ["running", "evaluating", "queued", "failed", "cancelled"],
  running: ["evaluating", "queued", "failed", "cancelled"],
  evaluating: ["gated", "rejected", "failed", "cancelled"],
  gated: ["canary", "promoted", "rejected", "cancelled"],
  canary: ["promoted", "rejected", "cancelled"],
  promoted: [],
  rejected: [],
  failed: [],
  cancelled: [],
};

export function isFinal(status: JobStatus): boolean {
  return TRANSITIONS[status].length === 0;
}

/** States in which a trainer holds the job. */
export const LEASED = ["claimed", "running"] as const satisfies readonly JobStatus[];

/** Without a heartbeat for this long a lease ends. A trainer reports every minute. */
export const LEASE_MS = 5 * 60_000;
/** Leases of one job: what kills five trainers will kill a sixth. */
export const MAX_ATTEMPTS = 5;
/** Wishes that a waiting job remembers one by one; further ones are counted. */
export const KEPT_REQUESTS = 50;

/** Why a model is wanted. */
export const JobRequest = z.strictObject({
  source: z.enum(["webhook", "github", "api", "schedule", "events", "drift"]),
  reason: z.string().max(500),
  at: z.int(),
});
export type JobRequest = z.infer<typeof JobRequest>;

/** How a model that passed the gate is shown to some users before it is shown to all. */
export const Canary = z
  .strictObject({
    share: z.number().min(0.01).max(0.5).meta({ description: "Share of users" }),
    days: z.number().min(0.01).max(30).meta({ description: "After which a model that did no harm is promoted" }),
  })
  .meta({ id: "Canary" });
export type Canary = z.infer<typeof Canary>;

/** What a trainer reports while it works. */
export const Progress = z.strictObject({
  stage: z.string().min(1).max(64),
  step: z.int().min(0).optional(),
  steps: z.int().min(1).optional(),
  loss: z.number().optional(),
  message: z.string().max(500).optional(),
});
export type Progress = z.infer<typeof Progress>;

const File = z.strictObject({
  path: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/),
  bytes: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** Where the next trainer goes on: files that were uploaded to the job, in the order in which they are joined. */
export const Checkpoint = z.strictObject({
  stage: z.string().min(1).max(64),
  step: z.int().min(0),
  files: z.array(File).min(1).max(64),
});
export type Checkpoint = z.infer<typeof Checkpoint>;

/** What should happen next to a job that nobody is working on. */
export type NextStep =
  | { readonly kind: "wait"; readonly untilMs: number | null }
  | { readonly kind: "requeue" }
  | { readonly kind: "fail"; readonly reason: string }
  | { readonly kind: "cancel" }
  | { readonly kind: "evaluate" }
  | { readonly kind: "promote" }
  | { readonly kind: "start-canary" }
  | { readonly kind: "watch" }
  | { readonly kind: "finished" };

/** The part of a job that decides what comes next. Times are milliseconds since 1970. */
export interface JobState {
  readonly status: JobStatus;
  readonly attempts: number;
  readonly leaseUntil: number | null;
  readonly cancelRequestedAt: number | null;
  readonly canary: Canary | null;
}

/** @returns what is to be done at `now`; a wait without an end is for whoever holds the job or judges it by hand */
export function nextStep(job: JobState, now: number): NextStep {
  const isHeld = (job.leaseUntil ?? 0) > now; // its trainer hears of it with the next heartbeat
  if (job.cancelRequestedAt !== null && !isFinal(job.status) && !isHeld) return { kind: "cancel" };
  switch (job.status) {
    case "queued":
      return { kind: "wait", untilMs: null };
    case "claimed":
    case "running": {
      const until = job.leaseUntil ?? 0;
      if (until > now) return { kind: "wait", untilMs: until };
      if (job.attempts < MAX_ATTEMPTS) return { kind: "requeue" };
      return { kind: "fail", reason: `${job.attempts} trainers fell silent` };
    }
    case "evaluating":
      return { kind: "evaluate" };
    case "gated":
      return { kind: job.canary === null ? "promote" : "start-canary" };
    case "canary":
      return { kind: "watch" };
    case "promoted":
    case "rejected":
    case "failed":
    case "cancelled":
      return { kind: "finished" };
    default:
      return job.status satisfies never;
  }
}
