/** The whole Worker, and two routes that bench/latency.ts needs to see inside it. Run locally and never deployed. */
import worker from "../../functions/index.ts";
import { generate } from "../../functions/domain/generation/generate.ts";
import { runtimeMemoryBytes } from "../../functions/inference/runtime.ts";
import { openView, type OpenView } from "../../functions/serving/app-view.ts";

export { AppLog, UserState } from "../../functions/index.ts";

/** What a default request asks the generator for: 20 items and spares for the last gate. */
const CANDIDATES = 28;

async function opened(env: Env, id: string): Promise<OpenView> {
  const row = await env.DB.prepare("SELECT app FROM apps WHERE id = ?1").bind(id).first<{ app: number }>();
  if (row === null) throw new Error(`no app ${id}`);
  return openView(env, row.app, { strict: false, now: Date.now(), withModel: true });
}

/** Encode, decode, filter and re-score, `times` times; local clocks move during computation. */
async function generation(env: Env, query: URLSearchParams): Promise<Response> {
  const number = (name: string) => Number(query.get(name));
  const view = await opened(env, query.get("app") ?? "");
  try {
    const { model, columns } = view;
    if (model === null) return Response.json({ error: view.modelAbsence }, { status: 503 });
    const { dim } = model.vectors;
    const length = number("history");
    const times: number[] = [];
    for (let run = 0; run < number("times"); run++) {
      const places = Array.from({ length }, (_, at) => (run * 7919 + at * 104_729) % model.order.size);
      const seen = places.map((place) => model.order.numbers[place]!);
      const start = performance.now();
      const vectors = new Float32Array(length * dim);
      for (const [at, item] of seen.entries()) model.vectors.read(model.order.placeOf(item), vectors, at * dim);
      const legal = model.legalPlaces(columns, undefined, seen);
      await generate(model, { vectors, length }, legal, { count: CANDIDATES });
      times.push(performance.now() - start);
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
