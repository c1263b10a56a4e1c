/**
 * Puts the figures of bench/results/ between the markers of README.md and docs/ablation.md, so that no figure there is typed by
 * hand: `npm run bench:figures`. `--check` changes nothing and fails when one of them says something else.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type MeasuredDataset, summaryOf } from "./ranking-summary.ts";

const ROOT = path.resolve(import.meta.dirname, "..");
const BEGIN = "<!-- figures:begin -->";
const END = "<!-- figures:end -->";

type Row = Readonly<Record<string, unknown>>;

interface Result {
  readonly command: string;
  readonly rows: readonly Row[];
  readonly [field: string]: unknown;
}

function result(name: string): Result {
  return JSON.parse(readFileSync(path.join(ROOT, "bench", "results", `${name}.json`), "utf8")) as Result;
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  return [columns, columns.map((_, at) => (at === 0 ? "---" : "---:")), ...rows]
    .map((row) => `| ${row.join(" | ")} |`)
    .join("\n");
}

const fixed = (value: unknown, digits: number): string => Number(value).toFixed(digits);
const NAMES: Readonly<Record<string, string>> = {
  popularity: "popularity",
  "item-knn": "item-kNN",
  "sasrec-ce": "SASRec, full softmax",
  t5: "the papers' T5, 2+2 layers, same codes, 9 epochs, one seed",
  "exact-scan": "item head, exact scan, fp32",
  "generator-fp32": "generator, fp32",
  "generator-int8": "**generator, int8, as served**",
  "generator-alone": "generator alone (no item head when serving), int8",
  "exact-scan-int8": "item head, exact scan, int8",
};

function named(model: unknown): string {
  return typeof model === "string" ? (NAMES[model] ?? model) : "";
}

function ranking(dataset: string): string {
  const { rows } = result(`ranking-${dataset}`);
  const cells = rows.map((row) => {
    const out = row["masked"] as Record<string, number>;
    const kept = row["unmasked"] as Record<string, number>;
    const measures = [out, kept].flatMap((of) =>
      ["recall5", "ndcg5", "recall10", "ndcg10"].map((name) => fixed(of[name], 4)),
    );
    return [named(row["model"]), ...measures];
  });
  return table(["", "R@5", "N@5", "R@10", "N@10", "kept: R@5", "N@5", "R@10", "N@10"], cells);
}

/** Seeds of the trainings that the served row is the mean of. */
function seedsOf(dataset: string): readonly number[] {
  const served = result(`ranking-${dataset}`).rows.find((row) => row["model"] === "generator-int8")!;
  return (served["perSeed"] as readonly { readonly seed: number }[] | undefined)?.map(({ seed }) => seed) ?? [0];
}

function seeds(dataset: string): string {
  const { length } = seedsOf(dataset);
  return length === 1 ? "one seed" : `mean of ${length} seeds`;
}

function command(dataset: string): string {
  const list = seedsOf(dataset);
  return `npm run bench:ranking -- --dataset ${dataset}${list.length === 1 ? "" : ` --seeds ${list.join()}`}`;
}

interface Slice {
  readonly slice: string;
  readonly definition: string;
  readonly cases: number;
  readonly rows: readonly { readonly model: string; readonly recall10: number; readonly ndcg10: number }[];
  readonly paired: readonly Paired[];
}

/** What is served on parts of the cases; nothing where the result has none. */
function slices(dataset: string): string {
  const all = (result(`ranking-${dataset}`)["slices"] as readonly Slice[] | undefined) ?? [];
  if (all.length === 0) return "";
  const rows = all.map(({ slice, definition, cases, rows: models, paired: gaps }) => {
    const served = models.find(({ model }) => model === "generator-int8")!;
    const minus = ["item-knn", "sasrec-ce"].map((b) => difference(gaps, b));
    const count = cases.toLocaleString("en-US");
    return [`${slice}: ${definition}`, count, fixed(served.recall10, 4), fixed(served.ndcg10, 4), ...minus];
  });
  return `\n${table(["cases", "number", "R@10", "N@10", "N@10 minus item-kNN's", "minus SASRec's"], rows)}\n`;
}

const DATASETS = ["beauty", "sports", "movietweetings", "online_retail", "larder"];

/** Why the one with real times is not won. */
const MOVIETWEETINGS = `
MovieTweetings is split in time, its baselines count the last days, and nothing is above them: people tweet about what is in the cinema this
week, of which a history says little and the model nothing. A count of recent events as an input of the score is what to try next.
`;

