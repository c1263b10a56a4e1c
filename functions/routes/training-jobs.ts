/**
 * Training jobs: who wants a model asks, a trainer leases the job, reports, uploads and hands the model in. The lease's token, which
 * only its holder knows, goes into `X-Job-Lease`; a key of the scope `trainer` is enough for all of it.
 */
import { Hono } from "hono";
import * as z from "zod";
import { hashKey, mintKey } from "../domain/identity/keys.ts";
import { Canary, Checkpoint, isFinal, JOB_STATUSES, JobRequest, LEASE_MS, Progress } from "../domain/jobs/job.ts";
import { Policy } from "../domain/jobs/policy.ts";
import { requireKind } from "../http/auth.ts";
import { parseBody } from "../http/body.ts";
import { idempotent } from "../http/idempotency.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { randomBytes } from "../http/random.ts";
import { wakeDelivery } from "../jobs/messages.ts";
import { endJob, requestTraining, wakeWorkflow } from "../jobs/training.ts";
import { getObject, jobFileKey } from "../store/artefacts.ts";
import { findModel } from "../store/models.ts";
import {
  askToCancel,
  claimJob,
  completeJob,
  findJob,
  heartbeat,
  jobChanges,
  listJobs,
  type TrainingJob,
} from "../store/training-jobs.ts";
import { readPolicy, writePolicy } from "../store/training-policies.ts";
import { storeUpload } from "./uploads.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";

const LISTED = 100;
/** How often a trainer is asked to report: four heartbeats may be lost before the lease ends. */
const HEARTBEAT_SECONDS = LEASE_MS / 1000 / 5;
const LEASE_HEADER = "x-job-lease";

const Time = z.iso.datetime();
const Report = z.record(z.string().max(64), z.unknown());

const Job = z
  .object({
    id: z.string(),
    status: z.enum(JOB_STATUSES),
    requests: z
      .array(JobRequest.extend({ at: Time }))
      .meta({ description: "Who asked, why and when: the first fifty" }),
    requestCount: z.int().meta({ description: "Wishes merged into this job" }),
    attempts: z.int().meta({ description: "Leases taken so far" }),
    trainer: z.string().nullable(),
    leaseUntil: Time.nullable(),
    progress: Progress.nullable(),
    checkpoint: Checkpoint.nullable().meta({ description: "Where the next trainer goes on" }),
    modelId: z.string().nullable(),
    canary: Canary.nullable(),
    report: Report.nullable().meta({ description: "What the trainer says of its model" }),
    decision: Report.nullable().meta({ description: "What the gate found, check by check" }),
    failure: z.string().nullable(),
    isCancelRequested: z.boolean(),
    createdAt: Time,
    updatedAt: Time,
    finishedAt: Time.nullable(),
  })
  .meta({ id: "TrainingJob", description: "A wish for a new model and what became of it" });

const JobWithHistory = Job.extend({
  history: z.array(z.object({ status: z.enum(JOB_STATUSES), at: Time, note: z.string().nullable() })),
}).meta({ id: "TrainingJobWithHistory" });
const JobList = z.object({ jobs: z.array(Job) }).meta({ id: "TrainingJobList" });

export const JobAnswer = z
  .object({
    job: Job,
    outcome: z.enum(["created", "merged", "duplicate"]).meta({
      description: "merged: a job waited already and took the wish in; duplicate: this webhook was answered before",
    }),
  })
  .meta({ id: "TrainingRequestAnswer" });

const NewJob = z
  .strictObject({
    reason: z.string().min(1).max(500).default("asked for by a key"),
    canary: Canary.optional().meta({
      description: "Show the model to a share of users first; else it is promoted at once",
    }),
  })
  .meta({ id: "NewTrainingJob" });
const Claim = z
  .strictObject({ trainer: z.string().min(1).max(128).meta({ description: "A name for people to read" }) })
  .meta({ id: "TrainingClaim" });
const Lease = z
  .object({
    job: Job,
    lease: z.object({
      token: z.string().meta({ description: "For X-Job-Lease; shown once" }),
      until: Time,
      heartbeatSeconds: z.int(),
    }),
  })
  .meta({ id: "TrainingLease" });
const Beat = z
  .strictObject({ progress: Progress.optional(), checkpoint: Checkpoint.optional() })
  .meta({ id: "TrainingHeartbeat" });
