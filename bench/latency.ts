/**
 * What a recommendation costs, by history length and beams: whole requests from outside through `wrangler dev`, with a no-op route
 * as zero, and generation alone by workerd's own clock. `--dataset` names a model in models/ or a run in .cache/runs; its items are
 * put with ids alone. `npm run bench:latency [-- --quick] [-- --dataset beauty]`
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "../cli/client.ts";
import { versionOf } from "../functions/domain/artefact/digest.ts";
import type { Manifest } from "../functions/domain/artefact/manifest.ts";
import type { ModelSource } from "../functions/inference/load-model.ts";
import { Parity } from "../functions/inference/parity.ts";
import { benchArguments, leave, percentile, round, startBench } from "./bench.ts";
import { type BenchServer, OPERATOR_KEY, startBenchServer } from "./latency-server.ts";
import { measureCold } from "./latency-cold.ts";
import { folderSource } from "./model-files.ts";

const HISTORIES = [5, 20, 50];
const BEAMS = [10, 20, 50];
const COLD_BEAMS = 20;
const USERS = 8; // of each history length, in turn
const ITEMS_A_BATCH = 1000;
const CONCURRENT = 4;

const args = benchArguments({ dataset: "larder" });
const requests = args.quick ? 40 : 300; // a row
const rounds = args.quick ? 2 : 6; // rows in turn, so that a busy machine slows all alike
const restarts = args.quick ? 2 : 5; // of workerd, for each figure of the cold isolate
const loadMs = args.quick ? 700 : 3000;

const root = path.join(import.meta.dirname, "..");
const folder = [
  path.join(root, "models", args.dataset ?? ""),
  path.join(root, ".cache/runs", args.dataset ?? "", "artefact-int8"),
].find((candidate) => existsSync(path.join(candidate, "manifest.json")));
if (folder === undefined) leave(`no model ${args.dataset} in models/ or .cache/runs: train first`);

/**
 * The artefact with other beams, no exact short cut, and parity cases without rankings (those were made with the manifest's
 * own beams). `label` makes its version its own.
 */
async function variant(
  source: ModelSource,
  beams: number,
): Promise<{ manifest: Manifest; parity: Uint8Array<ArrayBuffer> }> {
  const { manifest } = source;
  const given = Parity.parse(JSON.parse(new TextDecoder().decode(await source.read(manifest.parity.file))));
  const cases = given.cases.slice(0, 4).map((one) => ({ ...one, top: [] }));
  const text = JSON.stringify({ label: `${beams} beams`, cases, text: given.text });
  const parity = Uint8Array.from(new TextEncoder().encode(text));
  const sha256 = createHash("sha256").update(parity).digest("hex");
  const files = manifest.files.map((file) =>
    file.path === manifest.parity.file ? { ...file, bytes: parity.length, sha256 } : file,
  );
  const scoring = {
    ...manifest.scoring,
    mode: "beam" as const,
    beams: manifest.levels.slice(1).map(() => beams),
    exactBelow: 0,
  };
  return { manifest: { ...manifest, files, scoring, modelVersion: await versionOf(files) }, parity };
}

/** An app with the model's items and with users of each history length. */
async function loadApp(url: string, ids: readonly string[]): Promise<{ id: string; client: Client; key: string }> {
  const operator = new Client({ url, key: OPERATOR_KEY });
  type Made = { app: { id: string }; keys: { secret: string } };
  const { app, keys } = await operator.request<Made>("POST", "/v1/apps", { json: { name: "bench" } });
  const client = new Client({ url, key: keys.secret });
  for (let from = 0; from < ids.length; from += ITEMS_A_BATCH) {
    const items = ids.slice(from, from + ITEMS_A_BATCH).map((id) => ({ id, title: id }));
    await client.request("POST", "/v1/items/batch", { json: { items } });
  }
  const now = Date.now();
  for (const length of HISTORIES) {
    for (let user = 0; user < USERS; user++) {
      const events = Array.from({ length }, (_, at) => ({
        id: `${length}-${user}-${at}`,
        itemId: ids[(user * 7919 + at * 104_729) % ids.length],
        type: "view",
        userId: userId(length, user),
        occurredAt: new Date(now - (length - at) * 60_000).toISOString(),
      }));
      await client.request("POST", "/v1/events", { json: { events } });
    }
  }
  return { id: app.id, client, key: keys.secret };
}

const userId = (length: number, user: number) => `u_${length}_${user % USERS}`;

async function push(client: Client, source: ModelSource, beams: number): Promise<string> {
  const { manifest, parity } = await variant(source, beams);
  const id = `beams-${beams}`;
  for (const file of manifest.files) {
    const isParity = file.path === manifest.parity.file;
    const bytes = isParity ? parity : new Uint8Array(await source.read(file.path));
    await client.request("PUT", `/v1/models/${id}/files/${file.path}`, {
      bytes,
      headers: { "x-content-sha256": file.sha256 },
    });
  }
  await client.request("POST", "/v1/models", { json: { id, manifest } });
  return manifest.modelVersion;
}

interface Answer {
  readonly source: string;
  readonly modelVersion: string | null;
  readonly items: readonly unknown[];
}

const recommend = (client: Client, user: string, more: { consistency?: "strict" } = {}) =>
  client.request<Answer>("POST", "/v1/recommendations", {
    json: { userId: user, count: 20, fields: ["title"], ...more },
  });

