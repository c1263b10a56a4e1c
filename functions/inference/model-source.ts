/** Where an artefact's files come from, and the check that every byte passes before it is used. */
import { checkFile, type Refusal, refusalText } from "../domain/artefact/checks.ts";
import type { Manifest, ManifestGraph } from "../domain/artefact/manifest.ts";

export interface ModelSource {
  readonly manifest: Manifest;
  /** The bytes of a file of the manifest. Rejects when it can't be had. */
  read(path: string): Promise<ArrayBuffer>;
  /** Whether `read` has compared the sha256 of these bytes itself; a source that never does leaves it out. */
  isIntact?(bytes: ArrayBuffer): boolean;
}

/** An artefact that is not what its manifest says. */
export class ArtefactError extends Error {
  override readonly name = "ArtefactError";
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusalText(refusal));
    this.refusal = refusal;
  }
}

/** A file's bytes, of the size and sha256 that the manifest gives. @throws ArtefactError otherwise. */
export async function checkedBytes(source: ModelSource, path: string): Promise<ArrayBuffer> {
  const file = source.manifest.files.find((one) => one.path === path);
  if (file === undefined) {
    throw new ArtefactError({ code: "file_missing", what: path, expected: "a line in files", got: "none" });
  }
  const bytes = await source.read(path);
  if (source.isIntact?.(bytes) === true && bytes.byteLength === file.bytes) return bytes;
  const refusal = await checkFile(file, bytes);
  if (refusal !== undefined) throw new ArtefactError(refusal);
  return bytes;
}

/** The one graph of a role (and level). @throws ArtefactError when there is none. */
export function graphOf(manifest: Manifest, role: ManifestGraph["role"], level?: number): ManifestGraph {
  const graph = manifest.graphs.find((one) => one.role === role && one.level === level);
  if (graph === undefined) {
    const what = level === undefined ? role : `${role} ${level}`;
    throw new ArtefactError({ code: "graph", what, expected: "one graph", got: "none" });
  }
  return graph;
}
