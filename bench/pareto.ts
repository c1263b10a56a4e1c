/**
 * Quality against milliseconds and bytes, on validation cases only: every artefact of `.cache/runs/pareto-<dataset>-*` (or of the
 * runs named by `--runs a,b`) at several widths of the search (`--beams 5,10,20 --leaves 64,128`), through the Worker's decoding.
 * Milliseconds are those of onnxruntime-web in Node for a history of 20 items, all points in turn in every round.
 */
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import * as z from "zod";
import { PlaceBitmap } from "../functions/domain/generation/bitmap.ts";
import { generate } from "../functions/domain/generation/generate.ts";
import { seededRandom } from "../functions/domain/generation/random.ts";
import type { LoadedModel } from "../functions/inference/load-model.ts";
import { historyVectors } from "../functions/inference/parity.ts";
import { benchArguments, leave, percentile, round, startBench } from "./bench.ts";
import { COUNT, decodeCases, decodingKey, openArtefact, type Variant } from "./decoding.ts";
import { paretoOptimal } from "./pareto-front.ts";
import { figuresOf } from "./ranking-figures.ts";
import { type Case, everyNth, kept, rankingOf, readCases, runFolder } from "./run-folder.ts";

const CASES = 4000;
const QUICK_CASES = 300;
const HISTORY = 20;
/** Measured where nothing else is asked for, beside the artefact's own. */
const WIDTHS = [
  [5, 32],
  [10, 64],
  [20, 64],
  [40, 256],
] as const;
/** Not the model's: the text encoder that models share, and what a Worker that serves does not read. */
const BESIDE = new Set(["text.onnx", "text.json", "parity.json", "MODEL_CARD.md"]);

interface Width {
  readonly beams: readonly number[];
  readonly leaves: number;
}

function numbers(text: string | boolean | undefined): number[] | undefined {
  if (typeof text !== "string") return undefined;
  const values = text.split(",").map(Number);
  if (!values.every((value) => Number.isInteger(value) && value > 0)) leave(`whole numbers from 1, got ${text}`);
  return values;
}

const args = benchArguments({ dataset: "beauty" }, { runs: "string", beams: "string", leaves: "string" });
const dataset = args.dataset ?? "";
const chosen = args.more["runs"];
const names =
  typeof chosen === "string"
    ? chosen.split(",")
    : readdirSync(path.dirname(runFolder("-"))).filter((name) => name.startsWith(`pareto-${dataset}-`));
const trained = names.filter((name) => existsSync(path.join(runFolder(name), "artefact-int8", "manifest.json")));
for (const name of names) if (!trained.includes(name)) process.stderr.write(`${name}: no artefact, left out\n`);
if (trained.length === 0) leave(`nothing to measure: .venv/bin/python -m training.pareto --config ${dataset}`);
const bench = startBench("pareto", args);

/** Widths that an artefact is measured at; `beams` after each level but the last. */
function widthsOf({ scoring, order }: LoadedModel): Width[] {
  const everyLevel = (beams: number) => order.levels.slice(1).map(() => beams);
  const [beams, leaves] = [numbers(args.more["beams"]), numbers(args.more["leaves"])];
  if (beams !== undefined || leaves !== undefined) {
    return (beams ?? [scoring.beams[0]!]).flatMap((b) =>
      (leaves ?? [scoring.leaves]).map((l) => ({ beams: everyLevel(b), leaves: l })),
    );
  }
  const own = { beams: scoring.beams, leaves: scoring.leaves };
  const more = WIDTHS.map(([b, l]) => ({ beams: everyLevel(b), leaves: l }));
  return [own, ...more.filter((one) => JSON.stringify(one) !== JSON.stringify(own))];
}

const Quality = z.object({
  cases: z.int(),
  recall10: z.number(),
  ndcg10: z.number(),
  /** Without the item head's share of the score. */
  aloneNdcg10: z.number(),
});

async function qualityOf(model: LoadedModel, cases: readonly Case[], width: Width): Promise<z.output<typeof Quality>> {
  const ranks = { fused: [] as number[], alone: [] as number[] };
  const variants: Record<keyof typeof ranks, Variant> = { fused: width, alone: { ...width, alpha: 1 } };
  const ranking = rankingOf(model.manifest);
  await decodeCases(model, cases, variants, [ranking], ({ variant, rank }) => {
    ranks[variant as keyof typeof ranks].push(rank);
  });
  const { recall10, ndcg10 } = figuresOf(ranks.fused);
  return { cases: cases.length, recall10, ndcg10, aloneNdcg10: figuresOf(ranks.alone).ndcg10 };
}