/** Every data set that has been measured in one table. */
function everyDataset(): string {
  const measured = DATASETS.filter((name) =>
    existsSync(path.join(ROOT, "bench", "results", `ranking-${name}.json`)),
  ).map((name) => result(`ranking-${name}`) as unknown as MeasuredDataset);
  const { rows, totalHours } = summaryOf(measured);
  const cells = rows.map((row) => {
    const of = (model: string) => row.models.find((one) => one.model === model);
    const served = of("generator-int8")!;
    const gaps = row.served.map(({ minus, ...gap }) => ({ a: "generator-int8", b: minus, ...gap }));
    return [
      row.dataset.replace("_", " "),
      String(row.seeds.length),
      row.cases.toLocaleString("en-US"),
      row.items.toLocaleString("en-US"),
      ...[served.recall10, served.ndcg10, of("generator-alone")?.ndcg10].map((value) => fixed(value, 4)),
      ...["sasrec-ce", "item-knn", "popularity"].map((b) => difference(gaps, b)),
      fixed(row.totalMinutes, 0),
    ];
  });
  const columns = [
    "",
    "seeds",
    "cases",
    "items",
    "R@10",
    "N@10",
    "alone N@10",
    "N@10 minus SASRec's",
    "minus item-kNN's",
  ];
  return `
**Every data set** (\`npm run bench:ranking -- --dataset NAME\`, or \`--all\`; one configuration, chosen on Beauty's validation cases, unchanged; Larder has its own). Training
all of it took ${fixed(totalHours, 1)} hours.

${table([...columns, "minus popularity's", "minutes"], cells)}
${measured.some(({ dataset }) => dataset === "movietweetings") ? MOVIETWEETINGS : ""}`;
}

interface Paired {
  readonly a: string;
  readonly b: string;
  readonly metric: string;
  readonly difference: number;
  readonly interval: readonly [number, number];
}

/** Served minus another model in NDCG@10. */
function difference(all: readonly Paired[], b: string): string {
  const found = all.find((one) => one.a === "generator-int8" && one.b === b && one.metric === "ndcg10");
  if (found === undefined) return "not measured";
  return `${fixed(found.difference, 4)} [${found.interval.map((bound) => fixed(bound, 4)).join(", ")}]`;
}

function paired(dataset: string, b: string): string {
  return difference(result(`ranking-${dataset}`)["paired"] as readonly Paired[], b);
}

function latency(dataset: string): string {
  const { rows } = result(`latency-${dataset}`);
  const wanted = rows.filter((row) => Number(row["history"]) >= 20);
  return table(
    ["history", "beams", "generation p50, ms", "p99", "request above no-op p50, ms", "strict, ms", "requests/s"],
    wanted.map((row) => [
      fixed(row["history"], 0),
      fixed(row["beams"], 0),
      fixed(row["generationP50"], 1),
      fixed(row["generationP99"], 1),
      fixed(row["aboveNoopP50"], 1),
      fixed(row["strictAboveNoopP50"], 1),
      fixed(row["requestsPerSecond"], 0),
    ]),
  );
}

function scale(): string {
  const { rows, int8Rows } = result("scale");
  const megabytes = (value: unknown) => fixed(Number(value) / 1e6, 1);
  return table(
    ["items", "item vectors", "tables, MB", "load, ms", "filter (join of four), ms", "decode p50, ms", "isolate, MB"],
    [...(int8Rows as readonly Row[]), ...rows].map((row) => [
      Number(row["items"]).toLocaleString("en-US"),
      row["vectors"] === "pq" ? "product-quantised" : "int8",
      megabytes(row["bytes"]),
      fixed(row["load"], 1),
      fixed(row["filterJoin"], 2),
      fixed(row["decodeP50"], 2),
      megabytes(row["isolateBytes"]),
    ]),
  );
}

const SYSTEMS: Readonly<Record<string, string>> = {
  "hugging-face-t5-6+6": "Hugging Face T5, 6+6 layers, `generate`, PyTorch",
  "edgewise-node": "Edgewise, as shipped, in Node",
  "edgewise-node-onnxruntime": "Edgewise on onnxruntime-web, in Node",
  "edgewise-workerd": "Edgewise, as shipped, inside workerd",
  "t5-2+2-node": "the papers' T5, 2+2 layers, onnxruntime-web in Node",
};

function peers(): string {
  return table(
    ["", "generation p50, ms", "times as fast"],
    result("peers").rows.map((row) => [
      SYSTEMS[String(row["system"])] ?? String(row["system"]),
      fixed(row["p50"], 1),
      fixed(row["ratio"], 0),
    ]),
  );
}

function figures(): string {
  const cold = result("latency-beauty")["cold"] as Record<string, number>;
  const { cases, items } = result("ranking-beauty");
  return `
**Ranking, Amazon Beauty** (\`${command("beauty")}\`; test split, leave one out, all ${fixed(items, 0)} items ranked for
${fixed(cases, 0)} users, ${seeds("beauty")}; left: the user's earlier items taken out of the ranking, right: kept). NDCG@10 of what is served minus SASRec's:
${paired("beauty", "sasrec-ce")}; minus the fp32 generator's: ${paired("beauty", "generator-fp32")} (95 %, paired over users).

${ranking("beauty")}
${slices("beauty")}
**Ranking, Larder** (\`${command("larder")}\`; the last 14 days; repeats are part of this world, so look right). Served minus
item-kNN: ${paired("larder", "item-knn")}; minus popularity: ${paired("larder", "popularity")}.

${ranking("larder")}
${slices("larder")}${everyDataset()}
**Latency** in workerd, Beauty at d 128, 12,101 items (\`npm run bench:latency -- --dataset beauty\`). Generation is encode, decode, filter and re-score. A
request is one object call beside it, rows from the isolate's cache; a strict one asks the primary database twice more. A fresh isolate's first
answer takes ${fixed(cold["firstAnswer"], 0)} ms, a fresh no-op's ${fixed(cold["noopFirstAnswer"], 0)}; without the
rehearsal it would take ${fixed(cold["firstAnswerUnrehearsed"], 0)}, on ONNX Runtime alone ${fixed(cold["firstAnswerOnnx"], 0)}.

${latency("beauty")}

**Beside others** (\`npm run bench:peers\`, after \`npm run bench:peers:setup\`; 20 items, 20 beams, one thread, all in turn in one run).

${peers()}

**Scale** (\`npm run bench:scale\`; one graph at d 64, two levels of 256, at every size; above 16 MB of vectors they are product-quantised).

${scale()}
`;
}

