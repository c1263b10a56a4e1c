/** Models: files go in one by one, a manifest registers them, a promotion makes the model serve. */
import { Hono } from "hono";
import * as z from "zod";
import { ArtefactPath, Manifest, Sha256 } from "../domain/artefact/manifest.ts";
import { SHARES } from "../domain/experiments/canary.ts";
import { Canary } from "../domain/jobs/job.ts";
import { requireKind } from "../http/auth.ts";
import { parseBody } from "../http/body.ts";
import { idempotent } from "../http/idempotency.ts";
import { limit } from "../http/limits.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { findApp } from "../store/apps.ts";
import { fileKey, getObject } from "../store/artefacts.ts";
import { endCanary, findModel, listModels, type ModelRow, saveFile, startCanary } from "../store/models.ts";
import { type Outcome, promoteArtefact, refusalErrors, registerArtefact, rollBack } from "../jobs/model-registry.ts";
import { checked, storeUpload } from "./uploads.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";

const LISTED = 100;

const ModelId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
  .meta({ description: "The caller's name for the model: letters, digits, dot, dash, underscore" });

const Time = z.iso.datetime();

const Model = z
  .object({
    id: z.string(),
    status: z.enum(["uploading", "registered", "serving", "retired"]),
    modelVersion: z.string().nullable(),
    createdAt: Time,
    registeredAt: Time.nullable(),
    promotedAt: Time.nullable(),
    withdrawnAt: Time.nullable().meta({ description: "When it was rolled back" }),
    rows: z.int().nullable().meta({ description: "Items of the artefact" }),
    liveRows: z.int().nullable().meta({ description: "Of these, items of the app when the model was registered" }),
  })
  .meta({
    id: "Model",
    description: "A model of the app. One at most is serving; a retired one can be promoted again",
  });

const ModelWithManifest = Model.extend({ manifest: Manifest.nullable() }).meta({ id: "ModelWithManifest" });
const Trial = z.object({ id: z.string(), share: z.number(), since: Time }).meta({ id: "ModelTrial" });
const ModelList = z
  .object({
    models: z.array(Model),
    canary: Trial.nullable().meta({ description: "The model that a share of users sees in place of the serving one" }),
  })
  .meta({ id: "ModelList" });
const NewTrial = z.strictObject({ share: Canary.shape.share }).meta({ id: "NewModelTrial" });
const ModelFile = z
  .object({ path: z.string(), bytes: z.int(), sha256: Sha256 })
  .meta({ id: "ModelFile", description: "A stored file of a model" });
const NewModel = z
  .strictObject({ id: ModelId, manifest: Manifest })
  .meta({ id: "NewModel", description: "Registers a model whose files have been put" });
const Promotion = z
  .object({
    model: Model,
    servingVersion: z.int().meta({ description: "Grows by one with every promotion of the app" }),
    parity: z.object({ cases: z.int(), texts: z.int(), deviation: z.number() }).meta({
      description: "Cases of the trainer that the graphs reproduced here, and the largest relative deviation",
    }),
    codedItems: z.int().meta({ description: "Items newer than the model that got their codes first" }),
  })
  .meta({ id: "Promotion" });

const Withdrawal = z
  .strictObject({ reason: z.string().min(1).max(500).default("rolled back by hand") })
  .meta({ id: "Withdrawal" });
const RolledBack = z
  .object({ model: Model.meta({ description: "What serves now" }), servingVersion: z.int() })
  .meta({ id: "RolledBack" });

const rfc3339 = (ms: number) => new Date(ms).toISOString();
const rfc3339OrNull = (ms: number | null) => (ms === null ? null : rfc3339(ms));

function modelOf(row: ModelRow): z.output<typeof Model> {
  return {
    id: row.id,
    status: row.status,
    modelVersion: row.modelVersion,
    createdAt: rfc3339(row.createdAt),
    registeredAt: rfc3339OrNull(row.registeredAt),
    promotedAt: rfc3339OrNull(row.promotedAt),
    withdrawnAt: rfc3339OrNull(row.withdrawnAt),
    rows: row.manifest?.items.count ?? null,
    liveRows: row.liveRows,
  };
}

/** @throws ProblemError model_refused, conflict, unavailable */
function settled<T>(outcome: Outcome<T>): T {
  switch (outcome.kind) {
    case "done":
      return outcome;
    case "refused": {
      const errors = refusalErrors(outcome.refusals);
      const rest = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
      const most = limit("errors");
      throw new ProblemError("model_refused", `${errors[0]?.detail}${rest}`, { errors: errors.slice(0, most) });
    }
    case "conflict":
      throw new ProblemError("conflict", outcome.detail);
    case "pending":
      throw new ProblemError("unavailable", outcome.detail, { retryAfterSeconds: 1 });
    default:
      return outcome satisfies never;
  }
}

