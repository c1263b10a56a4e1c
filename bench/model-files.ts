/** An artefact folder on disk as a model source; the manifest is checked as the Worker checks it. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { checkManifest, refusalText } from "../functions/domain/artefact/checks.ts";
import { Manifest } from "../functions/domain/artefact/manifest.ts";
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

/** A row table that gives every row a number of its own, from 1. */
export function everyRow(source: ModelSource): Uint32Array {
  return Uint32Array.from({ length: source.manifest.items.count }, (_, row) => row + 1);
}
