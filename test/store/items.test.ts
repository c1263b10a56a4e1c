import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  deleteItems,
  getItems,
  hydrate,
  ITEM_STATEMENTS,
  listUpdatedSince,
  putItemIf,
  putItems,
  readDelta,
  resolveIds,
  versionOf,
} from "../../functions/store/items.ts";
import { item, newApp } from "./new-app.ts";

const NOW = Date.UTC(2026, 7, 22);
const ids = (count: number, prefix = "r") => Array.from({ length: count }, (_, k) => `${prefix}${k}`);

describe("writing items", () => {
  it("gives new ids the next numbers in order and every row of a write the same revision", async () => {
    const app = await newApp();
    const first = await putItems(env, app, [item("a"), item("b")], NOW);
    const second = await putItems(env, app, [item("b", { title: "again" }), item("c")], NOW);
    expect(first).toEqual([
      { number: 1, revision: 1, created: true },
      { number: 2, revision: 1, created: true },
    ]);
    expect(second).toEqual([
      { number: 2, revision: 2, created: false },
      { number: 3, revision: 2, created: true },
    ]);
    expect((await getItems(env.DB, app, ["b"]))[0]).toMatchObject({ number: 2, title: "again", revision: 2 });
  });

  it("never gives one number or one revision to two of many writers at once", async () => {
    const app = await newApp();
    const writes = await Promise.all(
      Array.from({ length: 12 }, (_, w) =>
        putItems(
          env,
          app,
          [...ids(20, `w${w}-`), "shared"].map((id) => item(id)),
          NOW,
        ),
      ),
    );
    const revisions = writes.map((write) => write[0]!.revision);
    expect(new Set(revisions).size).toBe(12);
    const own = writes.flatMap((write) => write.slice(0, 20).map((result) => result.number));
    expect(new Set(own).size).toBe(240);
    expect(new Set(writes.map((write) => write[20]!.number)).size).toBe(1);
    expect(writes.filter((write) => write[20]!.created)).toHaveLength(1);
    expect(
      await env.DB.prepare("SELECT next_number AS next, revision FROM apps WHERE app = ?1").bind(app).first(),
    ).toEqual({
      next: 242,
      revision: 12,
    });
  });

  it("writes a thousand items in one call and refuses one more", async () => {
    const app = await newApp();
    const results = await putItems(
      env,
      app,
      ids(1000).map((id) => item(id)),
      NOW,
    );
    expect(new Set(results.map((result) => result.number)).size).toBe(1000);
    await expect(
      putItems(
        env,
        app,
        ids(1001).map((id) => item(id)),
        NOW,
      ),
    ).rejects.toThrow(RangeError);
  });

  it("lets the last of two rows with one id win and answers both", async () => {
    const app = await newApp();
    const results = await putItems(env, app, [item("a", { title: "one" }), item("a", { title: "two" })], NOW);
    expect(results[0]).toEqual(results[1]);
    expect((await getItems(env.DB, app, ["a"]))[0]?.title).toBe("two");
    expect((await putItems(env, app, [item("b")], NOW))[0]?.number).toBe(2);
  });

  it("keeps every value as it was given", async () => {
    const app = await newApp();
    const row = item("ü/1", {
      title: 'Ein "Titel"\nmit 漢字 😀',
      text: "x".repeat(2000),
      creator: "c",
      origin: "machine",
      createdAt: 1_234_567_890_123,
      priceMinor: 0,
      currency: "EUR",
      attributes: { tags: ["a", "b"], minutes: 2.5, big: 9_007_199_254_740_991, vegan: false, name: "null", none: [] },
      available: false,
      hidden: true,
    });
    await putItems(env, app, [row], NOW);
    expect((await getItems(env.DB, app, ["ü/1"]))[0]).toEqual({
      ...row,
      number: 1,
      revision: 1,
      updatedAt: NOW,
      deleted: false,
    });
  });

  it("keeps the first createdAt when a later write names none", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a")], NOW);
    await putItems(env, app, [item("a")], NOW + 5000);
    expect((await getItems(env.DB, app, ["a"]))[0]?.createdAt).toBe(NOW);
  });

  it("writes under a condition only while the stored version is the expected one", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a")], NOW);
    const version = versionOf((await getItems(env.DB, app, ["a"]))[0]!);
    const racers = await Promise.all(
      ["x", "y"].map((title) => putItemIf(env, app, item("a", { title }), { version, now: NOW })),
    );
    expect(racers.filter((result) => result !== undefined)).toHaveLength(1);
    expect(await putItemIf(env, app, item("new"), { version, now: NOW })).toBeUndefined();
    expect((await deleteItems(env, app, ["a"], { now: NOW, version })).size).toBe(0);
    expect(await getItems(env.DB, app, ["a", "new"])).toHaveLength(1);
  });

  it("touches nothing of another app", async () => {
    const [one, two] = [await newApp(), await newApp()];
    await putItems(env, one, [item("a"), item("b")], NOW);
    await putItems(env, two, [item("b", { title: "theirs" })], NOW);
    await deleteItems(env, one, ["b"], { now: NOW });
    expect(await hydrate(env.DB, two, [1, 2])).toMatchObject([{ id: "b", title: "theirs", deleted: false }]);
    expect(await resolveIds(env, two, ["a", "b"])).toEqual(new Map([["b", 1]]));
    expect(await readDelta(env.DB, two, 0, 0)).toHaveLength(1);
  });
});

