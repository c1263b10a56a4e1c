/**
 * What happens to training jobs beside the trainer: asking for one, judging what came back, promoting it. Each function looks at the
 * job's row and does one thing that may be done twice, so that a workflow, a cron tick and a route can all call it.
 */
import { mintId } from "../domain/identity/keys.ts";
import { type Canary, type JobRequest, LEASED, nextStep } from "../domain/jobs/job.ts";
import { judge } from "../domain/jobs/gate.ts";
import { dueRequest } from "../domain/jobs/policy.ts";
import { policiesAfter } from "../store/training-policies.ts";
import { judgeCanary, type Outcomes, SHARES } from "../domain/experiments/canary.ts";
import { joined, NO_USERS, type Sequential } from "../domain/experiments/sequential.ts";
import { randomBytes } from "../http/random.ts";
import { describeError, log } from "../http/log.ts";
import { deletePage } from "../store/app-deletions.ts";
import { jobPrefix } from "../store/artefacts.ts";
import { type AppRow, findApp } from "../store/apps.ts";
import { canaryModel, endCanary, findModel, registered, servingModel, startCanary } from "../store/models.ts";
import { logStub } from "../store/subjects.ts";
import {
  findJob,
  moveJob,
  openJobs,
  type ReceivedWebhook,
  requestJob,
  requeueJob,
  type TrainingJob,
} from "../store/training-jobs.ts";
import { messageOf, wakeDelivery } from "./messages.ts";
import { checkArtefact, promoteArtefact } from "./model-registry.ts";
import type { NewMessage } from "../store/webhooks.ts";

/** A promotion that codes newer items first, or a check that failed on the way, is tried again after this. */
const AGAIN_MS = 5_000;
const OPEN_JOBS_A_TICK = 50;
const POLICIES_A_PAGE = 200;
/** A job that nothing has touched for this long is looked at by the cron. */
const STANDING_MS = 60_000;

function announcement(jobId: string, attempts: number, request: JobRequest, now: number): Promise<NewMessage> {
  const { source, reason } = request;
  return messageOf({ type: "training.requested", data: { jobId, source, reason } }, `${jobId} ${attempts}`, now);
}

async function ended(
  env: Env,
  app: number,
  job: TrainingJob,
  status: "promoted" | "rejected" | "failed" | "cancelled",
  now: number,
): Promise<NewMessage> {
  const model = job.modelId === null ? undefined : await findModel(env.DB, app, job.modelId);
  const data = { jobId: job.id, status, modelVersion: model?.modelVersion ?? null };
  return messageOf({ type: "job.completed", data }, job.id, now);
}

/** Asks for a model and starts the job's workflow. Wishes that come while a job waits are merged into it. */
export async function requestTraining(
  env: Env,
  app: number,
  wish: {
    readonly request: JobRequest;
    readonly webhook: ReceivedWebhook | null;
    readonly canary?: Canary | null;
  },
  now: number,
): Promise<{ readonly job: TrainingJob; readonly outcome: "created" | "merged" | "duplicate" }> {
  const id = mintId("job", randomBytes);
  const message = await announcement(id, 0, wish.request, now);
  const result = await requestJob(env.DB, app, { id, ...wish, announcement: message }, now);
  if (result.outcome === "created") await startWorkflow(env, app, id);
  return result;
}

/** Starts a new job's workflow; the cron makes good what is lost. */
async function startWorkflow(env: Env, app: number, id: string): Promise<void> {
  try {
    await env.TRAINING.create({ id, params: { app, id } });
  } catch (error) {
    log("warn", "workflow_not_started", { app, error: describeError(error) });
  }
}

/** Tells a job's workflow that something changed, starting it where it is not there. */
export async function wakeWorkflow(env: Env, app: number, id: string): Promise<void> {
  try {
    await (await env.TRAINING.get(id)).sendEvent({ type: "changed", payload: {} });
  } catch {
    await startWorkflow(env, app, id);
  }
}

/** What a job waits for: nothing any more, a time, or news. */
export type Waiting = { readonly isFinished: true } | { readonly isFinished: false; readonly untilMs: number | null };

/** Does what is next for a job, one thing after the other until it has to wait. */
export async function advance(env: Env, app: number, id: string, now: number): Promise<Waiting> {
  const waiting = await doNext(env, app, id, now);
  await wakeDelivery(env, app);
  return waiting;
}

