/** The typed engine beside ONNX Runtime on the same graphs, and on graphs that are broken. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { everyRow, folderSource } from "../../bench/model-files.ts";
import "../../bench/node-runtime.ts";
import { sha256Hex } from "../../functions/domain/artefact/digest.ts";
import { PlaceBitmap } from "../../functions/domain/generation/bitmap.ts";
import { generate } from "../../functions/domain/generation/generate.ts";
import { seededRandom } from "../../functions/domain/generation/random.ts";
import { engineChoice, type EngineName } from "../../functions/inference/engines.ts";
import { GraphError } from "../../functions/inference/graph-error.ts";
import { type LoadedModel, loadModel, type ModelSource } from "../../functions/inference/load-model.ts";
import { ArtefactError } from "../../functions/inference/model-source.ts";
import { checkParity, historyVectors, Parity } from "../../functions/inference/parity.ts";
import { openTypedNetwork } from "../../functions/inference/typed/typed-network.ts";
import { tinySource } from "../support/tiny-artefact.ts";

const root = path.join(import.meta.dirname, "../..");
const larder = path.join(root, "models/larder");
const SOURCES: readonly (readonly [string, () => Promise<ModelSource>])[] = [
  ["two-levels", async () => tinySource("two-levels")],
  ["three-levels", async () => tinySource("three-levels")],
  ...(existsSync(path.join(larder, "manifest.json")) ? [["larder", () => folderSource(larder)] as const] : []),
];

/** Largest |a - b| / max(1, |b|). */
function deviation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!) / Math.max(1, Math.abs(b[i]!)));
  return worst;
}

const TOLERANCE = 2e-5;

