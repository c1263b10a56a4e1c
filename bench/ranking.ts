/**
 * Ranking quality on a data set's test split, all items ranked: the trainer's comparisons as it ranked them, the generator
 * through the Worker's own decoding code and onnxruntime-web. `--quick` takes every n-th case, a thousand in all.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import * as z from "zod";
import { PlaceBitmap, withoutNumbers } from "../functions/domain/generation/bitmap.ts";
import { generate, type GenerateOptions } from "../functions/domain/generation/generate.ts";
import type { DecodeNetwork, GenerativeModel } from "../functions/domain/generation/types.ts";
import { loadModel, type LoadedModel } from "../functions/inference/load-model.ts";
import { historyVectors } from "../functions/inference/parity.ts";
import { benchArguments, leave, round, startBench } from "./bench.ts";
import { everyRow, folderSource } from "./model-files.ts";
import "./node-runtime.ts";
import { type Figures, figuresOf, METRICS, type Metric, type Ranks, UserBootstrap } from "./ranking-figures.ts";

const QUICK_CASES = 1000;
/** Candidates asked for, as a request does by default. */
const COUNT = 20;
/** Above it, repeats are common and a request keeps earlier items in its list unless it says otherwise. */
const REPEATS_ALLOWED_FROM = 0.05;

const Rows = z.array(z.int().min(0));
const Cases = z.object({
  dataset: z.string(),
  split: z.string(),
  users: z.array(z.object({ user: z.string(), history: Rows.min(1), target: z.int().min(0), seen: Rows })).min(1),
});
type Case = z.infer<typeof Cases>["users"][number];

const RanksFile = z.object({
  trainSeconds: z.number().nullable(),
  unmasked: z.array(z.int()),
  masked: z.array(z.int()),
});

/** `masked`: the user's earlier items are left out of the ranking. */
interface Ranked {
  readonly masked: Ranks;
  readonly unmasked: Ranks;
}

/** One way to decode, beside what the manifest says. */
type Variant = Omit<GenerateOptions, "count">;

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

async function rankCases(
  model: LoadedModel,
  cases: readonly Case[],
  variants: Readonly<Record<string, Variant>>,
): Promise<Record<string, Ranked>> {
  const network = new CaseNetwork(model.network);
  const { order, vectors, scoring, historyLength } = model;
  const decoding: GenerativeModel = { order, vectors, scoring, historyLength, network };
  const all = PlaceBitmap.all(order.size);
  const ranked = Object.entries(variants).map(([name, options]) => ({
    name,
    options,
    masked: [] as number[],
    unmasked: [] as number[],
  }));
  for (const [at, { history, target, seen }] of cases.entries()) {
    network.forget();
    const places = history.slice(-historyLength).map((row) => order.placeOf(row + 1));
    const input = { vectors: historyVectors(model, places), length: places.length };
    const unseen = withoutNumbers(
      all,
      order,
      seen.map((row) => row + 1),
    );
    for (const { options, masked, unmasked } of ranked) {
      for (const [ranks, legal] of [
        [masked, unseen],
        [unmasked, all],
      ] as const) {
        const found = await generate(decoding, input, legal, { ...options, count: COUNT });
        ranks.push(found.places.indexOf(order.placeOf(target + 1)));
      }
    }
    if (at % 2000 === 1999) process.stderr.write(`${model.modelVersion}: ${at + 1} of ${cases.length} cases\n`);
  }
  return Object.fromEntries(ranked.map(({ name, masked, unmasked }) => [name, { masked, unmasked }]));
}

function readJson<Schema extends z.ZodType>(file: string, schema: Schema): z.output<Schema> | undefined {
  return existsSync(file) ? schema.parse(JSON.parse(readFileSync(file, "utf8"))) : undefined;
}

const args = benchArguments({ dataset: "beauty", seeds: [1] });
const bench = startBench("ranking", args);
const folder = path.join(import.meta.dirname, "..", ".cache", "runs", args.dataset ?? "");
const given = readJson(path.join(folder, "cases-test.json"), Cases);
if (given === undefined)
  leave(`no cases in ${path.relative(".", folder)}: train first (npm run train -- --config ${args.dataset})`);

const stride = args.quick ? Math.max(1, Math.floor(given.users.length / QUICK_CASES)) : 1;
const isTaken = (_: unknown, at: number) => at % stride === 0;
const cases = given.users.filter(isTaken);

interface Row extends Ranked {
  readonly model: string;
  readonly served: boolean;
  readonly rankedBy: "worker" | "trainer";
  readonly artefactBytes: number | null;
  readonly trainSeconds: number | null;
}

function trainersRow(model: string): Row | undefined {
  const file = readJson(path.join(folder, `ranks-${model}.json`), RanksFile);
  if (file === undefined) return undefined;
  const { trainSeconds } = file;
  const [masked, unmasked] = [file.masked.filter(isTaken), file.unmasked.filter(isTaken)];
  return { model, served: false, rankedBy: "trainer", artefactBytes: null, trainSeconds, masked, unmasked };
}

