/**
 * What must hold of an artefact beyond the manifest's shape. Every check answers with refusals, never throws: each names
 * what is wrong, what was expected and what was found, so that whoever trained the model can mend it.
 */
import { sha256Hex, versionOf } from "./digest.ts";
import { type Manifest, type ManifestGraph, MIN_LIVE_ROWS_SHARE } from "./manifest.ts";

export type RefusalCode =
  | "app" // made for another app
  | "version" // modelVersion is not the hash of the files
  | "file_missing"
  | "file_size"
  | "file_hash"
  | "graph" // a graph is absent, doubled or can't be opened
  | "dtype"
  | "shape"
  | "codes" // a code is not below its level's size, or a leaf is larger than leafMax
  | "items" // items.txt does not list `count` distinct ids
  | "scoring"
  | "tokenizer" // text.json is not a tokenizer
  | "rows" // too few rows resolve to items of the app
  | "parity" // the served graphs do not reproduce the trainer's figures
  | "memory"; // larger than an isolate's budget

export interface Refusal {
  readonly code: RefusalCode;
  /** The file, graph or field. */
  readonly what: string;
  readonly expected: string;
  readonly got: string;
}

/** One line for people. */
export function refusalText(refusal: Refusal): string {
  return `${refusal.what}: expected ${refusal.expected}, got ${refusal.got}`;
}

type Tensor = ManifestGraph["inputs"][number];
type Dimension = number | string;

const tensor = (name: string, dtype: Tensor["dtype"], shape: Dimension[]): Tensor => ({ name, dtype, shape });

/** The tensors that a graph of this role must have. A dimension given by a letter is free; its name does not matter. */
export function expectedTensors(
  manifest: Pick<Manifest, "dim" | "levels" | "textEncoder">,
  role: ManifestGraph["role"],
  level = 0,
): { readonly inputs: readonly Tensor[]; readonly outputs: readonly Tensor[] } {
  const { dim, levels, textEncoder } = manifest;
  switch (role) {
    case "encoder":
      return {
        inputs: [tensor("x", "float32", [1, "T", dim])],
        outputs: [tensor("h", "float32", [1, dim]), tensor("logits1", "float32", [1, levels[0]!])],
      };
    case "step":
      return {
        inputs: [tensor("h", "float32", [1, dim]), tensor("prefix", "int32", ["B", level - 1])],
        outputs: [tensor("logits", "float32", ["B", levels[level - 1] ?? 0])],
      };
    case "tokenizer":
      return {
        inputs: [tensor("text", "float32", ["N", textEncoder.dim])],
        outputs: [tensor("vector", "float32", ["N", dim]), tensor("codes", "int32", ["N", levels.length])],
      };
    case "text":
      return {
        inputs: [tensor("tokens", "int32", ["N", "T"]), tensor("mask", "float32", ["N", "T"])],
        outputs: [tensor("text", "float32", ["N", textEncoder.dim])],
      };
    default:
      return role satisfies never;
  }
}

const shapeText = (shape: readonly Dimension[]) => `(${shape.join(", ")})`;
const fits = (expected: Dimension, got: Dimension | undefined) =>
  typeof expected === "number" ? got === expected : typeof got === "string";

function checkTensors(what: string, expected: readonly Tensor[], got: readonly Tensor[]): Refusal[] {
  const refusals: Refusal[] = [];
  const names = (side: readonly Tensor[]) => side.map((one) => one.name).join(", ");
  if (names(expected) !== names(got)) {
    return [{ code: "graph", what, expected: `tensors ${names(expected)}`, got: names(got) }];
  }
  for (const [place, want] of expected.entries()) {
    const have = got[place]!;
    const at = `${what}/${want.name}`;
    if (want.dtype !== have.dtype) refusals.push({ code: "dtype", what: at, expected: want.dtype, got: have.dtype });
    if (want.shape.length !== have.shape.length || !want.shape.every((size, axis) => fits(size, have.shape[axis]))) {
      refusals.push({ code: "shape", what: at, expected: shapeText(want.shape), got: shapeText(have.shape) });
    }
  }
  return refusals;
}

