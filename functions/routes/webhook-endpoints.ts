/** Where an app wants to hear of what happens, the secrets of both directions, and the log of what was sent. */
import { Hono } from "hono";
import * as z from "zod";
import { mintId } from "../domain/identity/keys.ts";
import { EventTypeName } from "../domain/webhooks/payload.ts";
import { decodeNewSecret, MAX_LIVE_SECRETS, mintSecret, SECRET_BYTES } from "../domain/webhooks/signature.ts";
import { checkTargetUrl, MAX_URL_LENGTH } from "../domain/webhooks/target.ts";
import { requireKind } from "../http/auth.ts";
import { parseBody } from "../http/body.ts";
import { answerStatement, idempotent } from "../http/idempotency.ts";
import { limit } from "../http/limits.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { randomBytes } from "../http/random.ts";
import { wakeDelivery } from "../jobs/messages.ts";
import { sealedSecret } from "../jobs/webhook-secrets.ts";
import { findApp } from "../store/apps.ts";
import {
  deleteEndpoint,
  type Endpoint,
  findEndpoint,
  insertEndpoint,
  insertSecret,
  listAttempts,
  listDeliveries,
  listEndpoints,
  liveSecrets,
  replayDelivery,
  revokeSecret,
  updateEndpoint,
} from "../store/webhooks.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";

const LISTED = 100;
const Time = z.iso.datetime();
const Types = z.array(EventTypeName).max(EventTypeName.options.length);
const Scheme = z.enum(["standard", "github"]);

const Url = z.string().min(1).max(MAX_URL_LENGTH);
const NewEndpoint = z
  .strictObject({
    url: Url,
    types: Types.default([]).meta({ description: "What to hear of; empty: everything" }),
    secret: z
      .string()
      .max(200)
      .optional()
      .meta({ description: "whsec_..., 24 to 64 bytes in base64; else one is made" }),
  })
  .meta({ id: "NewWebhookEndpoint" });
const EndpointPatch = z
  .strictObject({ url: Url, types: Types, status: z.enum(["enabled", "disabled"]) })
  .partial()
  .meta({ id: "WebhookEndpointPatch" });
const EndpointAnswer = z
  .object({
    id: z.string(),
    url: z.string(),
    types: z.array(z.string()),
    status: z.enum(["enabled", "disabled"]),
    disabledReason: z.string().nullable(),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: "WebhookEndpoint" });
const EndpointList = z.object({ endpoints: z.array(EndpointAnswer) }).meta({ id: "WebhookEndpointList" });
const EndpointMade = z
  .object({ endpoint: EndpointAnswer, secret: z.object({ id: z.string(), secret: z.string() }) })
  .meta({ id: "WebhookEndpointMade", description: "The secret is shown once" });
const NewSecret = z
  .strictObject({
    scheme: Scheme,
    secret: z.string().min(1).max(200).optional().meta({ description: "For GitHub any text; else whsec_... as above" }),
  })
  .meta({ id: "NewWebhookSecret" });
const SecretMade = z
  .object({ id: z.string(), secret: z.string() })
  .meta({ id: "WebhookSecretMade", description: "The secret is shown once" });
const SecretList = z
  .object({ secrets: z.array(z.object({ id: z.string(), scheme: Scheme, createdAt: Time })) })
  .meta({ id: "WebhookSecretList" });
const DeliveryList = z
  .object({
    deliveries: z.array(
      z.object({
        message: z.string().meta({ description: "The webhook-id of every attempt" }),
        type: z.string(),
        status: z.enum(["pending", "delivered", "dead", "cancelled"]),
        attempts: z.int(),
        dueAt: Time.nullable(),
        updatedAt: Time,
      }),
    ),
  })
  .meta({ id: "WebhookDeliveryList" });
const AttemptList = z
  .object({
    attempts: z.array(
      z.object({
        attempt: z.int(),
        at: Time,
        outcome: z.string(),
        status: z.int().nullable(),
        error: z.string().nullable(),
        durationMs: z.int(),
      }),
    ),
  })
  .meta({ id: "WebhookAttemptList" });

const rfc3339 = (ms: number) => new Date(ms).toISOString();

