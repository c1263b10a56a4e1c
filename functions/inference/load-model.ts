/**
 * Turns an artefact into a model that can decode: every file checked, item tables put into code order, graphs opened.
 * Items coded after training are merged in by `withItems`, which makes new tables and shares the graphs.
 */
import type { CodedItem } from "../domain/artefact/coded-item.ts";
import type { Manifest } from "../domain/artefact/manifest.ts";
import type { CodeOrderTable } from "../domain/generation/code-order.ts";
import type { DecodeNetwork, GenerativeModel, Scoring } from "../domain/generation/types.ts";
import { type RowFormat, vectorValues } from "./item-rows.ts";
import { ItemTables } from "./item-tables.ts";
import type { StoredVectors } from "./item-vectors.ts";
import { ArtefactError, checkedBytes, type ModelSource } from "./model-source.ts";
import { type EngineName, type EngineOptions, Engines, readGraphs } from "./engines.ts";
import { Shared } from "./network.ts";
import { productCodebook } from "./product-vectors.ts";
import { once } from "./runtime.ts";
import { type EncodedTexts, loadTextCoder, type TextCoder } from "./text-coder.ts";

export type { ModelSource } from "./model-source.ts";

/** What every version of a model's tables shares. */
interface SharedParts {
  readonly source: ModelSource;
  readonly engines: Shared<Engines>;
}

/** A model in memory. Its tables never change; `withItems` gives the next version. */
export class LoadedModel implements GenerativeModel {
  readonly manifest: Manifest;
  readonly scoring: Scoring;
  readonly historyLength: number;
  readonly #tables: ItemTables;
  readonly #parts: SharedParts;
  readonly #textCoder: () => Promise<TextCoder>;
  #openTextCoder: TextCoder | undefined;
  #isDisposed = false;

  /** Takes over one hold of the graphs. */
  constructor(parts: SharedParts, tables: ItemTables) {
    const { manifest } = parts.source;
    this.#parts = parts;
    this.#tables = tables;
    this.manifest = manifest;
    this.scoring = manifest.scoring;
    this.historyLength = manifest.historyLength;
    this.#textCoder = once(async () => (this.#openTextCoder = await loadTextCoder(parts.source)));
  }

  get order(): CodeOrderTable {
    return this.#tables.order;
  }

  get vectors(): StoredVectors {
    return this.#tables.vectors;
  }

  get modelVersion(): string {
    return this.manifest.modelVersion;
  }

  /** The engine that answers now. */
  get network(): DecodeNetwork {
    return this.#parts.engines.value.network;
  }

  get engine(): EngineName {
    return this.#parts.engines.value.name;
  }

  /** Whether ONNX Runtime is still to be started behind the typed engine. */
  get wantsRuntime(): boolean {
    return !this.#isDisposed && this.#parts.engines.value.wantsRuntime;
  }

  /** Starts it, for every version of the model, at the first call only. @throws what the runtime throws when it does not start */
  async startRuntime(): Promise<void> {
    await this.#parts.engines.value.startRuntime();
  }

  /** Estimate of what the model keeps alive: item tables, code order, graphs of the engines, text side if open. */
  get bytes(): number {
    return this.#tables.bytes + this.#parts.engines.value.bytes + (this.#openTextCoder?.bytes ?? 0);
  }

  /** Whether the item has a vector of its own from training; false also for an item without codes. */
  isTrained(itemNumber: number): boolean {
    return this.#tables.isTrained(itemNumber);
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
    const tables = this.#tables.withItems(items); // may throw: before the graphs are held once more
    this.#parts.engines.hold();
    return new LoadedModel(this.#parts, tables);
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    await this.#openTextCoder?.dispose();
    await this.#parts.engines.letGo();
  }
}

/** The artefact's rows under the app's item numbers. */
async function readTables(source: ModelSource, wanted: Uint32Array | Promise<Uint32Array>): Promise<ItemTables> {
  const { manifest } = source;
  const { count } = manifest.items;
  const { file, scales, centroids, subspaces } = manifest.vectors;
  const contentOf = (path: string | null | undefined) =>
    path === null || path === undefined ? new ArrayBuffer(0) : checkedBytes(source, path);
  const [numbers, codesContent, vectors, scalesContent, codebook] = await Promise.all([
    wanted,
    checkedBytes(source, manifest.codes.file),
    checkedBytes(source, file),
    contentOf(scales),
    contentOf(centroids),
  ]);
  if (numbers.length !== count) {
    const got = `${numbers.length}`;
    throw new ArtefactError({ code: "rows", what: "row table", expected: `${count} numbers`, got });
  }
  const codes = new Uint8Array(codesContent); // of the hash with which they passed checkCodes when they were registered
  const { dim, levels } = manifest;
  const format: RowFormat = {
    manifest,
    codebook: subspaces === undefined ? null : productCodebook(codebook, { dim, levels, subspaces }),
  };
  return ItemTables.of(format, {
    numbers,
    codes,
    vectors: vectorValues(format, vectors),
    scales: new Float32Array(scalesContent),
  });
}

/** The files that `loadModel` reads. */
export function servedFiles({ codes, vectors, graphs }: Manifest): string[] {
  const decoding = graphs.filter(({ role }) => role === "encoder" || role === "step");
  const { file, scales, centroids } = vectors;
  return [codes.file, file, scales, centroids, ...decoding.map((graph) => graph.file)].filter(
    (path) => typeof path === "string",
  );
}

/**
 * Reads, checks and opens a model; whatever has to be fetched is fetched side by side. `rows` gives the app's item number of
 * every row of the artefact, 0 for a dead row; `extra` are items coded after training.
 *
 * @throws ArtefactError when a file is not what the manifest says; whatever `source.read` and `createSession` throw.
 */
export async function loadModel(
  source: ModelSource,
  rows: Uint32Array | Promise<Uint32Array>,
  extra: readonly CodedItem[] | Promise<readonly CodedItem[]> = [],
  options: EngineOptions = {},
): Promise<LoadedModel> {
  const { manifest } = source;
  const [tables, graphs, items] = await Promise.all([readTables(source, rows), readGraphs(source), extra]);
  const all = items.length === 0 ? tables : tables.withItems(items);
  const engines = await Engines.open(manifest, graphs, options);
  return new LoadedModel({ source, engines: new Shared(engines, (value) => value.release()) }, all);
}
