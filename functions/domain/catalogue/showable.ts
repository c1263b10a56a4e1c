/** The legal places that every request of a model begins from: items that are available, not hidden and not deleted. */
import { PlaceBitmap, rejudged } from "../generation/bitmap.ts";
import type { CodeOrder } from "../generation/types.ts";
import type { CatalogueColumns } from "./columns.ts";

/** Follows the catalogue: changed items alone are looked at again. Items that the catalogue lacks are not showable. */
export class ShowablePlaces {
  readonly #order: CodeOrder;
  #known: { readonly columns: CatalogueColumns; readonly version: number; readonly bitmap: PlaceBitmap } | null = null;

  constructor(order: CodeOrder) {
    this.#order = order;
  }

  get bytes(): number {
    return this.#known?.bitmap.bytes ?? 0;
  }

  /** For the columns as they are now; not to be changed, and never changed later: a request in flight keeps the one it took. */
  at(columns: CatalogueColumns): PlaceBitmap {
    const known = this.#known;
    if (known?.columns === columns && known.version === columns.version) return known.bitmap;
    const changed = known?.columns === columns ? columns.changedSince(known.version) : null;
    const bitmap =
      known === null || changed === null
        ? this.#showable(columns)
        : rejudged(known.bitmap, this.#order, changed, (number) => columns.isShowable(number)).countsDone();
    this.#known = { columns, version: columns.version, bitmap };
    return bitmap;
  }

  #showable(columns: CatalogueColumns): PlaceBitmap {
    const { numbers } = this.#order;
    return PlaceBitmap.where(this.#order.size, (place) => columns.isShowable(numbers[place]!)).countsDone();
  }
}
