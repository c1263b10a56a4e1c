import * as fc from "fast-check";
import { expect, test } from "vitest";
import { dominates, paretoOptimal } from "../../bench/pareto-front.ts";

const point = (ndcg10: number, generationP50: number, modelBytes: number) => ({ ndcg10, generationP50, modelBytes });

test("known answer: what is beaten in one thing and better in none is dominated", () => {
  const points = [
    point(0.06, 2, 300),
    point(0.05, 1, 300),
    point(0.05, 1.5, 300), // as good and as small as the one before, slower
    point(0.05, 1.5, 200),
    point(0.04, 3, 400), // worse in everything
    point(0.06, 2, 300), // equal to the first: both stand
  ];
  expect(paretoOptimal(points)).toEqual([true, true, false, true, false, true]);
});

test("nothing dominates itself, and a dominated point has an optimal one above it", () => {
  const level = fc.integer({ min: 0, max: 4 });
  const points = fc.array(fc.record({ ndcg10: level, generationP50: level, modelBytes: level }), {
    minLength: 1,
    maxLength: 15,
  });
  fc.assert(
    fc.property(points, (given) => {
      const optimal = paretoOptimal(given);
      expect(optimal).toContain(true);
      for (const [at, one] of given.entries()) {
        expect(dominates(one, one)).toBe(false);
        if (!optimal[at]) expect(given.some((other, index) => optimal[index] && dominates(other, one))).toBe(true);
      }
    }),
  );
});
