/** The Worker that bench/peers.ts measures from outside: one artefact and its generation, run locally and never deployed. */
import "../../functions/inference/worker-runtime.ts";
import { Manifest } from "../../functions/domain/artefact/manifest.ts";
import { loadModel, type LoadedModel } from "../../functions/inference/load-model.ts";
import { once } from "../../functions/inference/runtime.ts";
import { generateFor } from "../peers/generation.ts";

const files = new Map<string, ArrayBuffer>();

const model = once(async (): Promise<LoadedModel> => {
  const manifest = Manifest.parse(JSON.parse(new TextDecoder().decode(file("manifest.json"))));
  const numbers = Uint32Array.from({ length: manifest.items.count }, (_, row) => row + 1);
  return loadModel({ manifest, read: async (path) => file(path) }, numbers, [], { engine: "typed" });
});

function file(path: string): ArrayBuffer {
  const content = files.get(path);
  if (content === undefined) throw new Error(`${path} was not sent`);
  return content;
}

/** Generations between two looks at the clock, which moves by whole milliseconds: a time is the mean of so many. */
const BLOCK = 5;

export default {
  /** PUT /<path>: a file of the artefact. GET ?times=n&history=n&beams=n: milliseconds of a generation, n blocks of them. */
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (request.method === "PUT") {
      files.set(pathname.slice(1), await request.arrayBuffer());
      return Response.json({});
    }
    const number = (name: string) => Number(searchParams.get(name) ?? 0);
    const times: number[] = [];
    for (let block = 0; block < number("times"); block += 1) {
      const opened = await model();
      const start = performance.now();
      for (let run = 0; run < BLOCK; run += 1) {
        await generateFor(opened, block * BLOCK + run, { length: number("history"), beams: number("beams") });
      }
      times.push((performance.now() - start) / BLOCK);
    }
    return Response.json({ times });
  },
};
