/**
 * User tokens: JWTs (RFC 7519) that an app's back end signs for its user with HS256. This file holds what the claims must say and
 * a signer that runs in workerd and in Node alike; signatures are checked in `http/user-token.ts`.
 */
import { base64url } from "./sealed.ts";

export const USER_ID_RULE = "a user id is not me, . or .. and holds no half of a surrogate pair";

/**
 * Whether a user of this id can be named again: `me` means the bearer of a token, dot segments vanish from a path (RFC 3986,
 * section 5.2.4), and halves of surrogate pairs all become U+FFFD. A user who can't be named can't be erased.
 */
export function isUserId(id: string): boolean {
  return id !== "me" && id !== "." && id !== ".." && id.isWellFormed();
}

/** The bearer of a checked token. `events` tokens may only post events of their own user. */
export interface TokenUser {
  readonly userId: string;
  readonly audience: "edgewise" | "events";
}

export interface TokenClaims {
  readonly user: TokenUser;
  readonly issuedAt: number; // ms
  readonly expiresAt: number; // ms
  /** Of anonymous tokens: hash of the installation that asked for it. */
  readonly installation: string | undefined;
}

/** Longest life of a token from iat to exp. A phone's queue of events outlives a day offline, hence the second. */
export const TOKEN_LIFETIME_SECONDS = { edgewise: 24 * 3600, events: 30 * 24 * 3600 } as const;

/** Clocks of back ends drift: an `iat` or `nbf` this much ahead still counts as now. */
export const CLOCK_LEEWAY_SECONDS = 60;

export type ClaimsVerdict =
  | { readonly kind: "valid"; readonly claims: TokenClaims }
  | { readonly kind: "refused"; readonly reason: string };

const refused = (reason: string): ClaimsVerdict => ({ kind: "refused", reason });

/** Whether the payload of a token with a good signature may be used at `now` (ms). `graceSeconds` lets an expired one pass. */
export function judgeClaims(payload: Readonly<Record<string, unknown>>, now: number, graceSeconds = 0): ClaimsVerdict {
  const { sub, iat, exp, nbf, aud, ins } = payload;
  const seconds = now / 1000;
  const audience = Array.isArray(aud) && aud.length === 1 ? (aud[0] as unknown) : aud;
  if (audience !== "edgewise" && audience !== "events") return refused("aud must be edgewise or events");
  if (typeof sub !== "string" || sub.length < 1 || sub.length > 256)
    return refused("sub must have 1 to 256 characters");
  if (!isUserId(sub)) return refused(USER_ID_RULE);
  if (typeof iat !== "number" || !Number.isFinite(iat)) return refused("iat is missing");
  if (typeof exp !== "number" || !Number.isFinite(exp)) return refused("exp is missing");
  if (iat > seconds + CLOCK_LEEWAY_SECONDS) return refused("iat lies in the future");
  if (nbf !== undefined && (typeof nbf !== "number" || !(nbf <= seconds + CLOCK_LEEWAY_SECONDS))) {
    return refused("nbf lies in the future");
  }
  const lifetime = TOKEN_LIFETIME_SECONDS[audience];
  if (exp - iat > lifetime) return refused(`exp is more than ${lifetime / 3600} h after iat`);
  if (exp + graceSeconds <= seconds) return refused("the token has expired");
  const installation = typeof ins === "string" ? ins : undefined;
  const user = { userId: sub, audience } as const;
  return { kind: "valid", claims: { user, issuedAt: iat * 1000, expiresAt: exp * 1000, installation } };
}

export interface UserTokenOptions {
  readonly kid: string;
  readonly userId: string;
  readonly issuedAt: number; // ms
  /** Default `edgewise`. */
  readonly audience?: TokenUser["audience"];
  /** Default: the longest that the audience allows. */
  readonly lifetimeSeconds?: number;
  readonly installation?: string;
}

/**
 * A signed user token. `secret` is the whole text of a user token secret (`ew_ts_...`), `kid` its id; any JWT library given the
 * same two makes an equal token.
 */
export async function signUserToken(secret: string, options: UserTokenOptions): Promise<string> {
  const audience = options.audience ?? "edgewise";
  const iat = Math.floor(options.issuedAt / 1000);
  const exp = iat + (options.lifetimeSeconds ?? TOKEN_LIFETIME_SECONDS[audience]);
  const claims = { sub: options.userId, aud: audience, iat, exp, ins: options.installation };
  const encoder = new TextEncoder();
  const part = (value: object) => base64url(encoder.encode(JSON.stringify(value)));
  const signed = `${part({ alg: "HS256", typ: "JWT", kid: options.kid })}.${part(claims)}`;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["sign"]);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(signed)));
  return `${signed}.${base64url(signature)}`;
}
