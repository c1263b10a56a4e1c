/** When apps want a new model by themselves, in D1. */
import type { Policy, Since } from "../domain/jobs/policy.ts";
import type { Database } from "./items.ts";

const WRITE = `INSERT INTO training_policies (app, every_hours, after_events, canary, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
  ON CONFLICT (app) DO UPDATE SET every_hours = excluded.every_hours, after_events = excluded.after_events,
    canary = excluded.canary, updated_at = excluded.updated_at`;
const READ = `SELECT every_hours AS everyHours, after_events AS afterEvents, canary FROM training_policies WHERE app = ?1`;
/** Uses the primary keys, training_jobs_by_time and log_segments_by_time. */
const DUE = `SELECT app, every_hours AS everyHours, after_events AS afterEvents, canary, updated_at AS policyAt, lastJobAt, isOpen,
    (SELECT coalesce(sum(records), 0) FROM log_segments AS segments
      WHERE segments.app = known.app AND segments.last_received_at > coalesce(lastJobAt, 0)) AS records
  FROM (SELECT *, (SELECT max(created_at) FROM training_jobs AS jobs WHERE jobs.app = policies.app) AS lastJobAt,
      EXISTS (SELECT 1 FROM training_jobs AS jobs WHERE jobs.app = policies.app AND jobs.finished_at IS NULL) AS isOpen
    FROM training_policies AS policies WHERE app > ?1 ORDER BY app LIMIT ?2) AS known`;

type StoredPolicy = Omit<Policy, "canary"> & { readonly canary: string | null };

const policyOf = ({ everyHours, afterEvents, canary }: StoredPolicy): Policy => ({
  everyHours,
  afterEvents,
  canary: canary === null ? null : (JSON.parse(canary) as Policy["canary"]), // written from a checked one
});

export async function writePolicy(db: Database, app: number, policy: Policy, now: number): Promise<void> {
  const canary = policy.canary === null ? null : JSON.stringify(policy.canary);
  await db.prepare(WRITE).bind(app, policy.everyHours, policy.afterEvents, canary, now).run();
}

export async function readPolicy(db: Database, app: number): Promise<Policy | undefined> {
  const row = await db.prepare(READ).bind(app).first<StoredPolicy>();
  return row === null ? undefined : policyOf(row);
}

export interface PolicyOfApp {
  readonly app: number;
  readonly policy: Policy;
  readonly since: Since;
}

/** Policies of apps with numbers above `after`, with what has happened since. */
export async function policiesAfter(db: Database, after: number, limit: number): Promise<PolicyOfApp[]> {
  type Row = StoredPolicy & {
    app: number;
    policyAt: number;
    lastJobAt: number | null;
    records: number;
    isOpen: number;
  };
  const { results } = await db.prepare(DUE).bind(after, limit).all<Row>();
  return results.map(({ app, policyAt, lastJobAt, records, isOpen, ...policy }) => ({
    app,
    policy: policyOf(policy),
    since: { policyAt, lastJobAt, records, isOpen: isOpen === 1 },
  }));
}
