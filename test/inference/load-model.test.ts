import { describe, expect, test } from "vitest";
import "../../bench/node-runtime.ts";
import { quantise } from "../../functions/domain/artefact/coded-item.ts";
import { sha256Hex } from "../../functions/domain/artefact/digest.ts";
import { PlaceBitmap } from "../../functions/domain/generation/bitmap.ts";
import { generate } from "../../functions/domain/generation/generate.ts";
import { loadModel, type LoadedModel } from "../../functions/inference/load-model.ts";
import { ArtefactError } from "../../functions/inference/model-source.ts";
import { checkParity, historyVectors, Parity } from "../../functions/inference/parity.ts";
import { codedItems } from "../../functions/inference/text-coder.ts";
import { type TinyName, tinySource } from "../support/tiny-artefact.ts";

const NAMES = ["two-levels", "three-levels", "product-quantised"] as const;
const wholeRows = Uint32Array.from({ length: 40 }, (_, row) => 2 * row + 1);
const parityOf = (files: Map<string, Uint8Array>) =>
  Parity.parse(JSON.parse(new TextDecoder().decode(files.get("parity.json"))));

async function withModel<T>(name: TinyName, use: (model: LoadedModel) => Promise<T>, rows = wholeRows): Promise<T> {
  const model = await loadModel(tinySource(name), rows);
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

/** The tiny source with other bytes for one file; `isListed` makes the manifest agree with them. */
async function sourceWith(path: string, bytes: Uint8Array<ArrayBuffer>, isListed: boolean) {
  const source = tinySource("two-levels");
  source.files.set(path, bytes);
  const line = source.manifest.files.find((file) => file.path === path)!;
  if (isListed) Object.assign(line, { bytes: bytes.length, sha256: await sha256Hex(bytes) });
  return source;
}

async function refusalOf(attempt: Promise<unknown>): Promise<ArtefactError["refusal"]> {
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ArtefactError);
  return (error as ArtefactError).refusal;
}

describe("parity with figures made without the runtime", () => {
  test.each(NAMES)("the %s artefact gives the same states, logits, rankings, tokens and codes", async (name) => {
    const source = tinySource(name);
    const model = await loadModel(source, wholeRows);
    const report = await checkParity(model, wholeRows, parityOf(source.files));
    await model.dispose();
    expect(report).toMatchObject({ refusals: [], cases: 8, texts: 8 });
    expect(report.deviation).toBeLessThan(5e-6);
  });

  test("a catalogue so small that requests scan it is held to the beams all the same", async () => {
    const source = tinySource("two-levels");
    const { manifest } = source;
    const scanned = { ...source, manifest: { ...manifest, scoring: { ...manifest.scoring, exactBelow: 1000 } } };
    const model = await loadModel(scanned, wholeRows);
    const report = await checkParity(model, wholeRows, parityOf(source.files));
    await model.dispose();
    expect(report.refusals).toEqual([]);
  });

  test("one wrong figure is found and named", async () => {
    const { files } = tinySource("two-levels");
    const wrong = structuredClone(parityOf(files));
    wrong.cases[2]!.logits1[0]! += 0.01;
    wrong.cases[3]!.top[5]!.logProbability += 0.01;
    wrong.text[1]!.tokens[0]! += 1;
    const report = await withModel("two-levels", (model) => checkParity(model, wholeRows, wrong));
    expect(report.refusals.map((refusal) => refusal.what)).toEqual([
      "parity.json case 2 logits1",
      "parity.json case 3 top 5 logProbability",
      "parity.json text 1 tokens",
    ]);
  });

  test("vectors of other items are found by the ranking", async () => {
    const source = tinySource("two-levels");
    const model = await loadModel(source, wholeRows);
    const rotated = Uint32Array.from(wholeRows, (_, row) => wholeRows[(row + 1) % 40]!);
    const report = await checkParity(model, rotated, parityOf(source.files));
    await model.dispose();
    expect(report.refusals.length).toBeGreaterThan(0);
  });
});

