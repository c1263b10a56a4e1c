/**
 * Our generation beside Hugging Face's T5 6+6 `generate` and the papers' backbone on our own runtime, each on one thread with the same
 * history and beams, in turn within one run: `npm run bench:peers [-- --quick]` after `npm run bench:peers:setup` (about 6 GB in .cache).
 * Wants idle cores: where others are busy, the long calls of `generate` are interrupted more often than our short ones (see `load`).
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import "./node-runtime.ts";
import { loadModel } from "../functions/inference/load-model.ts";
import { benchArguments, leave, median, round, startBench, timed } from "./bench.ts";
import { everyRow, folderSource } from "./model-files.ts";
import { generateFor, historyOf, legalFor } from "./peers/generation.ts";
import { T5Network } from "./peers/t5-network.ts";
import { startWorkerd } from "./workerd.ts";

const HISTORY = 20; // items; 60 tokens where an item is three
const BEAMS = 20;
const PAPER = "hugging-face-t5-6+6";

const args = benchArguments();
const dataset = args.dataset ?? "beauty";
const rounds = args.quick ? 3 : 15;
/** Times a round and system; ours are shorter, so there are more of them. */
const perRound = { slow: args.quick ? 3 : 5, fast: args.quick ? 20 : 60 };

const root = path.join(import.meta.dirname, "..");
const python = path.join(root, ".cache/peers/venv/bin/python");
if (!existsSync(python)) leave("no environment for the comparison: npm run bench:peers:setup");
const served = [
  { name: dataset, folder: path.join(root, ".cache/runs", dataset, "artefact-int8") },
  { name: dataset, folder: path.join(root, "models", dataset) },
  { name: "larder", folder: path.join(root, "models/larder") },
].find(({ folder }) => existsSync(path.join(folder, "manifest.json")));
if (served === undefined) leave(`no model ${dataset} in .cache/runs or models/: train first`);

interface System {
  readonly name: string;
  /** Milliseconds of each of `times` generations. */
  readonly measure: (times: number) => Promise<readonly number[]>;
  readonly times: number;
  readonly stop?: () => void;
}