const endpointAnswer = ({ types, createdAt, updatedAt, ...rest }: Endpoint): z.output<typeof EndpointAnswer> => ({
  ...rest,
  types: [...types],
  createdAt: rfc3339(createdAt),
  updatedAt: rfc3339(updatedAt),
});

/** @throws ProblemError invalid_request for a target that may not be reached */
async function checkedUrl(c: Context<Bindings>, text: string): Promise<string> {
  const row = await findApp(c.env, c.get("credential").app);
  const verdict = checkTargetUrl(text, { development: row?.development === 1 });
  if (verdict.kind === "allowed") return verdict.url.href;
  throw new ProblemError("invalid_request", `No webhook can be sent there: ${verdict.detail}`, {
    errors: [{ pointer: "/url", code: verdict.reason, detail: verdict.detail }],
  });
}

/** @throws ProblemError invalid_request for a secret that is no whsec_ of 24 to 64 bytes */
function checkedSecret(text: string): string {
  const verdict = decodeNewSecret(text);
  if (verdict.kind === "decoded") return text;
  const got = verdict.kind === "secret-length" ? `${verdict.bytes} bytes` : "no base64";
  const detail = `whsec_ and ${SECRET_BYTES.min} to ${SECRET_BYTES.max} bytes in base64, got ${got}`;
  throw new ProblemError("invalid_request", "The secret can't be used", {
    errors: [{ pointer: "/secret", code: verdict.kind, detail }],
  });
}

/** @throws ProblemError not_found, also for another app's endpoint */
async function endpointOrNotFound(c: Context<Bindings>): Promise<Endpoint> {
  const id = c.req.param("id")!;
  const endpoint = await findEndpoint(c.env.DB, c.get("credential").app, id);
  if (endpoint === undefined)
    throw new ProblemError("not_found", `There is no webhook endpoint ${id.slice(0, 64)} here`);
  return endpoint;
}

const tooMany = (what: string, most: number) =>
  new ProblemError("conflict", `There are ${most} ${what} already, which is the most`);

export const webhookEndpointsRoutes = new Hono<Bindings>();
const secretKey = requireKind("secret");

webhookEndpointsRoutes.post("/webhook-endpoints", secretKey, idempotent, async (c) => {
  const body = await parseBody(c, NewEndpoint);
  const { app } = c.get("credential");
  const now = c.get("clock").now();
  const url = await checkedUrl(c, body.url);
  const secret = body.secret === undefined ? mintSecret(randomBytes) : checkedSecret(body.secret);
  const [id, secretId] = [mintId("we", randomBytes), mintId("ws", randomBytes)];
  const sealed = await sealedSecret(c.env, { app, owner: id, id: secretId }, secret, now);
  const row = {
    id,
    url,
    types: body.types,
    status: "enabled",
    disabledReason: null,
    createdAt: now,
    updatedAt: now,
  } as const;
  const text = JSON.stringify({ endpoint: endpointAnswer(row), secret: { id: secretId, secret } });
  const answer = await answerStatement(c, 201, text, { ifChanged: true });
  const most = limit("webhookEndpoints");
  const [made] = await c.env.DB.batch([
    insertEndpoint(c.env.DB, app, row, now, most),
    ...(answer === undefined ? [] : [answer]),
    insertSecret(c.env.DB, app, id, sealed, MAX_LIVE_SECRETS),
  ]);
  if (made!.meta.changes === 0) throw tooMany("webhook endpoints", most);
  return c.body(text, 201, { "content-type": "application/json" });
});

webhookEndpointsRoutes.get("/webhook-endpoints", secretKey, async (c) => {
  const endpoints = await listEndpoints(c.env.DB, c.get("credential").app);
  return c.json({ endpoints: endpoints.map(endpointAnswer) });
});

webhookEndpointsRoutes.get("/webhook-endpoints/:id", secretKey, async (c) =>
  c.json(endpointAnswer(await endpointOrNotFound(c))),
);

