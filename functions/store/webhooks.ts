/**
 * Webhooks in D1: secrets of both directions; endpoints, messages, and what became of each on its way. A message is written in the
 * batch of what it tells of, so that there is never one without the other; sending is the business of jobs/deliver-webhooks.ts.
 */
import type { Database } from "./items.ts";

/** Something to tell. The same id is stored once. */
export interface NewMessage {
  readonly id: string;
  readonly type: string;
  /** JSON, signed and sent as it is. */
  readonly payload: string;
}

const MESSAGE = `INSERT INTO webhook_messages (app, id, type, payload, created_at)
  SELECT ?1, ?2, ?3, ?4, ?5 WHERE CASE WHEN ?6 = '' THEN changes() > 0 ELSE EXISTS (
    SELECT 1 FROM training_jobs WHERE app = ?1 AND id = ?6 AND status = ?7 AND updated_at = ?5) END
  ON CONFLICT DO NOTHING`;
/** To every endpoint that wants to hear of it. */
const DELIVERIES = `INSERT INTO webhook_deliveries (app, message, endpoint, status, due_at, updated_at)
  SELECT messages.app, messages.id, endpoints.id, 'pending', ?3, ?3
  FROM webhook_messages AS messages JOIN webhook_endpoints AS endpoints ON endpoints.app = messages.app
  WHERE messages.app = ?1 AND messages.id = ?2 AND messages.created_at = ?3 AND endpoints.status = 'enabled'
    AND (endpoints.types = '[]' OR EXISTS (SELECT 1 FROM json_each(endpoints.types) WHERE value = messages.type))
  ON CONFLICT DO NOTHING`;

/**
 * For the batch of the change. Nothing is written unless the statement right before them changed a row or, with `only`, that job came
 * into that state at `now`.
 */
export function messageStatements(
  db: Database,
  app: number,
  message: NewMessage,
  now: number,
  only?: { readonly job: string; readonly status: string },
): D1PreparedStatement[] {
  const { id, type, payload } = message;
  return [
    db.prepare(MESSAGE).bind(app, id, type, payload, now, only?.job ?? "", only?.status ?? ""),
    db.prepare(DELIVERIES).bind(app, id, now),
  ];
}

/** A secret as it is kept. */
export interface SealedSecret {
  readonly id: string;
  readonly ciphertext: string;
  readonly createdAt: number;
}

const SECRETS = `SELECT id, ciphertext, created_at AS createdAt FROM webhook_secrets
  WHERE app = ?1 AND owner = ?2 AND revoked_at IS NULL ORDER BY created_at DESC, id`;
const INSERT_SECRET = `INSERT INTO webhook_secrets (app, owner, id, ciphertext, created_at) SELECT ?1, ?2, ?3, ?4, ?5
  WHERE (SELECT count(*) FROM webhook_secrets WHERE app = ?1 AND owner = ?2 AND revoked_at IS NULL) < ?6`;
const REVOKE_SECRET = `UPDATE webhook_secrets SET revoked_at = ?4
  WHERE app = ?1 AND owner = ?2 AND id = ?3 AND revoked_at IS NULL`;

/** Live secrets of an owner, newest first. @param owner `standard`, `github` or the id of an endpoint */
export async function liveSecrets(db: Database, app: number, owner: string): Promise<SealedSecret[]> {
  return (await db.prepare(SECRETS).bind(app, owner).all<SealedSecret>()).results;
}

/** For a batch. Changes nothing where the owner has `most` live ones. */
export function insertSecret(
  db: Database,
  app: number,
  owner: string,
  secret: SealedSecret,
  most: number,
): D1PreparedStatement {
  return db.prepare(INSERT_SECRET).bind(app, owner, secret.id, secret.ciphertext, secret.createdAt, most);
}

/** False: there is no such live one. */
export async function revokeSecret(
  db: Database,
  app: number,
  secret: { readonly owner: string; readonly id: string },
  now: number,
): Promise<boolean> {
  return (await db.prepare(REVOKE_SECRET).bind(app, secret.owner, secret.id, now).run()).meta.changes > 0;
}

