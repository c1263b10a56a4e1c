/**
 * One attribute of all items. Strings, booleans and lists of strings are entries of a dictionary with an id an item, numbers a column
 * of their own; items may differ in type. A list is stored once however many items have it.
 */
import { Dictionary } from "./dictionary.ts";
import { IdColumn, NumberColumn } from "./typed-columns.ts";

/** A list is a set of strings: order and repetition are not kept. */
export type AttributeValue = string | number | boolean | readonly string[];

/** First byte of a dictionary entry; what follows is UTF-8 (text) or LEB128 ids of texts, ascending (list). */
export const TAG = { text: 1, no: 2, yes: 3, list: 4 } as const;

/** Strings whose ids a field remembers while rows come in: most repeat one of the last few hundred. */
const RECENT = 512;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
let scratch = new Uint8Array(256); // an entry that is being looked up; overwritten by the next one

export class Field {
  readonly values: Dictionary;
  readonly ids: IdColumn;
  readonly numbers: NumberColumn;
  readonly #recent = new Map<string, number>();

  constructor(values = new Dictionary(), ids = new IdColumn(), numbers = new NumberColumn()) {
    this.values = values;
    this.ids = ids;
    this.numbers = numbers;
  }

  get bytes(): number {
    return this.values.bytes + this.ids.bytes + this.numbers.bytes;
  }

  /** undefined takes the value away. */
  set(number: number, value: AttributeValue | undefined): void {
    this.numbers.set(number, typeof value === "number" ? value : NaN);
    this.ids.set(number, value === undefined || typeof value === "number" ? 0 : this.#addValue(value));
  }

  get(number: number): AttributeValue | undefined {
    const id = this.ids.get(number);
    if (id !== 0) return this.#valueOf(id);
    const value = this.numbers.get(number);
    return Number.isNaN(value) ? undefined : value;
  }

  has(number: number): boolean {
    return this.ids.get(number) !== 0 || !Number.isNaN(this.numbers.get(number));
  }

  /** Id of a scalar in the dictionary, 0 when no item has ever had it. */
  idOf(value: string | boolean): number {
    return this.values.find(scalarEntry(value));
  }

  /** Ids of the texts in a list; of a text its own; else none. */
  textIdsOf(id: number): readonly number[] {
    const entry = this.values.entry(id);
    if (entry[0] === TAG.text) return [id];
    return entry[0] === TAG.list ? decodeIds(entry) : [];
  }

  #addValue(value: string | boolean | readonly string[]): number {
    if (typeof value === "string") return this.#addText(value);
    if (typeof value === "boolean") return this.values.add(scalarEntry(value));
    const ids = value.map((text) => this.#addText(text)).sort((a, b) => a - b);
    return this.values.add(listEntry(ids));
  }

  #addText(text: string): number {
    const known = this.#recent.get(text);
    if (known !== undefined) return known;
    const id = this.values.add(scalarEntry(text));
    if (this.#recent.size >= RECENT) this.#recent.clear();
    this.#recent.set(text, id);
    return id;
  }

  #valueOf(id: number): AttributeValue {
    const entry = this.values.entry(id);
    if (entry[0] === TAG.text) return decoder.decode(entry.subarray(1));
    if (entry[0] === TAG.list)
      return decodeIds(entry).map((text) => decoder.decode(this.values.entry(text).subarray(1)));
    return entry[0] === TAG.yes;
  }
}

/** The dictionary entry of a string or a boolean; a view that the next entry overwrites. */
export function scalarEntry(value: string | boolean): Uint8Array {
  if (typeof value === "boolean") {
    scratch[0] = value ? TAG.yes : TAG.no;
    return scratch.subarray(0, 1);
  }
  reserve(1 + 3 * value.length);
  scratch[0] = TAG.text;
  for (let at = 0; at < value.length; at += 1) {
    const unit = value.charCodeAt(at);
    if (unit >= 0x80) return scratch.subarray(0, 1 + encoder.encodeInto(value, scratch.subarray(1)).written);
    scratch[at + 1] = unit;
  }
  return scratch.subarray(0, 1 + value.length);
}

/** The dictionary entry of ascending ids, repetitions left out; a view that the next entry overwrites. */
function listEntry(ids: readonly number[]): Uint8Array {
  reserve(1 + 5 * ids.length);
  scratch[0] = TAG.list;
  let end = 1;
  for (let at = 0; at < ids.length; at += 1) {
    if (at > 0 && ids[at] === ids[at - 1]) continue;
    let rest = ids[at]!;
    for (; rest >= 0x80; rest >>>= 7) scratch[end++] = (rest & 0x7f) | 0x80;
    scratch[end++] = rest;
  }
  return scratch.subarray(0, end);
}

function reserve(bytes: number): void {
  if (scratch.length < bytes) scratch = new Uint8Array(2 * bytes);
}

function decodeIds(entry: Uint8Array): number[] {
  const ids: number[] = [];
  let id = 0;
  let shift = 0;
  for (let at = 1; at < entry.length; at += 1) {
    id += (entry[at]! & 0x7f) << shift;
    shift += 7;
    if (entry[at]! < 0x80) {
      ids.push(id);
      id = 0;
      shift = 0;
    }
  }
  return ids;
}
