/** From ranks of several trainings to what the ranking benchmark reports: rows, paired differences, slices. */
import { type Interval, mean, round } from "./bench.ts";
import {
  type Figures,
  figuresOf,
  gain,
  meanFigures,
  type Metric,
  type Ranks,
  spread,
  UserBootstrap,
} from "./ranking-figures.ts";
import type { Slice } from "./ranking-slices.ts";
import type { Ranked, Ranking } from "./run-folder.ts";

/** One model's ranks of the same cases by each of its trainings; parallel to `seeds`. A model without chance has one. */
export interface ModelRuns {
  readonly model: string;
  readonly served: boolean;
  readonly rankedBy: "worker" | "trainer";
  readonly seeds: readonly number[];
  readonly runs: readonly Ranked[];
  readonly artefactBytes: number | null;
  readonly trainSeconds: number | null;
}

export interface PairedDifference {
  readonly a: string;
  readonly b: string;
  readonly metric: Metric;
  readonly difference: number;
  readonly interval: Interval;
  /** a - b of each training; of a model without chance its one. */
  readonly perSeed: readonly { readonly seed: number; readonly difference: number }[];
  readonly seedSpread: number | null;
}

export const SERVED = "generator-int8";
export const INTERVAL_COVERS =
  "users drawn again (all cases of a user together), figures averaged over seeds first; seedSpread is the standard deviation over trainings, which the interval leaves out";

const PAIRS = [
  [SERVED, "popularity"],
  [SERVED, "item-knn"],
  [SERVED, "sasrec-ce"],
  [SERVED, "t5"],
  [SERVED, "generator-fp32"],
  [SERVED, "exact-scan"],
  ["generator-alone", "sasrec-ce"],
] as const;
const SLICE_PAIRS = PAIRS.slice(1, 3); // item-kNN and SASRec
const REPORTED = ["recall10", "ndcg10"] as const;
const BOOTSTRAP_SEED = 1;

/** Columns of a bootstrap that are made when they are asked for. */
class Columns {
  readonly bootstrap: UserBootstrap;
  readonly #models: ReadonlyMap<string, readonly Ranks[]>;
  readonly #known = new Map<string, number>();

  constructor(users: readonly string[], models: ReadonlyMap<string, readonly Ranks[]>, wanted: readonly string[]) {
    this.bootstrap = new UserBootstrap(users, BOOTSTRAP_SEED);
    this.#models = models;
    for (const model of wanted) if (models.has(model)) for (const metric of REPORTED) this.of(model, metric);
  }

  of(model: string, metric: Metric): number {
    const key = `${model} ${metric}`;
    const known = this.#known.get(key) ?? this.bootstrap.add(this.#models.get(model)!, metric);
    this.#known.set(key, known);
    return known;
  }
}

function meanGain(ranks: Ranks, metric: Metric): number {
  return mean(ranks.map((rank) => gain(metric, rank)));
}

function differences(models: readonly ModelRuns[], ranking: Ranking, columns: Columns): PairedDifference[] {
  return PAIRS.flatMap(([a, b]) => {
    const [first, second] = [a, b].map((name) => models.find((one) => one.model === name));
    if (first === undefined || second === undefined) return [];
    return REPORTED.map((metric) => {
      const perSeed = first.seeds.flatMap((seed, at) => {
        const other = second.runs[second.runs.length === 1 ? 0 : second.seeds.indexOf(seed)];
        if (other === undefined) return [];
        const difference = meanGain(first.runs[at]![ranking], metric) - meanGain(other[ranking], metric);
        return [{ seed, difference: round(difference, 5) }];
      });
      const { difference, interval } = columns.bootstrap.difference(columns.of(a, metric), columns.of(b, metric));
      return { a, b, metric, difference, interval, perSeed, seedSpread: spread(perSeed.map((one) => one.difference)) };
    });
  });
}