export interface Endpoint {
  readonly id: string;
  readonly url: string;
  /** Empty: all. */
  readonly types: readonly string[];
  readonly status: "enabled" | "disabled";
  readonly disabledReason: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

type StoredEndpoint = Omit<Endpoint, "types"> & { readonly types: string };

const endpointOf = (row: StoredEndpoint): Endpoint => ({ ...row, types: JSON.parse(row.types) as string[] });

const ENDPOINT = `SELECT id, url, types, status, disabled_reason AS disabledReason, created_at AS createdAt,
  updated_at AS updatedAt FROM webhook_endpoints WHERE app = ?1`;
const INSERT_ENDPOINT = `INSERT INTO webhook_endpoints (app, id, url, types, status, created_at, updated_at)
  SELECT ?1, ?2, ?3, ?4, 'enabled', ?5, ?5 WHERE (SELECT count(*) FROM webhook_endpoints WHERE app = ?1) < ?6`;
const UPDATE_ENDPOINT = `UPDATE webhook_endpoints SET url = coalesce(?3, url), types = coalesce(?4, types),
    status = coalesce(?5, status), updated_at = ?6,
    disabled_reason = CASE ?5 WHEN 'enabled' THEN NULL WHEN 'disabled' THEN ?7 ELSE disabled_reason END
  WHERE app = ?1 AND id = ?2`;

export async function listEndpoints(db: Database, app: number): Promise<Endpoint[]> {
  const { results } = await db.prepare(`${ENDPOINT} ORDER BY created_at, id`).bind(app).all<StoredEndpoint>();
  return results.map(endpointOf);
}

export async function findEndpoint(db: Database, app: number, id: string): Promise<Endpoint | undefined> {
  const row = await db.prepare(`${ENDPOINT} AND id = ?2`).bind(app, id).first<StoredEndpoint>();
  return row === null ? undefined : endpointOf(row);
}

/** For a batch. Changes nothing where the app has `most`. */
export function insertEndpoint(
  db: Database,
  app: number,
  endpoint: Pick<Endpoint, "id" | "url" | "types">,
  now: number,
  most: number,
): D1PreparedStatement {
  const { id, url, types } = endpoint;
  return db.prepare(INSERT_ENDPOINT).bind(app, id, url, JSON.stringify(types), now, most);
}

/** A field that is undefined stays as it is. */
export function updateEndpoint(
  db: Database,
  app: number,
  id: string,
  change: Partial<Pick<Endpoint, "url" | "types" | "status">> & { readonly reason?: string },
  now: number,
): D1PreparedStatement {
  const { url = null, types, status = null, reason = "switched off" } = change;
  const list = types === undefined ? null : JSON.stringify(types);
  return db.prepare(UPDATE_ENDPOINT).bind(app, id, url, list, status, now, reason);
}

/** With its secrets and with what was on its way to it. False: there is none. */
export async function deleteEndpoint(db: Database, app: number, id: string): Promise<boolean> {
  const [, , , gone] = await db.batch([
    db.prepare("DELETE FROM webhook_attempts WHERE app = ?1 AND endpoint = ?2").bind(app, id),
    db.prepare("DELETE FROM webhook_deliveries WHERE app = ?1 AND endpoint = ?2").bind(app, id),
    db.prepare("DELETE FROM webhook_secrets WHERE app = ?1 AND owner = ?2").bind(app, id),
    db.prepare("DELETE FROM webhook_endpoints WHERE app = ?1 AND id = ?2").bind(app, id),
  ]);
  return gone!.meta.changes > 0;
}

/** Longer than an attempt with all its redirects may take. */
const ATTEMPT_LEASE_MS = 120_000;

/** A delivery whose attempt is this caller's to make. */
export interface DueDelivery {
  readonly app: number;
  readonly message: string;
  readonly endpoint: string;
  /** With this one. */
  readonly attempts: number;
  readonly payload: string;
}

/** Uses webhook_deliveries_due. One statement, so that of two at once each gets others. */
const TAKE = `UPDATE webhook_deliveries SET attempts = attempts + 1, lease_until = ?1 + ${ATTEMPT_LEASE_MS}
  WHERE rowid IN (SELECT rowid FROM webhook_deliveries WHERE status = 'pending' AND due_at <= ?1
    AND (lease_until IS NULL OR lease_until <= ?1) AND (?3 = 0 OR app = ?3) ORDER BY due_at LIMIT ?2)
  RETURNING app, message, endpoint, attempts,
    (SELECT payload FROM webhook_messages AS messages WHERE messages.app = webhook_deliveries.app
      AND messages.id = webhook_deliveries.message) AS payload`;

/** Takes deliveries that are due, of one app or (0) of any, at most `limit`. */
export async function takeDue(db: Database, app: number, now: number, limit: number): Promise<DueDelivery[]> {
  return (await db.prepare(TAKE).bind(now, limit, app).all<DueDelivery>()).results;
}

/** What came of an attempt. */
export interface AttemptRecord {
  readonly at: number;
  readonly outcome: "delivered" | "retry" | "dead" | "disabled" | "cancelled";
  readonly status: number | null;
  readonly error: string | null;
  readonly durationMs: number;
  /** When to try again; null: it is over. */
  readonly dueAt: number | null;
}

const SETTLE = `UPDATE webhook_deliveries SET status = ?5, due_at = ?6, lease_until = NULL, updated_at = ?7
  WHERE app = ?1 AND message = ?2 AND endpoint = ?3 AND attempts = ?4 AND status = 'pending'`;
const ATTEMPT = `INSERT INTO webhook_attempts (app, message, endpoint, attempt, at, outcome, status, error, duration_ms)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING`;
const CANCEL_WAITING = `UPDATE webhook_deliveries SET status = 'cancelled', due_at = NULL, updated_at = ?3
  WHERE app = ?1 AND endpoint = ?2 AND status = 'pending'`;

/** Writes an attempt into the log and moves the delivery on; an endpoint that is gone is switched off with all that waits for it. */
export async function settleAttempt(db: Database, delivery: DueDelivery, record: AttemptRecord): Promise<void> {
  const { app, message, endpoint, attempts } = delivery;
  const { at, outcome, status, error, durationMs, dueAt } = record;
  const state = {
    delivered: "delivered",
    retry: "pending",
    dead: "dead",
    disabled: "cancelled",
    cancelled: "cancelled",
  };
  await db.batch([
    db.prepare(ATTEMPT).bind(app, message, endpoint, attempts, at, outcome, status, error, durationMs),
    db.prepare(SETTLE).bind(app, message, endpoint, attempts, state[outcome], dueAt, at),
    ...(outcome === "disabled"
      ? [
          updateEndpoint(db, app, endpoint, { status: "disabled", reason: "it answered 410 Gone" }, at),
          db.prepare(CANCEL_WAITING).bind(app, endpoint, at),
        ]
      : []),
  ]);
}

export interface Delivery {
  readonly message: string;
  readonly type: string;
  readonly status: "pending" | "delivered" | "dead" | "cancelled";
  readonly attempts: number;
  readonly dueAt: number | null;
  readonly updatedAt: number;
}

export interface Attempt {
  readonly attempt: number;
  readonly at: number;
  readonly outcome: string;
  readonly status: number | null;
  readonly error: string | null;
  readonly durationMs: number;
}

const LIST_DELIVERIES = `SELECT message, messages.type, deliveries.status, attempts, due_at AS dueAt,
    deliveries.updated_at AS updatedAt
  FROM webhook_deliveries AS deliveries JOIN webhook_messages AS messages
    ON messages.app = deliveries.app AND messages.id = deliveries.message
  WHERE deliveries.app = ?1 AND endpoint = ?2 ORDER BY deliveries.updated_at DESC, message LIMIT ?3`;
const LIST_ATTEMPTS = `SELECT attempt, at, outcome, status, error, duration_ms AS durationMs FROM webhook_attempts
  WHERE app = ?1 AND message = ?2 AND endpoint = ?3 ORDER BY attempt`;

/** Last touched first. */
export async function listDeliveries(db: Database, app: number, endpoint: string, limit: number): Promise<Delivery[]> {
  return (await db.prepare(LIST_DELIVERIES).bind(app, endpoint, limit).all<Delivery>()).results;
}

export async function listAttempts(db: Database, app: number, message: string, endpoint: string): Promise<Attempt[]> {
  return (await db.prepare(LIST_ATTEMPTS).bind(app, message, endpoint).all<Attempt>()).results;
}

const REPLAY = `UPDATE webhook_deliveries SET status = 'pending', due_at = ?4, lease_until = NULL, updated_at = ?4
  WHERE app = ?1 AND endpoint = ?2 AND message = ?3 AND status <> 'pending'`;

/** Makes a delivery that is over due again, under the same message id. False: there is none that is over. */
export async function replayDelivery(
  db: Database,
  app: number,
  delivery: { readonly endpoint: string; readonly message: string },
  now: number,
): Promise<boolean> {
  return (await db.prepare(REPLAY).bind(app, delivery.endpoint, delivery.message, now).run()).meta.changes > 0;
}

const SWEEP = [
  "DELETE FROM webhook_attempts WHERE at < ?1",
  "DELETE FROM webhook_deliveries WHERE status <> 'pending' AND updated_at < ?1",
  `DELETE FROM webhook_messages WHERE created_at < ?1 AND NOT EXISTS (SELECT 1 FROM webhook_deliveries AS deliveries
    WHERE deliveries.app = webhook_messages.app AND deliveries.message = webhook_messages.id)`,
];

/** Forgets messages that are over and older than `before`, with their delivery log. */
export async function sweepMessages(db: Database, before: number): Promise<void> {
  await db.batch(SWEEP.map((sql) => db.prepare(sql).bind(before)));
}
