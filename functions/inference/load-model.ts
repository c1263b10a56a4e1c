/**
 * Turns an artefact into a model that can decode: every file checked, item tables put into code order, sessions opened.
 * Items coded after training are merged in by `withItems`, which makes new tables and shares the sessions.
 */
import type { CodedItem } from "../domain/artefact/coded-item.ts";
import type { Manifest, ManifestGraph } from "../domain/artefact/manifest.ts";
import { checkCodes, expectedTensors } from "../domain/artefact/checks.ts";
import { graphBytes } from "../domain/artefact/memory.ts";
import { buildCodeOrder, type CodeOrderTable } from "../domain/generation/code-order.ts";
import type { DecodeNetwork, GenerativeModel, Scoring } from "../domain/generation/types.ts";
import { floatVectors, int8Vectors, type StoredVectors } from "./item-vectors.ts";
import { ArtefactError, checkedBytes, graphOf, type ModelSource } from "./model-source.ts";
import { decodeNetwork, type DecodeSessions, releaseSessions, Shared } from "./network.ts";
import { createSession, GraphError, once, type Session, type SessionOptions } from "./runtime.ts";
import { type EncodedTexts, loadTextCoder, type TextCoder } from "./text-coder.ts";

export type { ModelSource } from "./model-source.ts";

/** Items in any order; the arrays are parallel, (n), (n, levels) and (n, dim). `scales` is empty for float32 vectors. */
interface ItemTables {
  readonly numbers: Uint32Array;
  readonly codes: Uint8Array;
  readonly vectors: Int8Array | Float32Array;
  readonly scales: Float32Array;
  /** 1: a row of the artefact; 0: coded after training. */
  readonly trained: Uint8Array;
}

function emptyTables(manifest: Manifest, items: number): ItemTables {
  const isInt8 = manifest.vectors.dtype === "int8";
  return {
    numbers: new Uint32Array(items),
    codes: new Uint8Array(items * manifest.levels.length),
    vectors: isInt8 ? new Int8Array(items * manifest.dim) : new Float32Array(items * manifest.dim),
    scales: new Float32Array(isInt8 ? items : 0),
    trained: new Uint8Array(items),
  };
}

/** Copies `rows` of one table to the first places of another. Rows that follow each other are copied as one block. */
function copyRows(manifest: Manifest, from: ItemTables, rows: Uint32Array, to: ItemTables): void {
  const { dim, levels } = manifest;
  const widths = { numbers: 1, codes: levels.length, vectors: dim, scales: to.scales.length > 0 ? 1 : 0, trained: 1 };
  const names = ["numbers", "codes", "vectors", "scales", "trained"] as const;
  for (let place = 0, end = 0; place < rows.length; place = end) {
    const row = rows[place]!;
    for (end = place + 1; end < rows.length && rows[end] === row + end - place;) end += 1;
    for (const name of names) {
      const width = widths[name];
      to[name].set(from[name].subarray(row * width, (row + end - place) * width), place * width);
    }
  }
}

/** @throws RangeError when the item does not have the model's number of codes or dimensions. */
function setItem(manifest: Manifest, to: ItemTables, place: number, item: CodedItem): void {
  const { dim, levels } = manifest;
  const fits = item.vector.length === dim && item.codes.length === levels.length;
  if (!fits || item.codes.some((code, level) => code >= levels[level]!)) {
    throw new RangeError(`item ${item.number} was not coded by ${manifest.modelVersion}`);
  }
  to.numbers[place] = item.number;
  to.codes.set(item.codes, place * levels.length);
  if (to.vectors instanceof Int8Array) {
    to.vectors.set(item.vector, place * dim);
    to.scales[place] = item.scale;
  } else {
    for (let i = 0; i < dim; i++) to.vectors[place * dim + i] = item.vector[i]! * item.scale;
  }
}

