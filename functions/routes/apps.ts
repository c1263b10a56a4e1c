/** Apps and their keys, for the operator; and tokens for users without an account, for clients. */
import { Hono } from "hono";
import * as z from "zod";
import { base62, digest, hashKey, hex, mintId, mintKey } from "../domain/identity/keys.ts";
import { seal, sealingKey } from "../domain/identity/sealed.ts";
import { TOKEN_LIFETIME_SECONDS, signUserToken } from "../domain/identity/user-token.ts";
import { SCOPES, forgetKey, requireKind } from "../http/auth.ts";
import { parseBody } from "../http/body.ts";
import { answerStatement, idempotent } from "../http/idempotency.ts";
import { limit } from "../http/limits.ts";
import { WarningSchema, describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { randomBytes } from "../http/random.ts";
import { gateBy } from "../http/rate-limit.ts";
import * as userToken from "../http/user-token.ts";
import { deletionStatement, wake } from "../jobs/delete-app.ts";
import { markDeleted } from "../store/app-deletions.ts";
import { findAppById, insertApp } from "../store/apps.ts";
import { insertApiKey, insertTokenSecret, listKeys, revokeKey } from "../store/keys.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";
import type { AppRow } from "../store/apps.ts";

const scopeNames = Object.keys(SCOPES) as [keyof typeof SCOPES, ...(keyof typeof SCOPES)[]];
const time = z.string().meta({ format: "date-time" });

const Consistency = z.enum(["bounded", "strict"]).meta({
  description: "What requests of the app that say nothing else get: lists within two seconds of a write, or exact ones",
});
const NewApp = z
  .strictObject({
    name: z.string().trim().min(1).max(100),
    consistency: Consistency.default("bounded"),
    development: z.boolean().default(false).meta({
      description: "Webhooks may go to http addresses and to the developer's own network. Never for production",
    }),
  })
  .meta({ id: "NewApp" });
const App = z
  .object({ id: z.string(), name: z.string(), createdAt: time, consistency: Consistency })
  .meta({ id: "App" });
const MintedKey = z.object({ id: z.string(), kind: z.string(), key: z.string() }).meta({
  id: "MintedKey",
  description: "`key` is shown once. Of a user token secret it is the HS256 secret, `id` its kid",
});
const AppMade = z
  .object({ app: App.pick({ id: true, name: true }), keys: z.object({ secret: z.string(), publishable: z.string() }) })
  .meta({ id: "AppMade" });
const AppDeletion = z
  .object({
    deletedAt: time,
    keysRefusedBy: time,
    goneBy: time,
    copies: z.array(z.object({ copy: z.string(), goneBy: time, note: z.string() })),
  })
  .meta({ id: "AppDeletion", description: "What of an app will be gone, and by when at the latest" });

const origin = z
  .string()
  .max(256)
  .regex(/^(\*|https?:\/\/[a-z0-9.-]+(:\d{1,5})?)$/, "must be * or scheme://host[:port]");
const NewKey = z
  .strictObject({
    kind: z.enum(["secret", "publishable", "userTokenSecret"]),
    scopes: z.array(z.enum(scopeNames)).max(scopeNames.length).optional(),
    origins: z.array(origin).max(20).optional(),
  })
  .meta({ id: "NewKey", description: "`scopes` narrow a secret key, `origins` bind a publishable key to web pages" });
const KeySummary = z
  .object({
    id: z.string(),
    kind: z.string(),
    scopes: z.array(z.string()),
    origins: z.array(z.string()),
    createdAt: time,
    revokedAt: time.nullable(),
  })
  .meta({ id: "KeySummary" });
const KeyList = z.object({ keys: z.array(KeySummary) }).meta({ id: "KeyList" });

const NewAnonymousToken = z
  .strictObject({
    installationId: z.string().min(8).max(limit("idCharacters")),
    token: z
      .string()
      .max(4096)
      .optional()
      .meta({ description: "An earlier anonymous token of this installation: keeps its user" }),
  })
  .meta({ id: "NewAnonymousToken" });
const AnonymousToken = z
  .object({
    userId: z.string(),
    token: z.string(),
    expiresAt: time,
    eventsToken: z.string().meta({ description: "Write-only (aud events), for the queue of a phone that is offline" }),
    eventsTokenExpiresAt: time,
    warnings: z.array(WarningSchema),
  })
  .meta({ id: "AnonymousToken" });

const tag = "Apps and keys";
const operator = requireKind("operator");

export const appsRoutes = new Hono<Bindings>();

describe({
  method: "post",
  path: "/v1/apps",
  tag,
  summary: "Make an app with its first keys",
  auth: ["operator"],
  idempotent: true,
  request: NewApp,
  response: AppMade,
  status: 201,
  example: { name: "Larder" },
});
appsRoutes.post("/apps", operator, idempotent, async (c) => {
  const { name, consistency, development } = await parseBody(c, NewApp);
  const now = c.get("clock").now();
  const id = mintId("app", randomBytes);
  const [secret, publishable] = [mintKey("secret", randomBytes), mintKey("publishable", randomBytes)];
  const body = JSON.stringify({ app: { id, name }, keys: { secret: secret.key, publishable: publishable.key } });
  const statements = [insertApp(c.env, { id, name, consistency, development: development ? 1 : 0, now })];
  for (const [kind, minted] of [
    ["secret", secret],
    ["publishable", publishable],
  ] as const) {
    const row = { id: minted.id, kind, hash: await hashKey(minted.key), scopes: [], origins: [] };
    statements.push(insertApiKey(c.env, id, row, { now, most: limit("apiKeys") }));
  }
  const answer = await answerStatement(c, 201, body);
  await c.env.DB.batch(answer ? [...statements, answer] : statements);
  return jsonText(c, body, 201);
});

describe({
  method: "get",
  path: "/v1/apps/{id}",
  tag,
  summary: "Read an app",
  auth: ["operator"],
  response: App,
  errors: ["not_found"],
});
appsRoutes.get("/apps/:id", operator, async (c) => {
  const app = await appOf(c, c.req.param("id"));
  const { id, name, consistency, createdAt } = app;
  return c.json({ id, name, consistency, createdAt: new Date(createdAt).toISOString() });
});

describe({
  method: "delete",
  path: "/v1/apps/{id}",
  tag,
  summary: "Delete an app with everything it has",
  description:
    "Holds at once for whoever looks a key up, and within 30 s wherever it is cached: every key and user token of the app is" +
    " refused, the app is a 404. Its users, events, items, models and files are then removed, and what comes in meanwhile with" +
    " them; the answer names every copy and its last date. There is no way back. Asking again gives the same dates until" +
    " everything is gone, and 404 from then on. Logs and models that a trainer has downloaded are the operator's to delete.",
  auth: ["operator"],
  idempotent: true,
  response: AppDeletion,
  status: 202,
  errors: ["not_found"],
});
appsRoutes.delete("/apps/:id", operator, idempotent, async (c) => {
  const marked = await markDeleted(c.env, c.req.param("id"), c.get("clock").now());
  if (!marked) throw noApp();
  for (const keyId of marked.keyIds) forgetKey(keyId);
  for (const kid of marked.kids) userToken.forgetTokenSecret(marked.app, kid);
  await wake(c.env, marked.app);
  return c.json(deletionStatement(marked.deletedAt) satisfies z.output<typeof AppDeletion>, 202);
});

describe({
  method: "get",
  path: "/v1/apps/{id}/keys",
  tag,
  summary: "List the keys of an app, without the keys themselves",
  auth: ["operator"],
  response: KeyList,
  errors: ["not_found"],
});
appsRoutes.get("/apps/:id/keys", operator, async (c) => {
  const { app } = await appOf(c, c.req.param("id"));
  const keys = (await listKeys(c.env, app)).map((key) => ({
    ...key,
    createdAt: new Date(key.createdAt).toISOString(),
    revokedAt: key.revokedAt === null ? null : new Date(key.revokedAt).toISOString(),
  }));
  return c.json({ keys });
});

describe({
  method: "post",
  path: "/v1/apps/{id}/keys",
  tag,
  summary: "Mint a key or a user token secret",
  description:
    "`userTokenSecret` gives the HS256 secret that signs user tokens (`key` as it is, `id` as the token's `kid`); two are live at" +
    " once, so one can be rotated while the other is in use. The key is shown once.",
  auth: ["operator"],
  idempotent: true,
  request: NewKey,
  response: MintedKey,
  status: 201,
  errors: ["not_found", "conflict"],
  example: { kind: "publishable", origins: ["https://shop.example"] },
});
appsRoutes.post("/apps/:id/keys", operator, idempotent, async (c) => {
  const { kind, scopes = [], origins = [] } = await parseBody(c, NewKey);
  refuseUnfitting(kind, scopes, origins);
  const app = await appOf(c, c.req.param("id"));
  const now = c.get("clock").now();
  const { id, key } = mintKey(kind, randomBytes);
  const body = JSON.stringify({ id, kind, key });
  let insert: D1PreparedStatement;
  if (kind === "userTokenSecret") {
    const sealing = await sealingKey(c.env.WORKER_SECRET, userToken.TOKEN_SECRET_PURPOSE);
    const ciphertext = await seal(sealing, key, userToken.tokenSecretContext(app.app, id), randomBytes);
    insert = insertTokenSecret(c.env, app.app, { kid: id, ciphertext }, { now, most: limit("userTokenSecrets") });
  } else {
    const row = { id, kind, hash: await hashKey(key), scopes, origins };
    insert = insertApiKey(c.env, app.id, row, { now, most: limit("apiKeys") });
  }
  const answer = await answerStatement(c, 201, body, { ifChanged: true });
  const [inserted] = await c.env.DB.batch(answer ? [insert, answer] : [insert]);
  if (inserted?.meta.changes === 0) {
    const most = limit(kind === "userTokenSecret" ? "userTokenSecrets" : "apiKeys");
    throw new ProblemError("conflict", `The app has ${most} live keys of this sort already; revoke one first`);
  }
  return jsonText(c, body, 201);
});

describe({
  method: "delete",
  path: "/v1/apps/{id}/keys/{keyId}",
  tag,
  summary: "Revoke a key or a user token secret",
  description: "Holds everywhere within 30 s.",
  auth: ["operator"],
  errors: ["not_found"],
});
appsRoutes.delete("/apps/:id/keys/:keyId", operator, async (c) => {
  const { app } = await appOf(c, c.req.param("id"));
  const keyId = c.req.param("keyId");
  if (!(await revokeKey(c.env, app, keyId, c.get("clock").now()))) {
    throw new ProblemError("not_found", "The app has no such live key");
  }
  forgetKey(keyId);
  userToken.forgetTokenSecret(app, keyId);
  return c.body(null, 204);
});

describe({
  method: "post",
  path: "/v1/anonymous-tokens",
  tag: "Users",
  summary: "Get a token for a user without an account",
  description:
    "Each call gives a fresh user; with `token`, an anonymous token of the same installation that was issued within 30 days, the" +
    " same user goes on. Nothing is stored, so a repeated call doubles nothing.",
  auth: ["publishable", "secret"],
  request: NewAnonymousToken,
  response: AnonymousToken,
  status: 201,
  errors: ["user_token_invalid"],
  example: { installationId: "7f1c9a52-installation" },
});
appsRoutes.post("/anonymous-tokens", requireKind("publishable", "secret"), async (c) => {
  const { installationId, token: earlier } = await parseBody(c, NewAnonymousToken);
  const { app, kind } = c.get("credential");
  const installation = hex(await digest(JSON.stringify([app, installationId]))).slice(0, 32);
  if (kind === "publishable") await gateBy(c, `installation:${app}:${installation}`);
  const now = c.get("clock").now();
  const userId = earlier
    ? await renewedUser(c, earlier, installation)
    : userToken.ANONYMOUS_PREFIX + base62(randomBytes(16));
  const secret = await userToken.anonymousSecret(c.env, app);
  const options = { kid: userToken.ANONYMOUS_KID, userId, issuedAt: now, installation };
  const [token, eventsToken] = await Promise.all([
    signUserToken(secret, options),
    signUserToken(secret, { ...options, audience: "events" }),
  ]);
  const until = (audience: "edgewise" | "events") =>
    new Date((Math.floor(now / 1000) + TOKEN_LIFETIME_SECONDS[audience]) * 1000).toISOString();
  const lives = { expiresAt: until("edgewise"), eventsTokenExpiresAt: until("events") };
  return c.json({ userId, token, eventsToken, ...lives, warnings: c.get("warnings") }, 201);
});

/** The user of an earlier anonymous token, also an expired one, of this very installation. */
async function renewedUser(c: Context<Bindings>, earlier: string, installation: string): Promise<string> {
  const graceSeconds = TOKEN_LIFETIME_SECONDS.events - TOKEN_LIFETIME_SECONDS.edgewise;
  const at = { now: c.get("clock").now(), graceSeconds };
  const claims = await userToken.verifyUserToken(c.env, c.get("credential").app, earlier, at);
  if (claims.installation !== installation || !claims.user.userId.startsWith(userToken.ANONYMOUS_PREFIX)) {
    throw new ProblemError("user_token_invalid", "The token is not an anonymous one of this installation");
  }
  return claims.user.userId;
}

function refuseUnfitting(kind: string, scopes: readonly string[], origins: readonly string[]): void {
  const errors = [];
  if (scopes.length > 0 && kind !== "secret") {
    errors.push({ pointer: "/scopes", code: "not_allowed", detail: `a key of kind ${kind} has no scopes` });
  }
  if (origins.length > 0 && kind !== "publishable") {
    errors.push({ pointer: "/origins", code: "not_allowed", detail: `a key of kind ${kind} has no origins` });
  }
  if (errors.length > 0) throw new ProblemError("invalid_request", "The body does not fit its schema", { errors });
}

async function appOf(c: Context<Bindings>, id: string): Promise<AppRow> {
  const app = await findAppById(c.env, id);
  if (!app) throw noApp();
  return app;
}

const noApp = () => new ProblemError("not_found", "There is no such app");

/** Sends exactly the text that an idempotency row holds. */
function jsonText(c: Context<Bindings>, body: string, status: 201): Response {
  return c.body(body, status, { "content-type": "application/json" });
}
