/**
 * Checks `X-User-Token`. The algorithm is fixed by the kind of key that `kid` names, never by the token's header, so a token can't
 * choose how it is verified (RFC 8725, section 3.1). HS256 only so far: for keys by JWKS URL, `kidOf`
 * would let their algorithms pass and `loadSecret` would look their `kid` up.
 */
import { decode, verify } from "hono/jwt";
import { LRUCache } from "lru-cache";
import { base64url, derivedBits, sealingKey, unseal } from "../domain/identity/sealed.ts";
import { judgeClaims } from "../domain/identity/user-token.ts";
import { findTokenSecret } from "../store/keys.ts";
import { ProblemError } from "./problem.ts";
import type { TokenClaims } from "../domain/identity/user-token.ts";

/** `kid` of the tokens that this Worker signs itself, for users without an account. */
export const ANONYMOUS_KID = "anonymous";
export const ANONYMOUS_PREFIX = "anon_";

const TOKEN_CHARACTERS = 4096;
export const TOKEN_SECRET_PURPOSE = "token-secrets";
const CACHE_MS = 30_000; // how long a revoked secret may go on
const STALE_MS = 10 * 60_000; // and how much longer while the database can't be asked

/** Token secrets of this isolate, by app and kid; may vanish at any time. `secret` is undefined where there is none. */
const secrets = new LRUCache<string, { secret: string | undefined; until: number }>({ max: 2000 });

/** Forgets a secret in this isolate at once; others follow within 30 s. */
export function forgetTokenSecret(app: number, kid: string): void {
  secrets.delete(`${app}:${kid}`);
}

/**
 * @throws ProblemError user_token_invalid: malformed, another algorithm, unknown key (for example another app's), bad signature,
 * or claims that don't hold at `now` (ms). `graceSeconds` lets a token pass that has expired so lately.
 */
export async function verifyUserToken(
  env: Env,
  app: number,
  token: string,
  at: { now: number; graceSeconds?: number },
): Promise<TokenClaims> {
  const kid = kidOf(token);
  const secret = await secretOf(env, app, kid, at.now);
  if (secret === undefined) throw refused("it is signed with a key that this app does not have");
  let payload: Record<string, unknown>;
  try {
    // times are judged below, by the clock of the request and with bounds that the library doesn't know
    payload = await verify(token, secret, { alg: "HS256", exp: false, iat: false, nbf: false });
  } catch {
    throw refused("its signature is wrong");
  }
  const verdict = judgeClaims(payload, at.now, at.graceSeconds);
  if (verdict.kind === "refused") throw refused(verdict.reason);
  if (kid === ANONYMOUS_KID && !verdict.claims.user.userId.startsWith(ANONYMOUS_PREFIX)) {
    throw refused("an anonymous token is for an anonymous user");
  }
  return verdict.claims;
}

/** The secret that signs anonymous tokens of an app: derived, so nothing is stored and no other app's token fits. */
export async function anonymousSecret(env: Env, app: number): Promise<string> {
  return base64url(new Uint8Array(await derivedBits(env.WORKER_SECRET, `edgewise anonymous-token ${app}`)));
}

/** The AAD of a stored token secret: its row. */
export function tokenSecretContext(app: number, kid: string): string {
  return `${app}:${kid}`;
}

function kidOf(token: string): string {
  if (token.length > TOKEN_CHARACTERS) throw refused(`it has more than ${TOKEN_CHARACTERS} characters`);
  let header: { alg?: unknown; kid?: unknown } | null; // whatever JSON stands there
  try {
    header = decode(token).header;
  } catch {
    throw refused("it is not a JWT");
  }
  if (header?.alg !== "HS256") throw refused("its algorithm is not HS256");
  if (typeof header.kid !== "string" || header.kid.length > 64) throw refused("its header has no kid");
  return header.kid;
}

async function secretOf(env: Env, app: number, kid: string, now: number): Promise<string | undefined> {
  const name = `${app}:${kid}`;
  const known = secrets.get(name);
  if (known && known.until > now) return known.secret;
  let secret: string | undefined;
  try {
    secret = await loadSecret(env, app, kid);
  } catch (error) {
    if (known?.secret !== undefined && now < known.until + STALE_MS) return known.secret;
    throw error;
  }
  secrets.set(name, { secret, until: now + CACHE_MS });
  return secret;
}

async function loadSecret(env: Env, app: number, kid: string): Promise<string | undefined> {
  if (kid === ANONYMOUS_KID) return anonymousSecret(env, app);
  const ciphertext = await findTokenSecret(env, app, kid);
  if (ciphertext === undefined) return undefined;
  return unseal(await sealingKey(env.WORKER_SECRET, TOKEN_SECRET_PURPOSE), ciphertext, tokenSecretContext(app, kid));
}

function refused(reason: string): ProblemError {
  return new ProblemError("user_token_invalid", `The user token is not valid: ${reason}`);
}
