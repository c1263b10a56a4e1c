/**
 * What an isolate knows of a catalogue: columns by item number, filled from a snapshot and kept fresh by delta rows. Holds no item ids,
 * titles or texts; applying rows twice, or in another order, gives the same state.
 */
import { Field, type AttributeValue } from "./field.ts";
import { NumberColumn } from "./typed-columns.ts";

export type { AttributeValue } from "./field.ts";

/** An item as the store hands it on; of two rows of a number the one with the larger revision counts. */
export interface CatalogueRow {
  readonly number: number;
  readonly revision: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly priceMinor: number | null;
  readonly currency: string | null;
  readonly creator: string;
  readonly origin: string;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly available: boolean;
  readonly hidden: boolean;
  readonly deleted: boolean;
}

/** Fields that every item has by itself; an attribute of the same name cannot be filtered by. */
export const OWN_FIELDS = ["creator", "origin", "price", "createdAt", "currency"] as const;
export type OwnField = (typeof OWN_FIELDS)[number];

/** Attributes that can be filtered by, the first ones met. Names beyond it are left out, as if no item had them. */
export const MAX_FIELDS = 64;
/** A field whose distinct values take more is prose or links, not something to filter by, and is left out as a whole. */
export const MAX_FIELD_VALUE_BYTES = 4 * 1024 * 1024;

const PRESENT = 1;
const AVAILABLE = 2;
const HIDDEN = 4;
const DELETED = 8;
/** The only combination that may be shown. */
const SHOWABLE = PRESENT | AVAILABLE;

/** Changes that are remembered by number; who is further behind builds anew. */
const JOURNAL = 8192;

/** All state of a catalogue, for the snapshot codec. */
export interface CatalogueParts {
  readonly revision: number;
  /** Number of the last row of that revision: where the next delta page begins. */
  readonly lastNumber: number;
  readonly largestNumber: number;
  readonly flags: Uint8Array;
  readonly revisions: NumberColumn;
  readonly own: Readonly<Record<OwnField, Field>>;
  readonly attributes: ReadonlyMap<string, Field>;
  /** Names of attributes that were too varied to keep. */
  readonly dropped: ReadonlySet<string>;
}

export class CatalogueColumns {
  #revision = 0;
  #lastNumber = 0;
  #largestNumber = 0;
  #size = 0;
  #version = 0;
  #layout = 0;
  #flags: Uint8Array = new Uint8Array(0);
  #revisions = new NumberColumn();
  readonly #own: Readonly<Record<OwnField, Field>>;
  readonly #attributes: Map<string, Field>;
  readonly #dropped: Set<string>;
  /** A ring: the change that made version v stands at (v - 1) % JOURNAL. */
  readonly #journal = new Uint32Array(JOURNAL);

  /** Empty, or around the parts of a snapshot, which it then owns. */
  constructor(parts?: CatalogueParts) {
    this.#own = parts?.own ?? {
      creator: new Field(),
      origin: new Field(),
      price: new Field(),
      createdAt: new Field(),
      currency: new Field(),
    };
    this.#attributes = new Map(parts?.attributes);
    this.#dropped = new Set(parts?.dropped);
    if (parts === undefined) return;
    this.#revision = parts.revision;
    this.#lastNumber = parts.lastNumber;
    this.#largestNumber = parts.largestNumber;
    this.#flags = parts.flags;
    this.#revisions = parts.revisions;
    for (const flags of this.#flags) if ((flags & (PRESENT | DELETED)) === PRESENT) this.#size += 1;
  }

  /** Largest revision applied. With `lastNumber` it is where the next delta page begins. */
  get revision(): number {
    return this.#revision;
  }

  /** Largest item number applied at `revision`. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  get largestNumber(): number {
    return this.#largestNumber;
  }

  /** Items that are not deleted. */
  get size(): number {
    return this.#size;
  }

  /** Grows by one with every row that changed something. */
  get version(): number {
    return this.#version;
  }

  /** Grows when a field appears or is dropped: then filters over it change for items that did not. */
  get layout(): number {
    return this.#layout;
  }