/** A Python process that answers a count with so many times. */
async function huggingFace(): Promise<{ readonly system: System; readonly about: unknown }> {
  const child = spawn(python, [path.join(import.meta.dirname, "peers/generate.py"), String(BEAMS)], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1", HF_HUB_OFFLINE: "1" },
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async (): Promise<unknown> => {
    const line = await lines.next();
    if (line.done === true) throw new Error("the comparison's process ended");
    return JSON.parse(line.value);
  };
  const about = await answer();
  const measure = async (times: number) => {
    child.stdin.write(`${times}\n`);
    return (await answer()) as number[];
  };
  return { system: { name: PAPER, measure, times: perRound.slow, stop: () => child.kill() }, about };
}

/** Generation inside workerd by its own clock. */
async function insideWorkerd(
  source: Awaited<ReturnType<typeof folderSource>>,
  files: readonly string[],
): Promise<System> {
  const server = await startWorkerd("peers.toml");
  for (const file of files) await fetch(`${server.origin}${file}`, { method: "PUT", body: await source.read(file) });
  return {
    name: "edgewise-workerd",
    times: perRound.fast / 5, // each is the mean of five
    stop: server.stop,
    async measure(times) {
      const response = await fetch(`${server.origin}?times=${times}&history=${HISTORY}&beams=${BEAMS}`);
      if (!response.ok) throw new Error(`the Worker answered ${response.status}: ${await response.text()}`);
      const answer: { times: number[] } = await response.json();
      return answer.times;
    },
  };
}

/** Item numbers that the papers' backbone finds after a history of numbers. */
async function searchWith(t5: T5Network, history: readonly number[], seen = history): Promise<number[]> {
  const places = history.map((number) => model.order.placeOf(number));
  const found = await t5.search(model.order, legalFor(model, seen), places, { beams: BEAMS });
  if (found.length !== BEAMS) throw new Error(`${found.length} of ${BEAMS} items`);
  return Array.from(found, (place) => model.order.numbers[place]!);
}

/** @throws Error when a list is not the trainer's but for near ties */
async function checkAgainstTrainer(t5: T5Network): Promise<void> {
  const { histories, seen, items } = t5.check;
  const numbersOf = (rows: readonly number[]) => rows.map((row) => row + 1);
  for (const [at, history] of histories.entries()) {
    const expected = numbersOf(items[at]!);
    const found = await searchWith(t5, numbersOf(history), numbersOf(seen[at]!));
    const shared = found.filter((number) => expected.includes(number)).length;
    if (found[0] !== expected[0] || shared < BEAMS - 1) {
      throw new Error(`history ${at}: ${shared} of ${BEAMS} items are the trainer's: other codes than these`);
    }
  }
}

const bench = startBench("peers", args);
const source = await folderSource(served.folder);
const { manifest } = source;
const model = await loadModel(source, everyRow(source), [], { engine: "typed" });
const onRuntime = await loadModel(source, everyRow(source), [], { engine: "onnx" });
const systems: System[] = [];
try {
  const { system, about } = await huggingFace();
  systems.push(system);
  let user = 0;
  for (const [name, opened] of [
    ["edgewise-node", model],
    ["edgewise-node-onnxruntime", onRuntime],
  ] as const) {
    systems.push({
      name,
      times: perRound.fast,
      measure: (times) =>
        timed(() => generateFor(opened, user++, { length: HISTORY, beams: BEAMS }), { times, warmUp: 0 }),
    });
  }
  systems.push(await insideWorkerd(source, ["manifest.json", ...manifest.files.map((file) => file.path)]));
  const t5 = await T5Network.open(path.join(root, ".cache/runs/t5", served.name));
  if (t5 === undefined || manifest.levels.some((size, level) => size !== t5.sizes[level])) {
    process.stderr.write("the papers' backbone on these codes is not trained: left out\n");
  } else {
    await checkAgainstTrainer(t5);
    const measure = (times: number) =>
      timed(async () => searchWith(t5, historyOf(model, user++, HISTORY)), { times, warmUp: 0 });
    systems.push({ name: "t5-2+2-node", times: perRound.fast / 2, measure });
  }

  const medians = new Map(systems.map(({ name }) => [name, [] as number[]]));
  const all = new Map(systems.map(({ name }) => [name, [] as number[]]));
  for (let turn = -1; turn < rounds; turn += 1) {
    for (const { name, measure, times } of systems) {
      const found = await measure(times);
      if (turn < 0) continue; // the first round warms up
      all.get(name)!.push(...found);
      medians.get(name)!.push(median(found));
    }
  }
  const paper = median(all.get(PAPER)!);
  const rows = systems.map(({ name }) => {
    const p50 = median(all.get(name)!);
    const byRound = medians.get(name)!.map((value, turn) => medians.get(PAPER)![turn]! / value);
    return {
      system: name,
      beams: BEAMS,
      p50: round(p50, 3),
      ratio: round(paper / p50, 1),
      ratioByRound: [round(Math.min(...byRound), 1), round(Math.max(...byRound), 1)],
      times: all.get(name)!.length,
    };
  });
  bench.finish(
    {
      model: { name: served.name, modelVersion: manifest.modelVersion, items: manifest.items.count, dim: manifest.dim },
      history: HISTORY,
      peer: about,
      load: os.loadavg()[0],
      rounds,
      rows,
    },
    {
      title: `${HISTORY} items of history, ${BEAMS} beams, one thread, ms; ratio: ${PAPER} divided by the row`,
      columns: ["system", "p50", "ratio", "least by round", "most by round"],
      rows: rows.map((row) => [row.system, row.p50, row.ratio, ...row.ratioByRound]),
    },
  );
} finally {
  for (const { stop } of systems) stop?.();
  await model.dispose();
  await onRuntime.dispose();
}
