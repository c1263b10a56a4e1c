/** The frame around every request: its id and clock before, headers that every answer bears after. */
import { secureHeaders } from "hono/secure-headers";
import { uuidv7 } from "../domain/identity/uuid.ts";
import { systemClock } from "./clock.ts";
import { limit } from "./limits.ts";
import { ProblemError } from "./problem.ts";
import { randomBytes } from "./random.ts";
import { rateLimitHeaders } from "./rate-limit.ts";
import type { MiddlewareHandler } from "hono";
import type { Bindings } from "./context.ts";

const REQUEST_ID = /^[A-Za-z0-9._:-]{8,128}$/;
const UPLOAD = /^\/v1\/(?:models|training-jobs)\/[^/]+\/files\//;

/** A caller's `x-request-id` is kept where it is harmless in a log and a header; otherwise a UUIDv7. */
export const frame: MiddlewareHandler<Bindings> = async (c, next) => {
  const clock = systemClock(c.env);
  const given = c.req.header("x-request-id");
  const requestId = given !== undefined && REQUEST_ID.test(given) ? given : uuidv7(clock.now(), randomBytes);
  c.set("clock", clock);
  c.set("requestId", requestId);
  c.set("warnings", []);
  await next();
  c.header("x-request-id", requestId);
  for (const [name, value] of Object.entries(rateLimitHeaders(c))) c.header(name, value);
  if (!c.res.headers.has("cache-control")) {
    c.header("cache-control", c.res.headers.has("etag") ? "private, no-cache" : "no-store");
  }
  if (!c.res.headers.has("content-security-policy")) {
    c.header("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
  }
};

export const secure = secureHeaders({
  strictTransportSecurity: "max-age=31536000; includeSubDomains",
  xFrameOptions: "DENY",
  referrerPolicy: "no-referrer",
  crossOriginResourcePolicy: "cross-origin", // an API; what a page may read is the business of CORS
});

/** Refuses by Content-Length before anything is read. Bodies without a length meet the same bound while they are read. */
export const bodyBound: MiddlewareHandler<Bindings> = async (c, next) => {
  const isUpload = c.req.method === "PUT" && UPLOAD.test(c.req.path);
  const most = limit(isUpload ? "modelFileBytes" : "bodyBytes");
  const declared = Number(c.req.header("content-length") ?? 0);
  if (declared > most)
    throw new ProblemError("too_large", `The body has ${declared} bytes, at most ${most} are allowed`);
  await next();
};
