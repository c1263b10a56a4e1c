/**
 * Distinct byte strings with ids from 1 on, in one arena with an open-addressing hash table: no JavaScript string or object an
 * entry. Entries are never removed; a snapshot written anew forgets what nothing uses.
 */
export class Dictionary {
  #arena: Uint8Array;
  /** (capacity + 1) end of each entry in the arena; the entry of id starts at #ends[id - 1]. */
  #ends: Uint32Array;
  #size: number;
  /** Ids by hash, a power of two at least twice the size; made when something is first looked up. */
  #slots: Uint32Array | null = null;

  /** Takes over the parts of another dictionary; `ends` begins with 0. */
  constructor(arena: Uint8Array = new Uint8Array(0), ends: Uint32Array = new Uint32Array(1)) {
    this.#arena = arena;
    this.#ends = ends;
    this.#size = ends.length - 1;
  }

  /** Number of entries; ids are 1..size. */
  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#arena.byteLength + this.#ends.byteLength + (this.#slots?.byteLength ?? 0);
  }

  /** Bytes of the entries alone. */
  get entryBytes(): number {
    return this.#ends[this.#size]!;
  }

  /** What a snapshot stores: the used part of both arrays. */
  get parts(): { readonly arena: Uint8Array; readonly ends: Uint32Array } {
    return { arena: this.#arena.subarray(0, this.#ends[this.#size]), ends: this.#ends.subarray(0, this.#size + 1) };
  }

  /** Bytes of an entry; a view. */
  entry(id: number): Uint8Array {
    return this.#arena.subarray(this.#ends[id - 1], this.#ends[id]);
  }

  /** Id of an entry, 0 when there is none. */
  find(entry: Uint8Array): number {
    return this.#table()[this.#slotOf(entry)]!;
  }

  /** Id of an entry, new when it is not there yet. */
  add(entry: Uint8Array): number {
    const known = this.find(entry);
    if (known !== 0) return known;
    const start = this.#ends[this.#size]!;
    const end = start + entry.length;
    if (end > this.#arena.length) {
      const arena = new Uint8Array(Math.max(end, Math.ceil(this.#arena.length * 1.5), 64));
      arena.set(this.#arena.subarray(0, start));
      this.#arena = arena;
    }
    this.#arena.set(entry, start);
    this.#size += 1;
    if (this.#size >= this.#ends.length) {
      const ends = new Uint32Array(Math.ceil(this.#size * 1.5) + 8);
      ends.set(this.#ends);
      this.#ends = ends;
    }
    this.#ends[this.#size] = end;
    if (2 * this.#size > this.#table().length) this.#slots = null;
    else this.#table()[this.#slotOf(entry)] = this.#size;
    return this.#size;
  }

  #table(): Uint32Array {
    if (this.#slots !== null) return this.#slots;
    let length = 16;
    while (length < 3 * this.#size) length *= 2;
    this.#slots = new Uint32Array(length);
    for (let id = 1; id <= this.#size; id += 1) this.#slots[this.#slotOf(this.entry(id))] = id;
    return this.#slots;
  }

  /** The slot that holds the entry, or the empty one where it belongs. */
  #slotOf(entry: Uint8Array): number {
    const slots = this.#slots!;
    let slot = hash(entry) & (slots.length - 1);
    while (slots[slot] !== 0 && !this.#isEntry(slots[slot]!, entry)) slot = (slot + 1) & (slots.length - 1);
    return slot;
  }

  #isEntry(id: number, entry: Uint8Array): boolean {
    const start = this.#ends[id - 1]!;
    if (this.#ends[id]! - start !== entry.length) return false;
    for (let at = 0; at < entry.length; at += 1) if (this.#arena[start + at] !== entry[at]) return false;
    return true;
  }
}

/** FNV-1a with the finaliser of MurmurHash3, so that the low bits depend on every byte. */
function hash(bytes: Uint8Array): number {
  let h = 0x811c9dc5;
  for (let at = 0; at < bytes.length; at += 1) h = Math.imul(h ^ bytes[at]!, 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
