/** What users do in the default world: rates, rhythm and the structure that a recommender should find. */
import { describe, expect, it } from "vitest";
import { hiddenOf, isAllowed, tasteOf } from "../../demo/affinity.ts";
import { DAYS, DAY_SECONDS, HELD_OUT_DAYS, weekday } from "../../demo/calendar.ts";
import { COMPLEMENTS, HIDDEN_DIM } from "../../demo/latents.ts";
import { makeWorld } from "../../demo/world.ts";
import type { Life } from "../../demo/behaviour.ts";

const world = makeWorld();
const { catalogue, latents, features } = world;
const users = Array.from({ length: world.userCount }, (_, index) => world.user(index));
const lives: Life[] = users.map((user) => world.life(user.index));
const byTime = lives.map((life) =>
  life.interactions.filter((entry) => entry.type !== "skip").toSorted((a, b) => a.seconds - b.seconds),
);
const positives = byTime.flat();
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("amounts", () => {
  it("about 150,000 positive interactions, 50 a user, and 600,000 exposures", () => {
    expect(positives.length).toBeGreaterThan(140_000);
    expect(positives.length).toBeLessThan(165_000);
    const exposures = lives.flatMap((life) => life.lists).reduce((sum, list) => sum + list.items.length, 0);
    expect(exposures).toBeGreaterThan(560_000);
    expect(exposures).toBeLessThan(640_000);
  });

  it("valid views per exposure: .126 for people's recipes, .050 for machines'", () => {
    const shown = [0, 0];
    const viewed = [0, 0];
    for (const life of lives) {
      for (const list of life.lists)
        for (const item of list.items) if (catalogue.origin[item]! < 2) shown[catalogue.origin[item]!]! += 1;
      for (const entry of life.interactions) {
        if (entry.type === "view" && entry.list >= 0 && catalogue.origin[entry.item]! < 2)
          viewed[catalogue.origin[entry.item]!]! += 1;
      }
    }
    expect(Math.abs(viewed[0]! / shown[0]! - 0.126)).toBeLessThan(0.004);
    expect(Math.abs(viewed[1]! / shown[1]! - 0.05)).toBeLessThan(0.003);
  });

  it("3 % of accounts are paid for, a fifth is in the panel, never both", () => {
    expect(mean(users.map((user) => (user.campaign >= 0 ? 1 : 0)))).toBeCloseTo(0.03, 2);
    expect(mean(users.map((user) => (user.isPanel ? 1 : 0)))).toBeCloseTo(0.2, 1);
    expect(users.some((user) => user.isPanel && user.campaign >= 0)).toBe(false);
  });
});

describe("order", () => {
  it("nobody meets a recipe before its upload or after the last day", () => {
    for (const entry of lives.flatMap((life) => life.interactions)) {
      expect(entry.seconds).toBeLessThan(DAYS * DAY_SECONDS);
      expect(catalogue.created[entry.item]!).toBeLessThanOrEqual(entry.seconds);
    }
  });

  it("a view lasts over 7 seconds, a skip no more; a save or cook follows a view of the same session", () => {
    for (const life of lives.slice(0, 400)) {
      const viewed = new Map<string, number>();
      for (const entry of life.interactions.toSorted((a, b) => a.seconds - b.seconds)) {
        const key = `${entry.session} ${entry.item}`;
        if (entry.type === "view") {
          expect(entry.value).toBeGreaterThan(7);
          viewed.set(key, entry.seconds);
        } else if (entry.type === "skip") expect(entry.value).toBeLessThan(7);
        else expect(viewed.get(key)).toBeLessThan(entry.seconds);
      }
    }
  });

  it("weekends are busier, and the last fortnight holds its share of events", () => {
    const days = new Float64Array(DAYS);
    for (const entry of positives) days[Math.floor(entry.seconds / DAY_SECONDS)]! += 1;
    const at = (isWeekend: boolean): number => mean([...days].filter((_, day) => weekday(day) >= 5 === isWeekend));
    expect(at(true)).toBeGreaterThan(1.2 * at(false));
    const heldOut = [...days].slice(DAYS - HELD_OUT_DAYS).reduce((sum, count) => sum + count, 0) / positives.length;
    expect(heldOut).toBeGreaterThan(0.1);
  });
});

