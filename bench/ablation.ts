/**
 * UniGRec's and SODA's rows on the edge backbone: what each part adds, from the trainer's cached runs, means over seeds with
 * intervals from resampling users. `--train` first runs the rows that are missing (hours, see training/joint/README.md);
 * `--part validation` shows what choices were made by, searched rows included.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import * as z from "zod";
import { benchArguments, leave, mean, round, startBench } from "./bench.ts";
import {
  type Figures,
  figuresOf,
  meanFigures,
  type Metric,
  type Ranks,
  spread,
  UserBootstrap,
} from "./ranking-figures.ts";

const ROOT = path.join(import.meta.dirname, "..");
const REPORTED = ["recall10", "ndcg10"] as const satisfies readonly Metric[];

const Ranked = z.object({ ranks: z.array(z.int()) });
const Margin = z.record(z.string(), z.number().nullable());
const Run = z.object({
  variant: z.string(),
  comparedTo: z.string().nullable(),
  group: z.enum(["main", "extra", "soda", "search"]),
  order: z.int(),
  seed: z.int(),
  epochs: z.int(),
  budget: z.boolean(),
  ranking: z.enum(["masked", "unmasked"]),
  seconds: z.object({ tokenizer: z.number(), training: z.number(), evaluation: z.number() }),
  validation: Ranked,
  test: Ranked,
  diagnostics: z.object({
    entropyBits: z.array(z.number()),
    collisionRate: z.number(),
    codesChanged: z.array(z.number()),
    atMostOneLevelChanged: z.number(),
    nearMissSimilarity: z.number().nullable(),
    margins: z.record(z.string(), Margin),
    softHardGap: z.object({ gap: z.number(), low: z.number(), high: z.number() }).optional(),
  }),
});
type Run = z.infer<typeof Run>;

const Cases = z.object({
  dataset: z.string(),
  split: z.string(),
  items: z.int(),
  sampledUsers: z.int().nullable(),
  validation: z.array(z.int()),
  test: z.array(z.int()),
});

const args = benchArguments(
  { dataset: "larder", seeds: [0, 1, 2] },
  { part: "string", group: "string", train: "boolean" },
);
const part = z.enum(["validation", "test"]).safeParse(args.more["part"] ?? "test");
if (!part.success) leave(`--part is validation or test, got ${args.more["part"]}`);
const split = part.data;
const folder = path.join(ROOT, ".cache", "runs", "ablation", args.dataset ?? "");
const python = path.join(ROOT, ".venv", "bin", "python");

if (args.more["train"] === true) {
  if (!existsSync(python)) leave("training: .venv is absent; run: npm run training:setup");
  const wanted = ["--dataset", args.dataset ?? "", "--seeds", args.seeds.join(","), "--variants", "all"];
  const budget = args.dataset === "beauty" ? ["--epochs", "8"] : [];
  execFileSync(python, ["-m", "training.joint.ablation", ...wanted, ...budget], { cwd: ROOT, stdio: ["ignore", 2, 2] });
}
if (!existsSync(path.join(folder, "cases.json"))) {
  leave(`no runs in ${path.relative(".", folder)}: python -m training.joint.ablation --dataset ${args.dataset}`);
}

const bench = startBench("ablation", args);
const cases = Cases.parse(JSON.parse(readFileSync(path.join(folder, "cases.json"), "utf8")));
const runs = readdirSync(folder)
  .filter((name) => /\.s\d+\.json$/.test(name))
  .map((name) => Run.parse(JSON.parse(readFileSync(path.join(folder, name), "utf8"))))
  .filter((run) => args.seeds.includes(run.seed) && isWanted(run))
  .toSorted((a, b) => a.order - b.order || a.variant.localeCompare(b.variant) || a.seed - b.seed);
if (runs.length === 0) leave(`no runs of seeds ${args.seeds.join(", ")} in ${path.relative(".", folder)}`);

/** Searched rows belong to validation alone: nothing may be chosen by the test split. */
function isWanted(run: Run): boolean {
  const group = args.more["group"];
  if (typeof group === "string") return run.group === group;
  return run.group !== "search" || split === "validation";
}

const rowsOf = Map.groupBy(runs, (run) => run.variant);
const ranksOf = (variant: string, seeds: readonly number[]): readonly Ranks[] =>
  rowsOf.get(variant)!.flatMap((run) => (seeds.includes(run.seed) ? [run[split].ranks] : []));
const bootstrap = new UserBootstrap(cases[split].map(String), args.seeds[0] ?? 0);

interface Summary {
  readonly variant: string;
  readonly seeds: readonly number[];
  readonly mean: Figures;
  readonly columns: Readonly<Record<(typeof REPORTED)[number], number>>;
  readonly against: {
    readonly own: Summary["columns"];
    readonly other: Summary["columns"];
    readonly seeds: number;
  } | null;
}

function columnsOf(variant: string, seeds: readonly number[]): Summary["columns"] {
  const ranks = ranksOf(variant, seeds);
  return { recall10: bootstrap.add(ranks, "recall10"), ndcg10: bootstrap.add(ranks, "ndcg10") };
}

