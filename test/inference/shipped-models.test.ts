/** The artefacts in models/ through the code that serves them, against the trainer's figures. */
import { existsSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { everyRow, folderSource } from "../../bench/model-files.ts";
import { MODEL_BUDGET_BYTES, modelBytes } from "../../functions/domain/artefact/memory.ts";
import { PlaceBitmap } from "../../functions/domain/generation/bitmap.ts";
import { generate } from "../../functions/domain/generation/generate.ts";
import { loadModel } from "../../functions/inference/load-model.ts";
import { checkParity, historyVectors, Parity } from "../../functions/inference/parity.ts";
import "../../bench/node-runtime.ts";

const models = new URL("../../models/", import.meta.url).pathname;
const folders = existsSync(models)
  ? readdirSync(models).filter((name) => existsSync(`${models}${name}/manifest.json`))
  : [];

describe.skipIf(folders.length === 0)("models in models/ (skipped where there are none)", () => {
  test.each(folders)("%s reproduces the trainer's states, logits, rankings, tokens and codes", async (name) => {
    const source = await folderSource(models + name);
    const rows = everyRow(source);
    const model = await loadModel(source, rows);
    const parity = Parity.parse(JSON.parse(new TextDecoder().decode(await source.read(source.manifest.parity.file))));
    const report = await checkParity(model, rows, parity);
    await model.dispose();
    expect(report.refusals).toEqual([]);
    expect(report.cases).toBe(parity.cases.length);
    expect(report.deviation).toBeLessThan(source.manifest.parity.tolerance);
  });

  test.each(folders)("%s: the logits of a beam do not depend on its neighbours in the batch", async (name) => {
    const source = await folderSource(models + name);
    const model = await loadModel(source, everyRow(source));
    const { h } = await model.network.encode(historyVectors(model, [0, 1, 2]), 3);
    for (let level = 2; level <= model.order.levels.length; level++) {
      const width = level - 1;
      const codes = model.order.levels[level - 1]!;
      const batch = (stride: number) =>
        Int32Array.from({ length: 20 * width }, (_, i) =>
          i < width ? 1 : (i * stride) % model.order.levels[i % width]!,
        );
      const some = (await model.network.step(level, h, batch(5), 20)).slice(0, codes);
      const others = (await model.network.step(level, h, batch(7), 20)).slice(0, codes);
      expect(some).toEqual(others);
      const alone = await model.network.step(level, h, batch(5).slice(0, width), 1);
      // one row and twenty take different kernels of the same product: rounding, never a shared scale
      for (const [code, value] of alone.entries()) expect(some[code]).toBeCloseTo(value, 5);
    }
    await model.dispose();
  });

  test.each(folders)("%s: beams find the exact scan's best items, and the model fits an isolate", async (name) => {
    const source = await folderSource(models + name);
    const model = await loadModel(source, everyRow(source));
    const legal = PlaceBitmap.all(model.order.size);
    const history = { vectors: historyVectors(model, [3, 14, 15, 9]), length: 4 };
    const exact = await generate(model, history, legal, { count: 10, alpha: 0, exactBelow: Infinity });
    const beams = await generate(model, history, legal, { count: 10, alpha: 0, exactBelow: 0 });
    expect(beams.scoring).toBe(source.manifest.scoring.mode);
    const shared = [...exact.places].filter((place) => beams.places.includes(place));
    expect(shared.length).toBeGreaterThanOrEqual(5);
    expect(model.bytes).toBeLessThan(MODEL_BUDGET_BYTES);
    // the estimate before loading stands for the model that is loaded
    expect(modelBytes(source.manifest, model.order.size) / model.bytes).toBeCloseTo(1, 0);
    await model.dispose();
  });
});
