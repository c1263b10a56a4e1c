/**
 * Synthetic catalogues of any size for bench/scale.ts, the same in Node and inside workerd: random codes in two levels of 256, random
 * vectors (int8 or product-quantised), rows with four attributes. Everything follows from the item's number, so nothing need be
 * handed over.
 */
import { CatalogueColumns, type CatalogueRow } from "../functions/domain/catalogue/columns.ts";
import { FilterCache, type Predicate } from "../functions/domain/catalogue/predicate.ts";
import { ShowablePlaces } from "../functions/domain/catalogue/showable.ts";
import { withoutNumbers } from "../functions/domain/generation/bitmap.ts";
import type { CodeOrderTable } from "../functions/domain/generation/code-order.ts";
import { generate, type HistoryVectors } from "../functions/domain/generation/generate.ts";
import { SimilarItems } from "../functions/domain/generation/similar.ts";
import type { ItemRows, RowFormat } from "../functions/inference/item-rows.ts";
import type { ItemTables } from "../functions/inference/item-tables.ts";
import type { StoredVectors } from "../functions/inference/item-vectors.ts";
import { decodeNetwork } from "../functions/inference/network.ts";
import { codebookBytes, type ProductCodebook, productCodebook } from "../functions/inference/product-vectors.ts";
import { createSession } from "../functions/inference/runtime.ts";
import type { Manifest } from "../functions/domain/artefact/manifest.ts";
import type { Candidates, DecodeNetwork, GenerativeModel, LegalPlaces } from "../functions/domain/generation/types.ts";

export const LEVELS = [256, 256] as const;
export const DIM = 64;
export const HISTORY_LENGTH = 50;
/** Items returned by a decoding. */
export const COUNT = 20;
/** Bytes of a product-quantised vector. */
export const SUBSPACES = 16;
const BEAMS = 20;
/** Leaf items that a decoding may score. */
export const LEAF_ITEMS = 512;
const MOST_LEAVES = 128;

/** And, or and not over four attributes. */
export const FILTER: Predicate = {
  and: [
    {
      or: [
        { field: "category", op: "in", value: ["c1", "c2", "c3", "c5", "c8", "c13"] },
        { field: "rating", op: "gte", value: 4 },
      ],
    },
    { field: "isInStock", op: "eq", value: true },
    { not: { field: "tags", op: "containsAny", value: ["peanut"] } },
  ],
};

/** With FILTER the three that an isolate keeps while its memory is measured. */
export const MORE_FILTERS: readonly Predicate[] = [
  {
    and: [
      { field: "rating", op: "gte", value: 3 },
      { field: "category", op: "eq", value: "c7" },
    ],
  },
  {
    or: [
      { field: "price", op: "lt", value: 2000 },
      { field: "tags", op: "containsAny", value: ["vegan", "quick"] },
    ],
  },
];

/** A number in 0..2^32 - 1 that looks random but follows from (number, salt). */
function mixed(number: number, salt: number): number {
  let h = Math.imul(number ^ Math.imul(salt, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 16), 0x27d4eb2f);
  return (h ^ (h >>> 15)) >>> 0;
}

const TAGS = ["new", "peanut", "vegan", "quick", "cheap", "season"] as const;

function rowOf(number: number): CatalogueRow {
  return {
    number,
    revision: Math.ceil(number / 100), // imported in batches of 100
    createdAt: 1_700_000_000_000 + number * 1000,
    priceMinor: 100 + (mixed(number, 1) % 9900),
    currency: "EUR",
    creator: `creator ${mixed(number, 2) % 2000}`,
    origin: mixed(number, 3) % 5 === 0 ? "machine" : "human",
    attributes: {
      category: `c${mixed(number, 4) % 40}`,
      rating: (mixed(number, 5) % 51) / 10,
      isInStock: mixed(number, 6) % 4 !== 0,
      tags: [TAGS[mixed(number, 7) % 6]!, TAGS[mixed(number, 8) % 6]!],
    },
    available: mixed(number, 9) % 50 !== 0,
    hidden: mixed(number, 10) % 200 === 0,
    deleted: false,
  };
}

export function syntheticColumns(items: number): CatalogueColumns {
  const columns = new CatalogueColumns();
  const page: CatalogueRow[] = [];
  for (let number = 1; number <= items; number += 1) {
    page.push(rowOf(number));
    if (page.length === 5000 || number === items) columns.apply(page.splice(0));
  }
  return columns;
}

/** Of two levels of 256; vectors made from it have a length of about one. */
export function randomCodebook(dim: number, subspaces: number): ProductCodebook {
  const words = LEVELS.reduce((sum, size) => sum + size, 0);
  const content = new Int8Array(codebookBytes(dim, LEVELS, subspaces));
  for (let at = 0; at < content.length; at += 1) content[at] = mixed(at, 101);
  new Float32Array(content.buffer, (words + 256) * dim).fill(1 / 127 / Math.sqrt(dim));
  return productCodebook(content.buffer, { dim, levels: LEVELS, subspaces });
}

export type VectorForm = "int8" | "pq";

