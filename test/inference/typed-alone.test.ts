/** The typed engine where ONNX Runtime does not start. The runtime remembers a failed start, so this is a file of its own. */
import { expect, test } from "vitest";
import "../../bench/node-runtime.ts";
import { PlaceBitmap } from "../../functions/domain/generation/bitmap.ts";
import { generate } from "../../functions/domain/generation/generate.ts";
import { loadModel } from "../../functions/inference/load-model.ts";
import { historyVectors } from "../../functions/inference/parity.ts";
import { useRuntimeModule } from "../../functions/inference/runtime.ts";
import { tinySource } from "../support/tiny-artefact.ts";

test("a runtime that does not start leaves the typed engine serving", async () => {
  useRuntimeModule(() => Promise.reject(new Error("no such module")));
  const rows = Uint32Array.from({ length: 40 }, (_, row) => row + 1);
  const model = await loadModel(tinySource("two-levels"), rows, [], { engine: "auto", timeoutMs: 2000 });
  const history = { vectors: historyVectors(model, [1, 2, 3]), length: 3 };
  const ask = () => generate(model, history, PlaceBitmap.all(model.order.size), { count: 10 });
  const before = await ask();
  await expect(model.startRuntime()).rejects.toThrow("no such module");
  expect([model.engine, model.wantsRuntime]).toEqual(["typed", false]);
  expect(await ask()).toEqual(before);
  await expect(loadModel(tinySource("two-levels"), rows, [], { engine: "onnx", timeoutMs: 2000 })).rejects.toThrow();
  await model.dispose();
});
