/**
 * Training jobs in D1. Every change of state is one conditional statement, so that of two who try only one succeeds; with it, in the
 * same transaction, go the line in the job's history and the message to whoever wants to hear of it.
 */
import {
  type Canary,
  type Checkpoint,
  isFinal,
  type JobRequest,
  type JobStatus,
  KEPT_REQUESTS,
  LEASE_MS,
  MAX_ATTEMPTS,
  type Progress,
} from "../domain/jobs/job.ts";
import { type NewMessage, messageStatements } from "./webhooks.ts";
import type { Database } from "./items.ts";

export interface TrainingJob {
  readonly id: string;
  readonly status: JobStatus;
  readonly requests: readonly JobRequest[];
  /** Wishes merged into it, of which `requests` holds the first ones. */
  readonly requestCount: number;
  readonly attempts: number;
  readonly trainer: string | null;
  readonly leaseUntil: number | null;
  readonly progress: Progress | null;
  readonly checkpoint: Checkpoint | null;
  readonly modelId: string | null;
  readonly canary: Canary | null;
  readonly report: Readonly<Record<string, unknown>> | null;
  readonly decision: Readonly<Record<string, unknown>> | null;
  readonly failure: string | null;
  readonly cancelRequestedAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly finishedAt: number | null;
}

const COLUMNS = `id, status, requests, request_count AS requestCount, attempts, trainer, lease_until AS leaseUntil, progress,
  checkpoint, model_id AS modelId, canary, report, decision, failure, cancel_requested_at AS cancelRequestedAt,
  created_at AS createdAt, updated_at AS updatedAt, finished_at AS finishedAt`;

type JsonColumn = "requests" | "progress" | "checkpoint" | "canary" | "report" | "decision";
type Stored = Omit<TrainingJob, JsonColumn> & { readonly [K in JsonColumn]: string | null };

const parsedOrNull = (text: string | null): unknown => (text === null ? null : JSON.parse(text));

// only this module writes them, after they were parsed
function jobOf(row: Stored): TrainingJob {
  return {
    ...row,
    requests: JSON.parse(row.requests ?? "[]") as JobRequest[],
    progress: parsedOrNull(row.progress) as Progress | null,
    checkpoint: parsedOrNull(row.checkpoint) as Checkpoint | null,
    canary: parsedOrNull(row.canary) as Canary | null,
    report: parsedOrNull(row.report) as TrainingJob["report"],
    decision: parsedOrNull(row.decision) as TrainingJob["decision"],
  };
}

/** A wish that came as a webhook: its id counts once. */
export interface ReceivedWebhook {
  readonly scheme: "standard" | "github";
  readonly id: string;
}

const IS_NEW = "NOT EXISTS (SELECT 1 FROM received_webhooks WHERE app = ?1 AND scheme = ?5 AND id = ?6)";
/** A new job, or one wish more for the one that waits. */
const REQUEST = `INSERT INTO training_jobs (app, id, status, requests, created_at, updated_at, canary)
  SELECT ?1, ?2, 'queued', json_array(json(?3)), ?4, ?4, ?7 WHERE ${IS_NEW}
  ON CONFLICT (app) WHERE status = 'queued' DO UPDATE SET updated_at = excluded.updated_at,
    canary = coalesce(canary, excluded.canary),
    request_count = request_count + 1,
    requests = CASE WHEN json_array_length(requests) < ${KEPT_REQUESTS}
      THEN json_insert(requests, '$[#]', json(?3)) ELSE requests END`;
const RECEIVE = `INSERT INTO received_webhooks (app, scheme, id, job, received_at)
  SELECT ?1, ?2, ?3, id, ?4 FROM training_jobs WHERE app = ?1 AND status = 'queued' AND ?3 <> ''
  ON CONFLICT DO NOTHING`;
const REQUESTED = `SELECT ${COLUMNS} FROM training_jobs WHERE app = ?1 AND id = coalesce(
  (SELECT job FROM received_webhooks WHERE app = ?1 AND scheme = ?2 AND id = ?3),
  (SELECT id FROM training_jobs WHERE app = ?1 AND status = 'queued'))`;
/** A line of the history, unless the last one says the same. */
const NOTE = `INSERT INTO training_job_changes (app, job, number, status, at, note)
  SELECT app, id, 1 + (SELECT count(*) FROM training_job_changes WHERE app = ?1 AND job = ?2), status, ?3, ?4
  FROM training_jobs AS jobs WHERE app = ?1 AND id = ?2 AND status IS NOT (
    SELECT status FROM training_job_changes WHERE app = ?1 AND job = ?2 ORDER BY number DESC LIMIT 1)`;

