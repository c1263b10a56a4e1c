/** Cron: one entry an expression of wrangler.toml. A step that fails is logged and holds up none of the others. */
import { DAY_MS } from "../domain/history/event-time.ts";
import { mapLimited } from "../domain/map-limited.ts";
import { systemClock } from "../http/clock.ts";
import { describeError, log } from "../http/log.ts";
import { deletedApps, standingDeletions } from "../store/app-deletions.ts";
import { appsOfJobs, type JobApp } from "../store/job-apps.ts";
import { sweepIdempotencyKeys } from "../store/idempotency.ts";
import { SNAPSHOT_AFTER_ROWS } from "../store/items.ts";
import { writeSnapshot } from "../store/snapshots.ts";
import { sweepReceived } from "../store/training-jobs.ts";
import { logStub } from "../store/subjects.ts";
import { sweepMessages } from "../store/webhooks.ts";
import { codeItems } from "./code-items.ts";
import { resumeDeletion } from "./delete-app.ts";
import { deliverDue } from "./deliver-webhooks.ts";
import { resumeErasures } from "./erase-user.ts";
import { requestDue, tendJobs } from "./training.ts";

/** The expressions of wrangler.toml; a test compares them. */
export const CRONS = ["*/5 * * * *"] as const;
export type Cron = (typeof CRONS)[number];

/** Apps that one tick looks after; the next tick goes on behind them. */
const APPS_A_TICK = 200;
const APPS_AT_ONCE = 4;
/** Items coded for an app in one tick: a wake-up that was lost is made good, and the CPU of a tick is bounded. */
const CODED_A_TICK = 500;

/** A deletion that nothing has worked on for this long has lost its wake-up. */
const STANDING_MS = 120_000;
const DELETIONS_A_TICK = 10;

/** Ids of incoming webhooks are kept much longer than the five minutes in which a signature is good; GitHub's have no time. */
const RECEIVED_MS = 30 * DAY_MS;

const JOBS: Readonly<Record<Cron, (env: Env, now: number) => Promise<void>>> = { "*/5 * * * *": everyFiveMinutes };

/** @throws RangeError for an expression that is not in the table */
export async function runCron(env: Env, cron: string, now: number): Promise<void> {
  const job = Object.hasOwn(JOBS, cron) ? JOBS[cron as Cron] : undefined;
  if (job === undefined) throw new RangeError(`no job for the cron expression ${cron}`);
  await job(env, now);
}

export async function scheduled(controller: ScheduledController, env: Env, _ctx: ExecutionContext): Promise<void> {
  await runCron(env, controller.cron, systemClock(env).now());
}

async function everyFiveMinutes(env: Env, now: number): Promise<void> {
  await step("resume-erasures", () => resumeErasures(env, now));
  await step("sweep-idempotency-keys", () => sweepIdempotencyKeys(env, now));
  await step("tend-training-jobs", () => tendJobs(env, now));
  await step("request-training", () => requestDue(env, now));
  await step("deliver-webhooks", () => deliverDue(env, 0, now));
  await step("sweep-webhooks", () => sweepMessages(env.DB, now - RECEIVED_MS));
  await step("sweep-received-webhooks", () => sweepReceived(env.DB, now - RECEIVED_MS));
  let standing: number[] = [];
  await step("list-deletions", async () => {
    standing = await standingDeletions(env, now - STANDING_MS, DELETIONS_A_TICK);
  });
  for (const app of standing) await step("delete-app", () => resumeDeletion(env, app, now), app);
  let apps: JobApp[] = [];
  await step("list-apps", async () => {
    const gone = await deletedApps(env);
    apps = (await appsOfJobs(env, now, APPS_A_TICK)).filter(({ app }) => !gone.has(app));
  });
  await mapLimited(apps, APPS_AT_ONCE, (app) => tendApp(env, app, now));
}

/** What an app's own alarms and wake-ups should have done already. */
async function tendApp(env: Env, { app, shards, unsnapshottedRows, hasModel }: JobApp, now: number): Promise<void> {
  for (let shard = 0; shard < shards; shard += 1) await step("tend-log", () => logStub(env, app, shard).tend(now), app);
  if (unsnapshottedRows >= SNAPSHOT_AFTER_ROWS) await step("snapshot", () => writeSnapshot(env, app), app);
  if (hasModel) await step("code-items", () => codeItems(env, app, { limit: CODED_A_TICK }), app);
}

async function step(job: string, work: () => Promise<unknown>, app?: number): Promise<void> {
  try {
    await work();
  } catch (error) {
    log("error", "job_failed", { job, ...(app === undefined ? {} : { app }), error: describeError(error) });
  }
}
