/**
 * Queue messages: wake-ups only, never the only copy of anything. They come at least once and in no order, so every job can be
 * done twice. Each message is acknowledged or retried by itself.
 */
import * as z from "zod";
import { systemClock } from "../http/clock.ts";
import { describeError, log } from "../http/log.ts";
import { findApp } from "../store/apps.ts";
import { writeSnapshot } from "../store/snapshots.ts";
import { codeItems } from "./code-items.ts";
import { continueDeletion } from "./delete-app.ts";
import { deliverDue } from "./deliver-webhooks.ts";

export const JobMessage = z.discriminatedUnion("type", [
  z.object({ type: z.literal("code-items"), app: z.int().positive() }),
  z.object({ type: z.literal("snapshot"), app: z.int().positive() }),
  z.object({ type: z.literal("delete-app"), app: z.int().positive() }),
  z.object({ type: z.literal("deliver-webhooks"), app: z.int().positive() }),
]);

export type Job = z.infer<typeof JobMessage>;

/** Items coded for one message; what is left asks again by a message of its own. */
const CODED_A_MESSAGE = 500;
const LONGEST_DELAY_SECONDS = 300;
/** The longest that a queue holds a message back (12 h). */
const LONGEST_QUEUED_SECONDS = 43_200;

export async function queue(batch: MessageBatch, env: Env, _ctx: ExecutionContext): Promise<void> {
  for (const message of batch.messages) {
    const job = JobMessage.safeParse(message.body);
    if (!job.success) {
      log("error", "message_refused", { job: "queue" });
      message.ack(); // it will not get better
      continue;
    }
    try {
      await runJob(env, job.data);
      message.ack();
    } catch (error) {
      log("error", "job_failed", { job: job.data.type, app: job.data.app, error: describeError(error) });
      message.retry({ delaySeconds: Math.min(2 ** message.attempts, LONGEST_DELAY_SECONDS) });
    }
  }
}

async function runJob(env: Env, job: Job): Promise<void> {
  // an app that is being deleted, or is gone, gets nothing new
  if (job.type !== "delete-app" && (await findApp(env, job.app)) === undefined) return;
  switch (job.type) {
    case "code-items": {
      const { coded, pending } = await codeItems(env, job.app, { limit: CODED_A_MESSAGE });
      if (pending > 0 && coded > 0) await env.JOBS.send({ type: "code-items", app: job.app });
      return;
    }
    case "snapshot":
      await writeSnapshot(env, job.app);
      return;
    case "delete-app":
      await continueDeletion(env, job.app, systemClock(env).now());
      return;
    case "deliver-webhooks": {
      const now = systemClock(env).now();
      const again = await deliverDue(env, job.app, now);
      const delaySeconds = Math.min(Math.ceil(((again ?? now) - now) / 1000), LONGEST_QUEUED_SECONDS);
      if (again !== null) await env.JOBS.send({ type: "deliver-webhooks", app: job.app }, { delaySeconds });
      return;
    }
    default:
      job satisfies never;
  }
}
