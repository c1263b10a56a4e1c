/** Which of several points nothing beats: the Pareto front of quality against milliseconds and bytes. */

export interface Point {
  readonly ndcg10: number;
  readonly generationP50: number;
  readonly modelBytes: number;
}

/** Whether `a` is at least as good as `b` in everything and better in something. */
export function dominates(a: Point, b: Point): boolean {
  const atLeast = a.ndcg10 >= b.ndcg10 && a.generationP50 <= b.generationP50 && a.modelBytes <= b.modelBytes;
  return atLeast && (a.ndcg10 > b.ndcg10 || a.generationP50 < b.generationP50 || a.modelBytes < b.modelBytes);
}

/** (points) whether no other point dominates it; of equal points all are. */
export function paretoOptimal(points: readonly Point[]): boolean[] {
  return points.map((one) => !points.some((other) => dominates(other, one)));
}