const noteChange = (db: Database, app: number, id: string, now: number, note: string | null) =>
  db.prepare(NOTE).bind(app, id, now, note);

/**
 * Asks for a model. While a job waits, further wishes are merged into it. A webhook that was received before gives the job that it
 * was answered with. `announcement` is sent when the job is a new one.
 */
export async function requestJob(
  db: Database,
  app: number,
  wish: {
    readonly id: string;
    readonly request: JobRequest;
    readonly webhook: ReceivedWebhook | null;
    readonly canary?: Canary | null;
    readonly announcement: NewMessage;
  },
  now: number,
): Promise<{ readonly job: TrainingJob; readonly outcome: "created" | "merged" | "duplicate" }> {
  const { id, request, webhook, announcement } = wish;
  const canary = wish.canary ? JSON.stringify(wish.canary) : null;
  const [scheme, webhookId] = [webhook?.scheme ?? "", webhook?.id ?? ""];
  const results = await db.batch<Stored>([
    db.prepare(REQUEST).bind(app, id, JSON.stringify(request), now, scheme, webhookId, canary),
    db.prepare(RECEIVE).bind(app, scheme, webhookId, now),
    noteChange(db, app, id, now, request.reason),
    ...messageStatements(db, app, announcement, now, { job: id, status: "queued" }),
    db.prepare(REQUESTED).bind(app, scheme, webhookId),
  ]);
  const row = results.at(-1)?.results[0];
  if (row === undefined) throw new Error(`no training job of app ${app} after a wish`);
  const job = jobOf(row);
  const isTaken = (results[0]?.meta.changes ?? 0) > 0;
  return { job, outcome: job.id === id ? "created" : isTaken ? "merged" : "duplicate" };
}

const FIND = `SELECT ${COLUMNS} FROM training_jobs WHERE app = ?1 AND id = ?2`;
const LIST = `SELECT ${COLUMNS} FROM training_jobs WHERE app = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2`;
const CHANGES = "SELECT status, at, note FROM training_job_changes WHERE app = ?1 AND job = ?2 ORDER BY number";

export async function findJob(db: Database, app: number, id: string): Promise<TrainingJob | undefined> {
  const row = await db.prepare(FIND).bind(app, id).first<Stored>();
  return row === null ? undefined : jobOf(row);
}

/** Newest first. */
export async function listJobs(db: Database, app: number, limit: number): Promise<TrainingJob[]> {
  return (await db.prepare(LIST).bind(app, limit).all<Stored>()).results.map(jobOf);
}

export interface JobChange {
  readonly status: JobStatus;
  readonly at: number;
  readonly note: string | null;
}

/** Every state that a job has been in, oldest first. */
export async function jobChanges(db: Database, app: number, id: string): Promise<JobChange[]> {
  return (await db.prepare(CHANGES).bind(app, id).all<JobChange>()).results;
}

const IS_LEASED = "status IN ('claimed', 'running')";
/** The job that waits longest, or one whose trainer fell silent. */
const CLAIM = `UPDATE training_jobs SET status = 'claimed', attempts = attempts + 1, trainer = ?2, lease_hash = ?3,
    lease_until = ?4 + ${LEASE_MS}, progress = NULL, updated_at = ?4
  WHERE app = ?1 AND id = (SELECT id FROM training_jobs WHERE app = ?1 AND id = coalesce(?5, id) AND attempts < ${MAX_ATTEMPTS}
      AND cancel_requested_at IS NULL AND (status = 'queued' OR (${IS_LEASED} AND lease_until <= ?4))
    ORDER BY created_at, id LIMIT 1)
  RETURNING ${COLUMNS}`;
/** As NOTE, for a row that is known by its lease alone; a second claim in a row is a line of its own. */
const NOTE_CLAIM = `INSERT INTO training_job_changes (app, job, number, status, at, note)
  SELECT app, id, 1 + (SELECT count(*) FROM training_job_changes WHERE app = ?1 AND job = jobs.id), status, ?3, trainer
  FROM training_jobs AS jobs WHERE app = ?1 AND lease_hash = ?2 AND status = 'claimed'`;

