/**
 * Models of several apps in one isolate of 128 MB: least recently used out first, by bytes. A model in use is never
 * disposed of; concurrent loads of the same one share the attempt, and a failed attempt isn't kept.
 */

export interface Weighed {
  /** May grow while it is held. */
  readonly bytes: number;
  dispose(): Promise<void>;
}

/** A hold on a cached value: use it, then `release` it once. */
export interface Lease<T> {
  readonly value: T;
  release(): void;
}

interface Entry<T> {
  readonly value: T;
  users: number;
  isOut: boolean; // no longer in the cache: disposed of when the last user has let go
}

interface Load<T> {
  readonly entry: Promise<Entry<T>>;
  /** Callers that wait: the entry's first users, so that nothing evicts it before they have it. */
  waiting: number;
}

export class ModelCache<T extends Weighed> {
  readonly budgetBytes: number;
  readonly #entries = new Map<string, Entry<T>>(); // least recently used first
  readonly #leaving = new Set<Entry<T>>(); // evicted, still in use
  readonly #loads = new Map<string, Load<T>>();
  #reserved = 0; // bytes that running loads are expected to bring
  readonly #onDisposeError: (error: unknown) => void;

  constructor(budgetBytes: number, onDisposeError: (error: unknown) => void = () => {}) {
    if (!(budgetBytes > 0)) throw new RangeError(`budgetBytes must be > 0, got ${budgetBytes}`);
    this.budgetBytes = budgetBytes;
    this.#onDisposeError = onDisposeError;
  }

  /** Bytes of everything that is held, evicted values still in use included. */
  get bytes(): number {
    let total = 0;
    for (const entry of this.#entries.values()) total += entry.value.bytes;
    for (const entry of this.#leaving) total += entry.value.bytes;
    return total;
  }

  get keys(): string[] {
    return [...this.#entries.keys()];
  }

  /** A lease of a value that is there, or undefined. */
  peek(key: string): Lease<T> | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key); // now the most recently used
    this.#entries.set(key, entry);
    entry.users += 1;
    return this.#leaseOf(entry);
  }

  /**
   * A lease of the value, loaded where absent. `expectedBytes` makes room before the load, so that old and new are not in
   * memory together. One value alone may pass the budget: it is then the only one.
   */
  async acquire(key: string, load: () => Promise<T>, expectedBytes = 0): Promise<Lease<T>> {
    const present = this.peek(key);
    if (present !== undefined) return present;
    const running = this.#loads.get(key) ?? this.#start(key, load, expectedBytes);
    running.waiting += 1;
    return this.#leaseOf(await running.entry);
  }

  #start(key: string, load: () => Promise<T>, expectedBytes: number): Load<T> {
    this.#reserved += expectedBytes;
    this.#makeRoom();
    const entry = load().then(
      (value) => {
        this.#end(key, expectedBytes);
        return this.#keep(key, value, started.waiting);
      },
      (error: unknown) => {
        this.#end(key, expectedBytes);
        throw error;
      },
    );
    const started: Load<T> = { entry, waiting: 0 };
    this.#loads.set(key, started);
    return started;
  }

  #end(key: string, expectedBytes: number): void {
    this.#loads.delete(key);
    this.#reserved -= expectedBytes;
  }

  /** Puts a newer value under a key that is there (or not); the old one goes when its users have let go. */
  replace(key: string, value: T): void {
    this.#drop(key);
    this.#keep(key, value, 0);
  }

  /** Takes a value out; it goes when its users have let go. */
  drop(key: string): void {
    this.#drop(key);
  }

  #keep(key: string, value: T, users: number): Entry<T> {
    const entry: Entry<T> = { value, users, isOut: false };
    this.#entries.set(key, entry);
    this.#makeRoom(key);
    return entry;
  }

  /** One user of an entry, counted already. */
  #leaseOf(entry: Entry<T>): Lease<T> {
    let isReleased = false;
    return {
      value: entry.value,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        entry.users -= 1;
        if (entry.isOut && entry.users === 0) this.#dispose(entry);
      },
    };
  }

  #makeRoom(keep?: string): void {
    for (const key of this.#entries.keys()) {
      if (this.bytes + this.#reserved <= this.budgetBytes) return;
      if (key !== keep) this.#drop(key);
    }
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    entry.isOut = true;
    this.#leaving.add(entry);
    if (entry.users === 0) this.#dispose(entry);
  }

  #dispose(entry: Entry<T>): void {
    this.#leaving.delete(entry);
    entry.value.dispose().catch(this.#onDisposeError);
  }
}
