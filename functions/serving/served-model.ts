/**
 * A loaded model with what an app's catalogue adds to it: places that may be shown, filters as bitmaps, neighbours. One value in
 * the isolate's model cache; newer item codes make the next value, which shares the graphs.
 */
import "../inference/worker-runtime.ts";
import { FilterCache } from "../domain/catalogue/predicate.ts";
import { ShowablePlaces } from "../domain/catalogue/showable.ts";
import { withoutNumbers } from "../domain/generation/bitmap.ts";
import { SimilarItems } from "../domain/generation/similar.ts";
import { engineChoice, type EngineName } from "../inference/engines.ts";
import { loadModel, type LoadedModel, servedFiles } from "../inference/load-model.ts";
import { artefactSource, fileKey, readerOf } from "../store/artefacts.ts";
import { type ItemCodesPage, itemCodesSince, readRows, type ServingModel } from "../store/models.ts";
import type { CatalogueColumns } from "../domain/catalogue/columns.ts";
import type { Predicate } from "../domain/catalogue/predicate.ts";
import type { LegalPlaces } from "../domain/generation/types.ts";
import type { ServedModel } from "../domain/recommendation/recommend.ts";
import type { Weighed } from "../inference/budget.ts";

export class AppModel implements ServedModel, Weighed {
  readonly #loaded: LoadedModel;
  readonly #registered: ServingModel;
  readonly #filters = new FilterCache();
  readonly #showable: ShowablePlaces;
  #uncoded: {
    readonly columns: CatalogueColumns;
    readonly version: number;
    readonly numbers: readonly number[];
  } | null = null;
  readonly similar: SimilarItems;
  /** Codes of newer items up to this revision are in. */
  readonly codesRevision: number;

  constructor(loaded: LoadedModel, registered: ServingModel, codesRevision: number) {
    this.#loaded = loaded;
    this.#registered = registered;
    this.#showable = new ShowablePlaces(loaded.order);
    this.similar = new SimilarItems(loaded.order, loaded.vectors);
    this.codesRevision = codesRevision;
  }

  /** Number of the model in tokens. */
  get model(): number {
    return this.#registered.model;
  }

  get modelVersion(): string {
    return this.#loaded.modelVersion;
  }

  get repeatShare(): number {
    return this.#loaded.manifest.data.repeatShare;
  }

  get order() {
    return this.#loaded.order;
  }

  get vectors() {
    return this.#loaded.vectors;
  }

  get network() {
    return this.#loaded.network;
  }

  /** The engine behind `network`. */
  get engine(): EngineName {
    return this.#loaded.engine;
  }

  /** Whether ONNX Runtime is still to be started behind the typed engine. */
  get wantsRuntime(): boolean {
    return this.#loaded.wantsRuntime;
  }

  /** Starts it, at the first call only: hundreds of milliseconds of the only thread. @throws what the runtime throws */
  startRuntime(): Promise<void> {
    return this.#loaded.startRuntime();
  }

  get scoring() {
    return this.#loaded.scoring;
  }

  get historyLength() {
    return this.#loaded.historyLength;
  }

  get bytes(): number {
    return this.#loaded.bytes + this.#showable.bytes + this.#filters.bytes + this.similar.bytes;
  }

  /** Showable places that satisfy the filter and are not excluded. */
  legalPlaces(columns: CatalogueColumns, filter: Predicate | undefined, excluded: Iterable<number>): LegalPlaces {
    const showable = this.#showable.at(columns);
    const legal = filter === undefined ? showable : this.#filters.within(showable, this.order, columns, filter);
    return withoutNumbers(legal, this.order, excluded);
  }

  /** Showable items without codes, newest first: written faster than coded, or of a model that is being replaced. */
  uncoded(columns: CatalogueColumns): readonly number[] {
    const known = this.#uncoded;
    if (known?.columns === columns && known.version === columns.version) return known.numbers;
    const changed = known?.columns === columns ? columns.changedSince(known.version) : null;
    const isUncoded = (number: number): boolean => columns.isShowable(number) && this.order.placeOf(number) < 0;
    const numbers: number[] = [];
    if (changed === null) {
      // number by number: a list of a million of them would take the isolate's memory
      for (let number = 1; number <= columns.largestNumber; number++) if (isUncoded(number)) numbers.push(number);
    } else {
      for (const number of new Set([...known!.numbers, ...changed])) if (isUncoded(number)) numbers.push(number);
    }
    numbers.sort((a, b) => b - a);
    this.#uncoded = { columns, version: columns.version, numbers };
    return numbers;
  }

  /** The next value with codes written since, or undefined when there are none. */
  async withNewCodes(env: Env): Promise<AppModel | undefined> {
    const { loaded, revision } = await withCodesSince(env, this.#registered, this.#loaded, this.codesRevision);
    return loaded === this.#loaded ? undefined : new AppModel(loaded, this.#registered, revision);
  }

  async dispose(): Promise<void> {
    await this.#loaded.dispose();
  }
}

/** Reads a model with every file checked, and beside it the codes of newer items, unless the caller has their first page. */
export async function loadAppModel(env: Env, registered: ServingModel, known?: ItemCodesPage): Promise<AppModel> {
  const { app, manifest, rowsKey } = registered;
  const hashes = new Map(manifest.files.map((file) => [file.path, file.sha256]));
  const files = servedFiles(manifest).flatMap((file) => hashes.get(file) ?? []);
  const reader = readerOf(env, [rowsKey, ...files.map((sha256) => fileKey(app, sha256))]);
  const source = artefactSource(env, app, manifest, reader);
  const newer = known ?? itemCodesSince(env.DB, app, registered, 0);
  const items = Promise.resolve(newer).then((page) => page.items);
  const options = { engine: engineChoice(env.INFERENCE_ENGINE) };
  const first = await loadModel(source, readRows(env, registered, reader), items, options);
  try {
    const page = await newer;
    if (page.isWhole) return new AppModel(first, registered, page.revision);
    const { loaded, revision } = await withCodesSince(env, registered, first, page.revision);
    if (loaded !== first) await first.dispose();
    return new AppModel(loaded, registered, revision);
  } catch (error) {
    await first.dispose();
    throw error;
  }
}

/** Merges codes page by page. The model that came in stays usable and is the caller's to dispose of. */
async function withCodesSince(
  env: Env,
  registered: ServingModel,
  start: LoadedModel,
  since: number,
): Promise<{ loaded: LoadedModel; revision: number }> {
  let loaded = start;
  let revision = since;
  try {
    for (;;) {
      const page = await itemCodesSince(env.DB, registered.app, registered, revision);
      if (page.items.length > 0) {
        const next = loaded.withItems(page.items);
        if (loaded !== start) await loaded.dispose();
        loaded = next;
      }
      revision = page.revision;
      if (page.isWhole) return { loaded, revision };
    }
  } catch (error) {
    if (loaded !== start) await loaded.dispose();
    throw error;
  }
}
