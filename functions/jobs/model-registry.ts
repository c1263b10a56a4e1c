/** What registering and promoting a model mean: every check first, then one write. A refusal changes nothing. */
import {
  checkCodes,
  checkManifest,
  checkRows,
  readItemIds,
  type Refusal,
  refusalText,
} from "../domain/artefact/checks.ts";
import type { Manifest } from "../domain/artefact/manifest.ts";
import type { DecodeNetwork } from "../domain/generation/types.ts";
import { MODEL_BUDGET_BYTES, modelBytes } from "../domain/artefact/memory.ts";
import { engineChoice, openTyped, readGraphs } from "../inference/engines.ts";
import { loadModel } from "../inference/load-model.ts";
import { ArtefactError, checkedBytes, type ModelSource } from "../inference/model-source.ts";
import { checkParity, Parity, type ParityReport } from "../inference/parity.ts";
import { GraphError } from "../inference/runtime.ts";
import { codeItemsOf } from "./code-items.ts";
import { messageOf, wakeDelivery } from "./messages.ts";
import { artefactSource } from "../store/artefacts.ts";
import {
  earlierModel,
  findModel,
  listFiles,
  liveRows,
  type ModelRow,
  promoteModel,
  readRows,
  registered,
  type RegisteredModel,
  registerModel,
  resolveRows,
  servingModel,
  type StoredFile,
  withdrawModel,
} from "../store/models.ts";

export type Outcome<T> =
  | ({ readonly kind: "done" } & T)
  | { readonly kind: "refused"; readonly refusals: readonly Refusal[] }
  | { readonly kind: "conflict"; readonly detail: string }
  /** Not yet: another try goes on where this one stopped. */
  | { readonly kind: "pending"; readonly detail: string };

const refused = (refusals: readonly Refusal[]) => ({ kind: "refused", refusals }) as const;
const conflict = (detail: string) => ({ kind: "conflict", detail }) as const;

/** Items that a promotion codes itself; more of them are left to the queue, and the promotion is to be tried again. */
const CODED_AT_PROMOTION = 500;

/** Every file of the manifest must lie in the store with that hash, brought by this model or an earlier one of the app. */
function checkStored(manifest: Manifest, own: readonly StoredFile[], all: readonly StoredFile[]): Refusal[] {
  const refusals: Refusal[] = [];
  const byPath = new Map(own.map((file) => [file.path, file]));
  const byHash = new Map(all.map((file) => [file.sha256, file]));
  for (const { path, bytes, sha256 } of manifest.files) {
    const stored = byPath.get(path) ?? byHash.get(sha256);
    if (stored === undefined) {
      refusals.push({ code: "file_missing", what: path, expected: "an uploaded file", got: "none" });
    } else if (stored.sha256 !== sha256) {
      refusals.push({ code: "file_hash", what: path, expected: `sha256 ${sha256}`, got: stored.sha256 });
    } else if (stored.bytes !== bytes) {
      refusals.push({ code: "file_size", what: path, expected: `${bytes} bytes`, got: `${stored.bytes} bytes` });
    }
  }
  return refusals;
}

/** Ids and codes of the artefact's rows. @throws ArtefactError for a file that does not hold what it should. */
async function readIds(source: ModelSource): Promise<string[]> {
  const { manifest } = source;
  const read = readItemIds(manifest, new TextDecoder().decode(await checkedBytes(source, manifest.items.file)));
  if ("refusal" in read) throw new ArtefactError(read.refusal);
  const refusal = checkCodes(manifest, new Uint8Array(await checkedBytes(source, manifest.codes.file)));
  if (refusal !== undefined) throw new ArtefactError(refusal);
  return read.ids;
}

