/**
 * The papers' backbone on onnxruntime-web as training/t5/export.py writes it, with beam search over real items: two codes, then the
 * place inside the leaf. All beams are one batch; their prefixes are run again from the beginning, as the papers do.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { CodeOrder, LegalPlaces } from "../../functions/domain/generation/types.ts";
import { createSession, floatsOf, integerTensor, run, type Session } from "../../functions/inference/runtime.ts";

interface Shape {
  /** Tokens of each position: codes a level, places inside the largest leaf. */
  readonly sizes: readonly number[];
}

/** What the trainer's own search finds, as rows of the catalogue; parallel arrays. */
export interface Check {
  readonly histories: readonly (readonly number[])[];
  readonly seen: readonly (readonly number[])[];
  readonly items: readonly (readonly number[])[];
}

/** Beams after a step: token ids (size, level) row-major without START, log-probabilities, ranges of places. */
interface Beams {
  readonly size: number;
  readonly prefixes: Int32Array;
  readonly logProbability: Float64Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
}

export class T5Network {
  readonly sizes: readonly number[];
  readonly check: Check;
  /** First token id of each position's block; 0 is START. */
  readonly #firsts: readonly number[];
  readonly #encoder: Session;
  readonly #steps: readonly Session[];

  private constructor(sizes: readonly number[], check: Check, encoder: Session, steps: readonly Session[]) {
    this.sizes = sizes;
    this.check = check;
    this.#firsts = sizes.map((_, level) => sizes.slice(0, level).reduce((sum, size) => sum + size, 1));
    this.#encoder = encoder;
    this.#steps = steps;
  }

  /** Undefined where nothing was trained. @throws GraphError for a graph that does not open */
  static async open(folder: string): Promise<T5Network | undefined> {
    if (!existsSync(path.join(folder, "check.json"))) return undefined;
    const json = async (name: string): Promise<unknown> => JSON.parse(await readFile(path.join(folder, name), "utf8"));
    const { sizes } = (await json("shape.json")) as Shape;
    const check = (await json("check.json")) as Check;
    const session = async (name: string) => createSession(await readFile(path.join(folder, name)));
    const steps: Session[] = [];
    const encoder = await session("encoder.onnx");
    for (let level = 2; level <= sizes.length; level += 1) steps.push(await session(`step${level}.onnx`));
    return new T5Network(sizes, check, encoder, steps);
  }

  /** Places of the best legal items after a history of places, best first, at most `beams`. */
  async search(
    order: CodeOrder,
    legal: LegalPlaces,
    history: readonly number[],
    { beams }: { readonly beams: number },
  ): Promise<Int32Array> {
    const tokens = integerTensor(this.#tokensOf(order, history), [1, history.length * this.sizes.length]);
    const { logits1, ...kept } = await run(this.#encoder, { tokens });
    let best = this.#expand(
      order,
      legal,
      rootOf(order),
      floatsOf({ logits1: logits1! }, "logits1", [1, this.sizes[0]!]),
      {
        level: 0,
        beams,
      },
    );
    for (let level = 1; level < this.sizes.length; level += 1) {
      const prefix = integerTensor(best.prefixes, [best.size, level]);
      const out = await run(this.#steps[level - 1]!, { prefix, ...kept });
      best = this.#expand(order, legal, best, floatsOf(out, "logits", [best.size, this.sizes[level]!]), {
        level,
        beams,
      });
    }
    return best.from;
  }

