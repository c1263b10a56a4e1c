/**
 * Which arithmetic the graphs should use, and where a generation's milliseconds go: encoder and step in float32, int8 unpacked to
 * float32 (served), int8 with dynamic and with static activation scales, in interleaved rounds. Needs the files that
 * `python -m training.graph_variants --config NAME` writes.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import * as z from "zod";
import { PlaceBitmap } from "../functions/domain/generation/bitmap.ts";
import { generate } from "../functions/domain/generation/generate.ts";
import type { DecodeNetwork } from "../functions/domain/generation/types.ts";
import { type LoadedModel, loadModel } from "../functions/inference/load-model.ts";
import { decodeNetwork } from "../functions/inference/network.ts";
import { historyVectors } from "../functions/inference/parity.ts";
import { createSession } from "../functions/inference/runtime.ts";
import { benchArguments, leave, mean, median, round, startBench } from "./bench.ts";
import { folderSource, rowsOfItems } from "./model-files.ts";
import "./node-runtime.ts";

const VARIANTS = ["float32", "int8-unpacked", "int8-dynamic", "int8-static"];
const HISTORY = 20;
const COUNT = 20;
const TOP = 10;
/** Cases in which a beam is run alone as well. */
const NEIGHBOUR_CASES = 50;

const args = benchArguments({ dataset: "beauty" });
const bench = startBench("graphs", args);
const rounds = args.quick ? 20 : 150;
const cases = args.quick ? 60 : 400;
const root = path.join(import.meta.dirname, "..", ".cache");
const dataset = args.dataset ?? "";
const run = path.join(root, "runs", dataset);
if (!existsSync(path.join(run, "artefact-fp32"))) leave(`no run ${dataset} in .cache/runs: train it first`);
if (!existsSync(path.join(root, "graph-variants", dataset))) {
  leave(`no graphs: .venv/bin/python -m training.graph_variants --config ${dataset}`);
}
const source = await folderSource(path.join(run, "artefact-fp32"));
const model = await loadModel(source, await rowsOfItems(source, run), []);
const Cases = z.object({ users: z.array(z.object({ history: z.array(z.int().min(0)) })) });
const { users } = Cases.parse(JSON.parse(readFileSync(path.join(run, "cases-validation.json"), "utf8")));
const stride = Math.max(1, Math.floor(users.length / cases));
const histories = users.filter((_, at) => at % stride === 0).slice(0, cases);

const file = (variant: string, name: string): Uint8Array =>
  readFileSync(path.join(root, "graph-variants", dataset, variant, name));
const networks = new Map<string, { network: DecodeNetwork; bytes: number }>();
for (const variant of VARIANTS) {
  const [encoder, step] = [file(variant, "encoder.onnx"), file(variant, "step2.onnx")];
  const sessions = { encoder: await createSession(encoder), steps: [await createSession(step)] };
  networks.set(variant, { network: decodeNetwork(source.manifest, sessions), bytes: encoder.length + step.length });
}

const { dim, levels } = source.manifest;
const places = Array.from({ length: HISTORY }, (_, at) => (at * 37) % model.order.size);
const fixed = historyVectors(model, places);
const prefixes = Int32Array.from({ length: 20 }, (_, at) => (at * 3) % levels[0]!);
const all = PlaceBitmap.all(model.order.size);

/** The best places by h.v, best first. */
function bestPlaces(h: Float32Array): number[] {
  const scores = Float64Array.from({ length: model.order.size }, (_, place) => model.vectors.dot(h, place));
  return Array.from(scores.keys())
    .sort((a, b) => scores[b]! - scores[a]!)
    .slice(0, TOP);
}

const reference = new Map<number, number[]>();
const rows = [];
const times = new Map<string, { encoder: number[]; step: number[]; generation: number[] }>();
for (const variant of VARIANTS) times.set(variant, { encoder: [], step: [], generation: [] });
const clock = async (into: number[], work: () => Promise<unknown>): Promise<void> => {
  const from = performance.now();
  await work();
  into.push(performance.now() - from);
};
for (let turn = -10; turn < rounds; turn += 1) {
  for (const variant of VARIANTS) {
    const { network } = networks.get(variant)!;
    const into = turn < 0 ? { encoder: [], step: [], generation: [] } : times.get(variant)!;
    let h: Float32Array = new Float32Array(dim);
    await clock(into.encoder, async () => ({ h } = await network.encode(fixed, HISTORY)));
    await clock(into.step, () => network.step(2, h, prefixes, prefixes.length));
    const { order, vectors, scoring, historyLength } = model;
    const decoding = { order, vectors, scoring, historyLength, network };
    await clock(into.generation, () => generate(decoding, { vectors: fixed, length: HISTORY }, all, { count: COUNT }));
  }
}
for (const variant of VARIANTS) {
  const { network, bytes } = networks.get(variant)!;
  const { overlap, difference } = await faithfulness(variant, network, model);
  const own = times.get(variant)!;
  const generation = median(own.generation);
  rows.push({
    variant,
    bytes,
    encoderP50: round(median(own.encoder), 3),
    stepP50: round(median(own.step), 3),
    generationP50: round(generation, 3),
    /** Beams, filter, exact scores: what is left of a generation without its two runs. */
    decodingP50: round(generation - median(own.encoder) - median(own.step), 3),
    ratioToFloat32: round(generation / median(times.get("float32")!.generation), 3),
    sameTop10: round(overlap, 4),
    largestDependenceOnNeighbours: difference,
  });
}

/** Share of the float32 top 10 kept, and how far a beam's logits move when other beams stand in the batch. */
async function faithfulness(
  variant: string,
  network: DecodeNetwork,
  decoded: LoadedModel,
): Promise<{ overlap: number; difference: number }> {
  const shares: number[] = [];
  let difference = 0;
  for (const [at, { history }] of histories.entries()) {
    const chosen = history.slice(-decoded.historyLength).map((row) => decoded.order.placeOf(row + 1));
    const { h } = await network.encode(historyVectors(decoded, chosen), chosen.length);
    const best = bestPlaces(h);
    const expected = variant === "float32" ? best : reference.get(at)!;
    reference.set(at, expected);
    shares.push(best.filter((place) => expected.includes(place)).length / TOP);
    if (at >= NEIGHBOUR_CASES) continue;
    const together = await network.step(2, h, prefixes, prefixes.length);
    const alone = await network.step(2, h, prefixes.subarray(0, 1), 1);
    for (const [code, value] of alone.entries()) difference = Math.max(difference, Math.abs(value - together[code]!));
  }
  return { overlap: mean(shares), difference };
}

bench.finish(
  { history: HISTORY, beams: prefixes.length, dim, rounds, cases: histories.length, rows },
  {
    title: `Graphs of ${dataset} (d ${dim}), ${HISTORY} items, ${prefixes.length} beams, milliseconds`,
    columns: ["variant", "bytes", "encoder", "step", "generation", "decoding", "ratio", "same top 10", "neighbours"],
    rows: rows.map((row) => [
      row.variant,
      row.bytes,
      row.encoderP50,
      row.stepP50,
      row.generationP50,
      row.decodingP50,
      row.ratioToFloat32,
      row.sameTop10,
      row.largestDependenceOnNeighbours.toExponential(1),
    ]),
  },
);
await model.dispose();
