/** API keys (hashes) and user token secrets (ciphertexts) in D1. Nothing here sees a key in the clear. */

export interface ApiKeyRow {
  readonly id: string;
  readonly kind: "secret" | "publishable";
  readonly hash: string; // sha256, hex
  readonly app: number;
  readonly appId: string;
  readonly scopes: readonly string[];
  readonly origins: readonly string[];
}

export interface NewApiKey {
  readonly id: string;
  readonly kind: "secret" | "publishable";
  readonly hash: string;
  readonly scopes: readonly string[];
  readonly origins: readonly string[];
}

/** What a list of keys may show. */
export interface KeySummary {
  readonly id: string;
  readonly kind: "secret" | "publishable" | "userTokenSecret";
  readonly scopes: readonly string[];
  readonly origins: readonly string[];
  readonly createdAt: number;
  readonly revokedAt: number | null;
}

/** By primary key; revoked keys, and those of an app that is being deleted, are not found. */
const FIND_KEY = `SELECT k.id, k.kind, k.hash, k.app, a.id AS appId, k.scopes, k.origins
  FROM api_keys k JOIN apps a ON a.app = k.app WHERE k.id = ?1 AND k.revoked_at IS NULL
    AND a.deleted_at IS NULL`;

/** A row as the statement gives it: lists as JSON. */
export type StoredKey = Omit<ApiKeyRow, "scopes" | "origins"> & { readonly scopes: string; readonly origins: string };

/** The statement of `findApiKey`, for a batch. Gives a `StoredKey`. */
export function selectApiKey(env: Env, id: string): D1PreparedStatement {
  return env.DB.prepare(FIND_KEY).bind(id);
}

export function keyOf(row: StoredKey | null | undefined): ApiKeyRow | undefined {
  if (!row) return undefined;
  return { ...row, scopes: strings(row.scopes), origins: strings(row.origins) };
}

export async function findApiKey(env: Env, id: string): Promise<ApiKeyRow | undefined> {
  return keyOf(await selectApiKey(env, id).first<StoredKey>());
}

/** Adds a key unless the app has `most` live ones; `meta.changes` is 0 then. The app is named by its public id. */
const INSERT_KEY = `INSERT INTO api_keys (id, app, kind, hash, scopes, origins, created_at)
  SELECT ?1, a.app, ?3, ?4, ?5, ?6, CAST(?7 AS INTEGER) FROM apps a WHERE a.id = ?2 AND a.deleted_at IS NULL
  AND (SELECT count(*) FROM api_keys k WHERE k.app = a.app AND k.revoked_at IS NULL) < ?8`;

export function insertApiKey(env: Env, appId: string, key: NewApiKey, at: { now: number; most: number }) {
  const { id, kind, hash } = key;
  const lists = [JSON.stringify(key.scopes), JSON.stringify(key.origins)] as const;
  return env.DB.prepare(INSERT_KEY).bind(id, appId, kind, hash, ...lists, at.now, at.most);
}

const INSERT_SECRET = `INSERT INTO token_secrets (app, kid, ciphertext, created_at)
  SELECT CAST(?1 AS INTEGER), ?2, ?3, CAST(?4 AS INTEGER)
  WHERE (SELECT count(*) FROM token_secrets WHERE app = ?1 AND revoked_at IS NULL) < ?5`;

export function insertTokenSecret(
  env: Env,
  app: number,
  secret: { kid: string; ciphertext: string },
  at: { now: number; most: number },
) {
  return env.DB.prepare(INSERT_SECRET).bind(app, secret.kid, secret.ciphertext, at.now, at.most);
}

/** The ciphertext of a live secret of this very app: another app's `kid` is not found. */
export async function findTokenSecret(env: Env, app: number, kid: string): Promise<string | undefined> {
  const sql = "SELECT ciphertext FROM token_secrets WHERE app = ?1 AND kid = ?2 AND revoked_at IS NULL";
  const row = await env.DB.prepare(sql).bind(app, kid).first<{ ciphertext: string }>();
  return row?.ciphertext;
}

/** Revokes a key or a token secret of the app; false where it has no such live one. */
export async function revokeKey(env: Env, app: number, id: string, now: number): Promise<boolean> {
  const [keys, secrets] = await env.DB.batch([
    env.DB.prepare(
      "UPDATE api_keys SET revoked_at = CAST(?3 AS INTEGER) WHERE app = ?1 AND id = ?2 AND revoked_at IS NULL",
    ).bind(app, id, now),
    env.DB.prepare(
      "UPDATE token_secrets SET revoked_at = CAST(?3 AS INTEGER) WHERE app = ?1 AND kid = ?2 AND revoked_at IS NULL",
    ).bind(app, id, now),
  ]);
  return (keys?.meta.changes ?? 0) + (secrets?.meta.changes ?? 0) > 0;
}

/** Newest first, revoked ones too. */
export async function listKeys(env: Env, app: number): Promise<KeySummary[]> {
  const sql = `SELECT id, kind, scopes, origins, created_at AS createdAt, revoked_at AS revokedAt FROM api_keys WHERE app = ?1
    UNION ALL SELECT kid, 'userTokenSecret', '[]', '[]', created_at, revoked_at FROM token_secrets WHERE app = ?1
    ORDER BY createdAt DESC, id LIMIT 200`;
  type Row = Omit<KeySummary, "scopes" | "origins"> & { scopes: string; origins: string };
  const { results } = await env.DB.prepare(sql).bind(app).all<Row>();
  return results.map((row) => ({ ...row, scopes: strings(row.scopes), origins: strings(row.origins) }));
}

function strings(json: string): string[] {
  const list: unknown = JSON.parse(json);
  return Array.isArray(list) ? list.filter((entry) => typeof entry === "string") : [];
}
