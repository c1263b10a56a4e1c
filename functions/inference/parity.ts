/**
 * Holds the graphs that are served to the trainer's own figures (parity.json): hidden states, logits, the whole ranking
 * through the Worker's decoding, and the text side down to token ids.
 */
import * as z from "zod";
import type { Refusal } from "../domain/artefact/checks.ts";
import { PlaceBitmap } from "../domain/generation/bitmap.ts";
import { generate } from "../domain/generation/generate.ts";
import type { DecodeNetwork, GenerativeModel } from "../domain/generation/types.ts";
import type { LoadedModel } from "./load-model.ts";

const Numbers = z.array(z.number());
const Rows = z.array(z.int().min(0));

export const Parity = z.object({
  cases: z
    .array(
      z.object({
        /** Rows of the artefact, oldest first. */
        history: Rows.min(1),
        h: Numbers,
        logits1: Numbers,
        prefixes: z.array(Rows),
        logits2: z.array(Numbers),
        prefixes3: z.array(Rows).optional(),
        logits3: z.array(Numbers).optional(),
        top: z.array(z.object({ row: z.int().min(0), logProbability: z.number(), score: z.number() })),
      }),
    )
    .min(1)
    .max(64),
  text: z.array(z.object({ text: z.string(), tokens: Rows, vector: Numbers, codes: Rows })).max(64),
});
export type Parity = z.infer<typeof Parity>;

export interface ParityReport {
  readonly refusals: readonly Refusal[];
  /** Largest deviation found, relative to max(1, |expected|). */
  readonly deviation: number;
  readonly cases: number;
  readonly texts: number;
}

/** Largest |got - expected| / max(1, |expected|); infinite when the lengths differ. */
function deviationOf(expected: readonly number[], got: ArrayLike<number>): number {
  if (expected.length !== got.length) return Infinity;
  let worst = 0;
  for (const [i, value] of expected.entries()) {
    worst = Math.max(worst, Math.abs(got[i]! - value) / Math.max(1, Math.abs(value)));
  }
  return Number.isNaN(worst) ? Infinity : worst;
}

type Case = Parity["cases"][number];
type Compare = (what: string, expected: readonly number[], got: ArrayLike<number>) => void;

/** Vectors (length, dim) of places, oldest first. */
export function historyVectors(model: LoadedModel, places: readonly number[]): Float32Array {
  const { dim } = model.vectors;
  const x = new Float32Array(places.length * dim);
  for (const [at, place] of places.entries()) model.vectors.read(place, x, at * dim);
  return x;
}

async function checkGraphs(network: DecodeNetwork, given: Case, x: Float32Array, compare: Compare): Promise<void> {
  const { h, logits } = await network.encode(x, given.history.length);
  compare("h", given.h, h);
  compare("logits1", given.logits1, logits);
  const steps = [
    { level: 2, prefixes: given.prefixes, logits: given.logits2 },
    { level: 3, prefixes: given.prefixes3 ?? [], logits: given.logits3 ?? [] },
  ];
  for (const { level, prefixes, logits: expected } of steps) {
    if (prefixes.length === 0) continue;
    const got = await network.step(level, h, Int32Array.from(prefixes.flat()), prefixes.length);
    compare(`logits${level}`, expected.flat(), got);
  }
}

/** Items whose expected scores are closer than the tolerance may change places; every score must be right by itself. */
async function checkRanking(
  model: GenerativeModel,
  rows: Uint32Array,
  given: Case,
  x: Float32Array,
  { compare, tolerance }: { readonly compare: Compare; readonly tolerance: number },
): Promise<string | undefined> {
  const legal = PlaceBitmap.all(model.order.size);
  const history = { vectors: x, length: given.history.length };
  const found = await generate(model, history, legal, { count: given.top.length, exactBelow: 0 }); // as the trainer does
  const at = new Map([...found.places].map((place, position) => [place, position]));
  const last = given.top.at(-1)?.score ?? 0;
  const near = tolerance * Math.max(1, Math.abs(last));
  for (const [position, one] of given.top.entries()) {
    const got = at.get(model.order.placeOf(rows[one.row]!));
    if (got === undefined) {
      if (one.score - last <= near) continue; // at the very end of the list an equal may stand in its place
      return `row ${one.row} at position ${position}, got none`;
    }
    compare(`top ${position} score`, [one.score], [found.score[got]!]);
    compare(`top ${position} logProbability`, [one.logProbability], [found.logProbability[got]!]);
    compare(`top ${position} order`, [one.score], [found.score[position]!]);
  }
  return undefined;
}

/**
 * Runs all cases. `rows` is the artefact's row table; a case whose history holds a dead row is left out, and the ranking is
 * compared only when no row is dead and no item was added, because counts and softmaxes run over all items.
 * @param others further engines of the same graphs, by name: held to the same figures
 */
export async function checkParity(
  model: LoadedModel,
  rows: Uint32Array,
  parity: Parity,
  others: Readonly<Record<string, DecodeNetwork>> = {},
): Promise<ParityReport> {
  const { tolerance } = model.manifest.parity;
  const refusals: Refusal[] = [];
  let deviation = 0;
  const refuse = (what: string, expected: string, got: string) =>
    refusals.push({ code: "parity", what: `${model.manifest.parity.file} ${what}`, expected, got });
  const comparing =
    (prefix: string): Compare =>
    (what, expected, got) => {
      const found = deviationOf(expected, got);
      deviation = Math.max(deviation, found);
      if (found > tolerance) refuse(`${prefix} ${what}`, `a deviation of at most ${tolerance}`, found.toPrecision(3));
    };
  const isWhole = model.order.size === rows.length && !rows.includes(0);
  const engines = [["", model.network] as const, ...Object.entries(others)];
  let cases = 0;
  for (const [index, given] of parity.cases.entries()) {
    const places = given.history.map((row) => model.order.placeOf(rows[row] ?? 0));
    if (places.includes(-1)) continue;
    cases += 1;
    const x = historyVectors(model, places);
    for (const [name, network] of engines) {
      const what = name === "" ? `case ${index}` : `case ${index} ${name}`;
      const compare = comparing(what);
      await checkGraphs(network, given, x, compare);
      if (!isWhole) continue;
      const { order, vectors, scoring, historyLength } = model;
      const served = { order, vectors, scoring, historyLength, network };
      const missing = await checkRanking(served, rows, given, x, { compare, tolerance });
      if (missing !== undefined) refuse(`${what} top`, missing, "another ranking");
    }
  }
  await checkTexts(model, parity, comparing("text"), refuse);
  return { refusals, deviation, cases, texts: parity.text.length };
}

async function checkTexts(
  model: LoadedModel,
  parity: Parity,
  compare: Compare,
  refuse: (what: string, expected: string, got: string) => void,
): Promise<void> {
  if (parity.text.length === 0) return;
  const { vectors, codes } = await model.encodeText(parity.text.map((one) => one.text));
  const { dim, levels } = model.manifest;
  for (const [row, one] of parity.text.entries()) {
    const tokens = await model.tokens(one.text);
    if (tokens.join() !== one.tokens.join()) refuse(`text ${row} tokens`, one.tokens.join(" "), tokens.join(" "));
    compare(`${row} vector`, one.vector, vectors.subarray(row * dim, (row + 1) * dim));
    const got = codes.subarray(row * levels.length, (row + 1) * levels.length);
    if (got.join() !== one.codes.join()) refuse(`text ${row} codes`, one.codes.join(" "), got.join(" "));
  }
}
