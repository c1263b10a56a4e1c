import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PlaceBitmap, withoutNumbers } from "../../../functions/domain/generation/bitmap.ts";
import { buildCodeOrder } from "../../../functions/domain/generation/code-order.ts";
import { generate } from "../../../functions/domain/generation/generate.ts";
import { bruteForce, DIM, fakeNetwork, floatVectors, placesOf, worlds, type Scored, type World } from "./fake-model.ts";
import type { Candidates, DecodeNetwork, GenerativeModel } from "../../../functions/domain/generation/types.ts";

/** Beams that hold every prefix of a small world. */
const ALL = { beams: [300, 300], leaves: 300, exactBelow: 0 };

/** The same items in the same order, up to pairs whose scores differ by rounding alone. */
function expectSame(found: Candidates, expected: readonly Scored[], key: "score" | "logProbability"): void {
  expect(found.places).toHaveLength(expected.length);
  const of = new Map(expected.map((one) => [one.place, one]));
  for (const [rank, place] of found.places.entries()) {
    expect(found.logProbability[rank]).toBeCloseTo(of.get(place)!.logProbability, 6);
    expect(found.score[rank]).toBeCloseTo(of.get(place)!.score, 6);
    expect(of.get(place)![key]).toBeCloseTo(expected[rank]![key], 6);
  }
}

const property = (check: (world: World) => Promise<void>, numRuns = 150): Promise<void> =>
  fc.assert(fc.asyncProperty(worlds, check), { numRuns });

describe("generate", () => {
  it("finds what brute force finds, in order of logProbability, when the beams hold every prefix and alpha is 1", () =>
    property(async (world) => {
      const found = await generate(world.model, world.history, world.legal, { count: 60, alpha: 1, ...ALL });
      expectSame(found, await bruteForce(world, 1), "logProbability");
    }));

  it("finds what brute force finds, in order of score, at the served alpha", () =>
    property(async (world) => {
      const found = await generate(world.model, world.history, world.legal, { count: 60, ...ALL });
      expectSame(found, await bruteForce(world, world.model.scoring.alpha), "score");
    }));

  it("gives the head of the same list when fewer are asked for", () =>
    property(async (world) => {
      const found = await generate(world.model, world.history, world.legal, { count: 3, ...ALL });
      const expected = await bruteForce(world, world.model.scoring.alpha);
      expectSame(found, expected.slice(0, 3), "score");
    }));

  it("gives probabilities that sum to 1 over all legal items", () =>
    property(async ({ model, history, legal }) => {
      const found = await generate(model, history, legal, { count: 60, ...ALL });
      const total = found.logProbability.reduce((sum, x) => sum + Math.exp(x), 0);
      expect(total).toBeCloseTo(legal.total === 0 ? 0 : 1, 9);
    }));

  it("fills the list from narrow beams whenever legal items exist, and never leaves the filter", () =>
    property(async ({ model, history, legal }) => {
      for (const count of [1, 4, 100]) {
        const options = { count, beams: [1, 1], leaves: 1, exactBelow: 0 };
        const found = await generate(model, history, legal, options);
        expect(found.places).toHaveLength(Math.min(count, legal.total));
        expect(new Set(found.places).size).toBe(found.places.length);
        expect(found.places.every((place) => legal.has(place))).toBe(true);
        expect([...found.score]).toEqual([...found.score].sort((a, b) => b - a));
        expect(await generate(model, history, legal, options)).toEqual(found);
      }
    }));

  it("scores an item the same whatever other beams are kept", () =>
    property(async ({ model, history, legal }) => {
      const wide = await generate(model, history, legal, { count: 60, ...ALL });
      const narrow = await generate(model, history, legal, { count: 2, beams: [1, 2], leaves: 2, exactBelow: 0 });
      for (const [rank, place] of narrow.places.entries()) {
        const at = wide.places.indexOf(place);
        expect(narrow.logProbability[rank]).toBe(wide.logProbability[at]);
        expect(narrow.score[rank]).toBe(wide.score[at]);
      }
    }));

  it("scans exactly at or below exactBelow: log softmax of h.v over the legal items", () =>
    property(async ({ model, history, legal }) => {
      const found = await generate(model, history, legal, { count: 60, exactBelow: 60, alpha: 1 });
      expect(found.scoring).toBe("exact");
      const products = placesOf(model.order, legal).map((place) => model.vectors.dot(found.h, place));
      const logZ = Math.log(products.reduce((sum, x) => sum + Math.exp(x), 0));
      for (const [rank, place] of found.places.entries()) {
        expect(found.logProbability[rank]).toBeCloseTo(model.vectors.dot(found.h, place) - logZ, 9);
      }
      expect([...found.score]).toEqual([...found.score].sort((a, b) => b - a));
    }));
});

/** Six items, two levels; codes (0,0) (0,0) (0,1) (1,0) (1,1) (1,1) under the numbers 11..16. */
function sixItems(network: DecodeNetwork, numbers = [11, 12, 13, 14, 15, 16]): GenerativeModel {
  const codes = Uint8Array.of(0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1);
  return {
    order: buildCodeOrder([2, 2], codes, Uint32Array.from(numbers)).order,
    vectors: floatVectors(new Float32Array(6 * DIM)),
    network,
    scoring: { mode: "beam", alpha: 1, temperature: 1, beams: [2], leaves: 4, exactBelow: 0 },
    historyLength: 4,
  };
}