async function doNext(env: Env, app: number, id: string, now: number): Promise<Waiting> {
  for (;;) {
    const job = await findJob(env.DB, app, id);
    if (job === undefined) return { isFinished: true }; // its app is gone
    const next = nextStep(job, now);
    switch (next.kind) {
      case "finished":
        while (!(await deletePage(env.MODELS, jobPrefix(app, id))).isEmpty);
        return { isFinished: true };
      case "cancel": {
        if (job.status === "canary") await showToNobody(env, app, job);
        const message = await ended(env, app, job, "cancelled", now);
        await moveJob(env.DB, app, id, { from: [job.status], to: "cancelled", messages: [message] }, now);
        break;
      }
      case "wait":
        return { isFinished: false, untilMs: next.untilMs };
      case "requeue": {
        const request = { source: "schedule", reason: "the trainer fell silent", at: now } as const;
        const message = await announcement(id, job.attempts, request, now);
        await requeueJob(env.DB, app, id, message, now);
        break;
      }
      case "fail": {
        const message = await ended(env, app, job, "failed", now);
        await moveJob(env.DB, app, id, { from: LEASED, to: "failed", failure: next.reason, messages: [message] }, now);
        break;
      }
      case "evaluate":
        await evaluate(env, app, job, now);
        break;
      case "start-canary":
        await showToSome(env, app, job, now);
        break;
      case "watch": {
        const untilMs = await watch(env, app, job, now);
        if (untilMs !== null) return { isFinished: false, untilMs };
        break;
      }
      case "promote":
        if (!(await promote(env, app, job, now))) return { isFinished: false, untilMs: now + AGAIN_MS };
        break;
      default:
        next satisfies never;
    }
  }
}

/** What a trainer says that gives up: the job ends, cancelled where that was asked for. Undefined: the lease is another's. */
export async function endJob(
  env: Env,
  app: number,
  lease: { readonly id: string; readonly hash: string },
  failure: string,
  now: number,
): Promise<TrainingJob | undefined> {
  const job = await findJob(env.DB, app, lease.id);
  if (job === undefined) return undefined;
  const to = job.cancelRequestedAt === null ? "failed" : "cancelled";
  const message = await ended(env, app, job, to, now);
  const moved = await moveJob(
    env.DB,
    app,
    lease.id,
    { from: LEASED, to, lease: lease.hash, failure, messages: [message] },
    now,
  );
  if (moved !== undefined) await wakeWorkflow(env, app, lease.id);
  return moved;
}

/** Holds the model to the gate. */
async function evaluate(env: Env, app: number, job: TrainingJob, now: number): Promise<void> {
  const row = job.modelId === null ? undefined : await findModel(env.DB, app, job.modelId);
  const model = row === undefined ? undefined : registered(app, row);
  const checked =
    model === undefined
      ? { refusals: [`model ${job.modelId} is not registered`], deviation: null }
      : await checkArtefact(env, model);
  const decision = judge({
    refusals: checked.refusals,
    deviation: checked.deviation,
    report: job.report ?? {},
    serving: (await servingModel(env, app))?.modelVersion ?? null,
  });
  if (decision.isPassed) {
    await moveJob(env.DB, app, job.id, { from: ["evaluating"], to: "gated", decision: { ...decision } }, now);
    return;
  }
  const note = decision.checks.find((check) => !check.isPassed)?.detail ?? null;
  const message = await ended(env, app, job, "rejected", now);
  const move = { from: ["evaluating"], to: "rejected", decision: { ...decision }, note, messages: [message] } as const;
  await moveJob(env.DB, app, job.id, move, now);
}

/** Shows the model to its share of users; where nothing serves yet there is nobody to spare, and it is promoted. */
async function showToSome(env: Env, app: number, job: TrainingJob, now: number): Promise<void> {
  const row = await findModel(env.DB, app, job.modelId!);
  const share = Math.round((job.canary?.share ?? 0) * SHARES);
  const isShown = row !== undefined && (await startCanary(env.DB, app, { model: row.model, share }, now));
  if (!isShown) {
    await promote(env, app, job, now);
    return;
  }
  const note = `shown to ${(100 * share) / SHARES} % of users`;
  await moveJob(env.DB, app, job.id, { from: ["gated"], to: "canary", note }, now);
  await env.JOBS.send({ type: "code-items", app }).catch(() => undefined);
}

async function showToNobody(env: Env, app: number, job: TrainingJob): Promise<void> {
  const row = await findModel(env.DB, app, job.modelId!);
  if (row !== undefined) await endCanary(env.DB, app, row.model).run();
}

