/** Small random worlds for decoding: a network that is a real function of (h, prefix), and brute force to hold it to. */
import fc from "fast-check";
import { PlaceBitmap } from "../../../functions/domain/generation/bitmap.ts";
import { buildCodeOrder } from "../../../functions/domain/generation/code-order.ts";
import type {
  CodeOrder,
  DecodeNetwork,
  GenerativeModel,
  ItemVectors,
  LegalPlaces,
} from "../../../functions/domain/generation/types.ts";

export const DIM = 3;

/** A weight in -2..2 that depends on every one of its coordinates. */
function weight(...coordinates: readonly number[]): number {
  let x = 0.5;
  for (const c of coordinates) x = (Math.sin(12.9898 * (c + 1) + 78.233 * x) * 43_758.5453) % 1;
  return 2 * x;
}

/** Logits are products of h with weights made of (level, prefix, code); `sharpness` scales them. */
export function fakeNetwork(levels: readonly number[], seed: number, sharpness = 2): DecodeNetwork {
  const logit = (h: Float32Array, level: number, prefix: readonly number[], code: number): number => {
    let sum = 0;
    for (let k = 0; k < h.length; k += 1) sum += h[k]! * weight(seed, level, ...prefix, 1000, code, k);
    return sharpness * sum;
  };
  return {
    async encode(x, length) {
      const h = new Float32Array(DIM);
      for (let at = 0; at < length; at += 1) for (let k = 0; k < DIM; k += 1) h[k]! += x[at * DIM + k]! / (length - at);
      return { h, logits: Float32Array.from({ length: levels[0]! }, (_, code) => logit(h, 1, [], code)) };
    },
    async step(level, h, prefixes, beams) {
      const codes = levels[level - 1]!;
      const logits = new Float32Array(beams * codes);
      for (let beam = 0; beam < beams; beam += 1) {
        const prefix = [...prefixes.subarray(beam * (level - 1), (beam + 1) * (level - 1))];
        for (let code = 0; code < codes; code += 1) logits[beam * codes + code] = logit(h, level, prefix, code);
      }
      return logits;
    },
  };
}

export function floatVectors(values: Float32Array, dim: number = DIM): ItemVectors {
  const dot = (h: Float32Array, place: number): number => {
    let sum = 0;
    for (let k = 0; k < dim; k += 1) sum += h[k]! * values[place * dim + k]!;
    return sum;
  };
  return {
    dim,
    read: (place, out, offset) => out.set(values.subarray(place * dim, (place + 1) * dim), offset),
    dot,
    dots(h, places, count, out) {
      for (let at = 0; at < count; at += 1) out[at] = dot(h, places[at]!);
    },
  };
}

export interface World {
  readonly model: GenerativeModel;
  readonly legal: PlaceBitmap;
  readonly history: { readonly vectors: Float32Array; readonly length: number };
  /** Codes of a place. */
  readonly codesOf: (place: number) => readonly number[];
}

/** Catalogues of 1 to 60 items in 2 or 3 levels, with any filter. */
export const worlds: fc.Arbitrary<World> = fc
  .record({
    levels: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 3 }),
    numbers: fc.uniqueArray(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 60 }),
    seed: fc.integer({ min: 0, max: 1_000_000 }),
    legalShare: fc.constantFrom(0, 0.05, 0.3, 0.8, 1),
    historyLength: fc.integer({ min: 1, max: 6 }),
    alpha: fc.constantFrom(0, 0.2, 0.7),
  })
  .map(({ levels, numbers, seed, legalShare, historyLength, alpha }) => {
    const depth = levels.length;
    const unit = (...coordinates: readonly number[]): number => Math.abs(weight(seed, ...coordinates)) / 2;
    const codes = Uint8Array.from({ length: numbers.length * depth }, (_, at) =>
      Math.floor(unit(1, at) * levels[at % depth]!),
    );
    const { order, rowOfPlace } = buildCodeOrder(levels, codes, Uint32Array.from(numbers));
    const vectors = floatVectors(Float32Array.from({ length: order.size * DIM }, (_, at) => weight(seed, 2, at)));
    const legal = PlaceBitmap.none(order.size);
    for (let place = 0; place < order.size; place += 1) if (unit(3, place) < legalShare) legal.set(place);
    return {
      model: {
        order,
        vectors,
        network: fakeNetwork(levels, seed),
        scoring: { mode: "beam", alpha, temperature: 1, beams: [2, 2], leaves: 2, exactBelow: 0 },
        historyLength: 4,
      },
      legal,
      history: {
        vectors: Float32Array.from({ length: historyLength * DIM }, (_, at) => weight(seed, 4, at)),
        length: historyLength,
      },
      codesOf: (place) => {
        const row = rowOfPlace?.[place] ?? place;
        return [...codes.subarray(row * depth, (row + 1) * depth)];
      },
    };
  });

export interface Scored {
  readonly place: number;
  readonly number: number;
  readonly logProbability: number;
  readonly score: number;
}

/** Every legal item scored by the definition, without ranges, counts or beams: filters the list of items again at each prefix. */
export async function bruteForce({ model, legal, history, codesOf }: World, alpha: number): Promise<Scored[]> {
  const { order, vectors, network } = model;
  const length = Math.min(history.length, model.historyLength);
  const { h, logits } = await network.encode(history.vectors.slice((history.length - length) * DIM), length);
  const places = placesOf(order, legal);
  const scored: Scored[] = [];
  for (const place of places) {
    const codes = codesOf(place);
    let logProbability = 0;
    let members = places;
    for (const [depth, code] of codes.entries()) {
      const prefix = Int32Array.from(codes.slice(0, depth));
      const row = depth === 0 ? logits : await network.step(depth + 1, h, prefix, 1);
      const masses = Array.from(
        row,
        (logit, k) => members.filter((one) => codesOf(one)[depth] === k).length * Math.exp(logit),
      );
      logProbability += Math.log(masses[code]! / sum(masses));
      members = members.filter((one) => codesOf(one)[depth] === code);
    }
    const product = vectors.dot(h, place);
    logProbability += product - Math.log(sum(members.map((one) => Math.exp(vectors.dot(h, one)))));
    const score = alpha * logProbability + (1 - alpha) * product;
    scored.push({ place, number: order.numbers[place]!, logProbability, score });
  }
  return scored.sort((a, b) => b.score - a.score || a.number - b.number);
}

export function placesOf(order: CodeOrder, legal: LegalPlaces): number[] {
  return Array.from({ length: order.size }, (_, place) => place).filter((place) => legal.has(place));
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
