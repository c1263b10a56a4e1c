/** What an isolate rehearses while its code is evaluated is a real list by a real, tiny artefact. */
import { env } from "cloudflare:workers";
import { afterEach, expect, it, vi } from "vitest";
import { expectedTensors } from "../../functions/domain/artefact/checks.ts";
import { Manifest } from "../../functions/domain/artefact/manifest.ts";
import { rehearse, rehearseAtStart } from "../../functions/rehearsal/rehearse.ts";
import manifestFile from "../../functions/rehearsal/manifest.json" with { type: "json" };
import * as models from "../../functions/inference/load-model.ts";

afterEach(() => void vi.restoreAllMocks());

it("writes a full list by beams, none of it from the history, best first", async () => {
  const { source, scoring, shown, degradedReason } = await rehearse();
  expect({ source, scoring, degradedReason }).toEqual({ source: "model", scoring: "beam", degradedReason: null });
  expect(shown).toHaveLength(20);
  const scores = shown.map(({ score }) => score);
  expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  const { historyLength, items } = Manifest.parse(manifestFile);
  const history = Array.from({ length: historyLength }, (_, at) => 1 + ((at * 19) % items.count));
  expect(shown.map(({ item }) => item.number).filter((number) => history.includes(number))).toEqual([]);
  expect(shown.every(({ reasons }) => reasons.length > 0)).toBe(true);
});

it("has graphs of the form that the trainer writes now", () => {
  const manifest = Manifest.parse(manifestFile);
  for (const { role, level, inputs, outputs } of manifest.graphs)
    expect({ inputs, outputs }).toEqual(expectedTensors(manifest, role, level));
});

it("is switched off by a variable, and harms nobody when it fails", async () => {
  const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const loaded = vi.spyOn(models, "loadModel").mockRejectedValue(new TypeError("no such graph"));
  await rehearseAtStart({ ...env, REHEARSAL: "off" });
  expect(loaded).not.toHaveBeenCalled();
  await rehearseAtStart({ ...env, REHEARSAL: "on" });
  expect(loaded).toHaveBeenCalledOnce();
  expect(JSON.parse(String(warned.mock.calls[0]![0]))).toMatchObject({ event: "rehearsal_failed" });
});
