/** The whole Worker, and two routes that bench/latency.ts needs to see inside it. Run locally and never deployed. */
import worker from "../../functions/index.ts";
import { generate } from "../../functions/domain/generation/generate.ts";
import { runtimeMemoryBytes } from "../../functions/inference/runtime.ts";
import { openView, type OpenView } from "../../functions/serving/app-view.ts";
import type { CatalogueColumns } from "../../functions/domain/catalogue/columns.ts";
import type { AppModel } from "../../functions/serving/served-model.ts";

export { AppLog, TrainingWorkflow, UserState } from "../../functions/index.ts";

/** What a default request asks the generator for: 20 items and spares for the last gate. */
const CANDIDATES = 28;

async function opened(env: Env, id: string): Promise<OpenView> {
  const row = await env.DB.prepare("SELECT app FROM apps WHERE id = ?1").bind(id).first<{ app: number }>();
  if (row === null) throw new Error(`no app ${id}`);
  return openView(env, row.app, { strict: false, now: Date.now(), withModel: true });
}

/** Generations between two looks at the clock, which moves by whole milliseconds: a time is the mean of so many. */
const BLOCK = 5;

/** Encode, decode, filter and re-score, `times` blocks of it; local clocks move during computation. */
async function generation(env: Env, query: URLSearchParams): Promise<Response> {
  const number = (name: string) => Number(query.get(name));
  const view = await opened(env, query.get("app") ?? "");
  try {
    const { model, columns } = view;
    if (model === null) return Response.json({ error: view.modelAbsence }, { status: 503 });
    const length = number("history");
    const times: number[] = [];
    for (let block = 0; block < number("times"); block++) {
      const start = performance.now();
      for (let run = 0; run < BLOCK; run++) await generateOnce(model, columns, length, block * BLOCK + run);
      times.push((performance.now() - start) / BLOCK);
    }
    return Response.json({
      times,
      modelVersion: model.modelVersion,
      bytes: model.bytes,
      wasmBytes: runtimeMemoryBytes(),
    });
  } finally {
    view.release();
  }
}

async function generateOnce(model: AppModel, columns: CatalogueColumns, length: number, turn: number): Promise<void> {
  const { order, vectors: table } = model;
  const seen = Array.from({ length }, (_, at) => order.numbers[(turn * 7919 + at * 104_729) % order.size]!);
  const vectors = new Float32Array(length * table.dim);
  for (const [at, item] of seen.entries()) table.read(order.placeOf(item), vectors, at * table.dim);
  await generate(model, { vectors, length }, model.legalPlaces(columns, undefined, seen), { count: CANDIDATES });
}

/** Opens an app's view: in a fresh isolate the runtime, the model out of R2 and the catalogue. */
async function ready(env: Env, query: URLSearchParams): Promise<Response> {
  const start = performance.now();
  const view = await opened(env, query.get("app") ?? "");
  view.release();
  return Response.json({ ms: performance.now() - start, hasModel: view.model !== null });
}

export default {
  ...worker,
  fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/bench/generation") return generation(env, searchParams);
    if (pathname === "/bench/ready") return ready(env, searchParams);
    return worker.fetch(request, env, ctx);
  },
} satisfies ExportedHandler<Env>;
