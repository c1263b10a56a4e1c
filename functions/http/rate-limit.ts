/**
 * The cheap first gate: the rate-limit binding says yes or no for one user, installation or address, at each location, and is
 * only eventually consistent. Secret keys are exempt. The binding tells no numbers, so `r` and `t` of the RateLimit header
 * (draft-ietf-httpapi-ratelimit-headers) are this isolate's own count, an upper bound; exact quotas need a quota object.
 */
import { LRUCache } from "lru-cache";
import { limit } from "./limits.ts";
import { ProblemError } from "./problem.ts";
import type { Context, MiddlewareHandler } from "hono";
import type { Bindings, Credential } from "./context.ts";

const WINDOW_SECONDS = 60; // as in wrangler.toml
const POLICY = "gate";
/** Times in a minute. */
const SELDOM = 10;

/** Requests of a subject in the running minute, seen by this isolate; may vanish at any time. */
const used = new LRUCache<string, { minute: number; count: number }>({ max: 10_000 });

/** Counts a request against a subject. @throws ProblemError rate_limited */
export async function gateBy(c: Context<Bindings>, subject: string): Promise<void> {
  const now = c.get("clock").now();
  // a gate that can't be asked stands open: it is there to shed load, not to decide who may
  const { success } = await c.env.LIMITER.limit({ key: subject }).catch(() => ({ success: true }));
  const minute = minuteOf(c);
  const known = used.get(subject);
  const count = known?.minute === minute ? known.count + 1 : 1;
  used.set(subject, { minute, count: success ? count : limit("requestsPerMinute") });
  if (success) return;
  throw new ProblemError("rate_limited", `More than ${limit("requestsPerMinute")} requests in a minute`, {
    retryAfterSeconds: secondsLeft(now),
  });
}

/** Whether the subject was counted so seldom in this minute, as far as this isolate knows, that the gate need not come first. */
export function isSeldom(c: Context<Bindings>, subject: string): boolean {
  const known = used.get(subject);
  return known?.minute !== minuteOf(c) || known.count < SELDOM;
}

/** The address of the caller, as far as the platform tells it. */
export function callerAddress(c: Context<Bindings>): string {
  return c.req.header("cf-connecting-ip") ?? "unknown";
}

/** After `authenticate`: counts by user, else by address; secret and operator keys pass. */
export const gate: MiddlewareHandler<Bindings> = async (c, next) => {
  const credential = c.get("credential") as Credential | undefined;
  if (credential === undefined || credential.kind === "publishable") {
    const user = c.get("user");
    const app = credential?.app ?? 0;
    const subject = user ? `user:${app}:${user.userId}` : `address:${app}:${callerAddress(c)}`;
    c.set("rateSubject", subject);
    await gateBy(c, subject);
  }
  await next();
};

/** The two header fields of this answer. An exempt caller has used nothing. */
export function rateLimitHeaders(c: Context<Bindings>): { "ratelimit-policy": string; ratelimit: string } {
  const quota = limit("requestsPerMinute");
  const now = c.get("clock").now();
  const known = used.get(c.get("rateSubject") ?? "");
  const count = known?.minute === minuteOf(c) ? known.count : 0;
  return {
    "ratelimit-policy": `"${POLICY}";q=${quota};w=${WINDOW_SECONDS}`,
    ratelimit: `"${POLICY}";r=${Math.max(0, quota - count)};t=${secondsLeft(now)}`,
  };
}

function minuteOf(c: Context<Bindings>): number {
  return Math.floor(c.get("clock").now() / (WINDOW_SECONDS * 1000));
}

function secondsLeft(now: number): number {
  return Math.max(1, WINDOW_SECONDS - Math.floor((now / 1000) % WINDOW_SECONDS));
}