/** Every logit the same: the counts alone speak. */
const flat: DecodeNetwork = {
  encode: async () => ({ h: new Float32Array(DIM), logits: new Float32Array(2) }),
  step: async (_level, _h, _prefixes, beams) => new Float32Array(beams * 2),
};
const history = { vectors: new Float32Array(DIM), length: 1 };
const all = PlaceBitmap.all(6);

describe("generate, by hand", () => {
  it("starts a prefix from the number of items below it, so that a network that knows nothing gives each item 1/n", async () => {
    const found = await generate(sixItems(flat), history, all, { count: 6 });
    for (const x of found.logProbability) expect(x).toBeCloseTo(Math.log(1 / 6), 12);
  });

  it("breaks ties by item number", async () => {
    const model = sixItems(flat, [16, 15, 14, 13, 12, 11]); // against the order of places
    const found = await generate(model, history, all, { count: 4, alpha: 0 });
    expect(Array.from(found.places, (place) => model.order.numbers[place])).toEqual([11, 12, 13, 14]);
  });

  it("renormalises over what a filter leaves", async () => {
    const model = sixItems(flat);
    const legal = withoutNumbers(all, model.order, [12, 15, 16, 999]);
    const found = await generate(model, history, legal, { count: 6 });
    expect(Array.from(found.places, (place) => model.order.numbers[place])).toEqual([11, 13, 14]);
    for (const x of found.logProbability) expect(x).toBeCloseTo(Math.log(1 / 3), 12);
  });

  it("keeps a dead level-1 code out of the batch that is stepped", async () => {
    const stepped: number[][] = [];
    const spied: DecodeNetwork = {
      ...flat,
      step: (level, h, prefixes, beams) => (stepped.push([...prefixes]), flat.step(level, h, prefixes, beams)),
    };
    const model = sixItems(spied);
    await generate(model, history, withoutNumbers(all, model.order, [11, 12, 13]), { count: 2 });
    expect(stepped).toEqual([[1]]);
  });

  it("widens a beam that holds fewer than twice the items asked for", async () => {
    const model = sixItems({
      ...flat,
      encode: async () => ({ h: new Float32Array(DIM), logits: Float32Array.of(9, 0) }),
    });
    const narrow = { beams: [1], leaves: 1, alpha: 1 };
    expect((await generate(model, history, all, { count: 1, ...narrow })).places).toHaveLength(1);
    const found = await generate(model, history, all, { count: 3, ...narrow });
    expect(found.places).toHaveLength(3);
    expect(Array.from(found.places, (place) => model.order.numbers[place])).toEqual([11, 12, 13]);
    expect((await generate(model, history, all, { count: 6, ...narrow })).places).toHaveLength(6);
  });

  it("still returns items that the network gives no probability at all", async () => {
    const never = Number.NEGATIVE_INFINITY;
    const model = sixItems({
      ...flat,
      encode: async () => ({ h: new Float32Array(DIM), logits: Float32Array.of(0, never) }),
    });
    const found = await generate(model, history, all, { count: 6 });
    expect(found.places).toHaveLength(6);
    expect([...found.logProbability.subarray(3)]).toEqual([never, never, never]);
  });

  it("uses the newest items of a history that is longer than the model reads", async () => {
    const lengths: [number, number][] = [];
    const model = sixItems({ ...flat, encode: (x, length) => (lengths.push([x[0]!, length]), flat.encode(x, length)) });
    const vectors = Float32Array.from({ length: 7 * DIM }, (_, at) => Math.floor(at / DIM));
    await generate(model, { vectors, length: 7 }, all, { count: 1 });
    expect(lengths).toEqual([[3, 4]]);
  });

  it("refuses an empty history, a history of another size, options out of range, and numbers that are none", async () => {
    const model = sixItems(flat);
    const run = (overrides: object, past = history): Promise<Candidates> =>
      generate(model, past, all, { count: 2, ...overrides });
    await expect(run({}, { vectors: new Float32Array(0), length: 0 })).rejects.toThrow(RangeError);
    await expect(run({}, { vectors: new Float32Array(2), length: 1 })).rejects.toThrow(/2 values for 1 vectors of 3/);
    await expect(run({ alpha: 1.5 })).rejects.toThrow(/alpha/);
    await expect(run({ count: 1.5 })).rejects.toThrow(/count/);
    await expect(run({ beams: [] })).rejects.toThrow(/beams/);
    await expect(run({ leaves: 0 })).rejects.toThrow(/beams/);
    const broken = sixItems({ ...flat, step: async () => Float32Array.of(NaN, 0, 0, 0) });
    await expect(generate(broken, history, all, { count: 2 })).rejects.toThrow(/not a number/);
    const short = sixItems({ ...flat, step: async () => new Float32Array(2) });
    await expect(generate(short, history, all, { count: 2 })).rejects.toThrow(/2 logits, expected 2 x 2/);
  });
});

describe("fakeNetwork", () => {
  it("is a function of the prefix, so that the properties above can fail", async () => {
    const network = fakeNetwork([4, 4], 1);
    const h = Float32Array.of(1, -1, 0.5);
    const logits = await network.step(2, h, Int32Array.of(0, 1), 2);
    expect([...logits.subarray(0, 4)]).not.toEqual([...logits.subarray(4)]);
  });
});
