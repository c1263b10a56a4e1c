/** Coding of newer items while a model that can never serve is registered beside the one that does. */
import { expect, it } from "vitest";
import { sha256Hex, versionOf } from "../../functions/domain/artefact/digest.ts";
import { call } from "../http/caller.ts";
import { appWithItems, putFiles, register, registerTiny } from "../support/put-tiny-model.ts";
import { tinyArtefact } from "../support/tiny-artefact.ts";

it("is not held up by a registered model whose text side is broken", async () => {
  const app = await appWithItems(40);
  const { manifest, files } = tinyArtefact("two-levels");
  const { tokenizer } = manifest.textEncoder;
  const broken = Uint8Array.from("{no JSON", (character) => character.charCodeAt(0));
  files.set(tokenizer, broken);
  const line = manifest.files.find(({ path }) => path === tokenizer)!;
  Object.assign(line, { bytes: broken.length, sha256: await sha256Hex(broken) });
  Object.assign(manifest, { modelVersion: await versionOf(manifest.files) });
  await putFiles(app, "broken", files);
  expect((await register(app, "broken", manifest)).status).toBe(201);
  await registerTiny(app, "good");
  const promoted = await call("/v1/models/good/promote", { method: "POST", key: app.secret });
  expect([promoted.status, await promoted.text()]).toEqual([200, expect.any(String)]);

  const put = await call("/v1/items/fresh", { method: "PUT", key: app.secret, body: { title: "Title of item-9" } });
  expect(await put.json()).toMatchObject({ created: true, pendingCodes: false });
  const asked = await call("/v1/recommendations", {
    key: app.secret,
    body: { history: [{ itemId: "item-3" }], count: 60, consistency: "strict" },
  });
  const { items } = await asked.json<{ items: { itemId: string; logProbability: number | null }[] }>();
  expect(items.find(({ itemId }) => itemId === "fresh")?.logProbability).toEqual(expect.any(Number));
});
