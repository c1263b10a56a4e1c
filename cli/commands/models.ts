/** `edgewise models ...`: the one way in for artefacts. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { progressOf } from "../progress.ts";
import { type ConnectionOptions, connect, UsageError } from "../settings.ts";

interface ManifestFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

interface ModelSummary {
  readonly id: string;
  readonly status: string;
  readonly modelVersion: string | null;
  readonly rows: number | null;
  readonly liveRows: number | null;
}

/** Registering reads every file again, promoting runs the model's parity cases and codes newer items. */
const SLOW_MS = 300_000;

const pathOf = (id: string) => `/v1/models/${encodeURIComponent(id)}`;

export async function modelsPush(
  dir: string,
  flags: ConnectionOptions & { id: string; promote: boolean },
): Promise<void> {
  const manifest = manifestOf(dir);
  const client = connect(flags);
  const progress = progressOf(flags.id);
  const total = manifest.files.length;
  for (const [k, file] of manifest.files.entries()) {
    const encoded = file.path.split("/").map(encodeURIComponent).join("/");
    await client.request("PUT", `${pathOf(flags.id)}/files/${encoded}`, {
      bytes: readChecked(dir, file),
      headers: { "x-content-sha256": file.sha256 },
      timeoutMs: SLOW_MS,
    });
    progress.update(k + 1, total);
  }
  progress.stop();
  const json = { id: flags.id, manifest: manifest.json };
  const model = await client.request<ModelSummary>("POST", "/v1/models", { json, timeoutMs: SLOW_MS });
  console.log(line(model));
  if (flags.promote) await modelsPromote(flags.id, flags);
}

interface Promotion {
  readonly model: ModelSummary;
  readonly parity: { readonly cases: number; readonly texts: number; readonly deviation: number };
  readonly codedItems: number;
}

export async function modelsPromote(id: string, flags: ConnectionOptions): Promise<void> {
  const { model, parity, codedItems } = await connect(flags).request<Promotion>("POST", `${pathOf(id)}/promote`, {
    timeoutMs: SLOW_MS,
  });
  console.log(line(model));
  const { cases, texts, deviation } = parity;
  console.log(
    `  ${cases} cases and ${texts} texts of the trainer reproduced within ${deviation.toExponential(1)}; ${codedItems} newer items coded`,
  );
}

export async function modelsRollback(id: string, flags: ConnectionOptions & { reason?: string }): Promise<void> {
  const json = flags.reason === undefined ? {} : { reason: flags.reason };
  const { model } = await connect(flags).request<{ model: ModelSummary }>("POST", `${pathOf(id)}/rollback`, { json });
  console.log(line(model));
}

/** Shows a model to a share of users, or with 0 to nobody any more. */
export async function modelsCanary(id: string, flags: ConnectionOptions & { share: number }): Promise<void> {
  const client = connect(flags);
  if (flags.share === 0) await client.request("DELETE", `${pathOf(id)}/canary`);
  else await client.request("POST", `${pathOf(id)}/canary`, { json: { share: flags.share } });
  console.log(`${id}  is shown to ${(100 * flags.share).toFixed(1)} % of users`);
}

export async function modelsList(flags: ConnectionOptions): Promise<void> {
  type Listed = { models: readonly ModelSummary[]; canary: { id: string; share: number; since: string } | null };
  const { models, canary } = await connect(flags).request<Listed>("GET", "/v1/models");
  if (models.length === 0) console.log("this app has no models");
  for (const model of models) console.log(line(model));
  if (canary !== null)
    console.log(`${canary.id} is shown to ${(100 * canary.share).toFixed(1)} % of users since ${canary.since}`);
}

function line({ id, status, modelVersion, rows, liveRows }: ModelSummary): string {
  const live = rows === null || liveRows === null ? "" : `  ${liveRows} of ${rows} items live`;
  return `${id}  ${status}  ${modelVersion ?? "no manifest yet"}${live}`;
}

function manifestOf(dir: string): { json: unknown; files: readonly ManifestFile[] } {
  const file = path.join(dir, "manifest.json");
  if (!existsSync(file)) throw new UsageError(`${dir} holds no manifest.json`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    throw new UsageError(`${file} is not JSON`);
  }
  const files: unknown = typeof json === "object" && json !== null && "files" in json ? json.files : undefined;
  if (!Array.isArray(files) || !files.every(isManifestFile)) throw new UsageError(`${file} has no list of files`);
  return { json, files };
}

function isManifestFile(file: unknown): file is ManifestFile {
  const { path: name, bytes, sha256 } = (file ?? {}) as Partial<Record<keyof ManifestFile, unknown>>;
  return typeof name === "string" && typeof bytes === "number" && typeof sha256 === "string";
}

/** The bytes of a file of the artefact, which the manifest must know. */
function readChecked(dir: string, file: ManifestFile): Uint8Array<ArrayBuffer> {
  const full = path.resolve(dir, file.path);
  if (!full.startsWith(path.resolve(dir) + path.sep)) throw new UsageError(`${file.path} lies outside ${dir}`);
  if (!existsSync(full)) throw new UsageError(`${file.path} is named by the manifest and not in ${dir}`);
  const bytes = new Uint8Array(readFileSync(full));
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  if (sha256 !== file.sha256)
    throw new UsageError(`${file.path} is not the file of the manifest (its SHA-256 is ${sha256.slice(0, 12)}...)`);
  return bytes;
}