/** What users of both models brought since the canary began. */
async function outcomes(env: Env, row: AppRow, versions: { canary: string; serving: string }): Promise<Outcomes> {
  const since = row.canarySince ?? 0;
  const of = async (version: string) => {
    const shards = Array.from({ length: row.logShards }, (_, shard) => logStub(env, row.app, shard));
    const parts = await Promise.all(shards.map((stub) => stub.outcomes(version, since)));
    return parts.reduce(joined, NO_USERS);
  };
  const [canary, serving] = await Promise.all([of(versions.canary), of(versions.serving)]);
  return { canary, serving };
}

/** Looks at a canary. @returns when to look again; null: it is decided */
async function watch(env: Env, app: number, job: TrainingJob, now: number): Promise<number | null> {
  const [row, onTrial, serving] = await Promise.all([findApp(env, app), canaryModel(env, app), servingModel(env, app)]);
  if (row === undefined || onTrial?.id !== job.modelId || serving === undefined) {
    const message = await ended(env, app, job, "cancelled", now);
    const failure = "the trial was ended by hand";
    await moveJob(env.DB, app, job.id, { from: ["canary"], to: "cancelled", failure, messages: [message] }, now);
    return null;
  }
  const seen = await outcomes(env, row, { canary: onTrial.modelVersion, serving: serving.modelVersion });
  const verdict = judgeCanary(seen, row.canarySince ?? now, job.canary?.days ?? 1, now);
  if (verdict.kind === "go-on") return verdict.untilMs;
  if (verdict.kind === "passed") return (await promote(env, app, job, now)) ? null : now + AGAIN_MS;
  const { difference, interval } = verdict.seen as Extract<Sequential, { kind: "measured" }>;
  const [low, high] = interval.map((value) => value.toFixed(3));
  const failure = `users of the new model brought ${difference.toFixed(3)} [${low}, ${high}] more`;
  const decision = { ...job.decision, canary: { ...verdict.seen, users: seen.canary.users } };
  await endCanary(env.DB, app, onTrial.model).run();
  const data = { modelVersion: serving.modelVersion, withdrawnVersion: onTrial.modelVersion, reason: failure };
  const messages = [
    await messageOf({ type: "model.rolledBack", data }, job.id, now),
    await ended(env, app, job, "rejected", now),
  ];
  await moveJob(env.DB, app, job.id, { from: ["canary"], to: "rejected", failure, decision, messages }, now);
  return null;
}

/** False: not yet. */
async function promote(env: Env, app: number, job: TrainingJob, now: number): Promise<boolean> {
  const outcome = await promoteArtefact(env, app, job.modelId!, now, { jobId: job.id });
  if (outcome.kind === "pending") return false;
  const message = await ended(env, app, job, outcome.kind === "done" ? "promoted" : "rejected", now);
  if (outcome.kind === "done") {
    await moveJob(env.DB, app, job.id, { from: ["gated", "canary"], to: "promoted", messages: [message] }, now);
    return true;
  }
  const failure = outcome.kind === "conflict" ? outcome.detail : outcome.refusals.map(({ what }) => what).join(", ");
  await showToNobody(env, app, job);
  await moveJob(env.DB, app, job.id, { from: ["gated", "canary"], to: "rejected", failure, messages: [message] }, now);
  return true;
}

/** For the cron: asks for models that apps want by themselves. */
export async function requestDue(env: Env, now: number): Promise<void> {
  for (let after = 0; ;) {
    const page = await policiesAfter(env.DB, after, POLICIES_A_PAGE);
    for (const { app, policy, since } of page) {
      const request = dueRequest(policy, since, now);
      if (request === null) continue;
      await requestTraining(env, app, { request, webhook: null, canary: policy.canary }, now);
      await wakeDelivery(env, app);
    }
    if (page.length < POLICIES_A_PAGE) return;
    after = page.at(-1)!.app;
  }
}

/** For the cron: jobs whose workflow may have lost its timer go on all the same. */
export async function tendJobs(env: Env, now: number): Promise<void> {
  for (const { app, id } of await openJobs(env.DB, now - STANDING_MS, OPEN_JOBS_A_TICK)) {
    try {
      const waiting = await advance(env, app, id, now);
      await wakeWorkflow(env, app, id);
      if (waiting.isFinished) log("info", "job_finished_by_cron", { app, job: id });
    } catch (error) {
      log("error", "job_failed", { app, job: "training", error: describeError(error) });
    }
  }
}