const summaries = [...rowsOf].map(([variant, own]): Summary => {
  const seeds = own.map((run) => run.seed);
  const other = own[0]!.comparedTo === null ? undefined : rowsOf.get(own[0]!.comparedTo);
  const shared = seeds.filter((seed) => other?.some((run) => run.seed === seed));
  return {
    variant,
    seeds,
    mean: meanFigures(ranksOf(variant, seeds)),
    columns: columnsOf(variant, seeds),
    against:
      shared.length === 0
        ? null
        : { own: columnsOf(variant, shared), other: columnsOf(own[0]!.comparedTo!, shared), seeds: shared.length },
  };
});

const summary = summaries.map(({ variant, seeds, mean: figures, columns, against }) => {
  const own = rowsOf.get(variant)!;
  const average = (of: (run: Run) => number | null | undefined) => {
    const values = own.map(of).filter((value) => value !== null && value !== undefined);
    return values.length === 0 ? null : round(mean(values), 4);
  };
  const levels = (of: (run: Run) => readonly number[]) =>
    of(own[0]!).map((_, level) => round(mean(own.map((run) => of(run)[level]!)), 3));
  const differences = Object.fromEntries(
    REPORTED.map((metric) => [
      metric,
      against === null ? null : bootstrap.difference(against.own[metric], against.other[metric]),
    ]),
  );
  return {
    variant,
    group: own[0]!.group,
    budget: own[0]!.budget,
    epochs: own[0]!.epochs,
    seeds,
    mean: { recall10: figures.recall10, ndcg10: figures.ndcg10 },
    interval: bootstrap.interval(columns.ndcg10),
    recall10Interval: bootstrap.interval(columns.recall10),
    seedSpread: spread(own.map((run) => figuresOf(run[split].ranks).ndcg10)),
    comparedTo: own[0]!.comparedTo,
    comparedSeeds: against?.seeds ?? 0,
    differenceToPrevious: differences["ndcg10"]?.difference ?? null,
    differenceInterval: differences["ndcg10"]?.interval ?? null,
    recall10Difference: differences["recall10"]?.difference ?? null,
    recall10DifferenceInterval: differences["recall10"]?.interval ?? null,
    diagnostics: {
      entropyBits: levels((run) => run.diagnostics.entropyBits),
      collisionRate: average((run) => run.diagnostics.collisionRate),
      codesChanged: levels((run) => run.diagnostics.codesChanged),
      atMostOneLevelChanged: average((run) => run.diagnostics.atMostOneLevelChanged),
      nearMissSimilarity: average((run) => run.diagnostics.nearMissSimilarity),
      softHardGap: average((run) => run.diagnostics.softHardGap?.gap),
      klToTarget: average((run) => run.diagnostics.margins["probe"]?.["positive"]),
      klMarginWon: average((run) => run.diagnostics.margins["probe"]?.["share_won"]),
      klToTargetOwn: average((run) => run.diagnostics.margins["own"]?.["positive"]),
      klMarginWonOwn: average((run) => run.diagnostics.margins["own"]?.["share_won"]),
    },
    seconds: average((run) => run.seconds.tokenizer + run.seconds.training + run.seconds.evaluation),
  };
});

const signed = (value: number | null) => (value === null ? "" : `${value < 0 ? "" : "+"}${value.toFixed(4)}`);
const between = (interval: readonly [number, number] | null) =>
  interval === null ? "" : `[${interval.map(signed).join(", ")}]`;

bench.finish(
  {
    dataset: cases.dataset,
    split,
    items: cases.items,
    cases: cases[split].length,
    users: new Set(cases[split]).size,
    sampledUsers: cases.sampledUsers,
    ranking: runs[0]!.ranking,
    budget: runs.some((run) => run.budget),
    hours: round(runs.reduce((sum, run) => sum + run.seconds.training + run.seconds.evaluation, 0) / 3600, 2),
    rows: runs.map((run) => {
      const { recall10, ndcg10 } = figuresOf(run[split].ranks);
      return { variant: run.variant, seed: run.seed, recall10, ndcg10, seconds: run.seconds.training };
    }),
    summary,
  },
  {
    title: `${cases.dataset}, ${split}, ${cases[split].length} cases, generator alone, all ${cases.items} items ranked`,
    columns: [
      "row",
      "seeds",
      "R@10",
      "N@10",
      "compared with",
      "R@10 gain",
      "",
      "N@10 gain",
      "",
      "collisions",
      "changed",
    ],
    rows: summary.map((row) => [
      row.budget ? `${row.variant} (budget)` : row.variant,
      row.seeds.length,
      row.mean.recall10.toFixed(4),
      row.mean.ndcg10.toFixed(4),
      row.comparedTo ?? "",
      signed(row.recall10Difference),
      between(row.recall10DifferenceInterval),
      signed(row.differenceToPrevious),
      between(row.differenceInterval),
      row.diagnostics.collisionRate?.toFixed(3) ?? "",
      row.diagnostics.codesChanged.map((share) => share.toFixed(2)).join(" "),
    ]),
  },
);