/** Leases a job to one trainer: the one with the id, or the one that waits longest. @param leaseHash sha256 of the token that the trainer will show, hex */
export async function claimJob(
  db: Database,
  app: number,
  claim: { readonly id: string | null; readonly trainer: string; readonly leaseHash: string },
  now: number,
): Promise<TrainingJob | undefined> {
  const [claimed] = await db.batch<Stored>([
    db.prepare(CLAIM).bind(app, claim.trainer, claim.leaseHash, now, claim.id),
    db.prepare(NOTE_CLAIM).bind(app, claim.leaseHash, now),
  ]);
  const row = claimed?.results[0];
  return row === undefined ? undefined : jobOf(row);
}

const HEARTBEAT = `UPDATE training_jobs SET status = 'running', lease_until = ?4 + ${LEASE_MS}, updated_at = ?4,
    progress = coalesce(?5, progress), checkpoint = coalesce(?6, checkpoint)
  WHERE app = ?1 AND id = ?2 AND lease_hash = ?3 AND ${IS_LEASED} RETURNING ${COLUMNS}`;

/** Extends the lease. Undefined: the lease is not this one any more. A lease that ended and was not taken goes on. */
export async function heartbeat(
  db: Database,
  app: number,
  lease: { readonly id: string; readonly hash: string },
  news: { readonly progress: Progress | null; readonly checkpoint: Checkpoint | null },
  now: number,
): Promise<TrainingJob | undefined> {
  const json = (value: object | null) => (value === null ? null : JSON.stringify(value));
  const [beat] = await db.batch<Stored>([
    db.prepare(HEARTBEAT).bind(app, lease.id, lease.hash, now, json(news.progress), json(news.checkpoint)),
    noteChange(db, app, lease.id, now, null),
  ]);
  const row = beat?.results[0];
  return row === undefined ? undefined : jobOf(row);
}

const COMPLETE = `UPDATE training_jobs SET status = 'evaluating', model_id = ?4, report = ?5, lease_until = NULL,
    updated_at = ?6
  WHERE app = ?1 AND id = ?2 AND lease_hash = ?3 AND ${IS_LEASED}`;
const COMPLETED = `SELECT ${COLUMNS} FROM training_jobs WHERE app = ?1 AND id = ?2 AND lease_hash = ?3`;

/** Hands a model in. Doing it again with the same lease gives the job as it is now. Undefined: the lease is another's. */
export async function completeJob(
  db: Database,
  app: number,
  lease: { readonly id: string; readonly hash: string },
  result: { readonly modelId: string; readonly report: Readonly<Record<string, unknown>> },
  now: number,
): Promise<TrainingJob | undefined> {
  const results = await db.batch<Stored>([
    db.prepare(COMPLETE).bind(app, lease.id, lease.hash, result.modelId, JSON.stringify(result.report), now),
    noteChange(db, app, lease.id, now, result.modelId),
    db.prepare(COMPLETED).bind(app, lease.id, lease.hash),
  ]);
  const row = results.at(-1)?.results[0];
  return row === undefined ? undefined : jobOf(row);
}

/** What goes with a change of state. */
export interface ChangeDetails {
  readonly note?: string | null;
  readonly failure?: string | null;
  readonly decision?: Readonly<Record<string, unknown>> | null;
  readonly messages?: readonly NewMessage[];
}

const MOVE = `UPDATE training_jobs SET status = ?3, updated_at = ?5, failure = coalesce(?6, failure),
    decision = coalesce(?7, decision), finished_at = CASE WHEN ?8 THEN ?5 ELSE finished_at END,
    lease_until = NULL, lease_hash = CASE WHEN ?3 = 'queued' THEN NULL ELSE lease_hash END
  WHERE app = ?1 AND id = ?2 AND status IN (SELECT value FROM json_each(?4))
    AND (lease_hash = ?9 OR lease_until IS NULL OR lease_until <= ?5)
  RETURNING ${COLUMNS}`;

/**
 * Moves a job on, if it is in one of the states `from`; a lease that is good keeps it where it is, unless its hash is shown.
 * @returns the job after it, undefined when it was in another state or somebody holds it
 */
