/**
 * Ranking quality on a data set's test split, all items ranked, over several trainings: the trainer's comparisons as it ranked
 * them, the generator through the Worker's own decoding code and onnxruntime-web; slices of the cases, and how far probabilities
 * can be believed. `--dataset a,b` or `--all` measures several and ends with one summary. A training that is missing is named
 * with the command that makes it, and then nothing is written to bench/results. `--quick` takes every n-th case, a thousand in all.
 */
import path from "node:path";
import { type BenchArguments, benchArguments, leave, round, startBench, type Table } from "./bench.ts";
import type { Figures } from "./ranking-figures.ts";
import { METRICS } from "./ranking-figures.ts";
import { calibrationOf, openRun, quickPart, type Run, servedRanks } from "./ranking-served.ts";
import { slicesOf } from "./ranking-slices.ts";
import { summaryOf, type TrainingMinutes } from "./ranking-summary.ts";
import { agreement, INTERVAL_COVERS, type ModelRuns, SERVED, slicedTable, tableOf } from "./ranking-table.ts";
import { digest, isTrained, itemsOf, type Ranked, runFolder, trainCommand, trainersRanks } from "./run-folder.ts";

const ALL = ["beauty", "sports", "movietweetings", "online_retail", "larder"];
/** They leave nothing to chance: one run of any seed stands for all. */
const WITHOUT_CHANCE = ["popularity", "item-knn"];
/** Trained by commands of their own, and in the table where they are: `python -m training.t5.run`. */
const EXTRA = ["t5"];

/** Trainings that are there, of those asked for. */
async function runsOf(dataset: string, seeds: readonly number[]): Promise<{ runs: Run[]; missing: number[] }> {
  const missing = seeds.filter((seed) => !isTrained(runFolder(dataset, seed)));
  for (const seed of missing) {
    const folder = path.relative(".", runFolder(dataset, seed));
    process.stderr.write(`${folder} is missing or unfinished; to make it: ${trainCommand(dataset, seed)}\n`);
  }
  const runs: Run[] = [];
  for (const seed of seeds) if (!missing.includes(seed)) runs.push(await openRun(runFolder(dataset, seed), seed));
  const questions = runs.map(({ cases }) => digest(JSON.stringify(cases.map(({ user, target }) => [user, target]))));
  const other = runs.find((_, at) => questions[at] !== questions[0]);
  if (other !== undefined)
    leave(`${path.relative(".", other.folder)} has other cases than ${path.relative(".", runs[0]!.folder)}`);
  return { runs, missing };
}

function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : round(known.reduce((sum, value) => sum + value, 0) / known.length, 1);
}

async function modelsOf(runs: readonly Run[], quick: boolean): Promise<ModelRuns[]> {
  const part = (ranks: Ranked): Ranked =>
    quick ? { masked: quickPart(ranks.masked), unmasked: quickPart(ranks.unmasked) } : ranks;
  const models: ModelRuns[] = [];
  for (const model of [...WITHOUT_CHANCE, "sasrec-ce", ...EXTRA, "exact-scan"]) {
    const found = runs.flatMap(({ folder, seed }) => {
      const ranks = trainersRanks(folder, model);
      return ranks === undefined ? [] : [{ seed, ranks }];
    });
    if (WITHOUT_CHANCE.includes(model)) found.splice(1);
    if (found.length === 0) {
      if (!EXTRA.includes(model)) process.stderr.write(`no ranks-${model}.json: left out\n`);
      continue;
    }
    models.push({
      model,
      served: false,
      rankedBy: "trainer",
      seeds: found.map(({ seed }) => seed),
      runs: found.map(({ ranks }) => part(ranks)),
      artefactBytes: null,
      trainSeconds: meanOf(found.map(({ ranks }) => ranks.trainSeconds)),
    });
  }
  const decoded: Awaited<ReturnType<typeof servedRanks>>[] = [];
  for (const run of runs) decoded.push(await servedRanks(run, quick));
  const bytes = ({ files }: Run["int8"]) => files.reduce((sum, file) => sum + file.bytes, 0);
  for (const model of Object.keys(decoded[0]!)) {
    models.push({
      model,
      served: model === SERVED,
      rankedBy: "worker",
      seeds: runs.map(({ seed }) => seed),
      runs: decoded.map((ranks) => ranks[model]!),
      artefactBytes: bytes(model === "generator-fp32" ? runs[0]!.fp32 : runs[0]!.int8),
      trainSeconds: meanOf(runs.map(({ folder }) => trainersRanks(folder, SERVED)?.trainSeconds ?? null)),
    });
  }
  return models;
}

/** Minutes of training each model by seed; ranking and export are not in them. */
function minutesOf(runs: readonly Run[]): TrainingMinutes[] {
  return runs.map(({ folder, seed }) => {
    const minutes = (model: string) => round((trainersRanks(folder, model)?.trainSeconds ?? 0) / 60, 1);
    return { seed, generator: minutes(SERVED), sasrec: minutes("sasrec-ce"), itemKnn: minutes("item-knn") };
  });
}

