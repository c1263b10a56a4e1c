/** Ranking cases through the Worker's own decoding, many variants at once: what they share of the network is run once. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Manifest } from "../functions/domain/artefact/manifest.ts";
import { PlaceBitmap, withoutNumbers } from "../functions/domain/generation/bitmap.ts";
import { generate, type GenerateOptions } from "../functions/domain/generation/generate.ts";
import type { Candidates, DecodeNetwork, GenerativeModel } from "../functions/domain/generation/types.ts";
import { type LoadedModel, loadModel } from "../functions/inference/load-model.ts";
import { historyVectors } from "../functions/inference/parity.ts";
import { leave } from "./bench.ts";
import { folderSource, rowsOfItems } from "./model-files.ts";
import "./node-runtime.ts";
import { type Case, digest, type Ranked, type Ranking } from "./run-folder.ts";

/** Candidates asked for, as a request does by default. */
export const COUNT = 20;

/** One way to decode, beside what the manifest says. */
export type Variant = Omit<GenerateOptions, "count"> & { readonly count?: number };

/** Runs each graph once for equal inputs within a case: variants differ in what they do with the answers. */
class CaseNetwork implements DecodeNetwork {
  readonly #network: DecodeNetwork;
  #encoded: ReturnType<DecodeNetwork["encode"]> | undefined;
  readonly #steps = new Map<string, Promise<Float32Array>>();

  constructor(network: DecodeNetwork) {
    this.#network = network;
  }

  forget(): void {
    this.#encoded = undefined;
    this.#steps.clear();
  }

  encode(x: Float32Array, length: number): ReturnType<DecodeNetwork["encode"]> {
    return (this.#encoded ??= this.#network.encode(x, length));
  }

  step(level: number, h: Float32Array, prefixes: Int32Array, beams: number): Promise<Float32Array> {
    const key = `${level}:${prefixes.subarray(0, beams * (level - 1)).join()}`;
    const known = this.#steps.get(key) ?? this.#network.step(level, h, prefixes, beams);
    this.#steps.set(key, known);
    return known;
  }
}

/** What one variant made of one case. `rank` is the target's among the candidates, -1 where it is not one of them. */
export interface Answer {
  readonly variant: string;
  readonly ranking: Ranking;
  readonly candidates: Candidates;
  readonly rank: number;
  /** Items that could have been returned. */
  readonly legal: number;
}

/** Calls `take` for each case, ranking and variant, in this order. */
export async function decodeCases(
  model: LoadedModel,
  cases: readonly Case[],
  variants: Readonly<Record<string, Variant>>,
  rankings: readonly Ranking[],
  take: (answer: Answer) => void,
): Promise<void> {
  const network = new CaseNetwork(model.network);
  const { order, vectors, scoring, historyLength } = model;
  const decoding: GenerativeModel = { order, vectors, scoring, historyLength, network };
  const all = PlaceBitmap.all(order.size);
  for (const [at, { history, target, seen }] of cases.entries()) {
    network.forget();
    const places = history.slice(-historyLength).map((row) => order.placeOf(row + 1));
    const input = { vectors: historyVectors(model, places), length: places.length };
    const place = order.placeOf(target + 1);
    for (const ranking of rankings) {
      const numbers = ranking === "masked" ? seen.map((row) => row + 1) : [];
      const legal = numbers.length === 0 ? all : withoutNumbers(all, order, numbers);
      for (const [variant, options] of Object.entries(variants)) {
        const candidates = await generate(decoding, input, legal, { count: COUNT, ...options });
        take({ variant, ranking, candidates, rank: candidates.places.indexOf(place), legal: legal.total });
      }
    }
    if (at % 2000 === 1999) process.stderr.write(`${model.modelVersion}: ${at + 1} of ${cases.length} cases\n`);
  }
}

/** Ranks of every variant in both rankings. */
export async function rankCases(
  model: LoadedModel,
  cases: readonly Case[],
  variants: Readonly<Record<string, Variant>>,
): Promise<Record<string, Ranked>> {
  const ranked: Record<string, { masked: number[]; unmasked: number[] }> = {};
  for (const name of Object.keys(variants)) ranked[name] = { masked: [], unmasked: [] };
  await decodeCases(model, cases, variants, ["masked", "unmasked"], ({ variant, ranking, rank }) => {
    ranked[variant]![ranking].push(rank);
  });
  return ranked;
}

/** An artefact folder of a run as a model that decodes; ends the process with 2 where there is none. */
export async function openArtefact(folder: string, run = path.dirname(folder)): Promise<LoadedModel> {
  if (!existsSync(path.join(folder, "manifest.json")))
    leave(`no artefact in ${path.relative(".", folder)}: train first`);
  const source = await folderSource(folder);
  return loadModel(source, await rowsOfItems(source, run));
}

/** Files that say nothing about how a history is decoded. */
const BESIDE = new Set(["MODEL_CARD.md", "parity.json", "text.onnx", "text.json", "tokenizer.onnx"]);

/** Names all that decoded ranks depend on: the artefact's files, how it is scored, the cases, the Worker's decoding code. */
export function decodingKey(
  manifests: readonly Manifest[],
  cases: readonly Case[],
  ...more: readonly string[]
): string {
  const artefacts = manifests.map(({ files, scoring, levels, historyLength }) => ({
    files: files.filter((file) => !BESIDE.has(file.path)).map((file) => file.sha256),
    scoring: { ...scoring, temperature: undefined },
    levels,
    historyLength,
  }));
  const questions = createHash("sha256");
  for (const { user, history, target, seen } of cases)
    questions.update(`${user};${history.join()};${target};${seen.join()}\n`);
  const code = path.join(import.meta.dirname, "..", "functions", "domain", "generation");
  const sources = readdirSync(code)
    .filter((name) => name.endsWith(".ts"))
    .sort()
    .map((name) => readFileSync(path.join(code, name), "utf8"));
  return digest(JSON.stringify(artefacts), questions.digest("hex"), ...sources, ...more);
}