/** What every version of a model's tables shares. */
interface SharedParts {
  readonly source: ModelSource;
  readonly sessions: Shared<DecodeSessions>;
  readonly graphBytes: number;
}

/** A model in memory. Its tables never change; `withItems` gives the next version. */
export class LoadedModel implements GenerativeModel {
  readonly manifest: Manifest;
  readonly order: CodeOrderTable;
  readonly vectors: StoredVectors;
  readonly network: DecodeNetwork;
  readonly scoring: Scoring;
  readonly historyLength: number;
  readonly #tables: ItemTables; // by place
  readonly #parts: SharedParts;
  readonly #textCoder: () => Promise<TextCoder>;
  #openTextCoder: TextCoder | undefined;
  #isDisposed = false;

  /** Puts `rows` into code order; those whose number is 0 are left out. Takes over one hold of the sessions. */
  constructor(parts: SharedParts, rows: ItemTables) {
    const { manifest } = parts.source;
    const { order, rowOfPlace } = buildCodeOrder(manifest.levels, rows.codes, rows.numbers);
    const tables = emptyTables(manifest, rowOfPlace.length);
    copyRows(manifest, rows, rowOfPlace, tables);
    const { vectors, scales } = tables;
    this.#parts = parts;
    this.#tables = { ...tables, numbers: order.numbers };
    this.manifest = manifest;
    this.order = order;
    this.vectors =
      vectors instanceof Int8Array ? int8Vectors(manifest.dim, vectors, scales) : floatVectors(manifest.dim, vectors);
    this.network = decodeNetwork(manifest, parts.sessions.value);
    this.scoring = manifest.scoring;
    this.historyLength = manifest.historyLength;
    this.#textCoder = once(async () => (this.#openTextCoder = await loadTextCoder(parts.source)));
  }

  get modelVersion(): string {
    return this.manifest.modelVersion;
  }

  /** Estimate of what the model keeps alive: item tables, code order, graphs in the runtime's memory, text side if open. */
  get bytes(): number {
    const { codes, trained } = this.#tables;
    const items = this.order.bytes + codes.byteLength + trained.byteLength + this.vectors.bytes;
    return items + this.#parts.graphBytes + (this.#openTextCoder?.bytes ?? 0);
  }

  /** Whether the item has a vector of its own from training; false also for an item without codes. */
  isTrained(itemNumber: number): boolean {
    const place = this.order.placeOf(itemNumber);
    return place >= 0 && this.#tables.trained[place] === 1;
  }

