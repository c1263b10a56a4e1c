/** Items of a model as parallel arrays in any order, in the form that the artefact stores them; and how coded items get into it. */
import type { CodedItem } from "../domain/artefact/coded-item.ts";
import type { Manifest } from "../domain/artefact/manifest.ts";
import { floatVectors, int8Vectors, type StoredVectors } from "./item-vectors.ts";
import { encodeProduct, type ProductCodebook, productVectors } from "./product-vectors.ts";

/** What the rows of one model have in common. */
export interface RowFormat {
  readonly manifest: Pick<Manifest, "modelVersion" | "levels" | "dim" | "vectors">;
  /** For product-quantised vectors; null otherwise. */
  readonly codebook: ProductCodebook | null;
}

/** (n), (n, levels), (n, dim) or (n, subspaces), and (n) for int8, else empty. A number of 0 is a dead row. */
export interface ItemRows {
  readonly numbers: Uint32Array;
  readonly codes: Uint8Array;
  readonly vectors: Int8Array | Float32Array | Uint8Array;
  readonly scales: Float32Array;
}

const NAMES = ["numbers", "codes", "vectors", "scales"] as const;

function widthsOf({ manifest }: RowFormat): Readonly<Record<(typeof NAMES)[number], number>> {
  const { dim, levels, vectors } = manifest;
  return {
    numbers: 1,
    codes: levels.length,
    vectors: vectors.dtype === "pq" ? vectors.subspaces! : dim,
    scales: vectors.dtype === "int8" ? 1 : 0,
  };
}

const ARRAYS = { int8: Int8Array, float32: Float32Array, pq: Uint8Array } as const;

/** The bytes of the artefact's vector file as values. */
export function vectorValues({ manifest }: RowFormat, content: ArrayBuffer): ItemRows["vectors"] {
  return new ARRAYS[manifest.vectors.dtype](content);
}

export function emptyRows(format: RowFormat, count: number): ItemRows {
  const width = widthsOf(format);
  return {
    numbers: new Uint32Array(count),
    codes: new Uint8Array(count * width.codes),
    vectors: new ARRAYS[format.manifest.vectors.dtype](count * width.vectors),
    scales: new Float32Array(count * width.scales),
  };
}

/** Copies `rows` of one table to the first places of another, which it returns. */
export function copyRows(format: RowFormat, from: ItemRows, rows: Uint32Array, to: ItemRows): ItemRows {
  const widths = widthsOf(format);
  for (const name of NAMES) {
    const bytes = widths[name] * to[name].BYTES_PER_ELEMENT;
    if (bytes % 4 === 0 && from[name].byteOffset % 4 === 0)
      gather(wordsOf(from[name]), rows, bytes / 4, wordsOf(to[name]));
    else gather(bytesOf(from[name]), rows, bytes, bytesOf(to[name]));
  }
  return to;
}

type Values = ItemRows[(typeof NAMES)[number]];

function wordsOf({ buffer, byteOffset, byteLength }: Values): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

function bytesOf({ buffer, byteOffset, byteLength }: Values): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Shorter runs are copied value by value: `set` of a view takes several times as long for one row. */
const LONG_RUN = 8;

function gather<T extends Uint8Array | Uint32Array>(from: T, rows: Uint32Array, width: number, to: T): void {
  for (let place = 0; place < rows.length;) {
    const first = rows[place]!;
    let run = 1;
    while (place + run < rows.length && rows[place + run] === first + run) run += 1;
    const start = first * width;
    const at = place * width;
    if (run >= LONG_RUN) to.set(from.subarray(start, start + run * width), at);
    else for (let k = 0; k < run * width; k += 1) to[at + k] = from[start + k]!;
    place += run;
  }
}

/** @throws RangeError when the item does not have the model's number of codes or dimensions. */
export function setRow(format: RowFormat, to: ItemRows, row: number, item: CodedItem): void {
  const { dim, levels, modelVersion } = format.manifest;
  const fits = item.vector.length === dim && item.codes.length === levels.length;
  if (!fits || item.codes.some((code, level) => code >= levels[level]!)) {
    throw new RangeError(`item ${item.number} was not coded by ${modelVersion}`);
  }
  to.numbers[row] = item.number;
  to.codes.set(item.codes, row * levels.length);
  if (to.vectors instanceof Int8Array) {
    to.vectors.set(item.vector, row * dim);
    to.scales[row] = item.scale;
    return;
  }
  const vector = Float32Array.from(item.vector, (value) => value * item.scale);
  if (to.vectors instanceof Float32Array) to.vectors.set(vector, row * dim);
  else encodeProduct(format.codebook!, item.codes, vector, to.vectors, row * format.codebook!.subspaces);
}

/** The vectors of rows that stand in code order. */
export function storedVectors({ manifest, codebook }: RowFormat, rows: Omit<ItemRows, "numbers">): StoredVectors {
  const { codes, vectors, scales } = rows;
  if (vectors instanceof Int8Array) return int8Vectors(manifest.dim, vectors, scales);
  if (vectors instanceof Float32Array) return floatVectors(manifest.dim, vectors);
  return productVectors(codebook!, codes, vectors);
}
