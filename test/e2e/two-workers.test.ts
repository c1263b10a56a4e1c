/** Two warm Workers of the same bundle on the same storage: what one writes, the other shows within two seconds of traffic. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestHarness } from "wrangler";
import { buildBundle } from "../../demo/dev-server.ts";
import { tinyArtefact } from "../support/tiny-artefact.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const OPERATOR_KEY = "ew_op_two.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";
const SECRETS = { OPERATOR_KEY, WORKER_SECRET: "two-workers-secret-of-at-least-32-characters" };
const folder = mkdtempSync(path.join(os.tmpdir(), "edgewise-two-"));

/** wrangler.toml under another name, around the bundle as it is served. A queue has one consumer, so only the first consumes. */
function configOf(name: string, consumes: boolean): string {
  const bundle = buildBundle();
  const main = [
    `main = ${JSON.stringify(path.join(bundle, "index.js"))}`,
    "no_bundle = true",
    "find_additional_modules = true",
    `base_dir = ${JSON.stringify(bundle)}`,
  ];
  let config = readFileSync(path.join(ROOT, "wrangler.toml"), "utf8")
    .replace(/^name = "edgewise"$/m, `name = "${name}"`)
    .replace(/^main = .*$/m, main.join("\n"))
    .replace(
      /^migrations_dir = "(.*)"/m,
      (_line, migrations: string) => `migrations_dir = ${JSON.stringify(path.join(ROOT, migrations))}`,
    );
  if (!consumes) config = config.replace(/\[\[queues\.consumers\]\][^[]*/, "");
  mkdirSync(path.join(folder, name), { recursive: true });
  const file = path.join(folder, name, "wrangler.toml");
  writeFileSync(file, config);
  return file;
}

const harness = createTestHarness({
  workers: [
    { configPath: configOf("edgewise-a", true), secrets: SECRETS },
    { configPath: configOf("edgewise-b", false), secrets: SECRETS },
  ],
});

afterAll(async () => {
  await harness.close();
  rmSync(folder, { recursive: true, force: true });
});

type Answer = { items: { itemId: string }[]; source: string } & Record<string, unknown>;

async function ask(
  worker: string,
  route: string,
  key: string,
  init: { method?: string; json?: unknown; bytes?: Uint8Array<ArrayBuffer> } = {},
) {
  const body = init.json === undefined ? (init.bytes ?? null) : JSON.stringify(init.json);
  const response = await harness.getWorker(worker).fetch(`https://edge.test${route}`, {
    method: init.method ?? "POST",
    headers: {
      authorization: `Bearer ${key}`,
      ...(init.json === undefined ? {} : { "content-type": "application/json" }),
    },
    body,
  });
  if (!response.ok) throw new Error(`${route}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Answer;
}

let key = "";
const history = [{ itemId: "item-3" }, { itemId: "item-11" }];

async function shown(worker: string, more: object = {}): Promise<string[]> {
  const { items } = await ask(worker, "/v1/recommendations", key, { json: { history, count: 60, ...more } });
  return items.map(({ itemId }) => itemId);
}

beforeAll(async () => {
  await harness.listen();
  await harness.getWorker("edgewise-a").applyD1Migrations("DB");
  const made = (await ask("edgewise-a", "/v1/apps", OPERATOR_KEY, { json: { name: "two" } })) as unknown as {
    keys: { secret: string };
  };
  key = made.keys.secret;
  const items = Array.from({ length: 40 }, (_, row) => ({ id: `item-${row}`, title: `Title of item-${row}` }));
  await ask("edgewise-a", "/v1/items/batch", key, { json: { items } });
  const { manifest, files } = tinyArtefact("two-levels");
  for (const [name, bytes] of files)
    await ask("edgewise-a", `/v1/models/m/files/${name}`, key, { method: "PUT", bytes });
  await ask("edgewise-a", "/v1/models", key, { json: { id: "m", manifest } });
  await ask("edgewise-a", "/v1/models/m/promote", key);
}, 120_000);

/** Time until `worker` shows (or no longer shows) an item, with a request every 100 ms. */
async function secondsUntil(worker: string, condition: (ids: string[]) => boolean): Promise<number> {
  const start = performance.now();
  while (performance.now() - start < 10_000) {
    if (condition(await shown(worker))) return (performance.now() - start) / 1000;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("not within ten seconds");
}

it("shows an item that the other put, and drops one that the other hid, within two seconds, and at once when strict", async () => {
  for (const worker of ["edgewise-a", "edgewise-b"]) expect(await shown(worker)).toContain("item-20");

  await ask("edgewise-a", "/v1/items/item-20", key, {
    method: "PUT",
    json: { title: "Title of item-20", hidden: true },
  });
  expect(await shown("edgewise-a", { consistency: "strict" })).not.toContain("item-20");
  expect(await secondsUntil("edgewise-b", (ids) => !ids.includes("item-20"))).toBeLessThan(2);

  await ask("edgewise-a", "/v1/items/fresh", key, { method: "PUT", json: { title: "Title of item-9" } });
  expect(await shown("edgewise-b", { consistency: "strict" })).toContain("fresh");

  await ask("edgewise-a", "/v1/items/fresher", key, { method: "PUT", json: { title: "Title of item-8" } });
  expect(await secondsUntil("edgewise-b", (ids) => ids.includes("fresher"))).toBeLessThan(2);
});
