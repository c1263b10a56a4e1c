/**
 * `POST /v1/webhooks/retrain?app=...`: a pipeline elsewhere asks for training, by a signature instead of a key. Standard Webhooks, or
 * GitHub's scheme for a repository that triggers training. Which of app, secret or signature is wrong is not said.
 */
import { Hono } from "hono";
import * as z from "zod";
import { type GithubVerification, verifyGithub } from "../domain/webhooks/github.ts";
import { type Verification, verifyMessage } from "../domain/webhooks/signature.ts";
import { parseQuery, readBody } from "../http/body.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { callerAddress, gateBy } from "../http/rate-limit.ts";
import { wakeDelivery } from "../jobs/messages.ts";
import { requestTraining } from "../jobs/training.ts";
import { liveKeys } from "../jobs/webhook-secrets.ts";
import { findAppById } from "../store/apps.ts";
import { JobAnswer, jobAnswer } from "./training-jobs.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";

const Query = z.object({ app: z.string().min(1).max(64).meta({ description: "Id of the app, app_..." }) });
/** What is read of a body that is JSON; everything else in it is the sender's own. */
const Wish = z.object({
  reason: z.string().max(500).optional(),
  data: z.object({ reason: z.string().max(500) }).optional(),
});

const unauthenticated = (detail: string) => new ProblemError("unauthenticated", detail);
const NO_MATCH = "The signature is not one of this app's";

/** Verified, with the id that counts once. */
interface Received {
  readonly scheme: "standard" | "github";
  readonly id: string;
  readonly event: string | null;
}

function ofStandard(verdict: Verification): Received {
  switch (verdict.kind) {
    case "verified":
      return { scheme: "standard", id: verdict.id, event: null };
    case "missing-header":
      throw unauthenticated(`The header ${verdict.header} is missing`);
    case "bad-id":
      throw unauthenticated("webhook-id is not of visible characters without a full stop, 256 at most");
    case "bad-timestamp":
      throw unauthenticated("webhook-timestamp is not in whole seconds since 1970");
    case "timestamp-too-old":
      throw unauthenticated(`webhook-timestamp is ${verdict.ageSeconds} s old; 300 s are allowed`);
    case "timestamp-too-new":
      throw unauthenticated(`webhook-timestamp is ${verdict.aheadSeconds} s ahead; 300 s are allowed`);
    case "no-matching-signature":
      throw unauthenticated(NO_MATCH);
    default:
      return verdict satisfies never;
  }
}

function ofGithub(verdict: GithubVerification): Received {
  switch (verdict.kind) {
    case "verified":
      // the delivery id is not signed: an old body under a new one has the same signature
      return { scheme: "github", id: verdict.signature, event: verdict.event };
    case "missing-header":
    case "malformed-header":
      throw unauthenticated(
        `The header ${verdict.header} is ${verdict.kind === "missing-header" ? "missing" : "malformed"}`,
      );
    case "no-matching-signature":
      throw unauthenticated(NO_MATCH);
    default:
      return verdict satisfies never;
  }
}

async function verified(c: Context<Bindings>, app: number | undefined): Promise<Received> {
  const body = await readBody(c);
  const { headers } = c.req.raw;
  const isGithub = headers.has("x-hub-signature-256");
  const keys = app === undefined ? [] : await liveKeys(c.env, app, isGithub ? "github" : "standard");
  if (keys.length === 0) throw unauthenticated(NO_MATCH);
  if (isGithub) return ofGithub(await verifyGithub(keys, headers, body));
  return ofStandard(await verifyMessage(keys, headers, body, { nowMs: c.get("clock").now() }));
}

function reasonOf(body: Uint8Array, event: string | null): string {
  if (event !== null) return `GitHub: ${event}`;
  try {
    const wish = Wish.safeParse(JSON.parse(new TextDecoder().decode(body)));
    return wish.data?.reason ?? wish.data?.data?.reason ?? "asked for by a webhook";
  } catch {
    return "asked for by a webhook";
  }
}

export const retrainWebhookRoutes = new Hono<Bindings>();

retrainWebhookRoutes.post("/webhooks/retrain", async (c) => {
  await gateBy(c, `webhook:${callerAddress(c)}`);
  const { app: id } = parseQuery(c, Query);
  const row = await findAppById(c.env, id);
  const received = await verified(c, row?.app);
  const now = c.get("clock").now();
  if (received.event === "ping") return c.body(null, 204); // GitHub's first delivery says hello
  const source = received.scheme === "github" ? "github" : "webhook";
  const request = { source, reason: reasonOf(await readBody(c), received.event), at: now } as const;
  const { scheme, id: webhookId } = received;
  const { job, outcome } = await requestTraining(c.env, row!.app, { request, webhook: { scheme, id: webhookId } }, now);
  await wakeDelivery(c.env, row!.app);
  return c.json({ job: jobAnswer(job), outcome }, 202);
});

describe({
  method: "post",
  path: "/v1/webhooks/retrain",
  tag: "Training",
  summary: "Ask for training by a signed webhook",
  description:
    "Standard Webhooks (webhook-id, webhook-timestamp, webhook-signature; five minutes both ways) or GitHub's " +
    "X-Hub-Signature-256, with a secret of POST /v1/webhook-secrets. A webhook that came before is answered with its job. " +
    "`reason` of a JSON body is kept. GitHub's ping is answered 204.",
  auth: [],
  query: Query,
  requestContentType: "*/*", // the sender's own; what is signed are its bytes
  response: JobAnswer,
  status: 202,
  also: { 204: { description: "GitHub's ping" } },
  errors: ["unauthenticated", "invalid_request", "too_large", "rate_limited"],
});
