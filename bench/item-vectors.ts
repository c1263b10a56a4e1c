/**
 * What the form of the item vectors costs: bytes an item against ranking quality of the served generator, all items ranked, the
 * user's earlier items left out where the data set's repeats are rare. `npm run bench:item-vectors [-- --dataset beauty] [--cases 7500] [--quick]`.
 *
 * The forms are artefacts of one training: float32 (its graphs are float32 too), int8 as shipped, and those that
 * `python -m training.vector_variants` made: pq16 and so on by bytes, of the residual of the item's codes or `plain`.
 */
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { benchArguments, leave, round, startBench } from "./bench.ts";
import { decodeCases, openArtefact } from "./decoding.ts";
import { figuresOf, METRICS, UserBootstrap } from "./ranking-figures.ts";
import { everyNth, isTrained, rankingOf, readCases, runFolder, trainCommand } from "./run-folder.ts";

const QUICK_CASES = 1000;
const BASE = "int8";

const args = benchArguments({ dataset: "beauty", seeds: [1] }, { cases: "string" });
const dataset = args.dataset!;
const bench = startBench("item-vectors", args);
const folder = runFolder(dataset);
if (!isTrained(folder)) leave(`${dataset} is not trained: ${trainCommand(dataset, 0)}`);
const variants = path.join(folder, "..", "..", "vector-variants", path.basename(folder));
if (!existsSync(variants)) leave(`no variants: .venv/bin/python -m training.vector_variants --config ${dataset}`);

const given = readCases(folder, "test")!;
const wanted = args.quick ? QUICK_CASES : Number(args.more["cases"] ?? given.users.length);
if (!(wanted >= 1)) leave(`--cases ${args.more["cases"]} is no number of cases`);
const cases = everyNth(given.users, wanted);
const artefacts = new Map([
  ["float32", path.join(folder, "artefact-fp32")],
  [BASE, path.join(folder, "artefact-int8")],
]);
const names = readdirSync(variants).filter((name) => !name.startsWith("."));
names.sort((a, b) => b.localeCompare(a, "en", { numeric: true })); // most bytes first
for (const name of names) artefacts.set(name, path.join(variants, name));

const bootstrap = new UserBootstrap(
  cases.map((one) => one.user),
  args.seeds[0] ?? 1,
);
const measured = [];
for (const [vectors, at] of artefacts) {
  const model = await openArtefact(at, folder);
  const { manifest } = model;
  const ranking = rankingOf(manifest);
  const ranks: number[] = [];
  let milliseconds = performance.now();
  await decodeCases(model, cases, { served: {} }, [ranking], ({ rank }) => ranks.push(rank));
  milliseconds = performance.now() - milliseconds;
  await model.dispose();
  const sizes = new Map(manifest.files.map((file) => [file.path, file.bytes]));
  const { file, scales, centroids } = manifest.vectors;
  const itemBytes = (sizes.get(file)! + (scales === null ? 0 : sizes.get(scales)!)) / manifest.items.count;
  measured.push({
    vectors,
    modelVersion: manifest.modelVersion,
    itemBytes,
    sharedBytes: centroids === undefined ? 0 : sizes.get(centroids)!,
    ranking,
    figures: figuresOf(ranks),
    columns: { recall10: bootstrap.add([ranks], "recall10"), ndcg10: bootstrap.add([ranks], "ndcg10") },
    millisecondsACase: round(milliseconds / cases.length, 3),
  });
  process.stderr.write(`${vectors}: done\n`);
}

const base = measured.find((one) => one.vectors === BASE)!;
const rows = measured.map(({ columns, figures, ...row }) => ({
  ...row,
  ...figures,
  ndcg10Interval: bootstrap.interval(columns.ndcg10),
  toInt8: {
    recall10: bootstrap.difference(columns.recall10, base.columns.recall10),
    ndcg10: bootstrap.difference(columns.ndcg10, base.columns.ndcg10),
  },
}));
const signed = (value: number) => `${value < 0 ? "" : "+"}${value.toFixed(4)}`;
bench.finish(
  { dataset: given.dataset, split: given.split, cases: cases.length, allCases: given.users.length, rows },
  {
    title: `${given.dataset}, ${given.split}, ${cases.length} cases, ${base.ranking}: item vectors in other forms`,
    columns: ["vectors", "bytes an item", "shared", "R@5", "N@5", "R@10", "N@10", "N@10 - int8", "95 %"],
    rows: rows.map(({ toInt8: { ndcg10 }, ...row }) => [
      row.vectors,
      row.itemBytes,
      row.sharedBytes,
      ...METRICS.map((metric) => row[metric].toFixed(4)),
      signed(ndcg10.difference),
      ndcg10.interval.map(signed).join(" "),
    ]),
  },
);
