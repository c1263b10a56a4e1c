/**
 * Who calls: the key in `Authorization` (operator, secret, publishable) and the user in `X-User-Token`. Mounted once for all of
 * `/v1`, so that no route can forget it; routes add `requireKind`. Keys are looked up by id and compared as SHA-256 digests in
 * constant time; look-ups live 30 s in an isolate, so a revocation takes that long at most.
 */
import { LRUCache } from "lru-cache";
import { digest, hashKey, hex, parseKey } from "../domain/identity/keys.ts";
import { type ApiKeyRow, findApiKey } from "../store/keys.ts";
import { type FirstLook, firstLookOfKey } from "../store/models.ts";
import { checkOrigin } from "./cors.ts";
import { ProblemError } from "./problem.ts";
import { callerAddress, gateBy, isSeldom } from "./rate-limit.ts";
import { verifyUserToken } from "./user-token.ts";
import type { Context, MiddlewareHandler } from "hono";
import type { Bindings, Credential, CredentialKind } from "./context.ts";

const CACHE_MS = 30_000;
/** While the database can't be asked, a key that was good lately stays good this much longer: recommendations need no database. */
const STALE_MS = 10 * 60_000;

interface KnownKey {
  readonly hash: string;
  readonly credential: Credential;
  readonly until: number;
}

/** Keys of this isolate by key id; may vanish at any time. */
const known = new LRUCache<string, KnownKey>({ max: 5000 });

/** Forgets a key in this isolate at once; others follow within 30 s. */
export function forgetKey(id: string): void {
  known.delete(id);
}

/**
 * What a scoped secret key may reach, by the beginning of the path. A key without scopes reaches all of its app. `import` also
 * allows `backfill`; `trainer` is what a training machine holds.
 */
export const SCOPES = {
  catalogue: ["/v1/items", "/v1/imports"],
  events: ["/v1/events"],
  users: ["/v1/users"],
  recommend: ["/v1/recommendations", "/v1/similar", "/v1/rank"],
  models: ["/v1/models"],
  import: ["/v1/items", "/v1/imports", "/v1/events"],
  trainer: ["/v1/models", "/v1/training-jobs", "/v1/log"],
} as const satisfies Record<string, readonly string[]>;

export type Scope = keyof typeof SCOPES;

/** The operator's own actor in the credential: no app. */
const OPERATOR: Credential = { kind: "operator", keyId: "operator", app: 0, appId: "", scopes: [], origins: [] };

/** Fills `credential` and `user`. @throws ProblemError unauthenticated, user_token_invalid, forbidden, rate_limited */
export const authenticate: MiddlewareHandler<Bindings> = async (c, next) => {
  if ((c.get("credential") as Credential | undefined) === undefined) await identify(c);
  await next();
};

async function identify(c: Context<Bindings>): Promise<void> {
  const credential = await credentialOf(c);
  c.set("credential", credential);
  checkOrigin(c, credential);
  if (credential.kind === "secret") checkScopes(credential, c.req.path);
  const token = c.req.header("x-user-token");
  if (token === undefined || credential.kind === "operator") return;
  const { user } = await verifyUserToken(c.env, credential.app, token, { now: c.get("clock").now() });
  c.set("user", user);
  const isEventsRoute = c.req.method === "POST" && c.req.path === "/v1/events";
  if (user.audience === "events" && !isEventsRoute) {
    throw new ProblemError("forbidden", "A user token with the audience events can only post events");
  }
}

async function credentialOf(c: Context<Bindings>): Promise<Credential> {
  const header = c.req.header("authorization");
  if (header === undefined) throw unauthenticated("The Authorization header with a Bearer key is missing");
  const text = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(header)?.[1];
  if (text === undefined) throw unauthenticated("The Authorization header is not of the form: Bearer <key>");
  if (text.startsWith("ew_op_")) return operatorOf(c, text);
  const parsed = parseKey(text);
  if (!parsed) throw unauthenticated("The key is not valid");
  const now = c.get("clock").now();
  const hash = await hashKey(text);
  let entry = known.get(parsed.id);
  let look: FirstLook | undefined;
  // guessing keys costs the guesser, not the database: who guessed a few is counted first, anybody else when the key is wrong
  const subject = `key-lookup:${callerAddress(c)}`;
  let isCounted = false;
  if (!entry || entry.until <= now) {
    if (!isSeldom(c, subject)) {
      await gateBy(c, subject);
      isCounted = true;
    }
    const isCold = entry === undefined && isUnder(c.req.path, SCOPES.recommend);
    ({ entry, look } = await lookUp(c.env, parsed.id, now, { stale: entry, isCold }));
  }
  if (!entry || !isSameHash(entry.hash, hash) || entry.credential.kind !== parsed.kind) {
    if (!isCounted) await gateBy(c, subject);
    throw unauthenticated("The key is not valid");
  }
  c.set("firstLook", look);
  return entry.credential;
}

