/** `edgewise retrain` and `edgewise jobs ...`: asks for a model and follows what becomes of it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../client.ts";
import { type ConnectionOptions, connect, UsageError } from "../settings.ts";

interface Progress {
  readonly stage: string;
  readonly step?: number;
  readonly steps?: number;
  readonly loss?: number;
  readonly message?: string;
}

interface Check {
  readonly name: string;
  readonly isPassed: boolean;
  readonly detail: string;
}

interface Job {
  readonly id: string;
  readonly status: string;
  readonly requestCount: number;
  readonly attempts: number;
  readonly trainer: string | null;
  readonly progress: Progress | null;
  readonly modelId: string | null;
  readonly decision: { readonly checks?: readonly Check[] } | null;
  readonly failure: string | null;
  readonly createdAt: string;
  readonly finishedAt: string | null;
}

interface JobWithHistory extends Job {
  readonly history: readonly { readonly status: string; readonly at: string; readonly note: string | null }[];
}

const LOOK_EVERY_MS = 1000;
const ENDED_WELL = "promoted";

const pathOf = (id: string) => `/v1/training-jobs/${encodeURIComponent(id)}`;

export async function retrain(flags: ConnectionOptions & { reason: string; follow: boolean }): Promise<void> {
  const client = connect(flags);
  const json = { reason: flags.reason };
  const { job, outcome } = await client.request<{ job: Job; outcome: string }>("POST", "/v1/training-jobs", { json });
  console.log(`${job.id}  ${outcome === "merged" ? `waits already; ${job.requestCount} wishes in it` : job.status}`);
  if (flags.follow) await follow(client, job.id);
}

export async function jobsList(flags: ConnectionOptions): Promise<void> {
  const { jobs } = await connect(flags).request<{ jobs: readonly Job[] }>("GET", "/v1/training-jobs");
  if (jobs.length === 0) console.log("this app has no training jobs; edgewise retrain asks for one");
  for (const job of jobs) console.log(`${job.createdAt}  ${job.id}  ${stateOf(job)}`);
}

export async function jobsShow(id: string, flags: ConnectionOptions): Promise<void> {
  const job = await connect(flags).request<JobWithHistory>("GET", pathOf(id));
  console.log(`${job.id}  ${stateOf(job)}`);
  for (const { at, status, note } of job.history) console.log(`  ${at}  ${status}${note === null ? "" : `  ${note}`}`);
  printDecision(job);
}

export async function jobsWatch(id: string, flags: ConnectionOptions): Promise<void> {
  await follow(connect(flags), id);
}

export async function jobsCancel(id: string, flags: ConnectionOptions): Promise<void> {
  const job = await connect(flags).request<Job>("POST", `${pathOf(id)}/cancel`);
  console.log(`${job.id}  ${job.trainer === null ? "is cancelled" : `ends when ${job.trainer} next reports`}`);
}

/** Prints every change until the job ends. @throws UsageError when it ends otherwise than promoted */
async function follow(client: Client, id: string): Promise<void> {
  let last = "";
  for (;;) {
    const job = await client.request<JobWithHistory>("GET", pathOf(id));
    const state = stateOf(job);
    if (state !== last) console.log(`${new Date().toISOString()}  ${state}`);
    last = state;
    if (job.finishedAt !== null) {
      printDecision(job);
      if (job.status !== ENDED_WELL) throw new UsageError(`job ${id} ended ${job.status}`);
      return;
    }
    await sleep(LOOK_EVERY_MS);
  }
}

function stateOf({ status, trainer, progress, failure, modelId, attempts }: Job): string {
  const parts = [status];
  if (trainer !== null && (status === "claimed" || status === "running")) {
    parts.push(`by ${trainer}${attempts > 1 ? `, attempt ${attempts}` : ""}`);
  }
  if (progress !== null && status === "running") parts.push(progressText(progress));
  if (modelId !== null) parts.push(`model ${modelId}`);
  if (failure !== null) parts.push(failure);
  return parts.join("  ");
}

function progressText({ stage, step, steps, loss, message }: Progress): string {
  const at = step === undefined ? "" : ` ${step}${steps === undefined ? "" : ` of ${steps}`}`;
  const more = loss === undefined ? "" : `, loss ${loss.toFixed(4)}`;
  return `${stage}${at}${more}${message === undefined ? "" : `, ${message}`}`;
}

function printDecision({ decision }: Job): void {
  for (const { isPassed, name, detail } of decision?.checks ?? [])
    console.log(`  ${isPassed ? "passed" : "FAILED"}  ${name}: ${detail}`);
}