  /** (items * positions) token ids. */
  #tokensOf(order: CodeOrder, history: readonly number[]): Int32Array {
    const levels = order.levels.length;
    const tokens = new Int32Array(history.length * (levels + 1));
    let at = 0;
    for (const place of history) {
      let [from, to] = [0, order.size];
      const prefix: number[] = [];
      for (let level = 0; level < levels; level += 1) {
        const code = codeAt(order, prefix, place);
        prefix.push(code);
        [from, to] = order.range(prefix);
        tokens[at++] = this.#firsts[level]! + code;
      }
      if (place >= to) throw new RangeError(`place ${place} is not in its own leaf`);
      tokens[at++] = this.#firsts[levels]! + place - from;
    }
    return tokens;
  }

  /** The best `beams` children: a softmax over the live ones of each beam, added to the beam's own log-probability. */
  #expand(
    order: CodeOrder,
    legal: LegalPlaces,
    beams: Beams,
    logits: Float32Array,
    { level, beams: width }: { readonly level: number; readonly beams: number },
  ): Beams {
    const size = this.sizes[level]!;
    const total = new Float64Array(beams.size * size).fill(-Infinity);
    const starts = new Int32Array(total.length);
    const ends = new Int32Array(total.length);
    const bounds = new Uint32Array(size + 1);
    const isLeaf = level === order.levels.length;
    const codes = new Int32Array(level);
    for (let beam = 0; beam < beams.size; beam += 1) {
      const row = beam * size;
      if (!isLeaf) {
        for (let at = 0; at < level; at += 1) codes[at] = beams.prefixes[beam * level + at]! - this.#firsts[at]!;
        order.children(codes, 0, level, bounds);
      }
      let [top, sum] = [-Infinity, 0];
      for (let token = 0; token < size; token += 1) {
        const from = isLeaf ? beams.from[beam]! + token : bounds[token]!;
        const to = isLeaf ? from + 1 : bounds[token + 1]!;
        const isAlive = isLeaf ? from < beams.to[beam]! && legal.has(from) : legal.count(from, to) > 0;
        if (!isAlive) continue;
        starts[row + token] = from;
        ends[row + token] = to;
        const logit = logits[row + token]!;
        total[row + token] = logit;
        sum = logit > top ? sum * Math.exp(top - logit) + 1 : sum + Math.exp(logit - top);
        top = Math.max(top, logit);
      }
      const shift = beams.logProbability[beam]! - top - Math.log(sum);
      for (let token = 0; token < size; token += 1) total[row + token]! += shift;
    }
    return this.#kept(beams, bestOf(total, width), { level, total, starts, ends });
  }

  #kept(
    beams: Beams,
    chosen: readonly number[],
    { level, total, starts, ends }: { level: number; total: Float64Array; starts: Int32Array; ends: Int32Array },
  ): Beams {
    const size = this.sizes[level]!;
    const prefixes = new Int32Array(chosen.length * (level + 1));
    for (const [row, at] of chosen.entries()) {
      const beam = Math.floor(at / size);
      prefixes.set(beams.prefixes.subarray(beam * level, (beam + 1) * level), row * (level + 1));
      prefixes[row * (level + 1) + level] = this.#firsts[level]! + (at % size);
    }
    return {
      size: chosen.length,
      prefixes,
      logProbability: Float64Array.from(chosen, (at) => total[at]!),
      from: Int32Array.from(chosen, (at) => starts[at]!),
      to: Int32Array.from(chosen, (at) => ends[at]!),
    };
  }
}

function rootOf(order: CodeOrder): Beams {
  return {
    size: 1,
    prefixes: new Int32Array(0),
    logProbability: new Float64Array(1),
    from: new Int32Array(1),
    to: Int32Array.of(order.size),
  };
}

/** The code after `prefix` of the item at a place below it. */
function codeAt(order: CodeOrder, prefix: readonly number[], place: number): number {
  const bounds = new Uint32Array(order.levels[prefix.length]! + 1);
  order.children(Int32Array.from(prefix), 0, prefix.length, bounds);
  let [low, high] = [0, bounds.length - 2];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (bounds[middle]! <= place) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Indices of the `width` largest finite values, largest first; equal values by index. */
function bestOf(values: Float64Array, width: number): number[] {
  const best: number[] = [];
  for (let at = 0; at < values.length; at += 1) {
    const value = values[at]!;
    if (value === -Infinity || (best.length === width && value <= values[best[width - 1]!]!)) continue;
    let place = Math.min(best.length, width - 1);
    while (place > 0 && values[best[place - 1]!]! < value) {
      best[place] = best[place - 1]!;
      place -= 1;
    }
    best[place] = at;
  }
  return best;
}
