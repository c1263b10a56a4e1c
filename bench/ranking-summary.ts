/** Several data sets side by side: what is served, what it is held against, and what training all of it took. */
import { round, type Table } from "./bench.ts";
import { type PairedDifference, type ReportedRow, SERVED } from "./ranking-table.ts";

/** Minutes of training of one seed. */
export interface TrainingMinutes {
  readonly seed: number;
  /** Trunk and decoder. */
  readonly generator: number;
  readonly sasrec: number;
  readonly itemKnn: number;
}

export interface MeasuredDataset {
  readonly dataset: string;
  readonly users: number;
  readonly cases: number;
  readonly items: number;
  readonly ranking: "masked" | "unmasked";
  readonly seedsMeasured: readonly number[];
  readonly rows: readonly ReportedRow[];
  readonly paired: readonly PairedDifference[];
  readonly trainMinutes: readonly TrainingMinutes[];
}

const BASELINES = ["popularity", "item-knn", "sasrec-ce"];

/** `rows`: one a data set, in the ranking that its intervals look at; `totalHours` of training over all data sets and seeds. */
export function summaryOf(measured: readonly MeasuredDataset[]) {
  const rows = measured.map(({ rows: models, paired, trainMinutes, seedsMeasured, ...about }) => ({
    dataset: about.dataset,
    users: about.users,
    cases: about.cases,
    items: about.items,
    ranking: about.ranking,
    seeds: seedsMeasured,
    models: models.map(({ model, recall10, ndcg10, recall10Interval, ndcg10Interval, perSeed }) => ({
      model,
      seeds: perSeed.length,
      recall10,
      recall10Interval,
      ndcg10,
      ndcg10Interval,
    })),
    served: paired
      .filter(({ a, b }) => a === SERVED && BASELINES.includes(b))
      .map(({ b, metric, difference, interval }) => ({ minus: b, metric, difference, interval })),
    trainMinutes,
    totalMinutes: round(
      trainMinutes.reduce((sum, of) => sum + of.generator + of.sasrec + of.itemKnn, 0),
      1,
    ),
  }));
  const totalHours = round(rows.reduce((sum, row) => sum + row.totalMinutes, 0) / 60, 2);
  const figure = (row: (typeof rows)[number], model: string) => row.models.find((one) => one.model === model)?.ndcg10;
  const gap = (row: (typeof rows)[number], minus: string) => {
    const found = row.served.find((one) => one.minus === minus && one.metric === "ndcg10");
    return found === undefined ? null : `${found.difference.toFixed(4)} [${found.interval.join(", ")}]`;
  };
  const models = [...BASELINES, "generator-alone", SERVED];
  const table: Table = {
    title: `N@10 by data set (with earlier items left out where repeats are rare, kept elsewhere); ${totalHours} hours of training in all`,
    columns: [
      "data set",
      "seeds",
      "cases",
      "items",
      "ranking",
      ...models,
      ...BASELINES.map((b) => `served - ${b}`),
      "minutes",
    ],
    rows: rows.map((row) => [
      row.dataset,
      row.seeds.length,
      row.cases,
      row.items,
      row.ranking,
      ...models.map((model) => figure(row, model)?.toFixed(4) ?? null),
      ...BASELINES.map((b) => gap(row, b)),
      row.totalMinutes,
    ]),
  };
  return { rows, totalHours, table };
}
