/**
 * One level of constrained beam search. A beam is a prefix of codes with its log-probability and the range of places below it;
 * its children are that range cut up by the next code, and only children with a legal item live.
 */
import { exponential, LogSumExp } from "./log-sum-exp.ts";
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

/** A sum of exponentials below it may have lost terms to underflow, one above its inverse to overflow. */
const SMALL = 1e-200;

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

/** Numbers that an expansion works with, kept from call to call: it never waits, so no two are under way at once. */
class Workspace {
  /** (size, codes) logit + log count of a child; anything where the child is dead. */
  scores = new Float64Array(0);
  /** (size, codes) legal items of a child. */
  live = new Uint32Array(0);
  /** (size) what turns a score into a log-probability. */
  shifts = new Float64Array(0);
  readonly bounds = new Uint32Array(257);

  /** At least that large. */
  fit(size: number, codes: number): this {
    if (this.shifts.length < size) this.shifts = new Float64Array(size);
    if (this.live.length < size * codes) {
      this.scores = new Float64Array(size * codes);
      this.live = new Uint32Array(size * codes);
    }
    return this;
  }
}

const workspace = new Workspace();

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
  const work = workspace.fit(size, codes);
  const { live, shifts, bounds } = work;
  for (let row = 0, at = 0; row < size; row += 1, at += codes) {
    order.children(beams.prefixes, row * depth, depth, bounds);
    legal.countRanges(bounds, codes, live, at);
    const logZ = scoreChildren(work, logits, at, codes);
    if (Number.isNaN(logZ) || logZ === Number.POSITIVE_INFINITY) {
      throw new RangeError(`level ${depth + 1}: the network returned a logit that is not a number`);
    }
    // every child of probability zero: stays -Infinity, where -Infinity - -Infinity would be NaN
    shifts[row] = logZ === Number.NEGATIVE_INFINITY ? logZ : beams.logProbability[row]! - logZ;
  }
  return childBeams(order, beams, bestChildren(work, size, codes, { width, needed }), work);
}

/**
 * Scores of the live children of one beam: a prefix starts from its share of the items, and the network says how far this
 * history departs from it.
 * @returns the logarithm of the sum of their exponentials; not finite when a logit is not
 */
function scoreChildren({ scores, live }: Workspace, logits: Float32Array, at: number, codes: number): number {
  const end = at + codes;
  // one pass, relative to any logit of the row; where they lie too far apart for that, a second one
  const reference = logits[at]!;
  let sum = 0;
  for (let child = at; child < end; child += 1) {
    const count = live[child]!;
    if (count === 0) continue;
    const score = logits[child]! + (count < LOGARITHMS.length ? LOGARITHMS[count]! : Math.log(count));
    scores[child] = score;
    sum += exponential(score - reference);
  }
  if (sum > SMALL && sum < 1 / SMALL) return reference + Math.log(sum);
  const normaliser = new LogSumExp();
  for (let child = at; child < end; child += 1) if (live[child]! > 0) normaliser.add(scores[child]!);
  return normaliser.value;
}

/** Indexes of the kept children, ascending = in code order. Doubles the width until `needed` legal items are held, or all. */
function bestChildren(
  { scores, live, shifts }: Workspace,
  size: number,
  codes: number,
  { width, needed }: Width,
): Uint32Array {
  for (let limit = width; ; limit *= 2) {
    const top = new TopK(Math.min(limit, size * codes));
    let { threshold } = top;
    for (let row = 0, at = 0; row < size; row += 1, at += codes) {
      const shift = shifts[row]!;
      for (let child = at; child < at + codes; child += 1) {
        const key = scores[child]! + shift;
        // an equal key has the larger index, so it loses; dead children hold anything
        if (key <= threshold || live[child] === 0) continue;
        top.offer(key, child, child);
        threshold = top.threshold;
      }
    }
    const kept = top.kept();
    let items = 0;
    for (const child of kept) items += live[child]!;
    if (items >= needed || kept.length < limit) return kept.sort();
  }
}

function childBeams(order: CodeOrder, parents: Beams, kept: Uint32Array, work: Workspace): Beams {
  const { scores, shifts, bounds } = work;
  const depth = parents.depth + 1;
  const codes = order.levels[parents.depth]!;
  const size = kept.length;
  const prefixes = new Int32Array(size * depth);
  const logProbability = new Float64Array(size);
  const from = new Uint32Array(size);
  const to = new Uint32Array(size);
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
    logProbability[child] = scores[index]! + shifts[parent]!;
    from[child] = bounds[code]!;
    to[child] = bounds[code + 1]!;
  }
  return { depth, size, prefixes, logProbability, from, to };
}
