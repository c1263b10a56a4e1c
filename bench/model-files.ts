/** An artefact folder on disk as a model source; the manifest is checked as the Worker checks it. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { checkManifest, refusalText } from "../functions/domain/artefact/checks.ts";
import { Manifest } from "../functions/domain/artefact/manifest.ts";
import { itemsOf } from "./run-folder.ts";
import type { ModelSource } from "../functions/inference/load-model.ts";

/** @throws Error naming what is wrong with the manifest, ENOENT where there is none. */
export async function folderSource(folder: string): Promise<ModelSource> {
  const text = await readFile(path.join(folder, "manifest.json"), "utf8");
  const manifest = Manifest.parse(JSON.parse(text));
  const refusals = await checkManifest(manifest, manifest.app ?? "");
  if (refusals.length > 0) throw new Error(`${folder}: ${refusals.map(refusalText).join("; ")}`);
  return {
    manifest,
    async read(file) {
      return Uint8Array.from(await readFile(path.join(folder, file))).buffer;
    },
  };
}

/**
 * A row table under the numbers of the run's cases: item + 1, whatever row the item has in this artefact.
 * @throws Error where the run was evaluated before it wrote the ids, and where the artefact is another run's
 */
export async function rowsOfItems(source: ModelSource, run: string): Promise<Uint32Array> {
  const ids = itemsOf(run)?.ids;
  if (ids === undefined) throw new Error(`${run}: no ids in items-train.json, run the trainer's stage evaluate again`);
  const itemOf = new Map(ids.map((id, item) => [id, item]));
  const text = new TextDecoder().decode(await source.read(source.manifest.items.file));
  return Uint32Array.from(text.trimEnd().split("\n"), (id) => {
    const item = itemOf.get(id);
    if (item === undefined) throw new Error(`${source.manifest.modelVersion}: ${id} is no item of ${run}`);
    return item + 1;
  });
}

/** A row table that gives every row a number of its own, from 1. */
export function everyRow(source: ModelSource): Uint32Array {
  return Uint32Array.from({ length: source.manifest.items.count }, (_, row) => row + 1);
}