describe.each(SOURCES)("both engines on %s", (_, open) => {
  let source: ModelSource;
  let typed: LoadedModel;
  let onnx: LoadedModel;

  beforeAll(async () => {
    source = await open();
    const load = (engine: EngineName) => loadModel(source, everyRow(source), [], { engine });
    [typed, onnx] = [await load("typed"), await load("onnx")];
  });

  afterAll(async () => {
    await typed.dispose();
    await onnx.dispose();
  });

  /** Places of a history and prefixes of every level, drawn by a seed. */
  const drawn = (length: number, beams: number) => {
    const random = seededRandom(`${length}/${beams}`);
    const below = (limit: number) => Math.floor(random() * limit);
    const history = Array.from({ length }, () => below(typed.order.size));
    const levels = typed.order.levels.slice(0, -1);
    const prefixes = (level: number) =>
      Int32Array.from({ length: beams * (level - 1) }, (_code, at) => below(levels[at % (level - 1)]!));
    return { x: historyVectors(typed, history), prefixes };
  };

  test("say which of them answers", () => {
    expect([typed.engine, onnx.engine]).toEqual(["typed", "onnx"]);
    expect([typed.wantsRuntime, onnx.wantsRuntime]).toEqual([false, false]);
  });

  test("give the trainer's states, logits and rankings", async () => {
    const parity = Parity.parse(JSON.parse(new TextDecoder().decode(await source.read(source.manifest.parity.file))));
    const report = await checkParity(onnx, everyRow(source), { ...parity, text: [] }, { typed: typed.network });
    expect(report.refusals).toEqual([]);
    expect(report.cases).toBe(parity.cases.length);
    expect(report.deviation).toBeLessThan(TOLERANCE);
  });

  test("agree on random histories of every length", async () => {
    for (let length = 1; length <= source.manifest.historyLength; length++) {
      const { x, prefixes } = drawn(length, (length % 23) + 1);
      const beams = (length % 23) + 1;
      const [a, b] = [await typed.network.encode(x, length), await onnx.network.encode(x, length)];
      expect(deviation(a.h, b.h), `h of ${length}`).toBeLessThan(TOLERANCE);
      expect(deviation(a.logits, b.logits), `logits of ${length}`).toBeLessThan(TOLERANCE);
      for (let level = 2; level <= typed.order.levels.length; level++) {
        const given = prefixes(level);
        const [steps, expected] = [
          await typed.network.step(level, b.h, given, beams),
          await onnx.network.step(level, b.h, given, beams),
        ];
        expect(deviation(steps, expected), `level ${level} of ${length}`).toBeLessThan(TOLERANCE);
      }
    }
  });

  test("write the same lists", async () => {
    const legal = PlaceBitmap.all(typed.order.size);
    for (let length = 1; length <= source.manifest.historyLength; length += 3) {
      const history = { vectors: drawn(length, 1).x, length };
      const options = { count: 10, exactBelow: 0 };
      const [a, b] = [await generate(typed, history, legal, options), await generate(onnx, history, legal, options)];
      expect([...a.places]).toEqual([...b.places]);
      expect(deviation(a.score, b.score)).toBeLessThan(TOLERANCE);
    }
  });

  test("typed: a beam's logits are the same to the last bit alone and among others", async () => {
    const { x, prefixes } = drawn(3, 21);
    const { h } = await typed.network.encode(x, 3);
    for (let level = 2; level <= typed.order.levels.length; level++) {
      const given = prefixes(level);
      const codes = typed.order.levels[level - 1]!;
      const together = await typed.network.step(level, h, given, 21);
      for (const beam of [0, 3, 7, 20]) {
        const alone = given.slice(beam * (level - 1), (beam + 1) * (level - 1));
        const row = together.subarray(beam * codes, (beam + 1) * codes);
        expect(await typed.network.step(level, h, alone, 1)).toEqual(row);
      }
    }
  });

  test("typed: an answer is not changed by what is asked later", async () => {
    const first = await typed.network.encode(drawn(2, 1).x, 2);
    const kept = first.h.slice();
    await typed.network.encode(drawn(source.manifest.historyLength, 1).x, source.manifest.historyLength);
    expect(first.h).toEqual(kept);
  });

  test("typed: a history outside the model's length, a level and a code it lacks are refused", async () => {
    const { dim, historyLength, levels } = source.manifest;
    await expect(typed.network.encode(new Float32Array(0), 0)).rejects.toThrow(RangeError);
    const long = new Float32Array((historyLength + 1) * dim);
    await expect(typed.network.encode(long, historyLength + 1)).rejects.toThrow(RangeError);
    const h = new Float32Array(dim);
    const beyond = new Int32Array(levels.length);
    await expect(typed.network.step(levels.length + 1, h, beyond, 1)).rejects.toThrow(RangeError);
    await expect(typed.network.step(2, h, Int32Array.of(levels[0]!), 1)).rejects.toThrow(GraphError);
  });
});

describe("the engine of a loaded model", () => {
  const rows = Uint32Array.from({ length: 40 }, (_, row) => row + 1);

  test("is the typed one until the runtime is up, for every version of the model", async () => {
    const model = await loadModel(tinySource("two-levels"), rows, [], { engine: "auto" });
    const next = model.withItems([]);
    expect([model.engine, model.wantsRuntime]).toEqual(["typed", true]);
    const before = model.network;
    const x = historyVectors(model, [1, 2, 3]);
    const first = await before.encode(x, 3);
    await Promise.all([model.startRuntime(), next.startRuntime()]);
    expect([model.engine, model.wantsRuntime, next.engine]).toEqual(["onnx", false, "onnx"]);
    expect(model.network).not.toBe(before);
    expect(deviation((await model.network.encode(x, 3)).h, first.h)).toBeLessThan(TOLERANCE);
    expect(await before.encode(x, 3)).toEqual(first); // a list that was begun with it is ended with it
    await model.dispose();
    await next.dispose();
  });

  test("a model that is disposed of while the runtime starts holds no session", async () => {
    const model = await loadModel(tinySource("two-levels"), rows, [], { engine: "auto" });
    const starting = model.startRuntime();
    await model.dispose();
    await starting;
    expect(model.engine).toBe("typed");
  });

  test("is the runtime where the graphs have an operator that the typed one lacks", async () => {
    const source = await sourceWith("encoder.onnx", renamed(encoder(), "LayerNormalization", "LpNormalization"));
    const message = "no operator LpNormalization";
    await expect(loadModel(source, rows, [], { engine: "typed" })).rejects.toThrow(message);
    // the runtime is asked then; it too refuses this graph, and says so in its own words
    const refused = await loadModel(source, rows, [], { engine: "auto" }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ArtefactError);
    expect((refused as ArtefactError).refusal).toMatchObject({ code: "graph", what: "encoder.onnx" });
  });

  test("is one of three words", () => {
    expect(["auto", "typed", "onnx"].map(engineChoice)).toEqual(["auto", "typed", "onnx"]);
    expect(() => engineChoice("fast")).toThrow(RangeError);
  });
});