/** `isCold`: the request will want the app and its model, which this isolate is not likely to have: they come along. */
async function lookUp(
  env: Env,
  id: string,
  now: number,
  { stale, isCold }: { readonly stale: KnownKey | undefined; readonly isCold: boolean },
): Promise<{ entry: KnownKey | undefined; look: FirstLook | undefined }> {
  let row: ApiKeyRow | undefined;
  let look: FirstLook | undefined;
  try {
    if (isCold) ({ key: row, look } = await firstLookOfKey(env, id));
    else row = await findApiKey(env, id);
  } catch (error) {
    if (stale && now < stale.until + STALE_MS) return { entry: stale, look };
    throw error;
  }
  if (!row) {
    known.delete(id);
    return { entry: undefined, look: undefined };
  }
  const { kind, app, appId, scopes, origins } = row;
  const entry = { hash: row.hash, credential: { kind, keyId: id, app, appId, scopes, origins }, until: now + CACHE_MS };
  known.set(id, entry);
  return { entry, look };
}

async function operatorOf(c: Context<Bindings>, text: string): Promise<Credential> {
  const [given, wanted] = await Promise.all([digest(text), digest(c.env.OPERATOR_KEY)]);
  if (c.env.OPERATOR_KEY.length >= 40 && crypto.subtle.timingSafeEqual(given, wanted)) return OPERATOR;
  await gateBy(c, `key-lookup:${callerAddress(c)}`);
  throw unauthenticated("The key is not valid");
}

function isSameHash(a: string, b: string): boolean {
  const encoder = new TextEncoder();
  const [left, right] = [encoder.encode(a), encoder.encode(b)];
  return left.length === right.length && crypto.subtle.timingSafeEqual(left, right);
}

function unauthenticated(detail: string): ProblemError {
  return new ProblemError("unauthenticated", detail);
}

function isUnder(path: string, starts: readonly string[]): boolean {
  return starts.some((start) => path === start || path.startsWith(`${start}/`));
}

function checkScopes(credential: Credential, path: string): void {
  if (credential.scopes.length === 0) return;
  const isAllowed = credential.scopes.some((scope) => scope in SCOPES && isUnder(path, SCOPES[scope as Scope]));
  if (!isAllowed)
    throw new ProblemError("forbidden", `The scopes of this key (${credential.scopes.join(", ")}) end before this`);
}

/** Lets only keys of these kinds pass; 403 for others. */
export function requireKind(...kinds: CredentialKind[]): MiddlewareHandler<Bindings> {
  return async (c, next) => {
    const { kind } = c.get("credential");
    if (!kinds.includes(kind)) {
      throw new ProblemError("forbidden", `This needs a key of kind ${kinds.join(" or ")}; this one is ${kind}`);
    }
    await next();
  };
}

/** Whether the key has the scope. A secret key without scopes has all of them, a publishable one none. */
export function hasScope(c: Context<Bindings>, scope: Scope): boolean {
  const { kind, scopes } = c.get("credential");
  return kind === "secret" && (scopes.length === 0 || scopes.includes(scope));
}

/**
 * The user a request is about: of a publishable key the bearer of the user token, of a secret key `userId` or, without one, the
 * token's user. Undefined: nobody in particular. @throws ProblemError forbidden where a phone names somebody else
 */
export function resolveUser(c: Context<Bindings>, bodyUserId?: string | null): string | undefined {
  const tokenUser = c.get("user")?.userId;
  if (bodyUserId === undefined || bodyUserId === null) return tokenUser;
  if (c.get("credential").kind === "secret") return bodyUserId;
  if (bodyUserId === tokenUser) return tokenUser;
  throw new ProblemError("forbidden", "Only a secret key may name a user; a user token names its own", {
    errors: [{ pointer: "/userId", code: "not_allowed", detail: "differs from the user of X-User-Token" }],
  });
}

/** The user of a path `/v1/users/{id}`: `me` is the token's user, any other id needs a secret key (or is the token's own). */
export function resolvePathUser(c: Context<Bindings>, id: string): string {
  const tokenUser = c.get("user")?.userId;
  if (id === "me") {
    if (tokenUser === undefined) throw new ProblemError("user_token_invalid", "me needs an X-User-Token");
    return tokenUser;
  }
  if (c.get("credential").kind === "secret" || id === tokenUser) return id;
  throw new ProblemError("not_found", "There is no such user in reach of this key"); // 404: other users stay invisible
}

/** SHA-256, hex, of texts that are joined unambiguously. */
export async function fingerprint(parts: readonly (string | number)[]): Promise<string> {
  return hex(await digest(JSON.stringify(parts)));
}
