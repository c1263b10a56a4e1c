/**
 * Synthetic catalogues of any size for bench/scale.ts, the same in Node and inside workerd: random codes in two levels of 256, random
 * int8 vectors, rows with four attributes. Everything follows from the item's number, so nothing need be handed over.
 */
import { CatalogueColumns, type CatalogueRow } from "../functions/domain/catalogue/columns.ts";
import type { FilterCache, Predicate } from "../functions/domain/catalogue/predicate.ts";
import { ShowablePlaces } from "../functions/domain/catalogue/showable.ts";
import { withoutNumbers, type PlaceBitmap } from "../functions/domain/generation/bitmap.ts";
import type { CodeOrderTable } from "../functions/domain/generation/code-order.ts";
import { generate, type HistoryVectors } from "../functions/domain/generation/generate.ts";
import { int8Vectors, type StoredVectors } from "../functions/inference/item-vectors.ts";
import { decodeNetwork } from "../functions/inference/network.ts";
import { createSession } from "../functions/inference/runtime.ts";
import type { Manifest } from "../functions/domain/artefact/manifest.ts";
import type { Candidates, DecodeNetwork, GenerativeModel, LegalPlaces } from "../functions/domain/generation/types.ts";

export const LEVELS = [256, 256] as const;
export const DIM = 64;
export const HISTORY_LENGTH = 50;
/** Items returned by a decoding. */
export const COUNT = 20;
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

/** Codes (items, 2) of the numbers 1..items, as an artefact stores them. */
export function syntheticCodes(items: number): { codes: Uint8Array; numbers: Uint32Array } {
  const codes = new Uint8Array(2 * items);
  for (let at = 0; at < codes.length; at += 1) codes[at] = mixed(at, 11) & 0xff;
  return { codes, numbers: Uint32Array.from({ length: items }, (_, row) => row + 1) };
}

/** Vectors by place; values are around -100..100, length about 1. */
function syntheticVectors(order: CodeOrderTable): StoredVectors {
  const values = new Int8Array(order.size * DIM);
  for (let place = 0, at = 0; place < order.size; place += 1) {
    const number = order.numbers[place]!;
    for (let k = 0; k < DIM; k += 4, at += 4) {
      const word = mixed(number, 100 + k);
      for (let byte = 0; byte < 4; byte += 1)
        values[at + byte] = Math.round((((word >>> (8 * byte)) & 0xff) - 127.5) * 0.78);
    }
  }
  return int8Vectors(DIM, values, new Float32Array(order.size).fill(1 / 460));
}

/** The graphs of bench/fixtures/scale, opened. */
export async function openNetwork(encoder: ArrayBuffer, step: ArrayBuffer): Promise<DecodeNetwork> {
  const shape = { dim: DIM, levels: [...LEVELS], historyLength: HISTORY_LENGTH } as Manifest; // all that decoding reads of it
  return decodeNetwork(shape, { encoder: await createSession(encoder), steps: [await createSession(step)] });
}

/** All that an isolate holds of one app. */
export class ScaleWorld {
  readonly columns: CatalogueColumns;
  readonly order: CodeOrderTable;
  readonly vectors: StoredVectors;
  readonly showable: ShowablePlaces;
  readonly leaves: number;
  /** Leaf items scored so far, over all decodings. */
  scored = 0;
  readonly #model: GenerativeModel;

  constructor(network: DecodeNetwork, columns: CatalogueColumns, order: CodeOrderTable) {
    this.columns = columns;
    this.order = order;
    this.vectors = syntheticVectors(order);
    this.showable = new ShowablePlaces(order);
    this.leaves = leavesFor(order);
    const { vectors } = this;
    this.#model = {
      order,
      network,
      vectors: {
        dim: DIM,
        read: (place, out, offset) => vectors.read(place, out, offset),
        dot: (h, place) => {
          this.scored += 1;
          return vectors.dot(h, place);
        },
      },
      scoring: { mode: "beam", alpha: 0.2, temperature: 1, beams: [BEAMS], leaves: this.leaves, exactBelow: 0 },
      historyLength: HISTORY_LENGTH,
    };
  }

  /** Bytes of everything that grows with the catalogue. */
  get bytes(): number {
    return this.columns.bytes + this.order.bytes + this.vectors.bytes + this.showable.at(this.columns).bytes;
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
  legal(filters: FilterCache, seen: readonly number[]): PlaceBitmap {
    const base = this.showable.at(this.columns).and(filters.bitmap(this.order, this.columns, FILTER));
    return withoutNumbers(base, this.order, seen);
  }

  decode(history: HistoryVectors, legal: LegalPlaces): Promise<Candidates> {
    return generate(this.#model, history, legal, { count: COUNT });
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
