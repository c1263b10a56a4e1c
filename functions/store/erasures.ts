/** Erasures in D1: the row that makes an erasure resume. It holds an object's name (an HMAC) and a random subject, no user id. */

export interface Erasure {
  readonly app: number;
  readonly object: string;
  readonly subject: string;
  readonly requestedAt: number;
  readonly objectDoneAt: number | null;
  readonly logDoneAt: number | null;
}

const COLUMNS = `app, object, subject, requested_at AS requestedAt, object_done_at AS objectDoneAt, log_done_at AS logDoneAt`;
const INSERT = `INSERT INTO erasures (app, object, subject, requested_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`;
/** Uses erasures_open. */
const OPEN = `SELECT ${COLUMNS} FROM erasures WHERE log_done_at IS NULL ORDER BY requested_at LIMIT ?1`;
const OF_OBJECT = `SELECT ${COLUMNS} FROM erasures WHERE app = ?1 AND object = ?2 ORDER BY requested_at`;
const OBJECT_DONE = `UPDATE erasures SET object_done_at = ?4 WHERE app = ?1 AND object = ?2 AND requested_at = ?3 AND object_done_at IS NULL`;
const LOG_DONE = `UPDATE erasures SET log_done_at = ?4 WHERE app = ?1 AND object = ?2 AND requested_at = ?3`;

/** Opens an erasure. A second one of the same object at the same millisecond takes the next one. */
export async function openErasure(
  env: Env,
  erasure: Pick<Erasure, "app" | "object" | "subject" | "requestedAt">,
): Promise<Erasure> {
  for (let requestedAt = erasure.requestedAt; ; requestedAt += 1) {
    const { meta } = await env.DB.prepare(INSERT).bind(erasure.app, erasure.object, erasure.subject, requestedAt).run();
    if (meta.changes > 0) return { ...erasure, requestedAt, objectDoneAt: null, logDoneAt: null };
  }
}

export async function openErasures(env: Env, limit: number): Promise<Erasure[]> {
  return (await env.DB.prepare(OPEN).bind(limit).all<Erasure>()).results;
}

export async function erasuresOf(env: Env, app: number, object: string): Promise<Erasure[]> {
  return (await env.DB.prepare(OF_OBJECT).bind(app, object).all<Erasure>()).results;
}

export async function markObjectErased(env: Env, erasure: Erasure, now: number): Promise<void> {
  await env.DB.prepare(OBJECT_DONE).bind(erasure.app, erasure.object, erasure.requestedAt, now).run();
}

export async function markLogErased(env: Env, erasure: Erasure, now: number): Promise<void> {
  await env.DB.prepare(LOG_DONE).bind(erasure.app, erasure.object, erasure.requestedAt, now).run();
}