async function measure(dataset: string, args: BenchArguments) {
  const { runs, missing } = await runsOf(dataset, args.seeds);
  const first = runs[0];
  if (first === undefined) return undefined;
  const isPartial = missing.length > 0 && args.out === undefined;
  if (isPartial) process.stderr.write("not all seeds: bench/results is left as it is (--out FOLDER writes)\n");
  const bench = startBench("ranking", { ...args, dataset, write: args.write && !isPartial });

  const models = await modelsOf(runs, args.quick);
  const cases = args.quick ? quickPart(first.cases) : first.cases;
  const { ranking } = first;
  const users = cases.map(({ user }) => user);
  const { rows, paired } = tableOf(users, models, ranking);
  const events = runs.map(({ folder }) => itemsOf(folder)?.events).find((counts) => counts !== undefined);
  if (events === undefined)
    process.stderr.write(`no items-train.json, so no slices: ${trainCommand(dataset, 0)} --stage evaluate\n`);
  const slices =
    events === undefined ? [] : slicedTable(users, models, ranking, slicesOf(cases, events, ranking === "unmasked"));
  const calibration = [];
  for (const run of args.quick ? [] : runs) calibration.push({ seed: run.seed, ...(await calibrationOf(run)) });
  const trainer = trainersRanks(first.folder, SERVED);
  const served = models.find((one) => one.served)!.runs[0]!;
  const trainers = trainer === undefined || !args.quick ? trainer?.[ranking] : quickPart(trainer[ranking]);
  const fields = {
    dataset: first.dataset,
    split: first.split,
    users: new Set(users).size,
    cases: cases.length,
    items: first.int8.items.count,
    ranking,
    seedsMeasured: runs.map(({ seed }) => seed),
    intervalCovers: INTERVAL_COVERS,
    modelVersion: first.int8.modelVersion,
    scoring: first.int8.scoring,
    rows,
    paired,
    slices,
    calibration,
    trainMinutes: minutesOf(runs),
    ...(trainers === undefined ? {} : { trainerAgreement: agreement(served[ranking], trainers) }),
  };
  bench.finish(fields, tableFor(fields));
  for (const { a, b, metric, difference, interval, seedSpread } of paired)
    print(`${a} - ${b}, ${metric}: ${difference} [${interval.join(", ")}], over seeds ± ${seedSpread ?? "-"}`);
  for (const { slice, definition, users: own, cases: count, rows: figures, paired: gaps } of slices) {
    const of = figures.find(({ model }) => model === SERVED)!;
    print(`${slice} (${definition}): ${count} cases, ${own} users, R@10 ${of.recall10}, N@10 ${of.ndcg10}`);
    for (const { b, metric, difference, interval } of gaps)
      if (metric === "ndcg10") print(`  served - ${b}, ndcg10: ${difference} [${interval.join(", ")}]`);
  }
  for (const { seed, alone, fused } of calibration)
    for (const [name, { temperature, test }] of Object.entries({ alone, fused }))
      print(
        `seed ${seed}, probabilities ${name}: temperature ${temperature} fitted on validation; test NLL ${test.before.nll} -> ` +
          `${test.after.nll}, ECE ${test.before.ece} -> ${test.after.ece}`,
      );
  return fields;
}

function print(line: string): void {
  process.stderr.write(`${line}\n`);
}

type Measured = NonNullable<Awaited<ReturnType<typeof measure>>>;

function tableFor(fields: {
  readonly dataset: string;
  readonly split: string;
  readonly cases: number;
  readonly items: number;
  readonly seedsMeasured: readonly number[];
  readonly rows: ReturnType<typeof tableOf>["rows"];
}): Table {
  const cells = (figures: Figures) => METRICS.map((metric) => figures[metric].toFixed(4));
  const measures = ["R@5", "N@5", "R@10", "N@10"];
  return {
    title:
      `${fields.dataset}, ${fields.split}, ${fields.cases} cases, all ${fields.items} items ranked, mean of ` +
      `${fields.seedsMeasured.length} seeds (${fields.seedsMeasured.join(", ")}); the user's earlier items left out | kept`,
    columns: ["model", "seeds", ...measures, "|", ...measures, "± N@10 over seeds", "ranked by", "bytes", "train s"],
    rows: fields.rows.map((row) => [
      row.served ? `${row.model} (served)` : row.model,
      row.perSeed.length,
      ...cells(row.masked),
      "|",
      ...cells(row.unmasked),
      row.seedSpread.ndcg10,
      row.rankedBy,
      row.artefactBytes,
      row.trainSeconds,
    ]),
  };
}

const args = benchArguments({ dataset: "beauty", seeds: [0] }, { all: "boolean" });
const datasets = args.more["all"] === true ? ALL : (args.dataset ?? "").split(",");
const summary = startBench("ranking", {
  ...args,
  dataset: undefined,
  write: args.write && (args.more["all"] === true || args.out !== undefined),
});
const measured: Measured[] = [];
for (const dataset of datasets) {
  const fields = await measure(dataset, args);
  if (fields !== undefined) measured.push(fields);
}
if (measured.length === 0) leave("nothing to measure: train first");
if (datasets.length > 1) {
  const { table, ...fields } = summaryOf(measured);
  const left = datasets.filter((name) => !measured.some(({ dataset }) => dataset === name));
  summary.finish({ ...fields, missing: left }, table);
}
