import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { CatalogueColumns } from "../../functions/domain/catalogue/columns.ts";
import { deleteItems, putItems, SNAPSHOT_AFTER_ROWS } from "../../functions/store/items.ts";
import { readCatalogue, reconcileNumbers, refreshCatalogue, writeSnapshot } from "../../functions/store/snapshots.ts";
import { item, newApp } from "./new-app.ts";

const NOW = Date.UTC(2026, 7, 22);

async function pointer(app: number) {
  const row = await env.DB.prepare(
    "SELECT epoch, revision, next_number AS nextNumber, snapshot_key AS key, snapshot_revision AS at, unsnapshotted_rows AS rows FROM apps WHERE app = ?1",
  )
    .bind(app)
    .first<{ epoch: number; revision: number; nextNumber: number; key: string | null; at: number; rows: number }>();
  return row!;
}

const snapshotsOf = async (app: number) =>
  (await env.MODELS.list({ prefix: `catalogue/app=${app}/` })).objects
    .map(({ key }) => key)
    .filter((key) => key.endsWith(".snapshot"));

describe("a snapshot", () => {
  it("and the writes after it give the catalogue as it is", async () => {
    const app = await newApp();
    await putItems(
      env,
      app,
      [item("a", { priceMinor: 499, currency: "EUR", attributes: { diet: ["vegan"] } }), item("b"), item("c")],
      NOW,
    );
    expect(await writeSnapshot(env, app)).toEqual({ written: true, revision: 1, isComplete: true });
    await putItems(env, app, [item("b", { hidden: true }), item("d")], NOW);
    await deleteItems(env, app, ["c"], { now: NOW });
    const columns = await readCatalogue(env, app);
    expect([1, 2, 3, 4, 5].map((number) => columns.isShowable(number))).toEqual([true, false, false, true, false]);
    expect([columns.revision, columns.size]).toEqual([3, 3]);
    expect(columns.value(1, "price")).toBe(499);
    expect(columns.value(1, "diet")).toEqual(["vegan"]);
  });

  it("counts what it holds and is written anew only when something changed", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a"), item("b")], NOW);
    expect((await pointer(app)).rows).toBe(2);
    await writeSnapshot(env, app);
    expect(await pointer(app)).toMatchObject({ rows: 0, at: 1 });
    expect((await writeSnapshot(env, app)).written).toBe(false);
    await putItems(env, app, [item("a", { title: "other" })], NOW);
    expect((await writeSnapshot(env, app)).written).toBe(true);
    expect(await pointer(app)).toMatchObject({ rows: 0, at: 2 });
  });

  it("leaves itself and the one before it in the bucket, and nothing older", async () => {
    const app = await newApp();
    for (const hidden of [false, true, false, true]) {
      await putItems(env, app, [item("a", { hidden }), item(`n${Math.random()}`)], NOW);
      await writeSnapshot(env, app);
    }
    expect(await snapshotsOf(app)).toHaveLength(2);
    expect(await snapshotsOf(app)).toContain((await pointer(app)).key);
  });

  it("of the slower of two writers does not replace the other's", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a"), item("b")], NOW);
    const results = await Promise.all([writeSnapshot(env, app), writeSnapshot(env, app)]);
    expect(results.filter((result) => result.written)).toHaveLength(1);
    expect((await readCatalogue(env, app)).size).toBe(2);
  });

  it("that is lost or damaged is made up for by the rows", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a"), item("b")], NOW);
    await writeSnapshot(env, app);
    const key = (await pointer(app)).key ?? "";
    await env.MODELS.put(key, new Uint8Array([1, 2, 3]));
    expect((await readCatalogue(env, app)).size).toBe(2);
    await env.MODELS.delete(key);
    expect((await readCatalogue(env, app)).size).toBe(2);
  });

  it("is asked for by the queue after so many rows", async () => {
    const app = await newApp();
    const rows = (from: number) => Array.from({ length: 1000 }, (_, k) => item(`r${from + k}`));
    const sent: unknown[] = [];
    const jobs = { ...env, JOBS: { send: async (message: unknown) => void sent.push(message) } } as unknown as Env;
    for (let from = 0; from < SNAPSHOT_AFTER_ROWS; from += 1000) await putItems(jobs, app, rows(from), NOW);
    expect(sent).toEqual([{ type: "snapshot", app }]);
    await putItems(jobs, app, [item("more")], NOW);
    expect(sent).toHaveLength(1);
  });
});

describe("refreshing columns", () => {
  it("meets the fresh catalogue whatever happened in between", async () => {
    const app = await newApp();
    const columns = new CatalogueColumns();
    for (let round = 0; round < 5; round++) {
      await putItems(
        env,
        app,
        Array.from({ length: 30 }, (_, k) => item(`r${(k * 7 + round) % 60}`, { hidden: (k + round) % 3 === 0 })),
        NOW,
      );
      await deleteItems(env, app, [`r${round * 5}`], { now: NOW });
      await refreshCatalogue(env.DB, app, columns);
    }
    const fresh = new CatalogueColumns();
    await refreshCatalogue(env.DB, app, fresh);
    const shown = (of: CatalogueColumns) =>
      Array.from({ length: of.largestNumber + 1 }, (_, number) => of.isShowable(number));
    expect(shown(columns)).toEqual(shown(fresh));
    expect([columns.revision, columns.size]).toEqual([fresh.revision, fresh.size]);
    expect(await refreshCatalogue(env.DB, app, columns)).toBe(0);
  });
});

describe("item numbers", () => {
  it("are not given again when the database was restored to an earlier minute", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a"), item("b"), item("c")], NOW);
    await writeSnapshot(env, app);
    const before = await pointer(app);
    await env.DB.batch([
      env.DB.prepare("DELETE FROM items WHERE app = ?1 AND number > 1").bind(app),
      env.DB.prepare("UPDATE apps SET next_number = 2, revision = 0 WHERE app = ?1").bind(app),
    ]);
    expect(await reconcileNumbers(env, app)).toBe(true);
    const after = await pointer(app);
    expect(after.epoch).toBe(before.epoch + 1);
    expect(after.revision).toBeGreaterThan(before.revision);
    expect((await putItems(env, app, [item("d")], NOW))[0]!.number).toBeGreaterThanOrEqual(before.nextNumber);
    expect(await reconcileNumbers(env, app)).toBe(false);
  });

  it("go on undisturbed while nothing was restored", async () => {
    const app = await newApp();
    await putItems(env, app, [item("a")], NOW);
    await writeSnapshot(env, app);
    await Promise.all([putItems(env, app, [item("b")], NOW), reconcileNumbers(env, app), writeSnapshot(env, app)]);
    expect(await pointer(app)).toMatchObject({ epoch: 1, nextNumber: 3 });
  });
});