interface Measured extends z.output<typeof Quality> {
  readonly run: string;
  readonly model: LoadedModel;
  readonly width: Width;
  readonly histories: readonly (readonly number[])[];
  readonly milliseconds: number[];
}

const points: Measured[] = [];
for (const run of trained) {
  const folder = runFolder(run);
  const given = readCases(folder, "validation");
  if (given === undefined) leave(`${run}: no cases-validation.json`);
  const cases = everyNth(given.users, args.quick ? QUICK_CASES : CASES);
  const model = await openArtefact(path.join(folder, "artefact-int8"));
  // histories of one length, so that milliseconds compare: real ones, repeated from the front where they are shorter
  const histories = everyNth(given.users, 50).map(({ history }) =>
    Array.from({ length: HISTORY }, (_, at) => history[at % history.length]!),
  );
  for (const width of widthsOf(model)) {
    const compute = () => qualityOf(model, cases, width);
    const key = decodingKey([model.manifest], cases, JSON.stringify(width));
    const quality = args.quick
      ? await compute()
      : await kept(path.join(folder, `pareto-${key}.json`), Quality, compute);
    points.push({ run, model, width, histories, milliseconds: [], ...quality });
    process.stderr.write(`${run} ${width.beams.join("-")}/${width.leaves}: N@10 ${quality.ndcg10}\n`);
  }
}

/** Encode, decode, filter and re-score, from rows of the history to the list. */
async function generation({ model, width }: Measured, history: readonly number[]): Promise<number> {
  const legal = PlaceBitmap.all(model.order.size);
  const start = performance.now();
  const places = history.slice(-model.historyLength).map((row) => model.order.placeOf(row + 1));
  const input = { vectors: historyVectors(model, places), length: places.length };
  await generate(model, input, legal, { ...width, count: COUNT });
  return performance.now() - start;
}

const rounds = args.quick ? 30 : 200;
const random = seededRandom("pareto");
for (let at = -20; at < rounds; at += 1) {
  const first = random() * points.length; // whoever else uses the machine does so at no point's expense
  for (const point of [...points.slice(first), ...points.slice(0, first)]) {
    const took = await generation(point, point.histories[(at + 20) % point.histories.length]!);
    if (at >= 0) point.milliseconds.push(took);
  }
}

const figures = points.map(({ run, model, width, milliseconds, cases, recall10, ndcg10, aloneNdcg10 }) => {
  const { manifest } = model;
  const bytes = (isCounted: (file: string) => boolean) =>
    manifest.files.reduce((sum, file) => sum + (isCounted(file.path) ? file.bytes : 0), 0);
  return {
    run,
    modelVersion: manifest.modelVersion,
    dim: manifest.dim,
    levels: manifest.levels,
    historyLength: manifest.historyLength,
    beams: width.beams,
    leaves: width.leaves,
    alpha: manifest.scoring.alpha,
    cases,
    recall10,
    ndcg10,
    aloneNdcg10,
    generationP50: round(percentile(milliseconds, 0.5), 3),
    modelBytes: bytes((file) => !BESIDE.has(file)),
    artefactBytes: bytes(() => true),
  };
});
const optimal = paretoOptimal(figures);
const rows = figures.map((row, at) => ({ ...row, optimal: optimal[at]! }));
for (const model of new Set(points.map((point) => point.model))) await model.dispose();

bench.finish(
  { dataset, split: "validation", history: HISTORY, rounds, rows },
  {
    title: `validation, ${rows[0]!.cases} cases; generation of ${HISTORY} items in Node, ${rounds} interleaved rounds; * nothing else is as good, as fast and as small`,
    columns: [
      "",
      "run",
      "d",
      "codes",
      "history",
      "beams",
      "leaves",
      "R@10",
      "N@10",
      "alone N@10",
      "p50 ms",
      "model bytes",
    ],
    rows: rows
      .toSorted((a, b) => b.ndcg10 - a.ndcg10)
      .map((row) => [
        row.optimal ? "*" : "",
        row.run,
        row.dim,
        row.levels.join(" x "),
        row.historyLength,
        row.beams.join(" "),
        row.leaves,
        row.recall10.toFixed(4),
        row.ndcg10.toFixed(4),
        row.aloneNdcg10.toFixed(4),
        row.generationP50,
        row.modelBytes,
      ]),
  },
);
