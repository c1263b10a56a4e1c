/**
 * Rows of `Idempotency-Key`: a lease while the first request runs, its sealed answer afterwards, 24 h in all. A lease is taken by
 * one statement, so that two requests at once can't both run.
 */

export const KEEP_MS = 24 * 3600 * 1000;
export const LEASE_MS = 60_000; // longer than any request that takes a key; a killed one frees it then

export interface StoredKey {
  readonly bodyHash: string;
  readonly leaseUntil: number | null;
  readonly status: number | null;
  readonly response: string | null; // sealed
}

export interface KeyName {
  readonly scope: string; // sha256, hex
  readonly key: string;
}

/**
 * Inserts the row, or takes it over where it is older than 24 h or where its lease ran out unanswered with the same body.
 * A taken row is one whose `lease_until` is ours.
 */
const TAKE = `INSERT INTO idempotency_keys (scope, key, body_hash, lease_until, created_at)
  VALUES (?1, ?2, ?3, CAST(?4 AS INTEGER), CAST(?5 AS INTEGER))
  ON CONFLICT (scope, key) DO UPDATE SET body_hash = excluded.body_hash, lease_until = excluded.lease_until,
    created_at = excluded.created_at, status = NULL, response = NULL
  WHERE idempotency_keys.created_at <= CAST(?6 AS INTEGER)
    OR (idempotency_keys.status IS NULL AND idempotency_keys.body_hash = excluded.body_hash
      AND (idempotency_keys.lease_until IS NULL OR idempotency_keys.lease_until <= CAST(?5 AS INTEGER)))`;

/** Takes the key for `LEASE_MS`; otherwise gives what is stored under it. */
export async function takeKey(
  env: Env,
  name: KeyName,
  bodyHash: string,
  now: number,
): Promise<{ kind: "taken"; leaseUntil: number } | { kind: "known"; row: StoredKey }> {
  const leaseUntil = now + LEASE_MS;
  const [taken, read] = await env.DB.batch<StoredKey>([
    env.DB.prepare(TAKE).bind(name.scope, name.key, bodyHash, leaseUntil, now, now - KEEP_MS),
    env.DB.prepare(
      `SELECT body_hash AS bodyHash, lease_until AS leaseUntil, status, response FROM idempotency_keys
       WHERE scope = ?1 AND key = ?2`,
    ).bind(name.scope, name.key),
  ]);
  const row = read?.results[0];
  if ((taken?.meta.changes ?? 0) > 0 || !row) return { kind: "taken", leaseUntil };
  return { kind: "known", row };
}

/** Stores the answer of the request that holds the lease; for the batch of its effect, or alone afterwards. */
export function answerKey(
  env: Env,
  name: KeyName,
  answer: { leaseUntil: number; status: number; response: string; ifChanged: boolean },
): D1PreparedStatement {
  const sql = `UPDATE idempotency_keys SET status = CAST(?4 AS INTEGER), response = ?5, lease_until = NULL
    WHERE scope = ?1 AND key = ?2 AND lease_until = CAST(?3 AS INTEGER)${answer.ifChanged ? " AND changes() > 0" : ""}`;
  return env.DB.prepare(sql).bind(name.scope, name.key, answer.leaseUntil, answer.status, answer.response);
}

/** Frees a key whose request had no effect worth remembering (refused for now, failed inside). */
export async function freeKey(env: Env, name: KeyName, leaseUntil: number): Promise<void> {
  const sql = `DELETE FROM idempotency_keys
    WHERE scope = ?1 AND key = ?2 AND lease_until = CAST(?3 AS INTEGER) AND status IS NULL`;
  await env.DB.prepare(sql).bind(name.scope, name.key, leaseUntil).run();
}

/** Deletes rows older than 24 h, at most `most` (index idempotency_by_age). For the cron. */
export async function sweepIdempotencyKeys(env: Env, now: number, most = 1000): Promise<number> {
  const sql = `DELETE FROM idempotency_keys WHERE rowid IN
    (SELECT rowid FROM idempotency_keys WHERE created_at <= CAST(?1 AS INTEGER) ORDER BY created_at LIMIT ?2)`;
  const { meta } = await env.DB.prepare(sql)
    .bind(now - KEEP_MS, most)
    .run();
  return meta.changes;
}