/** Verifies an artefact whose files were uploaded, resolves its ids once, and puts it into the registry. */
export async function registerArtefact(
  env: Env,
  app: { readonly app: number; readonly id: string; readonly epoch: number },
  given: { readonly id: string; readonly manifest: Manifest },
  now: number,
): Promise<Outcome<{ readonly model: ModelRow; readonly isNew: boolean }>> {
  const { id, manifest } = given;
  const present = await findModel(env.DB, app.app, id);
  if (present !== undefined && present.status !== "uploading") {
    if (present.modelVersion === manifest.modelVersion) return { kind: "done", model: present, isNew: false };
    return conflict(`Model ${id} is registered already, with version ${present.modelVersion}`);
  }
  const files = await listFiles(env.DB, app.app);
  const refusals = [
    ...(await checkManifest(manifest, app.id)),
    ...checkStored(
      manifest,
      files.filter((file) => file.model === present?.model),
      files,
    ),
  ];
  const bytes = modelBytes(manifest, manifest.items.count);
  if (bytes > MODEL_BUDGET_BYTES) {
    const expected = `at most ${MODEL_BUDGET_BYTES} bytes in memory`;
    refusals.push({ code: "memory", what: "the model", expected, got: `${bytes}` });
  }
  if (refusals.length > 0) return refused(refusals);
  try {
    const rows = await resolveRows(env, app.app, await readIds(artefactSource(env, app.app, manifest)));
    const dead = checkRows(manifest, liveRows(rows));
    if (dead !== undefined) return refused([dead]);
    await registerModel(env, app.app, { id, manifest, rows, epoch: app.epoch }, now);
  } catch (error) {
    if (error instanceof ArtefactError) return refused([error.refusal]);
    throw error;
  }
  const model = await findModel(env.DB, app.app, id);
  return model?.modelVersion === manifest.modelVersion
    ? { kind: "done", model, isNew: true }
    : conflict(`Model ${id} was registered with another manifest at the same time`);
}

/** Null for what is not JSON, which fits no schema. */
function parsedOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * The typed engine for the graphs, beside the runtime. Graphs that it lacks an operator of are served by the runtime alone; where
 * the setting forbids that, they are refused.
 */
async function typedEngine(env: Env, source: ModelSource): Promise<Record<string, DecodeNetwork>> {
  const engine = engineChoice(env.INFERENCE_ENGINE);
  if (engine === "onnx") return {};
  try {
    return { typed: await openTyped(source.manifest, await readGraphs(source)) };
  } catch (error) {
    if (!(error instanceof GraphError) || engine === "typed") throw error;
    return {};
  }
}

/** Opens the graphs in every engine that may serve and holds them to the trainer's figures, through the very code that serves. */
async function checkServed(env: Env, model: RegisteredModel): Promise<ParityReport> {
  const { manifest } = model;
  const source = artefactSource(env, model.app, manifest);
  const what = manifest.parity.file;
  const text = new TextDecoder().decode(await checkedBytes(source, what));
  const parity = Parity.safeParse(parsedOrNull(text));
  if (!parity.success) {
    const got = parity.error.issues.map((issue) => `${issue.path.join("/")}: ${issue.message}`).join("; ");
    throw new ArtefactError({ code: "parity", what, expected: "parity cases", got: got.slice(0, 300) });
  }
  const rows = await readRows(env, model);
  // every row alive under a number of its own, so that the ranking is the trainer's whatever the catalogue holds
  const whole = Uint32Array.from(rows, (_, row) => row + 1);
  const loaded = await loadModel(source, whole);
  try {
    return await checkParity(loaded, whole, parity.data, await typedEngine(env, source));
  } finally {
    await loaded.dispose();
  }
}

/** What the gate wants to know of a model: whether its files, its graphs and its figures check out here. */
export async function checkArtefact(
  env: Env,
  model: RegisteredModel,
): Promise<{ readonly refusals: readonly string[]; readonly deviation: number | null }> {
  try {
    const { refusals, deviation } = await checkServed(env, model);
    return { refusals: refusals.map(refusalText), deviation };
  } catch (error) {
    if (error instanceof ArtefactError) return { refusals: [refusalText(error.refusal)], deviation: null };
    if (error instanceof GraphError) return { refusals: [`the graphs do not run: ${error.message}`], deviation: null };
    throw error;
  }
}

