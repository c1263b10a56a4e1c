/**
 * Deletion of an app, in ticks of bounded work that can be killed anywhere and done twice or at once: a tick looks at everything
 * the app may have and removes what it finds. A message goes from tick to tick; where it is lost, the cron goes on.
 *
 * Keys are looked up again after 30 s, so that events may still come in after the mark and make objects. That is why the log's lists
 * of objects, which alone know them, and the app's row stay until nobody can write any more, and why each tick begins anew.
 */
import { DAY_MS } from "../domain/history/event-time.ts";
import { mapLimited } from "../domain/map-limited.ts";
import {
  APP_TABLES,
  appPrefixes,
  beginTick,
  deletePage,
  deleteRows,
  erasedObjects,
  forgetApp,
  forgetErasures,
} from "../store/app-deletions.ts";
import { logStub, userStubByName } from "../store/subjects.ts";

/** How long an isolate takes a key for good before it looks it up again. */
const KEY_CACHE_MS = 30_000;
/**
 * After this nobody writes for the app: an isolate that can't reach the database takes a key for 10.5 minutes at most, and an
 * invocation that began before the mark has ended after 15.
 */
const SETTLED_AFTER_MS = 20 * 60_000;
/** What is stored here is gone within half an hour but for very large apps; a day also covers an outage. */
const GONE_AFTER_MS = DAY_MS;
/** Stored answers are kept for a day and swept with the next ticks of the cron. */
const ANSWERS_MS = 2 * DAY_MS;
/** The longest that a queue keeps a message. */
const MESSAGES_MS = 14 * DAY_MS;
/** Point-in-time recovery of D1 and of Durable Objects. */
const RECOVERY_MS = 30 * DAY_MS;
/** Files are cached for as long as HTTP allows to say. */
const FILE_CACHE_MS = 365 * DAY_MS;

/** Calls that remove something: a batch of twenty messages stays below the 10,000 subrequests of an invocation. */
const REMOVALS_A_TICK = 250;
const OBJECTS_A_PAGE = 50;
const OBJECTS_AT_ONCE = 6;
/** Short statements, so that the queries of others get their turn. */
const ROWS_A_STATEMENT = 500;

/** What the caller is told: each copy and its last date, RFC 3339. */
export interface DeletionStatement {
  readonly deletedAt: string;
  readonly keysRefusedBy: string;
  readonly goneBy: string;
  readonly copies: { copy: string; goneBy: string; note: string }[];
}

/** `waiting`: all that was found is gone, and a later tick looks once more. */
export type DeletionState = "more" | "waiting" | "done";

interface Tick {
  readonly env: Env;
  readonly app: number;
  readonly now: number;
  /** Removals that this tick may still do. */
  left: number;
}

/**
 * Removes from an app that is marked as deleted, with about `removals` calls at most, and its row when nothing else is left and
 * nobody can write any more. Does nothing to an app that is not marked.
 */
export async function deleteAppTick(
  env: Env,
  app: number,
  now: number,
  removals = REMOVALS_A_TICK,
): Promise<DeletionState> {
  const deletion = await beginTick(env, app, now);
  if (deletion === undefined) return "done";
  const tick: Tick = { env, app, now, left: removals };
  const isSettled = now >= deletion.deletedAt + SETTLED_AFTER_MS;
  const users = await emptyUsers(tick, deletion.shards);
  if (tick.left <= 0) return "more";
  // a log object that still seals would put segments behind the sweep below
  const isQuiet = isSettled && users === 0;
  if (isQuiet) await destroyLogs(tick, deletion.shards);
  if (!((await emptyTables(tick)) && (await emptyBuckets(tick)))) return "more";
  if (!isQuiet) return isSettled ? "more" : "waiting";
  if (!(await emptyErased(tick))) return "more";
  await forgetApp(env, app);
  return "done";
}

/** The work of a message: a tick, and a message for the next one. */
export async function continueDeletion(env: Env, app: number, now: number): Promise<void> {
  const state = await deleteAppTick(env, app, now);
  if (state === "done") return;
  await wake(env, app, state === "waiting" ? { delaySeconds: SETTLED_AFTER_MS / 1000 } : {});
}

/** The cron's tick for a deletion that stands still; sends it on its way again where one tick is not enough. */
export async function resumeDeletion(env: Env, app: number, now: number): Promise<void> {
  if ((await deleteAppTick(env, app, now)) === "more") await wake(env, app);
}