const BeatAnswer = z
  .object({
    leaseUntil: Time,
    isCancelRequested: z.boolean().meta({ description: "True: stop, and call /fail" }),
  })
  .meta({ id: "TrainingHeartbeatAnswer" });
const Completion = z
  .strictObject({
    modelId: z.string().min(1).max(64).meta({ description: "A model that was registered with POST /v1/models" }),
    report: Report.meta({ description: "comparedTo, ndcg10 and slices are what the gate reads" }),
  })
  .meta({ id: "TrainingCompletion" });
const Failure = z.strictObject({ reason: z.string().min(1).max(500) }).meta({ id: "TrainingFailure" });
const JobFile = z.object({ path: z.string(), bytes: z.int(), sha256: z.string() }).meta({ id: "TrainingJobFile" });

const rfc3339 = (ms: number) => new Date(ms).toISOString();
const rfc3339OrNull = (ms: number | null) => (ms === null ? null : rfc3339(ms));

export function jobAnswer(job: TrainingJob): z.output<typeof Job> {
  const { requests, leaseUntil, cancelRequestedAt, createdAt, updatedAt, finishedAt, ...rest } = job;
  return {
    ...rest,
    report: job.report === null ? null : { ...job.report },
    decision: job.decision === null ? null : { ...job.decision },
    requests: requests.map((request) => ({ ...request, at: rfc3339(request.at) })),
    leaseUntil: rfc3339OrNull(leaseUntil),
    isCancelRequested: cancelRequestedAt !== null,
    createdAt: rfc3339(createdAt),
    updatedAt: rfc3339(updatedAt),
    finishedAt: rfc3339OrNull(finishedAt),
  };
}

/** @throws ProblemError not_found, also for another app's job */
async function jobOrNotFound(c: Context<Bindings>): Promise<TrainingJob> {
  const id = c.req.param("id")!;
  const job = await findJob(c.env.DB, c.get("credential").app, id);
  if (job === undefined) throw new ProblemError("not_found", `There is no training job ${id.slice(0, 64)} in this app`);
  return job;
}

/** The lease that the request shows. @throws ProblemError invalid_request */
async function leaseOf(c: Context<Bindings>): Promise<{ id: string; hash: string }> {
  const token = c.req.header(LEASE_HEADER);
  if (token === undefined) {
    throw new ProblemError("invalid_request", "The lease of the job is missing", {
      errors: [{ pointer: "X-Job-Lease", code: "missing", detail: "the token that the claim was answered with" }],
    });
  }
  return { id: c.req.param("id")!, hash: await hashKey(token) };
}

function leaseLost(job: TrainingJob): ProblemError {
  const holder = job.trainer === null ? "nobody" : JSON.stringify(job.trainer);
  return new ProblemError("conflict", `This lease of job ${job.id} has ended: it is ${job.status}, held by ${holder}`);
}

export const trainingJobsRoutes = new Hono<Bindings>();
const secret = requireKind("secret");

trainingJobsRoutes.post("/training-jobs", secret, idempotent, async (c) => {
  const { reason, canary = null } = await parseBody(c, NewJob);
  const now = c.get("clock").now();
  const request = { source: "api", reason, at: now } as const;
  const { job, outcome } = await requestTraining(
    c.env,
    c.get("credential").app,
    { request, webhook: null, canary },
    now,
  );
  await wakeDelivery(c.env, c.get("credential").app);
  return c.json({ job: jobAnswer(job), outcome }, 202);
});

trainingJobsRoutes.get("/training-jobs", secret, async (c) => {
  const jobs = await listJobs(c.env.DB, c.get("credential").app, LISTED);
  return c.json({ jobs: jobs.map(jobAnswer) });
});

trainingJobsRoutes.get("/training-jobs/:id", secret, async (c) => {
  const job = await jobOrNotFound(c);
  const changes = await jobChanges(c.env.DB, c.get("credential").app, job.id);
  return c.json({ ...jobAnswer(job), history: changes.map((change) => ({ ...change, at: rfc3339(change.at) })) });
});