export interface ReportedRow extends Figures {
  readonly model: string;
  readonly served: boolean;
  readonly ndcg10Interval: Interval;
  readonly recall10Interval: Interval;
  readonly seedSpread: { readonly recall10: number | null; readonly ndcg10: number | null };
  readonly perSeed: readonly ({ readonly seed: number } & Figures)[];
  readonly artefactBytes: number | null;
  readonly trainSeconds: number | null;
  readonly rankedBy: "worker" | "trainer";
  readonly masked: Figures;
  readonly unmasked: Figures;
}

/** Rows (means over seeds) and paired differences. Intervals and differences look at `ranking`. */
export function tableOf(
  users: readonly string[],
  models: readonly ModelRuns[],
  ranking: Ranking,
): { readonly rows: ReportedRow[]; readonly paired: PairedDifference[] } {
  const names = models.map(({ model }) => model);
  const columns = new Columns(
    users,
    new Map(models.map((one) => [one.model, one.runs.map((run) => run[ranking])])),
    names,
  );
  const rows = models.map(({ runs, seeds, ...row }) => {
    const perSeed = runs.map((run, at) => ({ seed: seeds[at]!, ...figuresOf(run[ranking]) }));
    return {
      model: row.model,
      served: row.served,
      ...meanFigures(runs.map((run) => run[ranking])),
      ndcg10Interval: columns.bootstrap.interval(columns.of(row.model, "ndcg10")),
      recall10Interval: columns.bootstrap.interval(columns.of(row.model, "recall10")),
      seedSpread: {
        recall10: spread(perSeed.map((one) => one.recall10)),
        ndcg10: spread(perSeed.map((one) => one.ndcg10)),
      },
      perSeed,
      artefactBytes: row.artefactBytes,
      trainSeconds: row.trainSeconds,
      rankedBy: row.rankedBy,
      masked: meanFigures(runs.map((run) => run.masked)),
      unmasked: meanFigures(runs.map((run) => run.unmasked)),
    };
  });
  return { rows, paired: differences(models, ranking, columns) };
}

export interface ReportedSlice {
  readonly slice: string;
  readonly definition: string;
  readonly users: number;
  readonly cases: number;
  readonly rows: readonly { readonly model: string; readonly recall10: number; readonly ndcg10: number }[];
  readonly paired: readonly {
    readonly a: string;
    readonly b: string;
    readonly metric: Metric;
    readonly difference: number;
    readonly interval: Interval;
  }[];
}

/** Every model on parts of the cases, and what is served against item-kNN and SASRec there. */
export function slicedTable(
  users: readonly string[],
  models: readonly ModelRuns[],
  ranking: Ranking,
  slices: readonly Slice[],
): ReportedSlice[] {
  return slices.map(({ name, definition, members }) => {
    const own = members.map((at) => users[at]!);
    const ranks = new Map(
      models.map((one) => [one.model, one.runs.map((run) => members.map((at) => run[ranking][at]!))]),
    );
    const columns = new Columns(own, ranks, [...new Set(SLICE_PAIRS.flat())]);
    return {
      slice: name,
      definition,
      users: new Set(own).size,
      cases: members.length,
      rows: [...ranks].map(([model, runs]) => {
        const { recall10, ndcg10 } = meanFigures(runs);
        return { model, recall10, ndcg10 };
      }),
      paired: SLICE_PAIRS.filter(([a, b]) => ranks.has(a) && ranks.has(b)).flatMap(([a, b]) =>
        REPORTED.map((metric) => ({
          a,
          b,
          metric,
          ...columns.bootstrap.difference(columns.of(a, metric), columns.of(b, metric)),
        })),
      ),
    };
  });
}

/** Share of cases for which trainer and Worker put the target at the same rank of the first ten, or both below it. */
export function agreement(a: Ranks, b: Ranks): number {
  const top = (rank: number | undefined) => (rank === undefined || rank >= 10 ? -1 : rank);
  return round(a.filter((rank, at) => top(rank) === top(b[at])).length / a.length, 5);
}
