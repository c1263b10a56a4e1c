/** Everything thrown becomes a problem document here. An unexpected error tells the caller nothing and the log where it happened. */
import { HTTPException } from "hono/http-exception";
import { routePath } from "hono/route";
import * as z from "zod";
import { fieldErrors } from "./field-errors.ts";
import { describeError, log } from "./log.ts";
import { ProblemError, problemResponse } from "./problem.ts";
import type { Context, ErrorHandler, NotFoundHandler } from "hono";
import type { Bindings, Credential } from "./context.ts";
import type { ProblemCode } from "./problem.ts";

const CODE_OF_STATUS: Readonly<Record<number, ProblemCode>> = {
  400: "invalid_request",
  401: "unauthenticated",
  403: "forbidden",
  404: "not_found",
  405: "method_not_allowed",
  409: "conflict",
  413: "too_large",
  415: "unsupported_media_type",
  429: "rate_limited",
  503: "unavailable",
};

export const onError: ErrorHandler<Bindings> = (error, c) => {
  const problem = toProblem(error);
  if (problem.code === "internal" || problem.code === "unavailable") {
    const credential = c.get("credential") as Credential | undefined;
    log("error", "request_failed", {
      requestId: c.get("requestId"),
      method: c.req.method,
      route: routePath(c),
      code: problem.code,
      ...(credential ? { app: credential.app, keyId: credential.keyId } : {}),
      ...(error instanceof ProblemError ? {} : { error: describeError(error) }),
    });
  }
  return problemResponse(c, problem);
};

export const onNotFound: NotFoundHandler<Bindings> = (c) =>
  problemResponse(c, new ProblemError("not_found", "There is nothing at this path"));

/** 405 with `Allow`, for a path that exists with other methods. */
export function methodNotAllowedResponse(c: Context<Bindings>, methods: readonly string[]): Response {
  const allow = methods.toSorted().join(", ");
  const response = problemResponse(c, new ProblemError("method_not_allowed", `Allowed here: ${allow}`));
  response.headers.set("allow", allow);
  return response;
}

function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  if (error instanceof z.ZodError) {
    return new ProblemError("invalid_request", "The request does not fit its schema", {
      errors: fieldErrors(error, undefined),
    });
  }
  if (error instanceof HTTPException) {
    const code = CODE_OF_STATUS[error.status] ?? (error.status < 500 ? "invalid_request" : "internal");
    return new ProblemError(code, code === "internal" ? "Something failed inside" : "The request was refused");
  }
  if (isTransient(error)) {
    return new ProblemError("unavailable", "A part that this needs is not available now", { retryAfterSeconds: 1 });
  }
  return new ProblemError("internal", "Something failed inside; the request id finds it in the log");
}

/** Faults of D1 and of Durable Objects that pass: trying again can help. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const flags = error as Error & { retryable?: unknown; overloaded?: unknown };
  if (flags.retryable === true || flags.overloaded === true) return true;
  const text = `${error.message} ${error.cause instanceof Error ? error.cause.message : ""}`;
  return /Network connection lost|storage caused object to be reset|reset because its code was updated/.test(text);
}
