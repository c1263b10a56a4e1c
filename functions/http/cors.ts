/**
 * Browsers (Fetch standard, CORS protocol). A preflight carries no key, so it is answered alike for every origin: it gives nothing
 * away but the names of methods and headers. What counts is the real answer: it names the origin only where the key lists it, and
 * a publishable key that lists origins refuses others before anything is done. No cookies exist, so no credentials mode either.
 */
import { ProblemError } from "./problem.ts";
import type { Context, MiddlewareHandler } from "hono";
import type { Bindings, Credential } from "./context.ts";

const ALLOWED_HEADERS =
  "Authorization, X-User-Token, Content-Type, Content-Encoding, Idempotency-Key, If-None-Match, X-Request-Id";
const ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE";
const EXPOSED_HEADERS =
  "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, ETag, Idempotent-Replay, Deprecation, Sunset";
const PREFLIGHT_SECONDS = 7200; // the longest that Chromium keeps

/** Answers preflights and names the origin on answers to keys that list it. Public pages are readable from anywhere. */
export const cors: MiddlewareHandler<Bindings> = async (c, next) => {
  const origin = c.req.header("origin");
  if (
    c.req.method === "OPTIONS" &&
    origin !== undefined &&
    c.req.header("access-control-request-method") !== undefined
  ) {
    return c.body(null, 204, {
      "access-control-allow-origin": origin,
      "access-control-allow-methods": ALLOWED_METHODS,
      "access-control-allow-headers": ALLOWED_HEADERS,
      "access-control-max-age": String(PREFLIGHT_SECONDS),
      vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    });
  }
  await next();
  if (!c.req.path.startsWith("/v1")) return undefined;
  c.header("vary", "Origin", { append: true });
  if (origin === undefined) return undefined;
  const credential = c.get("credential") as Credential | undefined;
  if (credential?.kind === "publishable" && allows(credential, origin)) {
    c.header("access-control-allow-origin", origin);
    c.header("access-control-expose-headers", EXPOSED_HEADERS);
  }
  return undefined;
};

/** @throws ProblemError forbidden where the key lists origins and the browser's is not among them */
export function checkOrigin(c: Context<Bindings>, credential: Credential): void {
  const origin = c.req.header("origin");
  if (origin === undefined || credential.kind !== "publishable" || credential.origins.length === 0) return;
  if (!allows(credential, origin)) throw new ProblemError("forbidden", "This key may not be used from this origin");
}

function allows(credential: Credential, origin: string): boolean {
  return credential.origins.includes(origin) || credential.origins.includes("*");
}