/** @throws ProblemError not_found, also for another app's model */
async function modelOrNotFound(c: Context<Bindings>, id: string): Promise<ModelRow> {
  const row = await findModel(c.env.DB, c.get("credential").app, id);
  if (row === undefined) throw new ProblemError("not_found", `There is no model ${id.slice(0, 64)} in this app`);
  return row;
}

const AUTH = ["secret"] as const;

describe({
  method: "put",
  path: "/v1/models/{id}/files/{path}",
  tag: "Models",
  summary: "Put a file of a model",
  description:
    "The first file makes the model. `x-content-sha256` (hex) declares what the body must hash to; a body with another " +
    "hash is refused. Putting a path again replaces it until the model is registered.",
  auth: AUTH,
  scope: "models",
  params: { id: "The caller's name for the model", path: "Path inside the artefact, slashes allowed" },
  requestContentType: "application/octet-stream",
  response: ModelFile,
  errors: ["invalid_request", "conflict"],
});
describe({
  method: "get",
  path: "/v1/models/{id}/files/{path}",
  tag: "Models",
  summary: "Read a file of a registered model",
  description: "What a trainer needs to hold its new model against the one that serves.",
  auth: AUTH,
  scope: "models",
  params: { id: "The caller's name for the model", path: "Path inside the artefact, slashes allowed" },
  responseContentType: "application/octet-stream",
  status: 200,
  errors: ["not_found"],
});
describe({
  method: "post",
  path: "/v1/models",
  tag: "Models",
  summary: "Register a model",
  description:
    "Checks the manifest and every file, and resolves the artefact's item ids: at least 90 % must be items of the app. " +
    "A refusal names the file, what was expected and what was found. The same manifest again gives the same model.",
  auth: AUTH,
  scope: "models",
  idempotent: true,
  request: NewModel,
  response: Model,
  status: 201,
  also: { 200: { description: "It was registered before", schema: Model } },
  errors: ["conflict", "model_refused"],
});
describe({
  method: "get",
  path: "/v1/models",
  tag: "Models",
  summary: "List models",
  description: `Newest first, ${LISTED} at most.`,
  auth: AUTH,
  scope: "models",
  response: ModelList,
});
describe({
  method: "get",
  path: "/v1/models/{id}",
  tag: "Models",
  summary: "Read a model with its manifest",
  auth: AUTH,
  scope: "models",
  response: ModelWithManifest,
  errors: ["not_found"],
});
describe({
  method: "post",
  path: "/v1/models/{id}/promote",
  tag: "Models",
  summary: "Make a model serve",
  description:
    "Runs the trainer's parity cases through the graphs that would serve, codes items that are newer than the model, then " +
    "swings the pointer. Where too many items lack codes it answers `unavailable`; the next try goes on. When it is " +
    "refused, the previous model keeps serving. A retired model can be promoted again.",
  auth: AUTH,
  scope: "models",
  idempotent: true,
  response: Promotion,
  errors: ["not_found", "conflict", "model_refused"],
});

describe({
  method: "post",
  path: "/v1/models/{id}/rollback",
  tag: "Models",
  summary: "Take a serving model back",
  description:
    "What served before it serves again at once. Sending it again changes nothing; a model that was taken back can be " +
    "promoted again.",
  auth: AUTH,
  scope: "models",
  idempotent: true,
  params: { id: "The model that is taken back" },
  request: Withdrawal,
  response: RolledBack,
  errors: ["not_found", "conflict"],
  example: { reason: "fewer saves since yesterday" },
});

describe({
  method: "post",
  path: "/v1/models/{id}/canary",
  tag: "Models",
  summary: "Show a model to a share of users",
  description:
    "A user always sees the same model. What both bring is in the log; a training job with `canary` decides by it on its " +
    "own. Users wait for nothing: until the model is in memory they see the serving one.",
  auth: AUTH,
  scope: "models",
  idempotent: true,
  request: NewTrial,
  response: Trial,
  errors: ["not_found", "conflict"],
  example: { share: 0.1 },
});
describe({
  method: "delete",
  path: "/v1/models/{id}/canary",
  tag: "Models",
  summary: "End a trial",
  description: "All users see the serving model again. Deleting it again changes nothing.",
  auth: AUTH,
  scope: "models",
  errors: ["not_found"],
});

