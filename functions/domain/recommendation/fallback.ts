/**
 * What is shown when no model speaks: trending, then popular, then newest items. Filters and exclusions hold here as
 * everywhere, and a list is full whenever that many legal items exist.
 */

/** Item numbers with a weight, best first. */
export type Weighted = readonly (readonly [number: number, weight: number])[];

export interface FallbackInput {
  readonly trending: Weighted;
  readonly popular: Weighted;
  /** Item numbers to fill up with, newest first. */
  readonly newest: Iterable<number>;
  readonly isLegal: (number: number) => boolean;
  readonly count: number;
}

export interface FallbackList {
  readonly numbers: readonly number[];
  /** Falls with the position: trending weight, then popularity, then 0. */
  readonly scores: readonly number[];
  /** Where the first item came from; an empty list is `default`. */
  readonly source: "trending" | "default";
}

/** Cost: the two short lists, then as many of the newest as it takes to fill the list. */
export function fallbackList(input: FallbackInput): FallbackList {
  const numbers: number[] = [];
  const scores: number[] = [];
  const taken = new Set<number>();
  const take = (number: number, score: number): void => {
    if (numbers.length >= input.count || taken.has(number) || !input.isLegal(number)) return;
    taken.add(number);
    numbers.push(number);
    scores.push(score);
  };
  for (const list of [input.trending, input.popular]) {
    const largest = list[0]?.[1] ?? 1;
    // each list lies in its own unit interval, so that scores fall from one list to the next
    const floor = list === input.trending ? 1 : 0;
    for (const [number, weight] of list) take(number, floor + weight / largest);
  }
  const counted = numbers.length;
  for (const number of input.newest) {
    if (numbers.length >= input.count) break;
    take(number, 0);
  }
  return { numbers, scores, source: counted > 0 ? "trending" : "default" };
}