/** Never throws: the cron finds what no message names. */
export async function wake(env: Env, app: number, options: QueueSendOptions = {}): Promise<void> {
  await env.JOBS.send({ type: "delete-app", app }, options).catch(() => undefined);
}

/**
 * Empties users' objects and takes each out of the log's list when it is empty, with its open rows. Gives how many; stops when
 * the tick is used up.
 */
async function emptyUsers(tick: Tick, shards: number): Promise<number> {
  const { env, app, now } = tick;
  let users = 0;
  for (let shard = 0; shard < shards; shard += 1) {
    const shardLog = logStub(env, app, shard);
    for (;;) {
      const page = await shardLog.objects("", Math.min(OBJECTS_A_PAGE, Math.ceil(tick.left / 2)));
      if (page.length === 0) break;
      await mapLimited(page, OBJECTS_AT_ONCE, async ({ subject, object }) => {
        await userStubByName(env, object).destroy();
        await shardLog.drop({ app, shard, subject, now });
      });
      users += page.length;
      tick.left -= 2 * page.length;
      if (tick.left <= 0) return users;
    }
  }
  return users;
}

async function destroyLogs({ env, app }: Tick, shards: number): Promise<void> {
  for (let shard = 0; shard < shards; shard += 1) await logStub(env, app, shard).destroy();
}

/** Rows of every table but the last two. False: the tick is used up. */
async function emptyTables(tick: Tick): Promise<boolean> {
  for (const table of APP_TABLES) {
    for (;;) {
      const removed = await deleteRows(tick.env, table, tick.app, ROWS_A_STATEMENT);
      if (removed > 0) tick.left -= 1;
      if (removed < ROWS_A_STATEMENT) break;
      if (tick.left <= 0) return false;
    }
  }
  return true;
}

/** False: the tick is used up. */
async function emptyBuckets(tick: Tick): Promise<boolean> {
  for (const { bucket, prefix } of appPrefixes(tick.app)) {
    for (;;) {
      const { removed, isEmpty } = await deletePage(tick.env[bucket], prefix);
      if (removed > 0) tick.left -= 1;
      if (isEmpty) break;
      if (tick.left <= 0) return false;
    }
  }
  return true;
}

/** Tombstones of users who were erased before, and the rows that name them. False: the tick is used up. */
async function emptyErased(tick: Tick): Promise<boolean> {
  const { env, app } = tick;
  for (;;) {
    const objects = await erasedObjects(env, app, Math.min(OBJECTS_A_PAGE, Math.max(1, tick.left)));
    if (objects.length === 0) return true;
    await mapLimited(objects, OBJECTS_AT_ONCE, (object) => userStubByName(env, object).destroy());
    await forgetErasures(env, app, objects);
    tick.left -= objects.length;
    if (tick.left <= 0) return false;
  }
}

/** What is said to whoever deletes an app at `at`. */
export function deletionStatement(at: number): DeletionStatement {
  const iso = (time: number): string => new Date(time).toISOString();
  const gone = at + GONE_AFTER_MS;
  return {
    deletedAt: iso(at),
    keysRefusedBy: iso(at + KEY_CACHE_MS),
    goneBy: iso(gone),
    copies: [
      {
        copy: "API keys and user token secrets",
        goneBy: iso(gone),
        note: "revoked now; an isolate that can't reach the database may take a key 10 minutes longer, and what it stores goes too",
      },
      {
        copy: "users' objects and log objects",
        goneBy: iso(gone),
        note: "history, profiles, texts, tombstones, counters",
      },
      {
        copy: "database rows",
        goneBy: iso(gone),
        note: "items, codes, models, import ledger, log manifest, erasures, the app",
      },
      { copy: "stored files", goneBy: iso(gone), note: "model files, row tables, catalogue snapshots, log segments" },
      {
        copy: "answers stored for Idempotency-Key",
        goneBy: iso(at + ANSWERS_MS),
        note: "encrypted; swept when they are a day old",
      },
      {
        copy: "queue messages and dead letters",
        goneBy: iso(at + MESSAGES_MS),
        note: "they hold an internal number of the app and nothing else",
      },
      {
        copy: "point-in-time recovery of database and objects",
        goneBy: iso(gone + RECOVERY_MS),
        note: "kept by the platform for 30 days; an operator who restores must delete again",
      },
      {
        copy: "model files in caches of data centres",
        goneBy: iso(gone + FILE_CACHE_MS),
        note: "mostly evicted much sooner; no request reaches them any more",
      },
    ],
  };
}
