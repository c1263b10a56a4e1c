/**
 * `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the first request with a key runs, its answer is kept 24 h and
 * given again to the same caller for the same request. Scoped to app, key, user and route, so a replay can't show another's answer.
 *
 * Answers may hold freshly minted keys, so every stored answer is sealed (AES-GCM under the Worker secret, bound to its row). An
 * effect that must never happen twice puts `answerStatement` into its own batch; without it, a Worker that dies between effect
 * and answer lets a retry run again after the lease, which is harmless for the routes whose effect is an upsert.
 */
import { routePath } from "hono/route";
import { seal, sealingKey, unseal } from "../domain/identity/sealed.ts";
import { digest, hex } from "../domain/identity/keys.ts";
import { answerKey, freeKey, takeKey } from "../store/idempotency.ts";
import { fingerprint } from "./auth.ts";
import { readBody } from "./body.ts";
import { PROBLEMS, ProblemError } from "./problem.ts";
import { randomBytes } from "./random.ts";
import type { Context, MiddlewareHandler } from "hono";
import type { Bindings } from "./context.ts";
import type { ProblemCode } from "./problem.ts";

/** A structured-field string (`"k"`) or the bare characters. */
const KEY = /^(?:"([\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x2b\x2d-\x7e]{1,255}))$/;
const MOST_CHARACTERS = 500_000; // of an answer; a longer one isn't kept, and its retry runs again

interface Answer {
  readonly contentType: string;
  readonly body: string;
}

/** After `authenticate` and `requireKind`. Does nothing without the header. */
export const idempotent: MiddlewareHandler<Bindings> = async (c, next) => {
  const header = c.req.header("idempotency-key");
  if (header === undefined) return next();
  const match = KEY.exec(header.trim());
  const key = match?.[1] ?? match?.[2];
  if (key === undefined) {
    throw new ProblemError("invalid_request", "Idempotency-Key must have 1 to 255 visible ASCII characters", {
      errors: [{ pointer: "Idempotency-Key", code: "invalid_format", detail: "1 to 255 visible ASCII characters" }],
    });
  }
  const { app, keyId } = c.get("credential");
  const user = c.get("user")?.userId ?? "";
  const scope = await fingerprint([app, keyId, user, c.req.method, routePath(c)]);
  const body = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", await readBody(c))));
  const { pathname, search } = new URL(c.req.url);
  const bodyHash = hex(await digest(JSON.stringify([pathname, search, body])));
  const taken = await takeKey(c.env, { scope, key }, bodyHash, c.get("clock").now());
  if (taken.kind === "known") return replay(c, { scope, key }, taken.row, bodyHash);
  const lease = { scope, key, leaseUntil: taken.leaseUntil, isAnswered: false };
  c.set("idempotency", lease);
  await next();
  if (lease.isAnswered && !c.error) return undefined;
  const text = isWorthKeeping(c) ? await c.res.clone().text() : undefined;
  if (text === undefined || text.length > MOST_CHARACTERS) {
    await freeKey(c.env, lease, lease.leaseUntil);
  } else {
    const contentType = c.res.headers.get("content-type") ?? "";
    await (await answerStatement(c, c.res.status, text, { contentType }))?.run();
  }
  return undefined;
};

/**
 * The statement that stores the answer, for the batch of the effect; undefined where the request came without a key. Call it with
 * the very body that the route then sends. With `ifChanged` it stores nothing unless the statement before it changed a row.
 */
export async function answerStatement(
  c: Context<Bindings>,
  status: number,
  body: string,
  { contentType = "application/json", ifChanged = false } = {},
): Promise<D1PreparedStatement | undefined> {
  const lease = c.get("idempotency");
  if (!lease) return undefined;
  lease.isAnswered = true;
  const answer: Answer = { contentType, body };
  const sealed = await seal(await answersKey(c), JSON.stringify(answer), rowContext(lease), randomBytes);
  return answerKey(c.env, lease, { leaseUntil: lease.leaseUntil, status, response: sealed, ifChanged });
}

async function replay(
  c: Context<Bindings>,
  name: { scope: string; key: string },
  row: { bodyHash: string; status: number | null; response: string | null },
  bodyHash: string,
): Promise<Response> {
  if (row.bodyHash !== bodyHash) {
    throw new ProblemError("idempotency_mismatch", "This Idempotency-Key was used for another request");
  }
  if (row.status === null || row.response === null) {
    throw new ProblemError("idempotency_in_flight", "The first request with this Idempotency-Key is still running", {
      retryAfterSeconds: 1,
    });
  }
  const answer = JSON.parse(await unseal(await answersKey(c), row.response, rowContext(name))) as Answer;
  const headers = {
    "idempotent-replay": "true",
    ...(answer.contentType ? { "content-type": answer.contentType } : {}),
  };
  return new Response(row.status === 204 ? null : answer.body, { status: row.status, headers });
}

/** Results and lasting refusals are kept; what another try could change (401, 403, 429, 5xx, retryable) is not. */
function isWorthKeeping(c: Context<Bindings>): boolean {
  const { status } = c.res;
  if (status >= 500 || status === 401 || status === 403 || status === 429) return false;
  const code = c.error instanceof ProblemError ? c.error.code : undefined;
  return code === undefined || !PROBLEMS[code satisfies ProblemCode].retryable;
}

function answersKey(c: Context<Bindings>): Promise<CryptoKey> {
  return sealingKey(c.env.WORKER_SECRET, "idempotent-answers");
}

function rowContext(name: { scope: string; key: string }): string {
  return `${name.scope}:${name.key}`;
}
