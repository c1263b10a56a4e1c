/**
 * From a history to items: encode once, decode one code a level with all beams as one batch, score the items of the best
 * leaves exactly. The filter prunes inside decoding, so no beam runs into a dead end. README.md in this folder explains how.
 */
import { expandBeams, rootBeam } from "./beams.ts";
import { scoreItems } from "./scoring.ts";
import type { Candidates, GenerativeModel, LegalPlaces } from "./types.ts";

/** Item vectors of a history, (length, dim) row-major, oldest first. */
export interface HistoryVectors {
  readonly vectors: Float32Array;
  readonly length: number;
}

/** `count` is how many candidates are wanted; the rest overrides the model's own scoring. */
export interface GenerateOptions {
  readonly count: number;
  readonly alpha?: number | undefined;
  readonly exactBelow?: number | undefined;
  readonly beams?: readonly number[] | undefined;
  readonly leaves?: number | undefined;
}

/** Beams hold at least this many legal items for each one wanted. */
const SPARE = 2;

/**
 * The best legal items for a history, best first; equal scores go by item number. Same input, same output.
 * @returns min(count, legal.total) candidates, always
 * @throws RangeError when the history is empty or its vectors have another size, when an option is out of its range, or when
 * the network returns something that is not a number
 */
export async function generate(
  model: GenerativeModel,
  history: HistoryVectors,
  legal: LegalPlaces,
  options: GenerateOptions,
): Promise<Candidates> {
  const { order, network, vectors } = model;
  const plan = planOf(model, options);
  const length = Math.min(history.length, model.historyLength);
  if (length < 1) throw new RangeError("an empty history has no hidden state");
  if (history.vectors.length !== history.length * vectors.dim) {
    throw new RangeError(`${history.vectors.length} values for ${history.length} vectors of ${vectors.dim}`);
  }

  const newest = history.vectors.subarray((history.length - length) * vectors.dim);
  const { h, logits } = await network.encode(newest, length);
  const input = { model, h, legal, count: options.count, alpha: plan.alpha };
  if (plan.isExact || legal.total <= plan.exactBelow) return scoreItems(input, rootBeam(order), "exact");

  const needed = Math.min(SPARE * options.count, legal.total);
  let beams = expandBeams(order, legal, rootBeam(order), logits, { width: plan.widths[0]!, needed });
  for (let level = 2; level <= order.levels.length; level += 1) {
    const next = await network.step(level, h, beams.prefixes, beams.size);
    beams = expandBeams(order, legal, beams, next, { width: plan.widths[level - 1]!, needed });
  }
  return scoreItems(input, beams, "beam");
}

interface Plan {
  readonly isExact: boolean;
  readonly alpha: number;
  readonly exactBelow: number;
  /** Prefixes kept after each level; the last are the leaves. */
  readonly widths: readonly number[];
}

function planOf({ order, scoring }: GenerativeModel, options: GenerateOptions): Plan {
  const alpha = options.alpha ?? scoring.alpha;
  if (!(alpha >= 0 && alpha <= 1)) throw new RangeError(`alpha must lie in 0..1, got ${alpha}`);
  if (!Number.isInteger(options.count) || options.count < 0)
    throw new RangeError(`count must be >= 0, got ${options.count}`);
  const isExact = scoring.mode === "exact";
  const widths = [...(options.beams ?? scoring.beams), options.leaves ?? scoring.leaves];
  // `beams` may say more than there are levels to keep beams after; an exact model need not say any
  widths.splice(order.levels.length - 1, widths.length - order.levels.length);
  if (
    !isExact &&
    (widths.length !== order.levels.length || !widths.every((width) => Number.isInteger(width) && width > 0))
  ) {
    throw new RangeError(`beams and leaves [${widths.join(", ")}] for ${order.levels.length} levels`);
  }
  return { isExact, alpha, exactBelow: options.exactBelow ?? scoring.exactBelow, widths };
}
