import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Lease, ModelCache, type Weighed } from "../../functions/inference/budget.ts";

class Thing implements Weighed {
  readonly bytes: number;
  disposals = 0;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  async dispose(): Promise<void> {
    this.disposals += 1;
  }
}

const later = <T>(value: T): Promise<T> => new Promise((resolve) => setTimeout(resolve, 1, value));

describe("models under a byte budget", () => {
  test("whatever is asked for and let go, nothing in use is disposed of, and idle models fit the budget", async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("acquire" as const), key: fc.nat(5), bytes: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ kind: fc.constant("release" as const), at: fc.nat(20) }),
      fc.record({ kind: fc.constant("drop" as const), key: fc.nat(5) }),
      fc.record({ kind: fc.constant("replace" as const), key: fc.nat(5), bytes: fc.integer({ min: 1, max: 60 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const cache = new ModelCache<Thing>(100);
        const held: Lease<Thing>[] = [];
        const all: Thing[] = [];
        const make = (bytes: number) => {
          const thing = new Thing(bytes);
          all.push(thing);
          return thing;
        };
        for (const one of steps) {
          if (one.kind === "acquire")
            held.push(await cache.acquire(`${one.key}`, async () => make(one.bytes), one.bytes));
          else if (one.kind === "drop") cache.drop(`${one.key}`);
          else if (one.kind === "replace") cache.replace(`${one.key}`, make(one.bytes));
          else if (held.length > 0) held.splice(one.at % held.length, 1)[0]!.release();
          const used = new Set(held.map((lease) => lease.value));
          for (const thing of used) expect(thing.disposals).toBe(0);
          const alive = all.filter((thing) => thing.disposals === 0);
          expect(cache.bytes).toBe(alive.reduce((sum, thing) => sum + thing.bytes, 0));
          // idle ones beyond the last asked for were put out until the budget held
          const idle = alive.filter((thing) => !used.has(thing));
          if (cache.bytes > 100) expect(idle.length).toBeLessThanOrEqual(1);
          for (const thing of all) expect(thing.disposals).toBeLessThanOrEqual(1);
        }
        for (const lease of held) lease.release();
        for (const key of cache.keys) cache.drop(key);
        expect(cache.bytes).toBe(0);
        expect(all.every((thing) => thing.disposals === 1)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test("the least recently used one goes first", async () => {
    const cache = new ModelCache<Thing>(100);
    for (const key of ["a", "b", "c"]) (await cache.acquire(key, async () => new Thing(30))).release();
    cache.peek("a")?.release();
    (await cache.acquire("d", async () => new Thing(30))).release();
    expect(cache.keys).toEqual(["c", "a", "d"]);
  });

  test("room is made before the load, so that old and new are not in memory together", async () => {
    const cache = new ModelCache<Thing>(100);
    (await cache.acquire("a", async () => new Thing(80))).release();
    let bytesDuringLoad = -1;
    const load = async () => {
      bytesDuringLoad = cache.bytes;
      return new Thing(80);
    };
    (await cache.acquire("b", load, 80)).release();
    expect(bytesDuringLoad).toBe(0);
  });

  test("callers at the same time share one load, and each has a lease of its own", async () => {
    const cache = new ModelCache<Thing>(100);
    let loads = 0;
    const load = async () => {
      loads += 1;
      return later(new Thing(10));
    };
    const leases = await Promise.all([1, 2, 3, 4, 5].map(() => cache.acquire("a", load)));
    expect(loads).toBe(1);
    cache.drop("a");
    for (const lease of leases.slice(1)) lease.release();
    expect(leases[0]!.value.disposals).toBe(0);
    leases[0]!.release();
    leases[0]!.release(); // a second release of one lease counts for nothing
    expect(leases[0]!.value.disposals).toBe(1);
  });

  test("a model that others' loads push out while its callers still wait is not disposed of under them", async () => {
    const cache = new ModelCache<Thing>(100);
    const [a, b] = await Promise.all([
      cache.acquire("a", async () => new Thing(90)),
      cache.acquire("b", async () => new Thing(90)),
    ]);
    expect([a.value.disposals, b.value.disposals]).toEqual([0, 0]);
    a.release();
    b.release();
    expect(cache.bytes).toBe(90);
  });

  test("a failed load is not kept: all who waited see the failure, the next one tries again", async () => {
    const cache = new ModelCache<Thing>(100);
    const failing = () => later(undefined).then(() => Promise.reject(new Error("no file")));
    const results = await Promise.allSettled([cache.acquire("a", failing, 50), cache.acquire("a", failing, 50)]);
    expect(results.map((result) => result.status)).toEqual(["rejected", "rejected"]);
    const lease = await cache.acquire("a", async () => new Thing(100), 100);
    expect(cache.keys).toEqual(["a"]);
    lease.release();
  });
});
