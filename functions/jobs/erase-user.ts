/**
 * Erasure of a user, in steps that can each be done again: a row in D1, the object's tombstone, the log's refusal, the rewriting
 * of sealed segments. Whatever is left when a process dies, the cron finishes.
 */
import { DAY_MS } from "../domain/history/event-time.ts";
import { describeError, log } from "../http/log.ts";
import {
  erasuresOf,
  markLogErased,
  markObjectErased,
  openErasure,
  openErasures,
  type Erasure,
} from "../store/erasures.ts";
import { logShards } from "../store/log.ts";
import { logStub, shardOf, userObjectName, userStubByName } from "../store/subjects.ts";

/** Segments are rewritten within minutes; a day covers an outage. */
const LOGS_MS = DAY_MS;
/** Models trained on the log before it was rewritten are to be replaced by then. */
const MODELS_MS = 30 * DAY_MS;
/** Point-in-time recovery of D1 and of Durable Objects. */
const RECOVERY_MS = 30 * DAY_MS;
const A_TICK = 20;

/** What the caller is told: each copy and its last date, RFC 3339. */
export interface ErasureStatement {
  readonly servingErasedAt: string;
  readonly logsErasedBy: string;
  readonly modelsForgetBy: string;
  readonly copies: { copy: string; goneBy: string; note: string }[];
}

/**
 * Erases a user. When this returns, serving knows nothing of the user and the log refuses the subject; `later` is given the
 * rewriting of sealed segments. An unknown user leaves no trace; one who was erased before gets the dates of then.
 */
export async function eraseUser(
  env: Env,
  app: number,
  userId: string,
  options: { readonly now: number; readonly later: (work: Promise<unknown>) => void },
): Promise<ErasureStatement> {
  const { now } = options;
  const object = await userObjectName(env, app, userId);
  const { exists, erased, subject } = await userStubByName(env, object).recall();
  if (erased) return statement((await erasuresOf(env, app, object))[0]?.requestedAt ?? now);
  if (!exists) return statement(now);
  const erasure = await openErasure(env, { app, object, subject, requestedAt: now });
  await eraseObject(env, erasure, now);
  await refuseInLog(env, erasure, now);
  options.later(
    finish(env, erasure, now).catch((error: unknown) =>
      log("warn", "erasure_left", { job: "erase-user", app, error: describeError(error) }),
    ),
  );
  return statement(now);
}

/** Finishes erasures that something interrupted. Gives how many are done now. */
export async function resumeErasures(env: Env, now: number): Promise<number> {
  let done = 0;
  for (const erasure of await openErasures(env, A_TICK)) {
    try {
      await eraseObject(env, erasure, now);
      await refuseInLog(env, erasure, now);
      await finish(env, erasure, now);
      done += 1;
    } catch (error) {
      log("error", "erasure_failed", { job: "erase-user", app: erasure.app, error: describeError(error) });
    }
  }
  return done;
}

async function eraseObject(env: Env, erasure: Erasure, now: number): Promise<void> {
  if (erasure.objectDoneAt !== null) return;
  const { app, object } = erasure;
  const subject = await userStubByName(env, object).erase(now);
  // somebody came in between a crash after deleteAll and now: that subject goes too
  if (subject !== undefined && subject !== erasure.subject)
    await openErasure(env, { app, object, subject, requestedAt: now });
  await markObjectErased(env, erasure, now);
}

async function refuseInLog(env: Env, { app, subject }: Erasure, now: number): Promise<void> {
  const shard = shardOf(subject, await logShards(env, app));
  await logStub(env, app, shard).drop({ app, shard, subject, now });
}

async function finish(env: Env, erasure: Erasure, now: number): Promise<void> {
  const { app, subject } = erasure;
  await logStub(env, app, shardOf(subject, await logShards(env, app))).rewrite(subject);
  await markLogErased(env, erasure, now);
}

function statement(at: number): ErasureStatement {
  const iso = (time: number): string => new Date(time).toISOString();
  return {
    servingErasedAt: iso(at),
    logsErasedBy: iso(at + LOGS_MS),
    modelsForgetBy: iso(at + LOGS_MS + MODELS_MS),
    copies: [
      {
        copy: "user object",
        goneBy: iso(at),
        note: "history, profile, preferences, texts and undelivered records; a tombstone stays",
      },
      { copy: "open log rows", goneBy: iso(at), note: "and what they had added to counters" },
      {
        copy: "sealed log segments",
        goneBy: iso(at + LOGS_MS),
        note: "rewritten without the user; the old objects are deleted",
      },
      { copy: "dead letters", goneBy: iso(at), note: "queue messages name apps, never users" },
      {
        copy: "point-in-time recovery of database and objects",
        goneBy: iso(at + RECOVERY_MS),
        note: "kept by the platform for 30 days; an operator who restores must erase again",
      },
      {
        copy: "training checkpoints and models",
        goneBy: iso(at + LOGS_MS + MODELS_MS),
        note: "the next training reads the rewritten log; replace models trained before by then",
      },
    ],
  };
}