const encoder = () => tinySource("two-levels").files.get("encoder.onnx")!;
const step = () => tinySource("two-levels").files.get("step2.onnx")!;

/** The bytes with one word in place of another of the same length. */
function renamed(bytes: Uint8Array<ArrayBuffer>, from: string, to: string): Uint8Array<ArrayBuffer> {
  const changed = Buffer.from(bytes);
  const at = changed.indexOf(from);
  expect(at).toBeGreaterThan(0);
  changed.write(to.padEnd(from.length, " ").slice(0, from.length), at);
  return Uint8Array.from(changed);
}

async function sourceWith(file: string, bytes: Uint8Array<ArrayBuffer>) {
  const source = tinySource("two-levels");
  source.files.set(file, bytes);
  const line = source.manifest.files.find((one) => one.path === file)!;
  Object.assign(line, { bytes: bytes.length, sha256: await sha256Hex(bytes) });
  return source;
}

describe("broken graphs", () => {
  const { manifest } = tinySource("two-levels");

  /** Opens and runs; what goes wrong is a GraphError, or the numbers are wrong: neither a crash nor a hang. */
  async function tried(encoderBytes: Uint8Array, stepBytes: Uint8Array): Promise<"refused" | "ran"> {
    try {
      const network = await openTypedNetwork(manifest, {
        encoder: Uint8Array.from(encoderBytes).buffer,
        steps: [Uint8Array.from(stepBytes).buffer],
      });
      const { h } = await network.encode(new Float32Array(3 * manifest.dim).fill(0.5), 3);
      await network.step(2, h, Int32Array.of(0, 1, 2), 3);
      return "ran";
    } catch (error) {
      expect(error).toBeInstanceOf(GraphError);
      expect((error as GraphError).message.length).toBeGreaterThan(5);
      return "refused";
    }
  }

  test("the graphs as they are run", async () => {
    expect(await tried(encoder(), step())).toBe("ran");
  });

  test("a file that ends early is refused, wherever it ends", async () => {
    const whole = encoder();
    for (let length = 0; length < whole.length; length += 7) {
      expect(await tried(whole.subarray(0, length), step()), `${length} bytes`).toBe("refused");
    }
  });

  test("a file of other bytes is refused", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        expect(await tried(bytes, step())).toBe("refused");
      }),
      { numRuns: 200, seed: 4 },
    );
  });

  test("changed bytes are refused or change the numbers, and never break the engine", async () => {
    const change = fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }), isStep: fc.boolean() });
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const files = { encoder: encoder().slice(), step: step().slice() };
        for (const { at, value, isStep } of changes) {
          const bytes = isStep ? files.step : files.encoder;
          bytes[at % bytes.length] = value;
        }
        if ((await tried(files.encoder, files.step)) === "refused") refused += 1;
      }),
      { numRuns: 500, seed: 4 },
    );
    expect(refused).toBeGreaterThan(50);
  });
});

test("kernels.wasm was made of kernels.as as it is now (npm run kernels)", () => {
  const folder = path.join(root, "functions/inference/typed");
  const wasm = WebAssembly as unknown as { Module: new (bytes: Uint8Array) => WebAssembly.Module };
  const compiled = new wasm.Module(readFileSync(path.join(folder, "kernels.wasm")));
  const [section] = WebAssembly.Module.customSections(compiled, "source-sha256");
  const sha256 = createHash("sha256")
    .update(readFileSync(path.join(folder, "kernels.as")))
    .digest("hex");
  expect(new TextDecoder().decode(section)).toBe(sha256);
});
