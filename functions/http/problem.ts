/** RFC 9457 problem documents: the one place that turns a fault into HTTP. A code, once published, keeps its meaning. */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Bindings } from "./context.ts";

/** Every code of the interface with its status, title and whether trying again can help. */
export const PROBLEMS = {
  malformed_json: { status: 400, title: "The body is not JSON", retryable: false },
  invalid_request: { status: 400, title: "The request does not fit its schema", retryable: false },
  unauthenticated: { status: 401, title: "A valid API key is needed", retryable: false },
  user_token_invalid: { status: 401, title: "The user token is not valid", retryable: false },
  forbidden: { status: 403, title: "This key may not do that", retryable: false },
  not_found: { status: 404, title: "There is no such thing in this app", retryable: false },
  method_not_allowed: { status: 405, title: "The method is not allowed here", retryable: false },
  conflict: { status: 409, title: "The request conflicts with the present state", retryable: false },
  idempotency_in_flight: { status: 409, title: "The first request with this key is still running", retryable: true },
  cursor_expired: { status: 410, title: "The cursor has expired", retryable: false },
  precondition_failed: { status: 412, title: "The stored version is not the one named", retryable: false },
  too_large: { status: 413, title: "The body is larger than allowed", retryable: false },
  unsupported_media_type: { status: 415, title: "The media type is not supported", retryable: false },
  model_refused: { status: 422, title: "The model does not check out", retryable: false },
  idempotency_mismatch: { status: 422, title: "The key was used with another body", retryable: false },
  rate_limited: { status: 429, title: "Too many requests", retryable: true },
  internal: { status: 500, title: "Something failed inside", retryable: true },
  unavailable: { status: 503, title: "A part that this needs is not available now", retryable: true },
} as const satisfies Record<string, { status: ContentfulStatusCode; title: string; retryable: boolean }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** One fault of the input. `pointer` is a JSON pointer (RFC 6901) into the body, or a name such as `?count`. */
export interface FieldError {
  readonly pointer: string;
  readonly code: string;
  readonly detail: string;
}

/** Thrown by routes and use cases for an expected refusal; `detail` never names another tenant's data. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly code: ProblemCode;
  readonly errors: readonly FieldError[];
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ProblemCode,
    detail: string,
    more: { errors?: readonly FieldError[]; retryAfterSeconds?: number } = {},
  ) {
    super(detail);
    this.code = code;
    this.errors = more.errors ?? [];
    this.retryAfterSeconds = more.retryAfterSeconds;
  }
}

/** The problem+json answer of a refusal. */
export function problemResponse(c: Context<Bindings>, error: ProblemError): Response {
  const { status, title, retryable } = PROBLEMS[error.code];
  const requestId = c.get("requestId");
  const body = {
    type: `https://edgewise.dev/problems/${error.code}`,
    title,
    status,
    detail: error.message,
    instance: requestId,
    code: error.code,
    retryable,
    ...(error.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: error.retryAfterSeconds }),
    requestId,
    ...(error.errors.length === 0 ? {} : { errors: error.errors }),
  };
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (error.retryAfterSeconds !== undefined) headers["retry-after"] = String(Math.ceil(error.retryAfterSeconds));
  return c.newResponse(JSON.stringify(body), status, headers);
}