/** Isolates look for a promotion once a second. */
async function promoted(client: Client, beams: number, modelVersion: string): Promise<void> {
  await client.request("POST", `/v1/models/beams-${beams}/promote`);
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(200)) {
    if ((await recommend(client, userId(5, 0))).modelVersion === modelVersion) return;
  }
  throw new Error(`beams-${beams} was promoted and does not answer`);
}

async function timedRequest(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

/** Requests a second with four under way at any time: the one core of workerd is busy, what comes back is its throughput. */
async function throughput(run: (turn: number) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let turn = 0;
  const worker = async () => {
    while (performance.now() - start < loadMs) await run(turn++);
  };
  await Promise.all(Array.from({ length: CONCURRENT }, worker));
  return turn / ((performance.now() - start) / 1000);
}

const noop = async (url: string) => (await fetch(`${url}/healthz`)).arrayBuffer();

interface Measured {
  readonly history: number;
  readonly beams: number;
  readonly whole: number[];
  /** The same, asking the primary database first: two queries beside the object call. */
  readonly strict: number[];
  readonly generation: number[];
  requestsPerSecond: number;
}

async function measureBeams(
  url: string,
  app: { id: string; client: Client },
  beams: number,
  zero: number[],
): Promise<Measured[]> {
  const rows = HISTORIES.map((history): Measured => ({
    history,
    beams,
    whole: [],
    strict: [],
    generation: [],
    requestsPerSecond: 0,
  }));
  const inside = async (history: number, times: number) => {
    const response = await fetch(`${url}/bench/generation?app=${app.id}&history=${history}&times=${times}`);
    const answer = (await response.json()) as { times: number[] };
    return answer.times;
  };
  for (const { history } of rows) {
    await inside(history, 30);
    for (let turn = 0; turn < 20; turn++) await recommend(app.client, userId(history, turn));
  }
  const perRound = Math.ceil(requests / rounds);
  for (let at = 0; at < rounds; at++) {
    for (const row of rows) {
      row.generation.push(...(await inside(row.history, perRound)));
      for (let turn = 0; turn < perRound; turn++) {
        row.whole.push(await timedRequest(() => recommend(app.client, userId(row.history, turn))));
        row.strict.push(
          await timedRequest(() => recommend(app.client, userId(row.history, turn), { consistency: "strict" })),
        );
        zero.push(await timedRequest(() => noop(url)));
      }
    }
  }
  for (const row of rows) {
    row.requestsPerSecond = await throughput((turn) => recommend(app.client, userId(row.history, turn)));
  }
  return rows;
}

const bench = startBench("latency", args);
const source = await folderSource(folder);
const ids = new TextDecoder()
  .decode(await source.read(source.manifest.items.file))
  .trimEnd()
  .split("\n");
const storage = mkdtempSync(path.join(os.tmpdir(), "edgewise-latency-"));
let server: BenchServer | undefined;
try {
  server = await startBenchServer(storage);
  const { url } = server;
  const app = await loadApp(url, ids);
  const measured: Measured[] = [];
  const zero: number[] = [];
  for (const beams of BEAMS) {
    await promoted(app.client, beams, await push(app.client, source, beams));
    measured.push(...(await measureBeams(url, app, beams, zero)));
    process.stderr.write(`${beams} beams measured\n`);
  }
  const noopPerSecond = await throughput(() => noop(url));
  await app.client.request("POST", `/v1/models/beams-${COLD_BEAMS}/promote`);
  await server.stop();
  server = undefined;
  const cold = await measureCold(storage, { ...app, userId: userId(20, 0) }, restarts);
  const noopP50 = percentile(zero, 0.5);
  const rows = measured.map(({ history, beams, whole, strict, generation, requestsPerSecond }) => ({
    history,
    beams,
    requests: whole.length,
    generationP50: round(percentile(generation, 0.5), 3),
    generationP90: round(percentile(generation, 0.9), 3),
    generationP99: round(percentile(generation, 0.99), 3),
    p50: round(percentile(whole, 0.5), 2),
    p90: round(percentile(whole, 0.9), 2),
    p99: round(percentile(whole, 0.99), 2),
    noopP50: round(noopP50, 2),
    aboveNoopP50: round(percentile(whole, 0.5) - noopP50, 2),
    strictAboveNoopP50: round(percentile(strict, 0.5) - noopP50, 2),
    requestsPerSecond: round(requestsPerSecond, 1),
  }));
  const { dim, levels, scoring, items, modelVersion } = source.manifest;
  bench.finish(
    {
      dataset: args.dataset,
      model: { modelVersion, items: items.count, dim, levels, leaves: scoring.leaves },
      load: os.loadavg()[0],
      rows,
      noop: {
        p50: round(noopP50, 2),
        p99: round(percentile(zero, 0.99), 2),
        requestsPerSecond: round(noopPerSecond, 1),
      },
      cold,
    },
    {
      title: `${args.dataset}: ${items.count} items, d ${dim}; ms; a no-op takes ${round(noopP50, 2)}; cold ${JSON.stringify(cold)}`,
      columns: ["history", "beams", "gen p50", "gen p99", "p50", "p90", "p99", "above no-op", "strict", "requests/s"],
      rows: rows.map((row) => [
        row.history,
        row.beams,
        row.generationP50,
        row.generationP99,
        row.p50,
        row.p90,
        row.p99,
        row.aboveNoopP50,
        row.strictAboveNoopP50,
        row.requestsPerSecond,
      ]),
    },
  );
} finally {
  await server?.stop();
  rmSync(storage, { recursive: true, force: true });
}
