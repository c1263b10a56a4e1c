/** What a training run leaves for the benchmarks in .cache/runs/<run>/: ranking cases, ranks of every model, training counts. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import * as z from "zod";
import type { Manifest } from "../functions/domain/artefact/manifest.ts";
import type { Ranks } from "./ranking-figures.ts";

const RUNS = path.join(import.meta.dirname, "..", ".cache", "runs");

const Rows = z.array(z.int().min(0));
const Cases = z.object({
  dataset: z.string(),
  split: z.string(),
  users: z.array(z.object({ user: z.string(), history: Rows.min(1), target: z.int().min(0), seen: Rows })).min(1),
});
const RanksFile = z.object({
  trainSeconds: z.number().nullable(),
  unmasked: z.array(z.int()),
  masked: z.array(z.int()),
});
const ItemsTrain = z.object({ ids: z.array(z.string()).optional(), events: z.array(z.int().min(0)) });

/** One ranking question; `seen` are all earlier items of the user, `history` the newest of them, oldest first. */
export type Case = z.infer<typeof Cases>["users"][number];

/** `masked`: the user's earlier items are left out of the ranking. */
export interface Ranked {
  readonly masked: Ranks;
  readonly unmasked: Ranks;
}
export type Ranking = keyof Ranked;

/** Above it, repeats are common and a request keeps earlier items in its list unless it says otherwise. */
const REPEATS_ALLOWED_FROM = 0.05;

/** The ranking that choices and intervals look at. */
export function rankingOf({ data }: Manifest): Ranking {
  return data.repeatShare > REPEATS_ALLOWED_FROM ? "unmasked" : "masked";
}

/** The folder of a run by its name, or of a data set's seed: `<dataset>` for seed 0, `<dataset>-s<seed>` for others. */
export function runFolder(dataset: string, seed = 0): string {
  return path.join(RUNS, seed === 0 ? dataset : `${dataset}-s${seed}`);
}

/** The command that trains a run. */
export function trainCommand(dataset: string, seed: number): string {
  return `npm run train -- --config ${dataset}${seed === 0 ? "" : ` --seed ${seed}`}`;
}

/** Whether a run is complete enough to be measured. */
export function isTrained(folder: string): boolean {
  return ["cases-test.json", "artefact-int8/manifest.json", "artefact-fp32/manifest.json"].every((file) =>
    existsSync(path.join(folder, file)),
  );
}

/** @returns undefined where the file is absent. @throws ZodError for another shape */
export function readJson<Schema extends z.ZodType>(file: string, schema: Schema): z.output<Schema> | undefined {
  return existsSync(file) ? schema.parse(JSON.parse(readFileSync(file, "utf8"))) : undefined;
}

export function readCases(folder: string, split: "test" | "validation"): z.output<typeof Cases> | undefined {
  return readJson(path.join(folder, `cases-${split}.json`), Cases);
}

/** Ranks by the trainer, of all test cases. */
export function trainersRanks(folder: string, model: string): z.output<typeof RanksFile> | undefined {
  return readJson(path.join(folder, `ranks-${model}.json`), RanksFile);
}

/** Ids and training events of the run's items, by the numbers that its cases give them. */
export function itemsOf(folder: string): z.output<typeof ItemsTrain> | undefined {
  return readJson(path.join(folder, "items-train.json"), ItemsTrain);
}

/** Every n-th of the values, so that about `count` are left. */
export function everyNth<Value>(values: readonly Value[], count: number): Value[] {
  const stride = Math.max(1, Math.floor(values.length / count));
  return values.filter((_, at) => at % stride === 0);
}

/** First 12 hex digits of the sha256 of some texts. */
export function digest(...texts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`${text.length}:`).update(text);
  return hash.digest("hex").slice(0, 12);
}

/** What was computed before under a name that says all that it depends on, else computed now and kept. */
export async function kept<Schema extends z.ZodType>(
  file: string,
  schema: Schema,
  compute: () => Promise<z.output<Schema>>,
): Promise<z.output<Schema>> {
  const known = readJson(file, schema);
  if (known !== undefined) return known;
  const fresh = await compute();
  writeFileSync(`${file}.tmp`, JSON.stringify(fresh));
  renameSync(`${file}.tmp`, file);
  return fresh;
}
