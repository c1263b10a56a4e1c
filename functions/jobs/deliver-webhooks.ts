/**
 * Sends what is due to the endpoints that wait for it: signs, checks where the address leads, follows redirects by hand, and writes what
 * came of it. A delivery is taken for two minutes; a Worker that dies with it leaves it to the next.
 */
import { dohResolver } from "../domain/webhooks/doh.ts";
import { checkRedirect, isRedirect } from "../domain/webhooks/redirect.ts";
import { ATTEMPT_TIMEOUT_MS, type AttemptOutcome, judgeAttempt } from "../domain/webhooks/retry.ts";
import { signMessage } from "../domain/webhooks/signature.ts";
import { checkTarget, type Resolve, type TargetVerdict } from "../domain/webhooks/target.ts";
import { mapLimited } from "../domain/map-limited.ts";
import { describeError, log } from "../http/log.ts";
import { findApp } from "../store/apps.ts";
import { type AttemptRecord, type DueDelivery, findEndpoint, settleAttempt, takeDue } from "../store/webhooks.ts";
import { liveKeys } from "./webhook-secrets.ts";

/** Deliveries of one call, and how many of them at once: an invocation has six connections. */
const TAKEN = 30;
const AT_ONCE = 4;
const DNS_TIMEOUT_MS = 5000;

/** What a delivery needs of the world outside. */
export interface Outside {
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly resolve: Resolve;
  /** In [0, 1). */
  readonly random: () => number;
}

function outside(): Outside {
  return {
    fetch: (url, init) => fetch(url, init),
    resolve: (name) =>
      dohResolver({ fetch: (url, init) => fetch(url, init), signal: AbortSignal.timeout(DNS_TIMEOUT_MS) })(name),
    random: () => Math.random(),
  };
}

/**
 * Makes the attempts that are due, of one app or (0) of any.
 * @returns when those of them that failed are due again, at the earliest; `now` where more may be due already; null: nothing is left
 */
export async function deliverDue(
  env: Env,
  app: number,
  now: number,
  world: Outside = outside(),
): Promise<number | null> {
  const due = await takeDue(env.DB, app, now, TAKEN);
  let again = due.length === TAKEN ? now : Infinity;
  await mapLimited(due, AT_ONCE, async (delivery) => {
    try {
      const record = await attempt(env, delivery, now, world);
      await settleAttempt(env.DB, delivery, record);
      again = Math.min(again, record.dueAt ?? Infinity);
    } catch (error) {
      log("error", "delivery_failed", { app: delivery.app, error: describeError(error) }); // its lease ends, and another tries
    }
  });
  return Number.isFinite(again) ? again : null;
}

async function attempt(env: Env, delivery: DueDelivery, now: number, world: Outside): Promise<AttemptRecord> {
  const { app, endpoint: id, attempts } = delivery;
  const over = (outcome: AttemptRecord["outcome"], error: string): AttemptRecord => ({
    at: now,
    outcome,
    status: null,
    error,
    durationMs: 0,
    dueAt: null,
  });
  const [row, endpoint, keys] = await Promise.all([
    findApp(env, app),
    findEndpoint(env.DB, app, id),
    liveKeys(env, app, id),
  ]);
  if (row === undefined || endpoint === undefined) return over("cancelled", "the endpoint is gone");
  if (endpoint.status === "disabled") return over("cancelled", "the endpoint is switched off");
  if (keys.length === 0) return over("dead", "the endpoint has no secret");
  const start = Date.now();
  const { outcome, error } = await send(delivery, keys, endpoint.url, {
    now,
    world,
    development: row.development === 1,
  });
  const durationMs = Date.now() - start;
  const verdict = judgeAttempt(attempts, outcome, { nowMs: now, random: world.random() });
  const status = outcome.kind === "answered" ? outcome.status : null;
  const record = { at: now, status, error, durationMs };
  switch (verdict.kind) {
    case "delivered":
      return { ...record, outcome: "delivered", dueAt: null };
    case "endpoint-gone":
      return { ...record, outcome: "disabled", dueAt: null };
    case "retry":
      return { ...record, outcome: "retry", dueAt: now + verdict.waitMs };
    case "dead":
      return { ...record, outcome: "dead", dueAt: null };
    default:
      return verdict satisfies never;
  }
}

interface SendOptions {
  readonly now: number;
  readonly world: Outside;
  readonly development: boolean;
}

/** One attempt with its redirects. Nothing of the answer's body is read. */
async function send(
  delivery: DueDelivery,
  keys: readonly CryptoKey[],
  url: string,
  { now, world, development }: SendOptions,
): Promise<{ readonly outcome: AttemptOutcome; readonly error: string | null }> {
  const body = new TextEncoder().encode(delivery.payload);
  const timestampSeconds = Math.floor(now / 1000);
  const headers = {
    ...(await signMessage(keys, { id: delivery.message, timestampSeconds, body })),
    "content-type": "application/json",
    "user-agent": "Edgewise-Webhooks/1",
  };
  const signal = AbortSignal.timeout(ATTEMPT_TIMEOUT_MS);
  let target: TargetVerdict = await checkTarget(url, world.resolve, { development });
  for (let followed = 0; ; followed += 1) {
    if (target.kind === "refused") return unanswered("target-refused", target.detail);
    if (target.kind === "unresolved") return unanswered("target-unresolved", "the name could not be resolved");
    let response: Response;
    try {
      response = await world.fetch(target.url.href, { method: "POST", headers, body, redirect: "manual", signal });
      await response.body?.cancel();
    } catch (error) {
      if (signal.aborted) return unanswered("timeout", `no answer within ${ATTEMPT_TIMEOUT_MS / 1000} s`);
      return unanswered("network", error instanceof Error ? error.message.slice(0, 200) : "the connection failed");
    }
    const { status } = response;
    const answered = { kind: "answered", status, retryAfter: response.headers.get("retry-after") } as const;
    if (!isRedirect(status)) return { outcome: answered, error: null };
    const answer = { url: target.url, status, location: response.headers.get("location"), followed };
    const next = await checkRedirect(answer, world.resolve, { development });
    if (next.kind === "not-followed")
      return { outcome: answered, error: `a redirect that is not followed: ${next.reason}` };
    target = next;
  }
}

function unanswered(fault: "network" | "timeout" | "target-refused" | "target-unresolved", error: string) {
  return { outcome: { kind: "unanswered", fault } as const, error };
}