describe("the graphs that are served", () => {
  test.each(NAMES)("a beam's logits do not depend on its neighbours in the batch (%s)", async (name) => {
    await withModel(name, async (model) => {
      const { h } = await model.network.encode(historyVectors(model, [1, 2, 3]), 3);
      for (let level = 2; level <= model.order.levels.length; level++) {
        const sizes = model.order.levels.slice(0, level - 1);
        const beams = 20;
        const prefixes = Int32Array.from({ length: beams * (level - 1) }, (_, i) => (i * 7) % sizes[i % (level - 1)]!);
        const codes = model.order.levels[level - 1]!;
        const together = (await model.network.step(level, h, prefixes, beams)).slice();
        for (const beam of [0, 7, 19]) {
          const alone = await model.network.step(
            level,
            h,
            prefixes.slice(beam * (level - 1), (beam + 1) * (level - 1)),
            1,
          );
          expect([...alone]).toEqual([...together.subarray(beam * codes, (beam + 1) * codes)]);
        }
      }
    });
  });

  test("requests at the same time do not disturb each other", async () => {
    await withModel("three-levels", async (model) => {
      const legal = PlaceBitmap.all(model.order.size);
      const histories = [[0], [1, 2], [3, 4, 5], [6, 7, 8, 9], [10, 11]];
      const ask = async (places: number[]) => {
        const history = { vectors: historyVectors(model, places), length: places.length };
        const { places: found, score } = await generate(model, history, legal, { count: 10 });
        return { found: [...found], score: [...score] };
      };
      const alone = [];
      for (const places of histories) alone.push(await ask(places));
      expect(await Promise.all(histories.map(ask))).toEqual(alone);
    });
  });

  test("a history outside the model's length and a level it lacks are refused", async () => {
    await withModel("two-levels", async (model) => {
      await expect(model.network.encode(new Float32Array(0), 0)).rejects.toThrow(RangeError);
      await expect(model.network.encode(new Float32Array(11 * 8), 11)).rejects.toThrow(RangeError);
      await expect(model.network.step(3, new Float32Array(8), new Int32Array(2), 1)).rejects.toThrow(RangeError);
    });
  });
});

describe("an artefact that is not what its manifest says", () => {
  test.each(["codes.bin", "vectors.bin", "scales.bin", "encoder.onnx", "step2.onnx"])(
    "one changed byte in %s is refused before it is used",
    async (path) => {
      const bytes = tinySource("two-levels").files.get(path)!.slice();
      bytes[bytes.length >> 1]! ^= 1;
      expect(await refusalOf(loadModel(await sourceWith(path, bytes, false), wholeRows))).toMatchObject({
        code: "file_hash",
        what: path,
      });
    },
  );

  test("a cut file is refused by its size", async () => {
    const bytes = tinySource("two-levels").files.get("vectors.bin")!.slice(0, -1);
    expect(await refusalOf(loadModel(await sourceWith("vectors.bin", bytes, false), wholeRows))).toEqual({
      code: "file_size",
      what: "vectors.bin",
      expected: "320 bytes",
      got: "319 bytes",
    });
  });

  test("centroids of another size are refused", async () => {
    const source = tinySource("product-quantised");
    const bytes = source.files.get("centroids.bin")!.slice(0, -4);
    source.files.set("centroids.bin", bytes);
    const line = source.manifest.files.find((file) => file.path === "centroids.bin")!;
    expect(await refusalOf(loadModel(source, wholeRows))).toMatchObject({ code: "file_size", what: "centroids.bin" });
    Object.assign(line, { bytes: bytes.length, sha256: await sha256Hex(bytes) });
    await expect(loadModel(source, wholeRows)).rejects.toThrow("bytes of codewords and centroids");
  });

  test("bytes that are no graph are refused by name", async () => {
    const source = await sourceWith("step2.onnx", new Uint8Array(64).fill(7), true);
    expect(await refusalOf(loadModel(source, wholeRows))).toMatchObject({ code: "graph", what: "step2.onnx" });
  });

  test("a graph with other tensors than its role needs is refused by name", async () => {
    const source = await sourceWith("step2.onnx", tinySource("two-levels").files.get("text.onnx")!, true);
    expect(await refusalOf(loadModel(source, wholeRows))).toEqual({
      code: "graph",
      what: "step2.onnx",
      expected: "tensors h, prefix, logits",
      got: "tokens, mask, text",
    });
  });

  test("a row table of another length is refused", async () => {
    expect(await refusalOf(loadModel(tinySource("two-levels"), wholeRows.slice(1)))).toMatchObject({ code: "rows" });
  });

  test("a source that fails, fails the load with its own error", async () => {
    const source = { ...tinySource("two-levels"), read: () => Promise.reject(new Error("store away")) };
    await expect(loadModel(source, wholeRows)).rejects.toThrow("store away");
  });
});