  /** Bytes of all arrays. */
  get bytes(): number {
    let bytes = this.#flags.byteLength + this.#revisions.bytes + this.#journal.byteLength;
    for (const field of Object.values(this.#own)) bytes += field.bytes;
    for (const field of this.#attributes.values()) bytes += field.bytes;
    return bytes;
  }

  get parts(): CatalogueParts {
    return {
      revision: this.#revision,
      lastNumber: this.#lastNumber,
      largestNumber: this.#largestNumber,
      flags: this.#flags.subarray(0, this.#largestNumber + 1),
      revisions: this.#revisions,
      own: this.#own,
      attributes: this.#attributes,
      dropped: this.#dropped,
    };
  }

  /** Takes rows over, newest revision of each number first or last. Returns how many changed something. */
  apply(rows: readonly CatalogueRow[]): number {
    let applied = 0;
    for (const row of rows) if (this.#applyRow(row)) applied += 1;
    return applied;
  }

  /** Numbers changed since a version, with repetitions; null when that is too long ago. */
  changedSince(version: number): number[] | null {
    const count = this.#version - version;
    if (count < 0 || count > JOURNAL) return null;
    return Array.from({ length: count }, (_, at) => this.#journal[(version + at) % JOURNAL]!);
  }

  has(number: number): boolean {
    return (this.#flags[number] ?? 0) !== 0;
  }

  /** Available, not hidden, not deleted. */
  isShowable(number: number): boolean {
    return this.#flags[number] === SHOWABLE;
  }

  /** Field of an item by the name that filters use; undefined when no item has had it, or it is not kept. */
  field(name: string): Field | undefined {
    return isOwnField(name) ? this.#own[name] : this.#attributes.get(name);
  }

  /** Value of an item; undefined when it has none. `price` is in minor units, `createdAt` in milliseconds. */
  value(number: number, name: string): AttributeValue | undefined {
    return this.field(name)?.get(number);
  }

  #applyRow(row: CatalogueRow): boolean {
    const { number, revision } = row;
    if (!Number.isInteger(number) || number < 1) throw new RangeError(`item number ${number}`);
    if (revision > this.#revision) [this.#revision, this.#lastNumber] = [revision, number];
    else if (revision === this.#revision) this.#lastNumber = Math.max(this.#lastNumber, number);
    if (this.#revisions.get(number) >= revision) return false;

    this.#revisions.set(number, revision);
    this.#largestNumber = Math.max(this.#largestNumber, number);
    this.#setFlags(row);
    const isKept = !row.deleted; // a tombstone keeps its number and nothing else
    this.#own.creator.set(number, isKept && row.creator !== "" ? row.creator : undefined);
    this.#own.origin.set(number, isKept ? row.origin : undefined);
    this.#own.price.set(number, isKept ? (row.priceMinor ?? undefined) : undefined);
    this.#own.createdAt.set(number, isKept ? row.createdAt : undefined);
    this.#own.currency.set(number, isKept ? (row.currency ?? undefined) : undefined);
    this.#setAttributes(number, isKept ? row.attributes : {});
    this.#journal[this.#version % JOURNAL] = number;
    this.#version += 1;
    return true;
  }

  #setFlags({ number, available, hidden, deleted }: CatalogueRow): void {
    if (number >= this.#flags.length) {
      const flags = new Uint8Array(Math.max(number + 1, 64, Math.ceil(this.#flags.length * 1.25)));
      flags.set(this.#flags);
      this.#flags = flags;
    }
    const before = this.#flags[number]!;
    this.#flags[number] = PRESENT | (available ? AVAILABLE : 0) | (hidden ? HIDDEN : 0) | (deleted ? DELETED : 0);
    if ((before & (PRESENT | DELETED)) === PRESENT) this.#size -= 1;
    if (!deleted) this.#size += 1;
  }

  #setAttributes(number: number, attributes: CatalogueRow["attributes"]): void {
    for (const name of Object.keys(attributes)) {
      if (this.#attributes.has(name) || this.#dropped.has(name) || this.#attributes.size >= MAX_FIELDS) continue;
      this.#attributes.set(name, new Field());
      this.#layout += 1;
    }
    for (const [name, field] of this.#attributes) {
      field.set(number, Object.hasOwn(attributes, name) ? attributes[name] : undefined);
      if (field.values.entryBytes <= MAX_FIELD_VALUE_BYTES) continue;
      this.#attributes.delete(name);
      this.#dropped.add(name);
      this.#layout += 1;
    }
  }
}

function isOwnField(name: string): name is OwnField {
  return (OWN_FIELDS as readonly string[]).includes(name);
}
