/**
 * Up to how many items is scoring all of them cheaper than beams? `npm run bench:exact-scan [-- --quick]`, a minute.
 *
 * After the encoder, which both need: h . v of every item and the best 20, at several sizes, against two levels of decoding, at d 64
 * on the graphs of bench:scale and, where it is trained, at d 128 on Beauty's model. Times are the quickest of many: what else runs on
 * the machine only adds to them. The crossover lies where the line through the largest and the smallest size meets the beams.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { readFile } from "node:fs/promises";
import "./node-runtime.ts";
import { rootBeam } from "../functions/domain/generation/beams.ts";
import { PlaceBitmap } from "../functions/domain/generation/bitmap.ts";
import { buildCodeOrder } from "../functions/domain/generation/code-order.ts";
import { generate } from "../functions/domain/generation/generate.ts";
import { scoreItems } from "../functions/domain/generation/scoring.ts";
import type { GenerativeModel } from "../functions/domain/generation/types.ts";
import { ItemTables } from "../functions/inference/item-tables.ts";
import { int8Vectors, type StoredVectors } from "../functions/inference/item-vectors.ts";
import { productVectors } from "../functions/inference/product-vectors.ts";
import { benchArguments, round, startBench, timed } from "./bench.ts";
import { openArtefact } from "./decoding.ts";
import { runFolder } from "./run-folder.ts";
import {
  COUNT,
  LEVELS,
  openNetwork,
  randomCodebook,
  ScaleWorld,
  syntheticColumns,
  syntheticRows,
  type VectorForm,
} from "./scale-world.ts";

const args = benchArguments();
const bench = startBench("exact-scan", args);
const sizes = args.quick ? [1000, 8000] : [1000, 2000, 4000, 8000, 16_000];
const times = { times: args.quick ? 100 : 400, warmUp: 50 };
const quickest = async (run: () => unknown) => Math.min(...(await timed(run, times)));

/** Random vectors of a form; what they are does not change what they cost. */
function vectorsOf(form: VectorForm, dim: number, codes: Uint8Array): StoredVectors {
  const size = codes.length / LEVELS.length;
  const random = (length: number) => Uint8Array.from({ length }, () => Math.random() * 256);
  if (form === "int8") {
    return int8Vectors(dim, new Int8Array(random(size * dim).buffer), new Float32Array(size).fill(0.001));
  }
  return productVectors(randomCodebook(dim, dim / 4), codes, random((size * dim) / 4));
}

const scans = [];
for (const dim of [64, 128]) {
  for (const form of ["int8", "pq"] as const) {
    const milliseconds: number[] = [];
    for (const size of sizes) {
      const codes = Uint8Array.from({ length: 2 * size }, () => Math.random() * 256);
      const { order } = buildCodeOrder(
        LEVELS,
        codes,
        Uint32Array.from({ length: size }, (_, row) => row + 1),
      );
      const model = { order, vectors: vectorsOf(form, dim, codes) };
      const h = Float32Array.from({ length: dim }, () => Math.random() - 0.5);
      const input = { model, h, legal: PlaceBitmap.all(size), count: COUNT, alpha: 0.2 };
      milliseconds.push(await quickest(() => scoreItems(input, rootBeam(order), "exact")));
    }
    scans.push({ dim, form, milliseconds });
  }
}

/** What decoding takes beyond the encoder, with beams. */
async function beamTime(model: GenerativeModel): Promise<number> {
  const { order, vectors, network } = model;
  const length = 20;
  const x = new Float32Array(length * vectors.dim);
  for (let at = 0; at < length; at += 1) vectors.read((at * 37) % order.size, x, at * vectors.dim);
  const legal = PlaceBitmap.all(order.size).countsDone();
  const options = { count: COUNT, exactBelow: 0 };
  const whole = await quickest(() => generate(model, { vectors: x, length }, legal, options));
  return whole - (await quickest(() => network.encode(x, length)));
}

const graph = async (name: string): Promise<ArrayBuffer> =>
  Uint8Array.from(await readFile(path.join(import.meta.dirname, "fixtures/scale", name))).buffer;
const network = await openNetwork(await graph("encoder.onnx"), await graph("step2.onnx"));
const { format, rows } = syntheticRows(100_000, "int8");
const world = new ScaleWorld(network, syntheticColumns(1), ItemTables.of(format, rows));
const beams = [
  { dim: 64, model: `synthetic, ${LEVELS.join(" x ")} codes, 20 beams`, milliseconds: await beamTime(world.model) },
];
const beauty = path.join(runFolder("beauty"), "artefact-int8");
if (existsSync(beauty)) {
  const model = await openArtefact(beauty);
  const { levels, scoring, dim } = model.manifest;
  const words = `Beauty, ${levels.join(" x ")} codes, ${scoring.beams.join(" / ")} beams`;
  beams.push({ dim, model: words, milliseconds: await beamTime(model) });
  await model.dispose();
}

const result = scans.map(({ dim, form, milliseconds }) => {
  const [low, high] = [milliseconds[0]!, milliseconds.at(-1)!];
  const slope = (high - low) / (sizes.at(-1)! - sizes[0]!);
  const beam = beams.find((one) => one.dim === dim)?.milliseconds;
  const crossover = beam === undefined ? null : Math.round((sizes[0]! + (beam - low) / slope) / 100) * 100;
  const rounded = milliseconds.map((value) => round(value, 3));
  return { dim, form, milliseconds: rounded, nanosecondsAnItem: round(1e6 * slope, 1), crossover };
});
const rounded = beams.map((one) => ({ ...one, milliseconds: round(one.milliseconds, 3) }));
bench.finish(
  { sizes, scans: result, beams: rounded },
  {
    title: `scoring every item (ms), and beams: ${rounded.map((one) => `d ${one.dim} (${one.model}) ${one.milliseconds} ms`).join("; ")}`,
    columns: ["d", "vectors", ...sizes.map(String), "ns an item", "crossover, items"],
    rows: result.map((row) => [row.dim, row.form, ...row.milliseconds, row.nanosecondsAnItem, row.crossover]),
  },
);