describe("items newer than the model", () => {
  const coded = async (model: LoadedModel, texts: string[], numbers: number[]) =>
    codedItems(await model.encodeText(texts), numbers, model.manifest);

  test.each(NAMES)("an item coded by the model's own graphs can be generated (%s)", async (name) => {
    await withModel(name, async (model) => {
      const next = model.withItems(await coded(model, ["Green tea \n Bo \n food \n fresh."], [1000]));
      expect(next.order.size).toBe(41);
      expect(model.order.size).toBe(40);
      const place = next.order.placeOf(1000);
      expect(place).toBeGreaterThanOrEqual(0);
      const history = { vectors: historyVectors(next, [place]), length: 1 };
      const found = await generate(next, history, PlaceBitmap.all(41), { count: 41 });
      expect([...found.places]).toContain(place);
      const total = found.logProbability.reduce((sum, value) => sum + Math.exp(value), 0);
      expect(total).toBeCloseTo(1, 9);
      await next.dispose();
    });
  });

  test("a row of the artefact keeps what training gave it, a coded item is replaced", async () => {
    await withModel("two-levels", async (model) => {
      const [first, other] = await coded(model, ["soup", "bread and apple cake"], [1, 1000]);
      const once = model.withItems([first!, other!]);
      const twice = once.withItems([{ ...first!, number: 1000 }]);
      const read = (from: LoadedModel, number: number) => {
        const out = new Float32Array(8);
        from.vectors.read(from.order.placeOf(number), out, 0);
        return [...out];
      };
      expect(read(once, 1)).toEqual(read(model, 1));
      expect([once.isTrained(1), once.isTrained(1000), once.isTrained(7777)]).toEqual([true, false, false]);
      expect(read(twice, 1000)).not.toEqual(read(once, 1000));
      expect([once.order.size, twice.order.size]).toEqual([41, 41]);
      await once.dispose();
      await twice.dispose();
    });
  });

  test("a product-quantised model quantises a coded item with its own centroids: what they can say comes back", async () => {
    await withModel("product-quantised", async (model) => {
      const codes = tinySource("product-quantised").files.get("codes.bin")!;
      const readOf = (from: LoadedModel, number: number) => {
        const read = new Float32Array(8);
        from.vectors.read(from.order.placeOf(number), read, 0);
        return read;
      };
      const rows = [0, 7, 39];
      const items = rows.map((row) => ({
        number: 1000 + row,
        codes: codes.slice(2 * row, 2 * row + 2),
        ...quantise(readOf(model, wholeRows[row]!)),
      }));
      const next = model.withItems(items);
      for (const row of rows) expect(readOf(next, 1000 + row)).toEqual(readOf(model, wholeRows[row]!));
      await next.dispose();
    });
  });

  test("rows that the app lacks are left out, and can come back as coded items", async () => {
    const rows = wholeRows.slice();
    rows[5] = 0;
    await withModel(
      "two-levels",
      async (model) => {
        expect(model.order.size).toBe(39);
        const next = model.withItems(await coded(model, ["soup"], [11]));
        expect(next.order.size).toBe(40);
        await next.dispose();
      },
      rows,
    );
  });

  test("an item that another model coded is refused, and its refusal holds no graph open", async () => {
    const model = await loadModel(tinySource("two-levels"), wholeRows);
    const [item] = await coded(model, ["soup"], [1000]);
    expect(() => model.withItems([{ ...item!, codes: Uint8Array.of(0, 8) }])).toThrow(RangeError);
    expect(() => model.withItems([{ ...item!, vector: new Int8Array(4) }])).toThrow(RangeError);
    const { network } = model;
    await model.dispose();
    await expect(network.encode(new Float32Array(8), 1)).rejects.toThrow();
  });

  test("sessions live until the last version of a model is disposed of", async () => {
    const model = await loadModel(tinySource("two-levels"), wholeRows);
    const next = model.withItems(await coded(model, ["soup"], [1000]));
    await model.dispose();
    await model.dispose();
    const { h } = await next.network.encode(historyVectors(next, [0]), 1);
    expect(h).toHaveLength(8);
    await next.dispose();
    await expect(next.network.encode(new Float32Array(8), 1)).rejects.toThrow();
    expect(() => next.withItems([])).toThrow("disposed");
  });

  test("texts in one call and one at a time get the same vectors and codes", async () => {
    await withModel("two-levels", async (model) => {
      const texts = Array.from({ length: 70 }, (_, i) => `lentil ${i} soup ${"tea ".repeat(i % 20)}`);
      const together = await model.encodeText(texts);
      for (const row of [0, 31, 32, 69]) {
        const alone = await model.encodeText([texts[row]!]);
        expect([...together.codes.subarray(row * 2, row * 2 + 2)]).toEqual([...alone.codes]);
        for (const [i, value] of alone.vectors.entries()) expect(together.vectors[row * 8 + i]).toBeCloseTo(value, 5);
      }
    });
  });
});