  /** Vectors and codes of texts by the model's own graphs, opened at the first call. */
  async encodeText(texts: readonly string[]): Promise<EncodedTexts> {
    return (await this.#textCoder()).encode(texts);
  }

  /** Token ids of a text, as `encodeText` sees it. */
  async tokens(text: string): Promise<number[]> {
    return (await this.#textCoder()).tokens(text);
  }

  /**
   * The model with these items besides. An item coded earlier is replaced, a row of the artefact stays as trained. The
   * graphs are shared and this model stays usable: each of the two has to be disposed of.
   *
   * @throws RangeError when an item was coded by another model.
   */
  withItems(items: readonly CodedItem[]): LoadedModel {
    if (this.#isDisposed) throw new Error("the model was disposed of");
    const tables = merged(this.manifest, this.#tables, items); // may throw: before the graphs are held once more
    this.#parts.sessions.hold();
    return new LoadedModel(this.#parts, tables);
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    await this.#openTextCoder?.dispose();
    await this.#parts.sessions.letGo();
  }
}

/** The tables with `items` in place of rows of the same number that were not trained. The last of equal numbers counts. */
function merged(manifest: Manifest, tables: ItemTables, items: readonly CodedItem[]): ItemTables {
  const fresh = new Map(items.map((item) => [item.number, item]));
  const kept = new Uint32Array(tables.numbers.length);
  let size = 0;
  for (let row = 0; row < kept.length; row++) {
    const number = tables.numbers[row]!;
    if (number === 0) continue;
    if (tables.trained[row] === 1) fresh.delete(number);
    if (!fresh.has(number)) kept[size++] = row;
  }
  const next = emptyTables(manifest, size + fresh.size);
  copyRows(manifest, tables, kept.subarray(0, size), next);
  for (const item of fresh.values()) setItem(manifest, next, size++, item);
  return next;
}

/** Codes, vectors and scales of the artefact's rows under the app's item numbers. */
async function readTables(source: ModelSource, rows: Uint32Array): Promise<ItemTables> {
  const { manifest } = source;
  const { count } = manifest.items;
  if (rows.length !== count) {
    const got = `${rows.length}`;
    throw new ArtefactError({ code: "rows", what: "row table", expected: `${count} numbers`, got });
  }
  const codes = new Uint8Array(await checkedBytes(source, manifest.codes.file));
  const refusal = checkCodes(manifest, codes);
  if (refusal !== undefined) throw new ArtefactError(refusal);
  const raw = await checkedBytes(source, manifest.vectors.file);
  const { scales } = manifest.vectors;
  return {
    numbers: rows,
    codes,
    vectors: scales === null ? new Float32Array(raw) : new Int8Array(raw),
    scales: scales === null ? new Float32Array(0) : new Float32Array(await checkedBytes(source, scales)),
    trained: new Uint8Array(count).fill(1),
  };
}

/** @throws ArtefactError when the graph does not open or has other inputs and outputs than its role needs. */
async function openChecked(
  manifest: Manifest,
  graph: ManifestGraph,
  content: ArrayBuffer,
  options: SessionOptions,
): Promise<Session> {
  const refuse = (expected: string, got: string) =>
    new ArtefactError({ code: "graph", what: graph.file, expected, got });
  let session: Session;
  try {
    session = await createSession(content, options);
  } catch (error) {
    throw error instanceof GraphError ? refuse("a graph that the runtime opens", error.message) : error;
  }
  const { inputs, outputs } = expectedTensors(manifest, graph.role, graph.level);
  const expected = [...inputs, ...outputs].map((tensor) => tensor.name).join(", ");
  const got = [...session.inputNames, ...session.outputNames].join(", ");
  if (expected === got) return session;
  await session.release();
  throw refuse(`tensors ${expected}`, got);
}

async function openSessions(source: ModelSource, options: SessionOptions): Promise<Omit<SharedParts, "source">> {
  const { manifest } = source;
  const opened: Session[] = [];
  let bytes = 0;
  try {
    for (let level = 1; level <= manifest.levels.length; level++) {
      const graph = level === 1 ? graphOf(manifest, "encoder") : graphOf(manifest, "step", level);
      const content = await checkedBytes(source, graph.file);
      bytes += graphBytes(graph.dtype, content.byteLength);
      opened.push(await openChecked(manifest, graph, content, options));
    }
  } catch (error) {
    for (const session of opened) await session.release();
    throw error;
  }
  const [encoder, ...steps] = opened;
  const sessions: DecodeSessions = { encoder: encoder!, steps };
  return { sessions: new Shared(sessions, releaseSessions), graphBytes: bytes };
}

/**
 * Reads, checks and opens a model. `rows` gives the app's item number of every row of the artefact, 0 for a dead row;
 * `extra` are items coded after training.
 *
 * @throws ArtefactError when a file is not what the manifest says; whatever `source.read` and `createSession` throw.
 */
export async function loadModel(
  source: ModelSource,
  rows: Uint32Array,
  extra: readonly CodedItem[] = [],
  options: SessionOptions = {},
): Promise<LoadedModel> {
  const tables = await readTables(source, rows);
  const all = extra.length === 0 ? tables : merged(source.manifest, tables, extra);
  const parts = await openSessions(source, options);
  return new LoadedModel({ source, ...parts }, all);
}