webhookEndpointsRoutes.patch("/webhook-endpoints/:id", secretKey, async (c) => {
  const patch = await parseBody(c, EndpointPatch);
  const { id } = await endpointOrNotFound(c);
  const url = patch.url === undefined ? {} : { url: await checkedUrl(c, patch.url) };
  const { types, status } = patch;
  const change = { ...url, ...(types === undefined ? {} : { types }), ...(status === undefined ? {} : { status }) };
  await updateEndpoint(c.env.DB, c.get("credential").app, id, change, c.get("clock").now()).run();
  return c.json(endpointAnswer(await endpointOrNotFound(c)));
});

webhookEndpointsRoutes.delete("/webhook-endpoints/:id", secretKey, async (c) => {
  const { id } = await endpointOrNotFound(c);
  await deleteEndpoint(c.env.DB, c.get("credential").app, id);
  return c.body(null, 204);
});

webhookEndpointsRoutes.post("/webhook-endpoints/:id/secrets", secretKey, async (c) => {
  const { id: owner } = await endpointOrNotFound(c);
  return c.json(await rotated(c, owner, mintSecret(randomBytes)), 201);
});

webhookEndpointsRoutes.delete("/webhook-endpoints/:id/secrets/:secret", secretKey, async (c) => {
  const { id: owner } = await endpointOrNotFound(c);
  const { app } = c.get("credential");
  const live = await liveSecrets(c.env.DB, app, owner);
  if (live.length === 1) throw new ProblemError("conflict", "It is the endpoint's only secret: make another one first");
  await revoke(c, owner, c.req.param("secret"));
  return c.body(null, 204);
});

webhookEndpointsRoutes.get("/webhook-endpoints/:id/deliveries", secretKey, async (c) => {
  const { id } = await endpointOrNotFound(c);
  const deliveries = await listDeliveries(c.env.DB, c.get("credential").app, id, LISTED);
  return c.json({
    deliveries: deliveries.map((row) => ({
      ...row,
      dueAt: row.dueAt === null ? null : rfc3339(row.dueAt),
      updatedAt: rfc3339(row.updatedAt),
    })),
  });
});

webhookEndpointsRoutes.get("/webhook-endpoints/:id/deliveries/:message", secretKey, async (c) => {
  const { id } = await endpointOrNotFound(c);
  const attempts = await listAttempts(c.env.DB, c.get("credential").app, c.req.param("message"), id);
  return c.json({ attempts: attempts.map((row) => ({ ...row, at: rfc3339(row.at) })) });
});

webhookEndpointsRoutes.post("/webhook-endpoints/:id/deliveries/:message/replay", secretKey, async (c) => {
  const { id: endpoint } = await endpointOrNotFound(c);
  const { app } = c.get("credential");
  const message = c.req.param("message");
  const isDue = await replayDelivery(c.env.DB, app, { endpoint, message }, c.get("clock").now());
  if (!isDue) throw new ProblemError("not_found", "There is no such delivery that is over");
  await wakeDelivery(c.env, app);
  return c.body(null, 202);
});

webhookEndpointsRoutes.post("/webhook-secrets", secretKey, async (c) => {
  const { scheme, secret } = await parseBody(c, NewSecret);
  const given = secret === undefined || scheme === "github" ? secret : checkedSecret(secret);
  return c.json(await rotated(c, scheme, given ?? mintSecret(randomBytes)), 201);
});

webhookEndpointsRoutes.get("/webhook-secrets", secretKey, async (c) => {
  const { app } = c.get("credential");
  const lists = await Promise.all(
    Scheme.options.map(async (scheme) =>
      (await liveSecrets(c.env.DB, app, scheme)).map(({ id, createdAt }) => ({
        id,
        scheme,
        createdAt: rfc3339(createdAt),
      })),
    ),
  );
  return c.json({ secrets: lists.flat() });
});

webhookEndpointsRoutes.delete("/webhook-secrets/:scheme/:id", secretKey, async (c) => {
  const scheme = Scheme.safeParse(c.req.param("scheme"));
  if (!scheme.success) throw new ProblemError("not_found", "There is no such scheme: standard or github");
  await revoke(c, scheme.data, c.req.param("id"));
  return c.body(null, 204);
});

