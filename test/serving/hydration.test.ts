/** Rows of shown items against the delta that overtakes them. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { forgetRows, hydrateRows } from "../../functions/serving/hydration.ts";
import { putItems } from "../../functions/store/items.ts";
import { item, newApp } from "../store/new-app.ts";

it("does not keep a row that a delta overtook while the primary was read", async () => {
  const app = await newApp();
  const [put] = await putItems(env, app, [item("a", { title: "old" })], 1);
  const { number, revision } = put!;
  const titleOf = async (strict: boolean) =>
    (await hydrateRows(env, app, [number], { strict })).rows.get(number)?.title;
  forgetRows(app, [{ number, revision: revision + 1 }]); // told of the write before the read below saw it
  expect(await titleOf(true)).toBe("old");
  await putItems(env, app, [item("a", { title: "new" })], 2);
  expect(await titleOf(false)).toBe("new");
  await env.DB.prepare("UPDATE items SET title = 'beneath' WHERE app = ?1").bind(app).run();
  expect(await titleOf(false), "what is current comes out of the cache").toBe("new");
});