trainingJobsRoutes.post("/training-jobs/:id/claim", secret, async (c) => {
  const { trainer } = await parseBody(c, Claim);
  const wanted = c.req.param("id");
  const now = c.get("clock").now();
  const { key: token } = mintKey("lease", randomBytes);
  const claim = { id: wanted === "next" ? null : wanted, trainer, leaseHash: await hashKey(token) };
  const job = await claimJob(c.env.DB, c.get("credential").app, claim, now);
  if (job === undefined) {
    if (wanted === "next") return c.body(null, 204);
    const { id, status } = await jobOrNotFound(c);
    throw new ProblemError("conflict", `Job ${id} can't be claimed: it is ${status}`);
  }
  await wakeWorkflow(c.env, c.get("credential").app, job.id);
  const lease = { token, until: rfc3339(job.leaseUntil ?? now), heartbeatSeconds: HEARTBEAT_SECONDS };
  return c.json({ job: jobAnswer(job), lease });
});

trainingJobsRoutes.post("/training-jobs/:id/heartbeat", secret, async (c) => {
  const { progress = null, checkpoint = null } = await parseBody(c, Beat);
  const lease = await leaseOf(c);
  const { app } = c.get("credential");
  const job = await heartbeat(c.env.DB, app, lease, { progress, checkpoint }, c.get("clock").now());
  if (job === undefined) throw leaseLost(await jobOrNotFound(c));
  return c.json({ leaseUntil: rfc3339(job.leaseUntil ?? 0), isCancelRequested: job.cancelRequestedAt !== null });
});

trainingJobsRoutes.put("/training-jobs/:id/files/:path", secret, async (c) => {
  const path = Checkpoint.shape.files.element.shape.path.safeParse(c.req.param("path"));
  if (!path.success) {
    throw new ProblemError("invalid_request", "The name of the file is not valid", {
      errors: [
        { pointer: "path", code: "invalid_format", detail: "letters, digits, dot, dash, underscore; 128 at most" },
      ],
    });
  }
  const { id, hash } = await leaseOf(c);
  const { app } = c.get("credential");
  const beat = await heartbeat(c.env.DB, app, { id, hash }, { progress: null, checkpoint: null }, c.get("clock").now());
  if (beat === undefined) throw leaseLost(await jobOrNotFound(c));
  const { bytes, sha256 } = await storeUpload(c, (sum) => jobFileKey(app, id, sum));
  return c.json({ path: path.data, bytes, sha256 });
});

/** Files of the checkpoint that the job has, for whoever holds it. */
trainingJobsRoutes.get("/training-jobs/:id/files/:path", secret, async (c) => {
  const job = await jobOrNotFound(c);
  const file = job.checkpoint?.files.find(({ path }) => path === c.req.param("path"));
  const object = file && (await getObject(c.env, jobFileKey(c.get("credential").app, job.id, file.sha256)));
  if (file === undefined || object === undefined)
    throw new ProblemError("not_found", "The checkpoint has no such file");
  return c.body(object, 200, { "content-type": "application/octet-stream", "x-content-sha256": file.sha256 });
});

trainingJobsRoutes.post("/training-jobs/:id/complete", secret, async (c) => {
  const result = await parseBody(c, Completion);
  const lease = await leaseOf(c);
  const { app } = c.get("credential");
  const model = await findModel(c.env.DB, app, result.modelId);
  if (model === undefined || model.status === "uploading") {
    throw new ProblemError("conflict", `Model ${result.modelId} is not registered: put its files and manifest first`, {
      errors: [{ pointer: "/modelId", code: "not_registered", detail: "names no registered model of this app" }],
    });
  }
  const job = await completeJob(c.env.DB, app, lease, result, c.get("clock").now());
  if (job === undefined) throw leaseLost(await jobOrNotFound(c));
  if (job.modelId !== result.modelId)
    throw new ProblemError("conflict", `Job ${job.id} was completed with ${job.modelId}`);
  await wakeWorkflow(c.env, app, job.id);
  return c.json(jobAnswer(job));
});

trainingJobsRoutes.post("/training-jobs/:id/fail", secret, async (c) => {
  const { reason } = await parseBody(c, Failure);
  const lease = await leaseOf(c);
  const job = await endJob(c.env, c.get("credential").app, lease, reason, c.get("clock").now());
  if (job === undefined) throw leaseLost(await jobOrNotFound(c));
  return c.json(jobAnswer(job));
});

trainingJobsRoutes.post("/training-jobs/:id/cancel", secret, idempotent, async (c) => {
  const { app } = c.get("credential");
  const { id, status } = await jobOrNotFound(c);
  if (!isFinal(status)) await askToCancel(c.env.DB, app, id, c.get("clock").now());
  await wakeWorkflow(c.env, app, id);
  return c.json(jobAnswer(await jobOrNotFound(c)));
});

