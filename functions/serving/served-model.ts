/**
 * A loaded model with what an app's catalogue adds to it: places that may be shown, filters as bitmaps, neighbours. One value in
 * the isolate's model cache; newer item codes make the next value, which shares the graphs.
 */
import { FilterCache } from "../domain/catalogue/predicate.ts";
import { ShowablePlaces } from "../domain/catalogue/showable.ts";
import { withoutNumbers, type PlaceBitmap } from "../domain/generation/bitmap.ts";
import { SimilarItems } from "../domain/generation/similar.ts";
import { loadModel, type LoadedModel } from "../inference/load-model.ts";
import { artefactSource } from "../store/artefacts.ts";
import { itemCodesSince, readRows, type ServingModel } from "../store/models.ts";
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
    let legal: PlaceBitmap = this.#showable.at(columns);
    if (filter !== undefined) legal = legal.and(this.#filters.bitmap(this.order, columns, filter));
    return withoutNumbers(legal, this.order, excluded);
  }

  /** Showable items without codes, newest first: written faster than coded, or of a model that is being replaced. */
  uncoded(columns: CatalogueColumns): readonly number[] {
    const known = this.#uncoded;
    if (known?.columns === columns && known.version === columns.version) return known.numbers;
    const changed = known?.columns === columns ? columns.changedSince(known.version) : null;
    const candidates =
      changed === null
        ? Array.from({ length: columns.largestNumber }, (_, at) => at + 1)
        : [...known!.numbers, ...changed];
    const numbers = [...new Set(candidates)].filter(
      (number) => columns.isShowable(number) && this.order.placeOf(number) < 0,
    );
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

/** Reads a model from R2 with every file checked, and the codes of newer items from the database. */
export async function loadAppModel(env: Env, registered: ServingModel): Promise<AppModel> {
  const rows = await readRows(env, registered);
  const trained = await loadModel(artefactSource(env, registered.app, registered.manifest), rows, []);
  try {
    const { loaded, revision } = await withCodesSince(env, registered, trained, 0);
    if (loaded !== trained) await trained.dispose();
    return new AppModel(loaded, registered, revision);
  } catch (error) {
    await trained.dispose();
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
