/** Recall@k and NDCG@k of one relevant item from its rank, and bootstrap intervals over users that pair all models. */
import { seededRandom } from "../functions/domain/generation/random.ts";
import { type Interval, mean, percentile, round } from "./bench.ts";

/** 0-based rank of the relevant item in a list, -1 where it is not in it. */
export type Ranks = readonly number[];

export interface Figures {
  readonly recall5: number;
  readonly ndcg5: number;
  readonly recall10: number;
  readonly ndcg10: number;
}

export type Metric = keyof Figures;

export const METRICS: readonly Metric[] = ["recall5", "ndcg5", "recall10", "ndcg10"];

/** What one case adds: recall is a hit, NDCG 1 / log2(rank + 2), since the best list has the one relevant item first. */
export function gain(metric: Metric, rank: number): number {
  const k = metric === "recall5" || metric === "ndcg5" ? 5 : 10;
  if (rank < 0 || rank >= k) return 0;
  return metric === "recall5" || metric === "recall10" ? 1 : 1 / Math.log2(rank + 2);
}

export function figuresOf(ranks: Ranks): Figures {
  const of = (metric: Metric) => round(ranks.reduce((sum, rank) => sum + gain(metric, rank), 0) / ranks.length, 5);
  return { recall5: of("recall5"), ndcg5: of("ndcg5"), recall10: of("recall10"), ndcg10: of("ndcg10") };
}

/** Figures of several trainings of one model on the same cases: their mean. */
export function meanFigures(runs: readonly Ranks[]): Figures {
  const figures = runs.map(figuresOf);
  const of = (metric: Metric) => round(mean(figures.map((one) => one[metric])), 5);
  return { recall5: of("recall5"), ndcg5: of("ndcg5"), recall10: of("recall10"), ndcg10: of("ndcg10") };
}

/** Sample standard deviation over trainings, null for fewer than two. */
export function spread(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const middle = mean(values);
  return round(Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1)), 5);
}

const RESAMPLES = 2000;

/**
 * Percentile bootstrap (Efron 1979): users are drawn with replacement, each with all of its cases. All columns share the
 * draws, so that a difference of two columns is a paired one. A column is the mean over the trainings of one model, so an
 * interval says how far the figure depends on who was asked, not on the luck of a training: `spread` says that.
 */
export class UserBootstrap {
  readonly #user: Int32Array; // of a case
  readonly #cases: Float64Array; // of a user
  readonly #random: () => number;
  readonly #columns: Float64Array[] = []; // (users) sums
  #means: Float64Array[] | undefined; // a column: (resamples)

  constructor(users: readonly string[], seed: number) {
    const known = new Map<string, number>();
    this.#user = Int32Array.from(users, (user) => {
      if (!known.has(user)) known.set(user, known.size);
      return known.get(user)!;
    });
    this.#cases = new Float64Array(known.size);
    for (const user of this.#user) this.#cases[user]! += 1;
    this.#random = seededRandom(`ranking ${seed}`);
  }

  /**
   * @param runs ranks of the same cases by one training each
   * @returns the column, for `interval` and `difference`. @throws RangeError for no run or another number of cases
   */
  add(runs: readonly Ranks[], metric: Metric): number {
    if (runs.length === 0) throw new RangeError("a column of no run");
    const sums = new Float64Array(this.#cases.length);
    for (const ranks of runs) {
      if (ranks.length !== this.#user.length)
        throw new RangeError(`${ranks.length} ranks for ${this.#user.length} cases`);
      for (const [at, rank] of ranks.entries()) sums[this.#user[at]!]! += gain(metric, rank) / runs.length;
    }
    this.#means = undefined;
    return this.#columns.push(sums) - 1;
  }

  interval(column: number): Interval {
    return intervalOf(this.#drawn()[column]!);
  }

  /** Mean of a - b over all cases, and its interval. */
  difference(a: number, b: number): { readonly difference: number; readonly interval: Interval } {
    const means = this.#drawn();
    const total = (column: number) => this.#columns[column]!.reduce((sum, value) => sum + value, 0);
    const difference = round((total(a) - total(b)) / this.#user.length, 5);
    return { difference, interval: intervalOf(means[a]!.map((value, at) => value - means[b]![at]!)) };
  }

  #drawn(): Float64Array[] {
    if (this.#means !== undefined) return this.#means;
    const users = this.#cases.length;
    const means = this.#columns.map(() => new Float64Array(RESAMPLES));
    const drawn = new Int32Array(users);
    for (let resample = 0; resample < RESAMPLES; resample++) {
      let cases = 0;
      for (let at = 0; at < users; at++) {
        drawn[at] = Math.floor(this.#random() * users);
        cases += this.#cases[drawn[at]!]!;
      }
      for (const [column, sums] of this.#columns.entries()) {
        let sum = 0;
        for (let at = 0; at < users; at++) sum += sums[drawn[at]!]!;
        means[column]![resample] = sum / cases;
      }
    }
    this.#means = means;
    return means;
  }
}

function intervalOf(values: Float64Array): Interval {
  const all = [...values];
  return [round(percentile(all, 0.025), 5), round(percentile(all, 0.975), 5)];
}