async function opened(name: string) {
  const at = path.join(folder, name);
  if (!existsSync(path.join(at, "manifest.json"))) leave(`no artefact in ${path.relative(".", at)}: train first`);
  const source = await folderSource(at);
  const bytes = source.manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  return { model: await loadModel(source, everyRow(source)), bytes };
}

const rows: Row[] = [];
for (const model of ["popularity", "item-knn", "sasrec-ce", "exact-scan"]) {
  const row = trainersRow(model);
  if (row === undefined) process.stderr.write(`no ranks-${model}.json: left out\n`);
  else rows.push(row);
}
const trainers = trainersRow("generator-int8");
const trainSeconds = trainers?.trainSeconds ?? trainersRow("generator-fp32")?.trainSeconds ?? null;

const fp32 = await opened("artefact-fp32");
const ofFp32 = await rankCases(fp32.model, cases, { "generator-fp32": {} });
await fp32.model.dispose();
const int8 = await opened("artefact-int8");
const ofInt8 = await rankCases(int8.model, cases, {
  "generator-int8": {},
  "generator-alone": { alpha: 1 },
  "exact-scan-int8": { alpha: 0, exactBelow: Infinity },
});
await int8.model.dispose();
for (const [model, ranked] of Object.entries({ ...ofFp32, ...ofInt8 })) {
  const artefactBytes = model === "generator-fp32" ? fp32.bytes : int8.bytes;
  rows.push({ model, served: model === "generator-int8", rankedBy: "worker", artefactBytes, trainSeconds, ...ranked });
}

const { repeatShare } = int8.model.manifest.data;
const ranking = repeatShare > REPEATS_ALLOWED_FROM ? "unmasked" : "masked";
const users = cases.map((one) => one.user);
const bootstrap = new UserBootstrap(users, args.seeds[0] ?? 1);
const columns = new Map(
  rows.map((row) => [row.model, new Map(METRICS.map((m) => [m, bootstrap.add(row[ranking], m)]))]),
);
const column = (model: string, metric: Metric) => columns.get(model)!.get(metric)!;

const PAIRS = [
  ["generator-int8", "popularity"],
  ["generator-int8", "item-knn"],
  ["generator-int8", "sasrec-ce"],
  ["generator-int8", "generator-fp32"],
  ["generator-int8", "exact-scan"],
  ["generator-alone", "sasrec-ce"],
] as const;
const paired = PAIRS.filter(([a, b]) => columns.has(a) && columns.has(b)).flatMap(([a, b]) =>
  (["recall10", "ndcg10"] as const).map((metric) => ({
    a,
    b,
    metric,
    ...bootstrap.difference(column(a, metric), column(b, metric)),
  })),
);

/** Share of cases for which trainer and Worker put the target at the same rank of the first ten, or both below it. */
function agreement(a: Ranks, b: Ranks): number {
  const top = (rank: number | undefined) => (rank === undefined || rank >= 10 ? -1 : rank);
  return round(a.filter((rank, at) => top(rank) === top(b[at])).length / a.length, 5);
}

const served = rows.find((row) => row.served)!;
const reported = rows.map(({ model, masked, unmasked, ...row }) => ({
  model,
  served: row.served,
  ...figuresOf(ranking === "masked" ? masked : unmasked),
  ndcg10Interval: bootstrap.interval(column(model, "ndcg10")),
  recall10Interval: bootstrap.interval(column(model, "recall10")),
  artefactBytes: row.artefactBytes,
  trainSeconds: row.trainSeconds,
  rankedBy: row.rankedBy,
  masked: figuresOf(masked),
  unmasked: figuresOf(unmasked),
}));
const cells = (figures: Figures) => METRICS.map((metric) => figures[metric].toFixed(4));

bench.finish(
  {
    dataset: given.dataset,
    split: given.split,
    users: new Set(users).size,
    cases: cases.length,
    items: int8.model.manifest.items.count,
    ranking,
    modelVersion: int8.model.modelVersion,
    scoring: int8.model.scoring,
    rows: reported,
    paired,
    ...(trainers === undefined ? {} : { trainerAgreement: agreement(served[ranking], trainers[ranking]) }),
  },
  {
    title:
      `${given.dataset}, ${given.split}, ${cases.length} cases, all ${int8.model.manifest.items.count} items ranked; ` +
      `the user's earlier items left out | kept`,
    columns: [
      "model",
      "R@5",
      "N@5",
      "R@10",
      "N@10",
      "|",
      "R@5",
      "N@5",
      "R@10",
      "N@10",
      "ranked by",
      "bytes",
      "train s",
    ],
    rows: reported.map((row) => [
      row.served ? `${row.model} (served)` : row.model,
      ...cells(row.masked),
      "|",
      ...cells(row.unmasked),
      row.rankedBy,
      row.artefactBytes,
      row.trainSeconds,
    ]),
  },
);
for (const { a, b, metric, difference, interval } of paired) {
  process.stderr.write(`${a} - ${b}, ${metric}: ${difference} [${interval.join(", ")}]\n`);
}
