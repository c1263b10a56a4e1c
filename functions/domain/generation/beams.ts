/**
 * One level of constrained beam search. A beam is a prefix of codes with its log-probability and the range of places below it;
 * its children are that range cut up by the next code, and only children with a legal item live.
 */
import { LogSumExp } from "./log-sum-exp.ts";
import { TopK } from "./top-k.ts";
import type { CodeOrder, LegalPlaces } from "./types.ts";

/** Prefixes of one depth in code order; parallel arrays, at least one. */
export interface Beams {
  readonly depth: number;
  readonly size: number;
  /** (size, depth) codes. */
  readonly prefixes: Int32Array;
  /** log p(prefix), renormalised over what is legal. */
  readonly logProbability: Float64Array;
  /** Places below the prefix: [from, to). */
  readonly from: Uint32Array;
  readonly to: Uint32Array;
}

/** How many children are kept: `width` at least, and as many more as it takes to hold `needed` legal items. */
export interface Width {
  readonly width: number;
  readonly needed: number;
}

/** log n of small counts: most prefixes hold few items, and a look-up costs a tenth of a logarithm. */
const LOGARITHMS = Float64Array.from({ length: 1024 }, (_, count) => Math.log(count));

/** The empty prefix: every place, probability one. */
export function rootBeam(order: CodeOrder): Beams {
  return {
    depth: 0,
    size: 1,
    prefixes: new Int32Array(0),
    logProbability: new Float64Array(1),
    from: Uint32Array.of(0),
    to: Uint32Array.of(order.size),
  };
}

/**
 * Replaces beams by their best children.
 * @param logits (size, K of the next level), log counts not added
 * @returns children in code order
 * @throws RangeError when the logits have another shape or are not numbers
 */
export function expandBeams(
  order: CodeOrder,
  legal: LegalPlaces,
  beams: Beams,
  logits: Float32Array,
  { width, needed }: Width,
): Beams {
  const { depth, size } = beams;
  const codes = order.levels[depth]!;
  if (logits.length !== size * codes) {
    throw new RangeError(`level ${depth + 1}: ${logits.length} logits, expected ${size} x ${codes}`);
  }

  // (size, codes), row-major: child `code` of beam `row` has index row * codes + code
  const scores = new Float64Array(size * codes);
  const live = new Uint32Array(size * codes);
  const bounds = new Uint32Array(codes + 1);
  const normaliser = new LogSumExp();
  let alive = 0;
  for (let row = 0, at = 0; row < size; row += 1, at += codes) {
    order.children(beams.prefixes, row * depth, depth, bounds);
    normaliser.reset();
    for (let code = 0; code < codes; code += 1) {
      const from = bounds[code]!;
      const to = bounds[code + 1]!;
      const count = from === to ? 0 : legal.count(from, to);
      if (count === 0) continue;
      // a prefix starts from its share of the items; the network says how far this history departs from it
      const score = logits[at + code]! + (count < LOGARITHMS.length ? LOGARITHMS[count]! : Math.log(count));
      live[at + code] = count;
      scores[at + code] = score;
      normaliser.add(score);
      alive += 1;
    }
    const logZ = normaliser.value;
    if (Number.isNaN(logZ) || logZ === Number.POSITIVE_INFINITY) {
      throw new RangeError(`level ${depth + 1}: the network returned a logit that is not a number`);
    }
    // every child of probability zero: stays -Infinity, where -Infinity - -Infinity would be NaN
    const shift = logZ === Number.NEGATIVE_INFINITY ? logZ : beams.logProbability[row]! - logZ;
    for (let code = 0; code < codes; code += 1) if (live[at + code]! > 0) scores[at + code]! += shift;
  }

  const kept = bestChildren(scores, live, { width: Math.min(width, alive), needed });
  return childBeams(order, beams, kept, scores);
}

/** Indexes of the kept children, ascending = in code order. Doubles the width until `needed` legal items are held, or all. */
function bestChildren(scores: Float64Array, live: Uint32Array, { width, needed }: Width): Uint32Array {
  for (let limit = width; ; limit *= 2) {
    const top = new TopK(limit);
    let alive = 0;
    for (let index = 0; index < scores.length; index += 1) {
      if (live[index] === 0) continue;
      alive += 1;
      top.offer(scores[index]!, index, index);
    }
    const kept = top.kept();
    let items = 0;
    for (const index of kept) items += live[index]!;
    if (items >= needed || limit >= alive) return kept.sort();
  }
}

function childBeams(order: CodeOrder, parents: Beams, kept: Uint32Array, scores: Float64Array): Beams {
  const depth = parents.depth + 1;
  const codes = order.levels[parents.depth]!;
  const size = kept.length;
  const prefixes = new Int32Array(size * depth);
  const logProbability = new Float64Array(size);
  const from = new Uint32Array(size);
  const to = new Uint32Array(size);
  const bounds = new Uint32Array(codes + 1);
  let bounded = -1; // the parent whose bounds are in the buffer; children of one parent stand together
  for (let child = 0; child < size; child += 1) {
    const index = kept[child]!;
    const code = index % codes;
    const parent = (index - code) / codes;
    if (parent !== bounded) {
      order.children(parents.prefixes, parent * parents.depth, parents.depth, bounds);
      bounded = parent;
    }
    for (let level = 0; level < parents.depth; level += 1) {
      prefixes[child * depth + level] = parents.prefixes[parent * parents.depth + level]!;
    }
    prefixes[child * depth + parents.depth] = code;
    logProbability[child] = scores[index]!;
    from[child] = bounds[code]!;
    to[child] = bounds[code + 1]!;
  }
  return { depth, size, prefixes, logProbability, from, to };
}
