/** Groups of ranking cases by target item and by user, as training/slices.py makes them; one fixture holds both to it. */
import { median } from "./bench.ts";
import type { Case } from "./run-folder.ts";

const SHORT = 4;
const LONG = 10;

export interface Slice {
  readonly name: string;
  readonly definition: string;
  /** Indexes of cases, ascending. */
  readonly members: readonly number[];
}

/**
 * The slices that hold a case. The first three share out all cases, and so do the last two.
 * @param trainingEvents training events of each item row
 * @param withRepeats whether the ranking keeps the user's earlier items, without which a repeat can't be found
 */
export function slicesOf(cases: readonly Case[], trainingEvents: readonly number[], withRepeats: boolean): Slice[] {
  const held = trainingEvents.filter((events) => events > 0);
  const middle = held.length === 0 ? 0 : median(held);
  const events = ({ target }: Case) => trainingEvents[target]!;
  const groups: [name: string, definition: string, isIn: (one: Case) => boolean][] = [
    ["unseen", "the target has no event in training", (one) => events(one) === 0],
    [
      "tail",
      `the target has 1 to ${middle} training events: the less popular half`,
      (one) => events(one) > 0 && events(one) <= middle,
    ],
    ["head", `the target has more than ${middle} training events`, (one) => events(one) > middle],
    ["short", `histories of at most ${SHORT} items`, ({ history }) => history.length <= SHORT],
    ["long", `histories of ${LONG} items and more`, ({ history }) => history.length >= LONG],
  ];
  if (withRepeats) {
    groups.push(
      ["repeat", "the target is among the user's earlier items", ({ seen, target }) => seen.includes(target)],
      ["first-time", "the target is new to the user", ({ seen, target }) => !seen.includes(target)],
    );
  }
  return groups
    .map(([name, definition, isIn]) => ({
      name,
      definition,
      members: cases.flatMap((one, at) => (isIn(one) ? [at] : [])),
    }))
    .filter(({ members }) => members.length > 0);
}
