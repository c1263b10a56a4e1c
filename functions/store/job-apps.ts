/** The apps that one tick of the cron looks after, in turns. */

export interface JobApp {
  readonly app: number;
  readonly shards: number;
  readonly unsnapshottedRows: number;
  readonly hasModel: boolean;
}

const COUNT = "SELECT count(*) AS apps FROM apps";
/** Uses the primary key; the offset walks an index of app rows, which are few. */
const PAGE = `SELECT app, log_shards AS shards, unsnapshotted_rows AS unsnapshottedRows,
    EXISTS (SELECT 1 FROM models WHERE models.app = apps.app AND models.status IN ('registered', 'serving')) AS hasModel
  FROM apps ORDER BY app LIMIT ?1 OFFSET ?2`;
const TICK_MS = 300_000;

/** At most `limit` apps: all of them, or a window that moves on with every tick of five minutes. */
export async function appsOfJobs(env: Env, now: number, limit: number): Promise<JobApp[]> {
  const total = (await env.DB.prepare(COUNT).first<{ apps: number }>())?.apps ?? 0;
  const windows = Math.max(1, Math.ceil(total / limit));
  const offset = (Math.floor(now / TICK_MS) % windows) * limit;
  const { results } = await env.DB.prepare(PAGE)
    .bind(limit, offset)
    .all<Omit<JobApp, "hasModel"> & { hasModel: number }>();
  return results.map((row) => ({ ...row, hasModel: row.hasModel === 1 }));
}