export const modelsRoutes = new Hono<Bindings>()
  .put("/models/:id/files/:path{.+}", requireKind(...AUTH), async (c) => {
    const id = checked(ModelId, c.req.param("id"), "{id}");
    const path = checked(ArtefactPath, c.req.param("path"), "{path}");
    const { app } = c.get("credential");
    const taken = new ProblemError("conflict", `Model ${id} is registered: its files don't change any more`);
    const present = await findModel(c.env.DB, app, id);
    if (present !== undefined && present.status !== "uploading") throw taken;
    const stored = await storeUpload(c, (sha256) => fileKey(app, sha256));
    const isSaved = await saveFile(c.env.DB, app, { id, path, ...stored }, c.get("clock").now());
    if (!isSaved) throw taken;
    return c.json({ path, ...stored } satisfies z.output<typeof ModelFile>);
  })
  .get("/models/:id/files/:path{.+}", requireKind(...AUTH), async (c) => {
    const row = await modelOrNotFound(c, c.req.param("id"));
    const file = row.manifest?.files.find(({ path }) => path === c.req.param("path"));
    const content = file && (await getObject(c.env, fileKey(c.get("credential").app, file.sha256)));
    if (content === undefined) throw new ProblemError("not_found", `Model ${row.id} has no such file`);
    return c.body(content, 200, { "content-type": "application/octet-stream", "x-content-sha256": file!.sha256 });
  })
  .post("/models", requireKind(...AUTH), idempotent, async (c) => {
    const { id, manifest } = await parseBody(c, NewModel);
    const app = await findApp(c.env, c.get("credential").app);
    if (app === undefined) throw new ProblemError("not_found", "The app is gone");
    const { model, isNew } = settled(await registerArtefact(c.env, app, { id, manifest }, c.get("clock").now()));
    return c.json(modelOf(model), isNew ? 201 : 200);
  })
  .get("/models", requireKind(...AUTH), async (c) => {
    const rows = await listModels(c.env.DB, c.get("credential").app, LISTED);
    const app = await findApp(c.env, c.get("credential").app);
    const onTrial = rows.find(({ model }) => model === app?.canaryModel);
    const canary = onTrial && {
      id: onTrial.id,
      share: (app?.canaryShare ?? 0) / SHARES,
      since: rfc3339(app?.canarySince ?? 0),
    };
    return c.json({ models: rows.map(modelOf), canary: canary ?? null } satisfies z.output<typeof ModelList>);
  })
  .get("/models/:id", requireKind(...AUTH), async (c) => {
    const row = await modelOrNotFound(c, c.req.param("id"));
    return c.json({ ...modelOf(row), manifest: row.manifest } satisfies z.output<typeof ModelWithManifest>);
  })
  .post("/models/:id/promote", requireKind(...AUTH), idempotent, async (c) => {
    const { id } = await modelOrNotFound(c, c.req.param("id"));
    const done = settled(await promoteArtefact(c.env, c.get("credential").app, id, c.get("clock").now()));
    const { cases, texts, deviation } = done.parity;
    const body = {
      model: modelOf(await modelOrNotFound(c, id)),
      servingVersion: done.servingVersion,
      parity: { cases, texts, deviation },
      codedItems: done.coded,
    };
    return c.json(body satisfies z.output<typeof Promotion>);
  })
  .post("/models/:id/canary", requireKind(...AUTH), idempotent, async (c) => {
    const { share } = await parseBody(c, NewTrial);
    const row = await modelOrNotFound(c, c.req.param("id"));
    const { app } = c.get("credential");
    const now = c.get("clock").now();
    const isShown = await startCanary(c.env.DB, app, { model: row.model, share: Math.round(share * SHARES) }, now);
    if (!isShown) {
      throw new ProblemError(
        "conflict",
        `Model ${row.id} can't be tried out: it is ${row.status}, or nothing serves beside it`,
      );
    }
    await c.env.JOBS.send({ type: "code-items", app }).catch(() => undefined);
    return c.json({ id: row.id, share, since: rfc3339(now) } satisfies z.output<typeof Trial>);
  })
  .delete("/models/:id/canary", requireKind(...AUTH), async (c) => {
    const row = await modelOrNotFound(c, c.req.param("id"));
    await endCanary(c.env.DB, c.get("credential").app, row.model).run();
    return c.body(null, 204);
  })
  .post("/models/:id/rollback", requireKind(...AUTH), idempotent, async (c) => {
    const { reason } = await parseBody(c, Withdrawal);
    const { id } = await modelOrNotFound(c, c.req.param("id"));
    const { app } = c.get("credential");
    const { model, servingVersion } = settled(await rollBack(c.env, app, id, reason, c.get("clock").now()));
    return c.json({ model: modelOf(model), servingVersion } satisfies z.output<typeof RolledBack>);
  });