/** Rows of the numbers 1..items as an artefact stores them; vectors have a length of about one. */
export function syntheticRows(items: number, form: VectorForm): { format: RowFormat; rows: ItemRows } {
  const codes = new Uint8Array(LEVELS.length * items);
  for (let at = 0; at < codes.length; at += 1) codes[at] = mixed(at, 11) & 0xff;
  const numbers = Uint32Array.from({ length: items }, (_, row) => row + 1);
  const shared = { modelVersion: "m_000000000000", levels: [...LEVELS], dim: DIM };
  const bytes = (length: number, salt: number): Uint8Array => {
    const words = new Uint32Array(length / 4);
    for (let at = 0; at < words.length; at += 1) words[at] = mixed(at, salt);
    return new Uint8Array(words.buffer);
  };
  if (form === "int8") {
    const vectors = new Int8Array(bytes(items * DIM, 100).buffer);
    const scales = new Float32Array(items).fill(1 / 590);
    const manifest = { ...shared, vectors: { file: "vectors.bin", dtype: "int8" as const, scales: "scales.bin" } };
    return { format: { manifest, codebook: null }, rows: { numbers, codes, vectors, scales } };
  }
  const codebook = randomCodebook(DIM, SUBSPACES);
  const vectors = { file: "pq.bin", dtype: "pq" as const, scales: null, subspaces: SUBSPACES };
  return {
    format: { manifest: { ...shared, vectors }, codebook },
    rows: { numbers, codes, vectors: bytes(items * SUBSPACES, 100), scales: new Float32Array(0) },
  };
}

/** The graphs of bench/fixtures/scale, opened. */
export async function openNetwork(encoder: ArrayBuffer, step: ArrayBuffer): Promise<DecodeNetwork> {
  const shape = { dim: DIM, levels: [...LEVELS], historyLength: HISTORY_LENGTH } as Manifest; // all that decoding reads of it
  return decodeNetwork(shape, { encoder: await createSession(encoder), steps: [await createSession(step)] });
}

/** All that an isolate holds of one app, as AppModel holds it. */
export class ScaleWorld {
  readonly columns: CatalogueColumns;
  readonly tables: ItemTables;
  readonly order: CodeOrderTable;
  readonly vectors: StoredVectors;
  readonly showable: ShowablePlaces;
  readonly filters = new FilterCache();
  readonly similar: SimilarItems;
  readonly leaves: number;
  /** Leaf items scored so far, over all decodings. */
  scored = 0;
  readonly model: GenerativeModel;

  constructor(network: DecodeNetwork, columns: CatalogueColumns, tables: ItemTables) {
    const { order, vectors } = tables;
    this.columns = columns;
    this.tables = tables;
    this.order = order;
    this.vectors = vectors;
    this.showable = new ShowablePlaces(order);
    this.similar = new SimilarItems(order, vectors);
    this.leaves = leavesFor(order);
    this.model = {
      order,
      network,
      vectors: {
        dim: DIM,
        read: (place, out, offset) => vectors.read(place, out, offset),
        dot: (h, place) => vectors.dot(h, place),
        dots: (h, places, count, out) => {
          this.scored += count;
          vectors.dots(h, places, count, out);
        },
      },
      scoring: { mode: "beam", alpha: 0.2, temperature: 1, beams: [BEAMS], leaves: this.leaves, exactBelow: 0 },
      historyLength: HISTORY_LENGTH,
    };
  }

  /** Bytes of everything that grows with the catalogue. */
  get bytes(): number {
    const bitmaps = this.showable.at(this.columns).bytes + this.filters.bytes;
    return this.columns.bytes + this.tables.bytes + bitmaps + this.similar.bytes;
  }

  /** Makes what requests leave behind: bitmaps of all filters, the norms that similar items are compared by. */
  warm(): void {
    const history = this.history(0);
    for (const filter of MORE_FILTERS)
      this.filters.within(this.showable.at(this.columns), this.order, this.columns, filter);
    this.similar.nearest([this.order.placeOf(history[0]!)], this.legal(this.filters, history), COUNT);
  }

  /** Item numbers of a user's history, oldest first. */
  history(user: number): number[] {
    return Array.from({ length: HISTORY_LENGTH }, (_, at) => 1 + (mixed(user * 1000 + at, 12) % this.order.size));
  }

  vectorsOf(numbers: readonly number[]): HistoryVectors {
    const vectors = new Float32Array(numbers.length * DIM);
    for (const [at, number] of numbers.entries()) this.vectors.read(this.order.placeOf(number), vectors, at * DIM);
    return { vectors, length: numbers.length };
  }

  /** Showable, satisfying FILTER, not seen. */
  legal(filters: FilterCache, seen: readonly number[]): LegalPlaces {
    const showable = this.showable.at(this.columns);
    return withoutNumbers(filters.within(showable, this.order, this.columns, FILTER), this.order, seen);
  }

  decode(history: HistoryVectors, legal: LegalPlaces): Promise<Candidates> {
    return generate(this.model, history, legal, { count: COUNT });
  }
}

/** As many leaves as hold LEAF_ITEMS at most, if all were as large as the largest of a thousand. */
function leavesFor(order: CodeOrderTable): number {
  const sizes: number[] = [];
  for (let first = 0; first < LEVELS[0]; first += 1) {
    for (let second = 0; second < LEVELS[1]; second += 1) {
      const [from, to] = order.range([first, second]);
      if (to > from) sizes.push(to - from);
    }
  }
  sizes.sort((a, b) => a - b);
  return Math.min(MOST_LEAVES, Math.floor(LEAF_ITEMS / sizes[Math.floor(0.999 * (sizes.length - 1))]!));
}