/** A further secret of an owner. @throws ProblemError conflict where two are live */
async function rotated(c: Context<Bindings>, owner: string, secret: string): Promise<z.output<typeof SecretMade>> {
  const { app } = c.get("credential");
  const id = mintId("ws", randomBytes);
  const sealed = await sealedSecret(c.env, { app, owner, id }, secret, c.get("clock").now());
  const made = await insertSecret(c.env.DB, app, owner, sealed, MAX_LIVE_SECRETS).run();
  if (made.meta.changes === 0) throw tooMany("live secrets", MAX_LIVE_SECRETS);
  return { id, secret };
}

async function revoke(c: Context<Bindings>, owner: string, id: string): Promise<void> {
  const isRevoked = await revokeSecret(c.env.DB, c.get("credential").app, { owner, id }, c.get("clock").now());
  if (!isRevoked) throw new ProblemError("not_found", "There is no such live secret");
}

const COMMON = { tag: "Webhooks", auth: ["secret"] } as const;
const ID = { id: "Id of the endpoint" };

describe({
  ...COMMON,
  method: "post",
  path: "/v1/webhook-endpoints",
  summary: "Listen for events",
  description:
    "Messages are signed by Standard Webhooks and tried again for three days; 410 switches the endpoint off. Private and " +
    "local targets are refused, unless the app was made for development.",
  idempotent: true,
  request: NewEndpoint,
  response: EndpointMade,
  status: 201,
  errors: ["invalid_request", "conflict"],
  example: { url: "https://example.com/hooks/edgewise", types: ["model.promoted"] },
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/webhook-endpoints",
  summary: "List endpoints",
  response: EndpointList,
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/webhook-endpoints/{id}",
  summary: "Read an endpoint",
  params: ID,
  response: EndpointAnswer,
  errors: ["not_found"],
});
describe({
  ...COMMON,
  method: "patch",
  path: "/v1/webhook-endpoints/{id}",
  summary: "Change an endpoint",
  params: ID,
  request: EndpointPatch,
  response: EndpointAnswer,
  errors: ["not_found", "invalid_request"],
});
describe({
  ...COMMON,
  method: "delete",
  path: "/v1/webhook-endpoints/{id}",
  summary: "Stop listening",
  description: "What is on its way to the endpoint is dropped.",
  params: ID,
  errors: ["not_found"],
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/webhook-endpoints/{id}/secrets",
  summary: "Rotate an endpoint's secret",
  description: "Messages are then signed with both, until the older one is deleted.",
  params: ID,
  response: SecretMade,
  status: 201,
  errors: ["not_found", "conflict"],
});
describe({
  ...COMMON,
  method: "delete",
  path: "/v1/webhook-endpoints/{id}/secrets/{secret}",
  summary: "Revoke an endpoint's secret",
  params: { ...ID, secret: "Id of the secret" },
  errors: ["not_found", "conflict"],
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/webhook-endpoints/{id}/deliveries",
  summary: "What was sent to an endpoint",
  description: `Last touched first, ${LISTED} at most, kept for thirty days.`,
  params: ID,
  response: DeliveryList,
  errors: ["not_found"],
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/webhook-endpoints/{id}/deliveries/{message}",
  summary: "Every attempt at a delivery",
  params: { ...ID, message: "The webhook-id" },
  response: AttemptList,
  errors: ["not_found"],
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/webhook-endpoints/{id}/deliveries/{message}/replay",
  summary: "Send a message again",
  description: "One that was delivered, given up or cancelled is due again under the same webhook-id.",
  params: { ...ID, message: "The webhook-id" },
  status: 202,
  errors: ["not_found"],
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/webhook-secrets",
  summary: "Make or bring a secret for incoming webhooks",
  description: "At most two are live for a scheme, so that one can be exchanged without a gap.",
  request: NewSecret,
  response: SecretMade,
  status: 201,
  errors: ["invalid_request", "conflict"],
  example: { scheme: "standard" },
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/webhook-secrets",
  summary: "List live secrets of incoming webhooks",
  response: SecretList,
});
describe({
  ...COMMON,
  method: "delete",
  path: "/v1/webhook-secrets/{scheme}/{id}",
  summary: "Revoke a secret of incoming webhooks",
  params: { scheme: "standard or github", id: "Id of the secret" },
  errors: ["not_found"],
});