function checkGraphs(manifest: Manifest): Refusal[] {
  const refusals: Refusal[] = [];
  const wanted: { role: ManifestGraph["role"]; level?: number }[] = [{ role: "encoder" }];
  for (let level = 2; level <= manifest.levels.length; level++) wanted.push({ role: "step", level });
  wanted.push({ role: "tokenizer" }, { role: "text" });
  for (const { role, level } of wanted) {
    const name = level === undefined ? role : `${role} of level ${level}`;
    const found = manifest.graphs.filter((graph) => graph.role === role && graph.level === level);
    const graph = found[0];
    if (graph === undefined || found.length > 1) {
      refusals.push({ code: "graph", what: "graphs", expected: `one ${name}`, got: String(found.length) });
      continue;
    }
    const expected = expectedTensors(manifest, role, level);
    refusals.push(
      ...checkTensors(`${graph.file} inputs`, expected.inputs, graph.inputs),
      ...checkTensors(`${graph.file} outputs`, expected.outputs, graph.outputs),
    );
  }
  if (refusals.length === 0 && manifest.graphs.length !== wanted.length) {
    const got = String(manifest.graphs.length);
    refusals.push({ code: "graph", what: "graphs", expected: `${wanted.length} graphs`, got });
  }
  const text = manifest.graphs.find((graph) => graph.role === "text");
  if (text !== undefined && text.file !== manifest.textEncoder.graph) {
    refusals.push({ code: "graph", what: "textEncoder/graph", expected: text.file, got: manifest.textEncoder.graph });
  }
  return refusals;
}

/** Bytes that the layout fixes: codes, vectors, scales, centroids. */
function fixedSizes(manifest: Manifest): Map<string, number> {
  const { items, levels, dim, codes, vectors } = manifest;
  const bytes = { int8: dim, float32: 4 * dim, pq: vectors.subspaces ?? 0 };
  const sizes = new Map([
    [codes.file, items.count * levels.length],
    [vectors.file, items.count * bytes[vectors.dtype]],
  ]);
  if (vectors.scales !== null) sizes.set(vectors.scales, items.count * 4);
  const codewords = levels.reduce((sum, size) => sum + size, 0);
  if (vectors.centroids !== undefined) {
    sizes.set(vectors.centroids, dim * (codewords + 256) + 4 * (codewords + (vectors.subspaces ?? 0)));
  }
  return sizes;
}

/** Which of the vectors' fields go with which dtype. */
function checkVectors({ vectors, dim }: Manifest): Refusal[] {
  const refusals: Refusal[] = [];
  const { dtype, scales, centroids, subspaces } = vectors;
  if ((dtype === "int8") !== (scales !== null)) {
    const expected = dtype === "int8" ? "a file of scales for int8 vectors" : `null for ${dtype} vectors`;
    refusals.push({ code: "dtype", what: "vectors/scales", expected, got: String(scales) });
  }
  for (const [name, value] of Object.entries({ centroids, subspaces })) {
    if ((dtype === "pq") === (value !== undefined)) continue;
    const expected = dtype === "pq" ? "given for pq vectors" : `absent for ${dtype} vectors`;
    refusals.push({ code: "dtype", what: `vectors/${name}`, expected, got: String(value) });
  }
  if (subspaces !== undefined && dim % subspaces !== 0) {
    const expected = `a divisor of ${dim} dimensions`;
    refusals.push({ code: "shape", what: "vectors/subspaces", expected, got: String(subspaces) });
  }
  return refusals;
}

function checkFiles(manifest: Manifest): Refusal[] {
  const refusals: Refusal[] = [];
  const listed = new Map(manifest.files.map((file) => [file.path, file]));
  if (listed.size !== manifest.files.length) {
    refusals.push({ code: "file_missing", what: "files", expected: "every path once", got: "a path twice" });
  }
  const { vectors, textEncoder } = manifest;
  const needed = [manifest.items.file, manifest.codes.file, vectors.file, manifest.parity.file, textEncoder.tokenizer];
  if (vectors.scales !== null) needed.push(vectors.scales);
  if (vectors.centroids !== undefined) needed.push(vectors.centroids);
  for (const graph of manifest.graphs) needed.push(graph.file);
  for (const path of needed) {
    if (!listed.has(path))
      refusals.push({ code: "file_missing", what: path, expected: "a line in files", got: "none" });
  }
  for (const [path, bytes] of fixedSizes(manifest)) {
    const file = listed.get(path);
    if (file !== undefined && file.bytes !== bytes) {
      refusals.push({ code: "file_size", what: path, expected: `${bytes} bytes`, got: `${file.bytes} bytes` });
    }
  }
  refusals.push(...checkVectors(manifest));
  const encoder = listed.get(textEncoder.graph);
  if (encoder !== undefined && encoder.sha256 !== textEncoder.sha256) {
    const got = textEncoder.sha256;
    refusals.push({ code: "file_hash", what: "textEncoder/sha256", expected: encoder.sha256, got });
  }
  return refusals;
}