trainingJobsRoutes.get("/training-policy", secret, async (c) => {
  const policy = await readPolicy(c.env.DB, c.get("credential").app);
  return c.json(policy ?? Policy.parse({}));
});

trainingJobsRoutes.put("/training-policy", secret, async (c) => {
  const policy = await parseBody(c, Policy);
  await writePolicy(c.env.DB, c.get("credential").app, policy, c.get("clock").now());
  return c.json(policy);
});

const COMMON = { tag: "Training", auth: ["secret"], scope: "trainer" } as const;
const ID = { id: "Id of the job" };

describe({
  ...COMMON,
  method: "post",
  path: "/v1/training-jobs",
  summary: "Ask for a new model",
  description:
    "Makes a job that a trainer will claim. While one waits, a further wish is merged into it. Endpoints that listen for " +
    "`training.requested` hear of a new job.",
  idempotent: true,
  request: NewJob,
  response: JobAnswer,
  status: 202,
  example: { reason: "the new season is in the catalogue" },
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/training-jobs",
  summary: "List training jobs",
  description: `Newest first, ${LISTED} at most.`,
  response: JobList,
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/training-jobs/{id}",
  summary: "Read a training job with its history",
  params: ID,
  response: JobWithHistory,
  errors: ["not_found"],
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/training-jobs/{id}/claim",
  summary: "Lease a job",
  description:
    "Of two trainers one gets it. `next` as the id takes the job that waits longest, or one whose trainer fell silent, and " +
    `answers 204 when there is none. Without a heartbeat a lease ends after ${LEASE_MS / 60_000} minutes.`,
  params: { id: "Id of the job, or next" },
  request: Claim,
  response: Lease,
  also: { 204: { description: "Nothing waits" } },
  errors: ["not_found", "conflict"],
  example: { trainer: "gpu-1" },
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/training-jobs/{id}/heartbeat",
  summary: "Report progress and keep the lease",
  description:
    "Needs X-Job-Lease. A checkpoint names files that were put to the job; the next trainer goes on from it.",
  params: ID,
  request: Beat,
  response: BeatAnswer,
  errors: ["not_found", "conflict", "invalid_request"],
});
describe({
  ...COMMON,
  method: "put",
  path: "/v1/training-jobs/{id}/files/{path}",
  summary: "Put a file of a checkpoint",
  description: "Needs X-Job-Lease; `x-content-sha256` declares the hash. Larger files are cut into parts.",
  params: { ...ID, path: "Name of the file" },
  requestContentType: "application/octet-stream",
  response: JobFile,
  errors: ["not_found", "conflict", "invalid_request"],
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/training-jobs/{id}/files/{path}",
  summary: "Read a file of the checkpoint",
  params: { ...ID, path: "Name of the file" },
  responseContentType: "application/octet-stream",
  errors: ["not_found"],
  status: 200,
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/training-jobs/{id}/complete",
  summary: "Hand a model in",
  description:
    "Needs X-Job-Lease. The model must be registered. The gate then decides whether it is promoted; the job says why. Sending " +
    "it again changes nothing.",
  params: ID,
  request: Completion,
  response: Job,
  errors: ["not_found", "conflict", "invalid_request"],
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/training-jobs/{id}/fail",
  summary: "Give a job up",
  description: "Needs X-Job-Lease. The job ends, as cancelled where that was asked for.",
  params: ID,
  request: Failure,
  response: Job,
  errors: ["not_found", "conflict", "invalid_request"],
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/training-jobs/{id}/cancel",
  summary: "Cancel a job",
  description: "A job that a trainer holds ends when it next reports; any other at once.",
  params: ID,
  idempotent: true,
  response: Job,
  errors: ["not_found"],
});
describe({
  tag: "Training",
  auth: ["secret"],
  method: "get",
  path: "/v1/training-policy",
  summary: "When the app wants a new model by itself",
  response: Policy,
});
describe({
  tag: "Training",
  auth: ["secret"],
  method: "put",
  path: "/v1/training-policy",
  summary: "Ask for models by time, or by what was logged",
  description:
    "Looked at every five minutes. While a job is open nothing is asked for; a job of any kind begins the count anew.",
  request: Policy,
  response: Policy,
  errors: ["invalid_request"],
  example: { everyHours: 24, afterEvents: 50_000 },
});