interface AblationRow {
  readonly variant: string;
  readonly group: "main" | "extra" | "soda";
  readonly budget: boolean;
  readonly seeds: readonly number[];
  readonly mean: { readonly recall10: number; readonly ndcg10: number };
  readonly comparedTo: string | null;
  readonly recall10Difference: number | null;
  readonly recall10DifferenceInterval: readonly [number, number] | null;
  readonly differenceToPrevious: number | null;
  readonly differenceInterval: readonly [number, number] | null;
  readonly diagnostics: {
    readonly entropyBits: readonly number[];
    readonly collisionRate: number | null;
    readonly codesChanged: readonly number[];
    readonly softHardGap: number | null;
    readonly nearMissSimilarity: number | null;
    readonly klToTarget: number | null;
    readonly klMarginWon: number | null;
  };
}

const ABLATIONS = [
  { dataset: "larder", name: "Larder" },
  { dataset: "larder-plain", name: "Larder without its hidden factor" },
  { dataset: "beauty", name: "Amazon Beauty" },
] as const;

const maybe = (value: number | null, digits: number) => (value === null ? "" : fixed(value, digits));

/** A gain with its interval; empty where a row is compared with nothing. */
function gain(value: number | null, interval: readonly [number, number] | null): string {
  if (value === null || interval === null) return "";
  const signed = (number: number) => `${number < 0 ? "" : "+"}${fixed(number, 4)}`;
  return `${signed(value)} [${interval.map(signed).join(", ")}]`;
}

/** One data set: what each row adds to the one it is compared with, and what its codes look like. */
function ablation({ dataset, name }: (typeof ABLATIONS)[number]): string {
  const file = `ablation-${dataset}`;
  if (!existsSync(path.join(ROOT, "bench", "results", `${file}.json`))) return "";
  const { command: made, cases, items, hours, summary } = result(file);
  const rows = summary as readonly AblationRow[];
  const budget = rows.some((row) => row.budget) ? ", `budget`: fewer epochs than the rows would like" : "";
  const ranks = table(
    ["", "seeds", "R@10", "N@10", "compared with", "R@10 gain", "N@10 gain"],
    rows.map((row) => [
      row.variant,
      String(row.seeds.length),
      fixed(row.mean.recall10, 4),
      fixed(row.mean.ndcg10, 4),
      row.comparedTo ?? "",
      gain(row.recall10Difference, row.recall10DifferenceInterval),
      gain(row.differenceToPrevious, row.differenceInterval),
    ]),
  );
  const codes = table(
    [
      "",
      "entropy a level, bits",
      "collisions",
      "codes changed a level",
      "soft minus hard R@10",
      "near miss",
      "KL",
      "KL won",
    ],
    rows.map(({ variant, diagnostics: of }) => [
      variant,
      of.entropyBits.map((bits) => fixed(bits, 2)).join(" "),
      maybe(of.collisionRate, 3),
      of.codesChanged.map((share) => fixed(share, 2)).join(" "),
      maybe(of.softHardGap, 4),
      maybe(of.nearMissSimilarity, 3),
      maybe(of.klToTarget, 3),
      maybe(of.klMarginWon, 2),
    ]),
  );
  return `
## ${name}

\`${made.replace(/^node bench\/ablation\.ts/, "npm run bench:ablation --")}\`; test split, ${fixed(cases, 0)} cases, all ${fixed(items, 0)} items ranked, the generator
alone, ${fixed(hours, 1)} hours of training and ranking${budget}. Intervals: 95 %, paired over users.

${ranks}

${codes}
`;
}

const FILES = [
  { file: "README.md", render: figures },
  { file: "docs/ablation.md", render: () => ABLATIONS.map(ablation).join("") },
];

for (const { file, render } of FILES) {
  const at = path.join(ROOT, file);
  const text = readFileSync(at, "utf8");
  const [before, rest] = text.split(BEGIN) as [string, string];
  const after = rest.split(END)[1]!;
  const next = `${before}${BEGIN}${render()}${END}${after}`;
  if (!process.argv.includes("--check")) writeFileSync(at, next);
  else if (next !== text) {
    console.error(`${file} does not say what bench/results holds; run npm run bench:figures`);
    process.exitCode = 1;
  }
}
