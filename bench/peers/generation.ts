/** One recommendation of ours as bench/peers.ts times it, in Node and inside workerd: encode, decode, filter, score the leaves. */
import { generate } from "../../functions/domain/generation/generate.ts";
import { PlaceBitmap, withoutNumbers } from "../../functions/domain/generation/bitmap.ts";
import type { LegalPlaces } from "../../functions/domain/generation/types.ts";
import type { LoadedModel } from "../../functions/inference/load-model.ts";

/** What a default request asks the generator for: 20 items and spares for the last gate. */
const CANDIDATES = 28;

export interface Asked {
  /** Items of history. */
  readonly length: number;
  readonly beams: number;
}

/** Item numbers of a user's history; other users have others. */
export function historyOf(model: LoadedModel, user: number, length: number): number[] {
  const { order } = model;
  return Array.from({ length }, (_, at) => order.numbers[(user * 7919 + at * 104_729) % order.size]!);
}

const everything = new WeakMap<LoadedModel, PlaceBitmap>();

/** All items but the history's. */
export function legalFor(model: LoadedModel, history: readonly number[]): LegalPlaces {
  let all = everything.get(model);
  if (all === undefined) everything.set(model, (all = PlaceBitmap.all(model.order.size)));
  return withoutNumbers(all, model.order, history);
}

/** @throws Error when it gives fewer candidates than were asked for */
export async function generateFor(model: LoadedModel, user: number, { length, beams }: Asked): Promise<void> {
  const history = historyOf(model, user, length);
  const { dim } = model.vectors;
  const vectors = new Float32Array(length * dim);
  for (const [at, item] of history.entries()) model.vectors.read(model.order.placeOf(item), vectors, at * dim);
  const found = await generate(model, { vectors, length }, legalFor(model, history), {
    count: CANDIDATES,
    exactBelow: 0,
    beams: model.order.levels.slice(1).map(() => beams),
  });
  if (found.places.length !== CANDIDATES) throw new Error(`${found.places.length} of ${CANDIDATES} candidates`);
}