export async function moveJob(
  db: Database,
  app: number,
  id: string,
  move: { readonly from: readonly JobStatus[]; readonly to: JobStatus; readonly lease?: string } & ChangeDetails,
  now: number,
): Promise<TrainingJob | undefined> {
  const { from, to, lease = null, note = null, failure = null, decision = null, messages = [] } = move;
  const decided = decision === null ? null : JSON.stringify(decision);
  const [moved] = await db.batch<Stored>([
    db.prepare(MOVE).bind(app, id, to, JSON.stringify(from), now, failure, decided, isFinal(to) ? 1 : 0, lease),
    noteChange(db, app, id, now, note ?? failure),
    ...messages.flatMap((message) => messageStatements(db, app, message, now, { job: id, status: to })),
  ]);
  const row = moved?.results[0];
  return row === undefined ? undefined : jobOf(row);
}

/** A queued job can't wait twice: where a newer wish waits already, the job whose trainer fell silent takes it over. */
const ABSORB = `UPDATE training_jobs SET requests = (
      SELECT json_group_array(json(value)) FROM (
        SELECT value FROM json_each(training_jobs.requests)
        UNION ALL SELECT each.value FROM training_jobs AS queued, json_each(queued.requests) AS each
          WHERE queued.app = ?1 AND queued.status = 'queued' LIMIT ${KEPT_REQUESTS})),
    request_count = request_count + (SELECT request_count FROM training_jobs WHERE app = ?1 AND status = 'queued')
  WHERE app = ?1 AND id = ?2 AND ${IS_LEASED} AND lease_until <= ?3
    AND EXISTS (SELECT 1 FROM training_jobs WHERE app = ?1 AND status = 'queued')`;
const REPLACE = `UPDATE training_jobs SET status = 'cancelled', finished_at = ?3, updated_at = ?3,
    failure = 'merged into ' || ?2
  WHERE app = ?1 AND status = 'queued'
    AND EXISTS (SELECT 1 FROM training_jobs WHERE app = ?1 AND id = ?2 AND ${IS_LEASED} AND lease_until <= ?3)`;
const NOTE_REPLACED = `INSERT INTO training_job_changes (app, job, number, status, at, note)
  SELECT app, id, 1 + (SELECT count(*) FROM training_job_changes WHERE app = ?1 AND job = jobs.id), status, ?3, failure
  FROM training_jobs AS jobs WHERE app = ?1 AND status = 'cancelled' AND failure = 'merged into ' || ?2 AND finished_at = ?3`;

/** Puts a job whose trainer fell silent back into the queue. Undefined: it was not silent. */
export async function requeueJob(
  db: Database,
  app: number,
  id: string,
  message: NewMessage,
  now: number,
): Promise<TrainingJob | undefined> {
  const results = await db.batch<Stored>([
    db.prepare(ABSORB).bind(app, id, now),
    db.prepare(REPLACE).bind(app, id, now),
    db.prepare(NOTE_REPLACED).bind(app, id, now),
    db.prepare(MOVE).bind(app, id, "queued", JSON.stringify(["claimed", "running"]), now, null, null, 0, null),
    noteChange(db, app, id, now, "the trainer fell silent"),
    ...messageStatements(db, app, message, now, { job: id, status: "queued" }),
  ]);
  const row = results[3]?.results[0];
  return row === undefined ? undefined : jobOf(row);
}

const ASK_CANCEL = `UPDATE training_jobs SET cancel_requested_at = coalesce(cancel_requested_at, ?3), updated_at = ?3
  WHERE app = ?1 AND id = ?2 AND finished_at IS NULL`;

/** Asks whoever holds the job to stop; its next heartbeat says so. */
export async function askToCancel(db: Database, app: number, id: string, now: number): Promise<void> {
  await db.prepare(ASK_CANCEL).bind(app, id, now).run();
}

/** Uses training_jobs_open. */
const OPEN = `SELECT app, id FROM training_jobs WHERE finished_at IS NULL AND updated_at <= ?1
  ORDER BY updated_at LIMIT ?2`;

/** Jobs of all apps that are not finished and that nothing has touched since `before`. */
export async function openJobs(
  db: Database,
  before: number,
  limit: number,
): Promise<{ readonly app: number; readonly id: string }[]> {
  return (await db.prepare(OPEN).bind(before, limit).all<{ app: number; id: string }>()).results;
}

const SWEEP = "DELETE FROM received_webhooks WHERE received_at < ?1";

/** Forgets webhooks that came before `before`. */
export async function sweepReceived(db: Database, before: number): Promise<void> {
  await db.prepare(SWEEP).bind(before).run();
}

export const JOB_STATEMENTS = { FIND, LIST, CHANGES, OPEN };