/** All rules between the fields of a manifest. `appId` is the public id of the app that would register it. */
export async function checkManifest(manifest: Manifest, appId: string): Promise<Refusal[]> {
  const refusals: Refusal[] = [];
  if (manifest.app !== null && manifest.app !== appId) {
    refusals.push({ code: "app", what: "app", expected: appId, got: manifest.app });
  }
  const version = await versionOf(manifest.files);
  if (version !== manifest.modelVersion) {
    refusals.push({ code: "version", what: "modelVersion", expected: version, got: manifest.modelVersion });
  }
  const beams = manifest.levels.length - 1;
  if (manifest.scoring.beams.length !== beams) {
    const got = `${manifest.scoring.beams.length}`;
    refusals.push({
      code: "scoring",
      what: "scoring/beams",
      expected: `${beams} numbers, one a level but the last`,
      got,
    });
  }
  if (manifest.leafMax > manifest.items.count) {
    const expected = `at most ${manifest.items.count}`;
    refusals.push({ code: "codes", what: "leafMax", expected, got: String(manifest.leafMax) });
  }
  return [...refusals, ...checkFiles(manifest), ...checkGraphs(manifest)];
}

/** The bytes of one file against its line in the manifest. */
export async function checkFile(
  file: Manifest["files"][number],
  content: ArrayBuffer | Uint8Array,
): Promise<Refusal | undefined> {
  if (content.byteLength !== file.bytes) {
    const expected = `${file.bytes} bytes`;
    return { code: "file_size", what: file.path, expected, got: `${content.byteLength} bytes` };
  }
  const sha256 = await sha256Hex(content);
  return sha256 === file.sha256
    ? undefined
    : { code: "file_hash", what: file.path, expected: `sha256 ${file.sha256}`, got: sha256 };
}

/** The ids of items.txt, one a row, or why the file is refused. */
export function readItemIds(manifest: Manifest, text: string): { ids: string[] } | { refusal: Refusal } {
  const { count, file } = manifest.items;
  const refuse = (expected: string, got: string) => ({
    refusal: { code: "items", what: file, expected, got } as const,
  });
  const ids = text.split("\n");
  if (ids.pop() !== "") return refuse("a newline after the last id", "none");
  if (ids.length !== count) return refuse(`${count} lines`, `${ids.length}`);
  const empty = ids.indexOf("");
  if (empty !== -1) return refuse("an id on every line", `an empty line ${empty + 1}`);
  return new Set(ids).size === count ? { ids } : refuse("every id once", "an id twice");
}

/** Codes (n, L) row-major: each below its level's size, no leaf with more than leafMax items. */
export function checkCodes(manifest: Manifest, codes: Uint8Array): Refusal | undefined {
  const { levels, leafMax } = manifest;
  const what = manifest.codes.file;
  const leaves = new Uint32Array(codes.length / levels.length);
  for (let row = 0, at = 0; row < leaves.length; row++) {
    let leaf = 0;
    for (let level = 0; level < levels.length; level++) {
      const code = codes[at++]!;
      if (code >= levels[level]!) {
        const expected = `codes of level ${level + 1} below ${levels[level]}`;
        return { code: "codes", what, expected, got: `${code} in row ${row}` };
      }
      leaf = leaf * 256 + code;
    }
    leaves[row] = leaf;
  }
  leaves.sort();
  // sorted, a leaf of more than leafMax items reaches at least that far
  for (let at = 0; at + leafMax < leaves.length; at++) {
    if (leaves[at] === leaves[at + leafMax]) {
      return { code: "codes", what, expected: `at most ${leafMax} items with the same codes`, got: "more" };
    }
  }
  return undefined;
}

/** At least 90 % of the rows must be items of the app. `live` is the number of rows that are. */
export function checkRows(manifest: Manifest, live: number): Refusal | undefined {
  const { count, file } = manifest.items;
  const needed = Math.ceil(count * MIN_LIVE_ROWS_SHARE);
  return live >= needed
    ? undefined
    : { code: "rows", what: file, expected: `at least ${needed} of ${count} ids in the catalogue`, got: String(live) };
}
