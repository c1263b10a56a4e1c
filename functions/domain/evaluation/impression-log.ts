/**
 * What was shown with a known probability and what came of it: the input of off-policy estimates, checked once so that the
 * estimators only do arithmetic. A row is one item at one position of a list that was seen. Pins and lists made without
 * exploration were not drawn: leave them out.
 *
 * Lists are drawn one item after another (Plackett-Luce, `generation/exploration.ts`), and every row is judged by itself: both
 * propensity and target probability are those of the item given the items above it *as logged*. That assumes that a reward
 * depends on user, item and position, not on what else the target would have put above it (independent weights, in contrast to
 * products down the list: McInerney et al. 2020, arXiv 2007.12986). At the first position nothing is assumed.
 */

/** All columns have a value for each row; rows are numbered from 0. */
export interface ImpressionColumns {
  /** Who was asked (user id). Rows of one cluster depend on each other, so intervals draw whole clusters. */
  readonly cluster: readonly string[];
  /** Position in the list, a whole number >= 0. */
  readonly position: ArrayLike<number>;
  readonly reward: ArrayLike<number>;
  /** Probability in (0, 1] with which the item was shown there. */
  readonly propensity: ArrayLike<number>;
  /** Reward that a model predicts for the item, q_hat(x, a). Without it there is no DR. */
  readonly predicted?: ArrayLike<number>;
}

export interface TargetPolicy {
  /** (rows) probability in 0..1 that the target shows the logged item there; 0: it is not among the target's candidates. */
  readonly probability: ArrayLike<number>;
  /** (rows) sum over the target's candidates of probability times predicted reward. Without it there is no DM and no DR. */
  readonly baseline?: ArrayLike<number>;
}

/** A log as one target sees it, (rows) each. */
export interface WeightedRows {
  /** Target probability / propensity, >= 0 and finite. */
  readonly w: Float64Array;
  readonly reward: Float64Array;
  readonly predicted: Float64Array | undefined;
  readonly baseline: Float64Array | undefined;
}

export class ImpressionLog {
  readonly rows: number;
  /** (rows) 0..clusterCount - 1, in the order of the ids, so that the order of the rows does not matter. */
  readonly cluster: Uint32Array;
  readonly clusterCount: number;
  readonly position: Float64Array;
  readonly #reward: Float64Array;
  readonly #propensity: Float64Array;
  readonly #predicted: Float64Array | undefined;

  /** @throws RangeError when there is no row, a column has another length, or a value is out of its bounds */
  constructor(columns: ImpressionColumns) {
    const { cluster, position, reward, propensity, predicted } = columns;
    this.rows = cluster.length;
    if (this.rows === 0) throw new RangeError("a log of no rows");
    const numbers = new Map([...new Set(cluster)].sort().map((id, number) => [id, number]));
    this.cluster = Uint32Array.from(cluster, (id) => numbers.get(id)!);
    this.clusterCount = numbers.size;
    this.position = checked("position", position, this.rows, POSITION);
    this.#reward = checked("reward", reward, this.rows, FINITE);
    this.#propensity = checked("propensity", propensity, this.rows, PROPENSITY);
    this.#predicted = predicted && checked("predicted reward", predicted, this.rows, FINITE);
  }

  /** @throws RangeError when a column has another length or a value is out of its bounds */
  under(target: TargetPolicy): WeightedRows {
    const { baseline } = target;
    const probability = checked("target probability", target.probability, this.rows, PROBABILITY);
    const w = probability.map((value, row) => value / this.#propensity[row]!);
    return {
      w: checked("weight", w, this.rows, FINITE), // 1 / 5e-324 is none
      reward: this.#reward,
      predicted: this.#predicted,
      baseline: baseline && checked("baseline", baseline, this.rows, FINITE),
    };
  }
}

interface Bound {
  readonly text: string;
  readonly holds: (value: number) => boolean;
}

const FINITE: Bound = { text: "be a finite number", holds: Number.isFinite };
const PROBABILITY: Bound = { text: "lie in 0..1", holds: (value) => value >= 0 && value <= 1 };
const PROPENSITY: Bound = { text: "lie in (0, 1]", holds: (value) => value > 0 && value <= 1 };
const POSITION: Bound = { text: "be a whole number >= 0", holds: (value) => Number.isInteger(value) && value >= 0 };

function checked(name: string, values: ArrayLike<number>, rows: number, bound: Bound): Float64Array {
  if (values.length !== rows) throw new RangeError(`${name} has ${values.length} values for ${rows} rows`);
  const column = Float64Array.from(values);
  const row = column.findIndex((value) => !bound.holds(value));
  if (row >= 0) throw new RangeError(`${name} of row ${row} must ${bound.text}, got ${values[row]}`);
  return column;
}