describe("planted structure", () => {
  it("the hidden factor is in no word: topic and creator explain no more of it than chance", () => {
    for (const groups of [catalogue.topic, catalogue.dish, catalogue.creator]) {
      let between = 0;
      let total = 0;
      const count = new Set(groups).size;
      for (let axis = 0; axis < HIDDEN_DIM; axis += 1) {
        const values = Array.from({ length: catalogue.count }, (_, item) => latents.hidden[item * HIDDEN_DIM + axis]!);
        const centre = mean(values);
        const sums = new Map<number, [number, number]>();
        for (const [item, value] of values.entries()) {
          const [sum, size] = sums.get(groups[item]!) ?? [0, 0];
          sums.set(groups[item]!, [sum + value, size + 1]);
          total += (value - centre) ** 2;
        }
        for (const [sum, size] of sums.values()) between += size * (sum / size - centre) ** 2;
      }
      // eta squared of unrelated groups is (groups - 1) / (items - 1)
      const expected = (count - 1) / (catalogue.count - 1);
      expect(Math.abs(between / total - expected)).toBeLessThan(0.02);
    }
  });

  it("taste and hidden factor pull about equally, and users keep to their diets", () => {
    const free = users.flatMap((user, index) =>
      user.campaign >= 0
        ? []
        : byTime[index]!.filter((entry) => entry.type === "view" && entry.list < 0).map((entry) => ({
            user,
            item: entry.item,
          })),
    );
    const taste = mean(free.map(({ user, item }) => tasteOf(user, features, item)));
    const hidden = mean(free.map(({ user, item }) => hiddenOf(user, latents, item)));
    expect(taste).toBeGreaterThan(0.4);
    expect(hidden / taste).toBeGreaterThan(0.6);
    expect(hidden / taste).toBeLessThan(1.8);
    const strict = free.filter(({ user }) => user.diet === "vegetarian" || user.diet === "vegan");
    expect(mean(strict.map(({ user, item }) => (isAllowed(user, features, item) ? 1 : 0)))).toBeGreaterThan(0.8);
  });

  it("the session after a cooked main often begins with one of its complements", () => {
    let asked = 0;
    let followed = 0;
    for (const [index, events] of byTime.entries()) {
      if (users[index]!.campaign >= 0) continue;
      for (const [place, entry] of events.entries()) {
        const next = events[place + 1];
        if (
          entry.type !== "cook" ||
          !features.isMain[entry.item] ||
          !next ||
          next.session === entry.session ||
          next.list >= 0
        )
          continue;
        if (next.seconds - entry.seconds > 4 * DAY_SECONDS) continue;
        asked += 1;
        if (latents.complements.subarray(entry.item * COMPLEMENTS, (entry.item + 1) * COMPLEMENTS).includes(next.item))
          followed += 1;
      }
    }
    expect(asked).toBeGreaterThan(500);
    expect(followed / asked).toBeGreaterThan(0.3);
  });

  it("a fashion shows after its day and not before", () => {
    const share = (from: number, to: number): number => {
      const inside = positives.filter(
        (entry) => entry.seconds >= from * DAY_SECONDS && entry.seconds < to * DAY_SECONDS,
      );
      return mean(inside.map((entry) => (features.trends[entry.item]! & 0b0010 ? 1 : 0)));
    };
    expect(share(62, 76)).toBeGreaterThan(1.5 * share(40, 60));
  });

  it("paid accounts push their campaign's recipes in its twelve days", () => {
    for (const user of users.filter((entry) => entry.campaign >= 0)) {
      const campaign = world.campaigns[user.campaign]!;
      expect(campaign.items.length).toBeGreaterThan(0);
      const pushed = byTime[user.index]!.filter((entry) => entry.type === "save");
      for (const entry of pushed) {
        expect(campaign.items).toContain(entry.item);
        expect(Math.floor(entry.seconds / DAY_SECONDS)).toBeGreaterThanOrEqual(campaign.day);
      }
    }
  });
});

it("in the held-out fortnight the last two recipes say more about the next than popularity or item neighbours do", () => {
  const cut = (DAYS - HELD_OUT_DAYS) * DAY_SECONDS;
  const n = catalogue.count;
  const popularity = new Float64Array(n);
  const together = new Float64Array(n * n);
  const follows = new Float64Array(n * n);
  for (const events of byTime) {
    const train = [
      ...new Map(
        events.filter((entry) => entry.seconds < cut && entry.type === "view").map((entry) => [entry.item, entry]),
      ).keys(),
    ];
    for (const [place, item] of train.entries()) {
      popularity[item]! += 1;
      for (const other of train) if (other !== item) together[item * n + other]! += 1;
      const [next, afterNext] = [train[place + 1], train[place + 2]];
      if (next !== undefined) follows[item * n + next]! += 1;
      if (afterNext !== undefined) follows[item * n + afterNext]! += 0.5;
    }
  }
  const hits = { popularity: 0, neighbours: 0, sequence: 0 };
  let cases = 0;
  const scores = new Float64Array(n);
  for (const [index, events] of byTime.entries()) {
    if (index % 4 !== 1 || users[index]!.campaign >= 0) continue;
    const history: number[] = [];
    for (const entry of events) {
      if (entry.seconds >= cut && entry.type === "view" && history.length > 1 && !history.includes(entry.item)) {
        cases += 1;
        const seen = new Set(history);
        const hit = (score: (item: number) => number): number => {
          for (let item = 0; item < n; item += 1) scores[item] = seen.has(item) ? -1 : score(item);
          const target = scores[entry.item]!;
          let better = 0;
          for (let item = 0; item < n; item += 1) if (scores[item]! > target) better += 1;
          return better < 10 ? 1 : 0;
        };
        const [last, before] = [history.at(-1)!, history.at(-2)!];
        const window = [...new Set(history.slice(-50))];
        hits.popularity += hit((item) => popularity[item]!);
        hits.neighbours += hit((item) =>
          window.reduce(
            (sum, earlier) =>
              sum + together[earlier * n + item]! / Math.sqrt((popularity[earlier]! + 3) * (popularity[item]! + 3)),
            0,
          ),
        );
        hits.sequence += hit(
          (item) =>
            follows[last * n + item]! / (popularity[last]! + 5) +
            (0.5 * follows[before * n + item]!) / (popularity[before]! + 5) +
            1e-7 * popularity[item]!,
        );
      }
      history.push(entry.item);
    }
  }
  expect(cases).toBeGreaterThan(1000);
  expect(hits.sequence).toBeGreaterThan(1.6 * hits.neighbours);
  expect(hits.neighbours).toBeGreaterThan(1.2 * hits.popularity);
});
