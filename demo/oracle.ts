/**
 * The reward oracle, for tests only: what this user would have done with that recipe at that place. It asks the very response model that
 * made the log, so an estimate from the log is right when it agrees with this.
 */
import { outcome } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import type { User } from "./users.ts";
import type { World } from "./world.ts";

export interface OraclePlace {
  /** 0 first. */
  readonly position: number;
  /** Day of the world, 0..119. */
  readonly day: number;
  /** Item ids that the user met before, newest first; three count. */
  readonly recent: readonly string[];
}

export interface Oracle {
  /** Chances of view, save, cook and skip for one exposure. @throws RangeError for ids that the world lacks. */
  outcome(userId: string, itemId: string, place: OraclePlace): Outcome;
  /** Expected valid views of a whole list shown at one moment. */
  expectedViews(userId: string, itemIds: readonly string[], place: Omit<OraclePlace, "position">): number;
  /** Item ids by the user's chance of a view at the first place, best first: the ranking nobody can beat. */
  bestItems(userId: string, itemIds: readonly string[], place: Omit<OraclePlace, "position">): string[];
}

export function makeOracle(world: World): Oracle {
  const users = new Map<number, User>();
  const userOf = (id: string): User => {
    const index = indexOf(id, "u_", world.userCount);
    const known = users.get(index);
    if (known) return known;
    const fresh = world.user(index);
    users.set(index, fresh);
    return fresh;
  };
  const itemOf = (id: string): number => indexOf(id, "r", world.catalogue.count);
  const ask = (userId: string, itemId: string, place: OraclePlace): Outcome =>
    outcome(world, userOf(userId), itemOf(itemId), {
      position: place.position,
      day: place.day,
      recent: place.recent.map(itemOf),
    });
  return {
    outcome: ask,
    expectedViews: (userId, itemIds, place) =>
      itemIds.reduce((sum, itemId, position) => sum + ask(userId, itemId, { ...place, position }).view, 0),
    bestItems: (userId, itemIds, place) => {
      const scored = itemIds.map((itemId) => ({ itemId, view: ask(userId, itemId, { ...place, position: 0 }).view }));
      return scored
        .sort((left, right) => right.view - left.view || itemOf(left.itemId) - itemOf(right.itemId))
        .map((entry) => entry.itemId);
    },
  };
}

function indexOf(id: string, prefix: string, count: number): number {
  const index = id.startsWith(prefix) ? Number(id.slice(prefix.length)) - 1 : Number.NaN;
  if (!Number.isInteger(index) || index < 0 || index >= count) throw new RangeError(`the world has no ${id}`);
  return index;
}