/**
 * Makes a registered model the one that serves: its graphs reproduce the trainer's figures in this runtime, and every newer
 * item has its codes. Until then, and when it is refused, the previous one keeps serving.
 */
export async function promoteArtefact(
  env: Env,
  app: number,
  id: string,
  now: number,
  { jobId = null }: { readonly jobId?: string | null } = {},
): Promise<Outcome<{ readonly servingVersion: number; readonly parity: ParityReport; readonly coded: number }>> {
  const row = await findModel(env.DB, app, id);
  const model = row === undefined ? undefined : registered(app, row);
  if (model === undefined) return conflict(`Model ${id} is not registered: its files may still be coming`);
  let parity: ParityReport;
  try {
    parity = await checkServed(env, model);
  } catch (error) {
    if (error instanceof ArtefactError) return refused([error.refusal]);
    if (!(error instanceof GraphError)) throw error;
    return refused([{ code: "graph", what: "the graphs", expected: "graphs that run", got: error.message }]);
  }
  if (parity.refusals.length > 0) return refused(parity.refusals);
  const { coded, pending } = await codeItemsOf(env, model, CODED_AT_PROMOTION);
  if (pending > 0) {
    await env.JOBS.send({ type: "code-items", app }).catch(() => undefined); // a wake-up; the caller's next try goes on as well
    return { kind: "pending", detail: `${coded} items newer than the model were coded, ${pending} still lack codes` };
  }
  const previous = await servingModel(env, app);
  const data = { modelVersion: model.modelVersion, previousVersion: previous?.modelVersion ?? null, jobId };
  const about = jobId ?? `${id} after ${previous?.servingVersion ?? 0}`; // a promotion that is done twice is told once
  const message = await messageOf({ type: "model.promoted", data }, about, now);
  const servingVersion = await promoteModel(env.DB, app, model.model, now, message);
  await wakeDelivery(env, app);
  if (servingVersion === undefined) throw new Error(`model ${model.model} of app ${app} left the registry`);
  return { kind: "done", servingVersion, parity, coded };
}

/**
 * Takes a serving model back: the one that served before it serves again, at once and without further checks, since it did before.
 * Items that are newer than it get their codes behind it. Asked for again, it is what it is.
 */
export async function rollBack(
  env: Env,
  app: number,
  id: string,
  reason: string,
  now: number,
): Promise<Outcome<{ readonly model: ModelRow; readonly servingVersion: number }>> {
  const withdrawn = await findModel(env.DB, app, id);
  if (withdrawn?.modelVersion == null) return conflict(`Model ${id} is not registered`);
  const earlier = await earlierModel(env.DB, app, withdrawn.model);
  const data = { modelVersion: earlier?.modelVersion ?? null, withdrawnVersion: withdrawn.modelVersion, reason };
  const message = await messageOf({ type: "model.rolledBack", data }, `${id} ${withdrawn.promotedAt}`, now);
  const servingVersion = await withdrawModel(env.DB, app, withdrawn.model, now, message);
  if (servingVersion === undefined) {
    const serving = await servingModel(env, app);
    if (withdrawn.withdrawnAt !== null && serving !== undefined) {
      const model = (await findModel(env.DB, app, serving.id))!;
      return { kind: "done", model, servingVersion: serving.servingVersion };
    }
    if (serving?.model !== withdrawn.model) return conflict(`Model ${id} does not serve: it is ${withdrawn.status}`);
    return conflict(`Nothing served before model ${id}: there is no model to go back to`);
  }
  await env.JOBS.send({ type: "code-items", app }).catch(() => undefined);
  await wakeDelivery(env, app);
  const serving = await servingModel(env, app);
  return { kind: "done", model: (await findModel(env.DB, app, serving!.id))!, servingVersion };
}

/** Refusals as the errors of a problem document. */
export function refusalErrors(refusals: readonly Refusal[]) {
  return refusals.map((refusal) => ({ pointer: refusal.what, code: refusal.code, detail: refusalText(refusal) }));
}