describe("tombstones", () => {
  it("keep the number, lose the texts, and come back under the same number", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a", { text: "gone", attributes: { x: 1 } }), item("b")], NOW);
    expect(await deleteItems(env, app, ["a", "nobody"], { now: NOW })).toEqual(new Set(["a"]));
    expect(await getItems(env.DB, app, ["a"])).toEqual([]);
    expect(await hydrate(env.DB, app, [1])).toMatchObject([
      { deleted: true, text: "", title: "", attributes: {}, revision: 2 },
    ]);
    expect(await resolveIds(env, app, ["a"])).toEqual(new Map([["a", 1]]));
    expect(await putItems(env, app, [item("c"), item("a")], NOW + 9)).toEqual([
      { number: 3, revision: 3, created: true },
      { number: 1, revision: 3, created: true },
    ]);
    expect((await getItems(env.DB, app, ["a"]))[0]?.createdAt).toBe(NOW + 9);
  });

  it("change no revision when nothing was there", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a")], NOW);
    await deleteItems(env, app, ["b"], { now: NOW });
    expect((await putItems(env, app, [item("a")], NOW))[0]?.revision).toBe(2);
  });
});

describe("reading changes", () => {
  it("pages the delta by revision and number without a gap or a repeat", async () => {
    const app = await newApp();
    await putItems(
      env,
      app,
      ids(7).map((id) => item(id)),
      NOW,
    );
    await putItems(
      env,
      app,
      ids(3).map((id) => item(id, { hidden: true })),
      NOW,
    );
    await deleteItems(env, app, ["r6"], { now: NOW });
    const seen: [number, number, boolean, boolean][] = [];
    let [revision, number] = [0, 0];
    for (;;) {
      const page = await readDelta(env.DB, app, revision, number, 2);
      if (page.length === 0) break;
      for (const row of page) seen.push([row.revision, row.number, row.hidden, row.deleted]);
      ({ revision, number } = page.at(-1)!);
    }
    expect(seen).toEqual([
      [1, 4, false, false],
      [1, 5, false, false],
      [1, 6, false, false],
      [2, 1, true, false],
      [2, 2, true, false],
      [2, 3, true, false],
      [3, 7, false, true],
    ]);
  });

  it("lists what was updated since a time, tombstones included, page by page", async () => {
    const app = await newApp();
    await putItems(
      env,
      app,
      ids(3).map((id) => item(id)),
      NOW,
    );
    await putItems(env, app, [item("r1", { title: "new" })], NOW + 1000);
    await deleteItems(env, app, ["r0"], { now: NOW + 2000 });
    const first = await listUpdatedSince(env.DB, app, { updatedAt: NOW, number: 0 }, 2);
    expect(first.items.map((row) => row.id)).toEqual(["r2", "r1"]);
    const second = await listUpdatedSince(env.DB, app, first.next!, 2);
    expect(second.items).toMatchObject([{ id: "r0", deleted: true }]);
    expect(second.next).toBeUndefined();
    expect((await listUpdatedSince(env.DB, app, { updatedAt: NOW + 2001, number: 0 }, 2)).items).toEqual([]);
  });

  it("stamps writes with strictly growing times even when a clock stands still or goes back", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a")], NOW);
    await putItems(env, app, [item("b")], NOW);
    await putItems(env, app, [item("c")], NOW - 60_000);
    await deleteItems(env, app, ["a"], { now: NOW - 60_000 });
    const { items } = await listUpdatedSince(env.DB, app, { updatedAt: NOW, number: 0 }, 10);
    expect(items.map((row) => [row.id, row.updatedAt - NOW])).toEqual([
      ["b", 1],
      ["c", 2],
      ["a", 3],
    ]);
  });
});

describe("every statement", () => {
  it.each(Object.entries(ITEM_STATEMENTS))(
    "%s searches items by an index and never scans it",
    async (name, statement) => {
      const parameters = Array.from(
        { length: Math.max(...[...statement.matchAll(/\?(\d)/g)].map((m) => Number(m[1]))) },
        (_, k) => (k === 1 && name !== "DELTA" && name !== "UPDATED" ? "[]" : 1),
      );
      const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${statement}`)
        .bind(...parameters)
        .all<{ detail: string }>();
      const plan = results.map((row) => row.detail);
      const wanted: Record<string, string[]> = {
        LIVE_IDS: ["items_by_id (app=? AND id=?)"],
        UPSERT: ["items_by_id (app=? AND id=?)", "items_by_update (app=?)"],
        NEXT_NUMBER: ["sqlite_autoindex_items_1 (app=?)"],
        TOMBSTONE: ["items_by_id (app=? AND id=?)", "items_by_update (app=?)"],
        RESOLVE: ["items_by_id (app=? AND id=?)"],
        DELTA: ["items_by_revision (app=? AND (revision,number)>(?,?))"],
        HYDRATE: ["sqlite_autoindex_items_1 (app=? AND number=?)"],
        BY_ID: ["items_by_id (app=? AND id=?)"],
        UPDATED: ["items_by_update (app=? AND (updated_at,number)>(?,?))"],
      };
      for (const index of wanted[name]!) expect(plan.join("\n")).toContain(index);
      expect(plan.filter((step) => /^SCAN (items|old)\b/.test(step))).toEqual([]);
      // UPSERT numbers the rows of its JSON, which lie in no index
      if (name !== "UPSERT") expect(plan.filter((step) => step.includes("TEMP B-TREE"))).toEqual([]);
    },
  );
});
