/**
 * First answers of fresh isolates: workerd is started anew for each, and nothing was asked of the Worker before. Beside them a no-op
 * route's first answer in processes just as fresh, and what the start of ONNX Runtime behind the answer does to those that follow.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { median, percentile, round } from "./bench.ts";
import { type BenchServer, type BenchServerOptions, startBenchServer } from "./latency-server.ts";

/** Requests one after the other from the first answer on, until the runtime has taken over or this long. */
const FOLLOWED_MS = 5000;
const PAUSE_MS = 10;
const SETTLED_MS = 500;
const TIMEOUT_MS = 100;

interface First {
  readonly ms: number;
  readonly source: string;
  readonly engine: string | null;
}

export interface ColdApp {
  readonly id: string;
  readonly key: string;
  readonly userId: string;
}

/** What a page load sends: nothing is prepared but the URL. */
async function recommend(server: BenchServer, app: ColdApp, timeoutMs?: number): Promise<First> {
  const start = performance.now();
  const response = await fetch(`${server.url}/v1/recommendations`, {
    method: "POST",
    headers: { authorization: `Bearer ${app.key}`, "content-type": "application/json" },
    body: JSON.stringify({ userId: app.userId, count: 20, fields: ["title"], ...(timeoutMs ? { timeoutMs } : {}) }),
  });
  const { source } = (await response.json()) as { source: string };
  return { ms: performance.now() - start, source, engine: response.headers.get("x-inference-engine") };
}

async function noop(server: BenchServer): Promise<number> {
  const start = performance.now();
  await (await fetch(`${server.url}/healthz`)).arrayBuffer();
  return performance.now() - start;
}

/** Answers while the runtime starts: when it took over after the first answer, and the slowest answer until then. */
async function followed(server: BenchServer, app: ColdApp): Promise<{ handoverMs: number | null; slowestMs: number }> {
  const start = performance.now();
  let slowestMs = 0;
  while (performance.now() - start < FOLLOWED_MS) {
    const { ms, engine } = await recommend(server, app);
    slowestMs = Math.max(slowestMs, ms);
    if (engine === "onnx") return { handoverMs: performance.now() - start, slowestMs };
    await sleep(PAUSE_MS);
  }
  return { handoverMs: null, slowestMs };
}

/** @param storage of a server that has been stopped; `restarts` fresh processes for each figure, which are medians */
export async function measureCold(storage: string, app: ColdApp, restarts: number) {
  const fresh = async <T>(options: BenchServerOptions, measure: (server: BenchServer) => Promise<T>): Promise<T> => {
    const server = await startBenchServer(storage, { ...options, isFresh: true });
    try {
      return await measure(server);
    } finally {
      await server.stop();
    }
  };
  const noops: number[] = [];
  const afterNoop: number[] = [];
  const firsts: First[] = [];
  const follows: Awaited<ReturnType<typeof followed>>[] = [];
  const unrehearsed: number[] = [];
  const onnx: number[] = [];
  const ready: number[] = [];
  const underTimeout: First[] = [];
  for (let turn = 0; turn < restarts; turn++) {
    await fresh({}, async (server) => {
      noops.push(await noop(server));
      await sleep(SETTLED_MS);
      afterNoop.push((await recommend(server, app)).ms);
    });
    await fresh({}, async (server) => firsts.push(await recommend(server, app)));
    await fresh({ rehearses: false }, async (server) => unrehearsed.push((await recommend(server, app)).ms));
    await fresh({ engine: "auto" }, async (server) => {
      await recommend(server, app);
      follows.push(await followed(server, app));
    });
    await fresh({}, async (server) => underTimeout.push(await recommend(server, app, TIMEOUT_MS)));
    await fresh({ engine: "onnx" }, async (server) => onnx.push((await recommend(server, app)).ms));
    await fresh({ engine: "onnx" }, async (server) => {
      const response = await fetch(`${server.url}/bench/ready?app=${app.id}`);
      const answer: { ms: number } = await response.json();
      ready.push(answer.ms);
    });
    process.stderr.write(`cold start ${turn + 1} of ${restarts} measured\n`);
  }
  const others = [...new Set(firsts.map(({ source, engine }) => `${source} ${engine}`))];
  if (!firsts.every(({ source }) => source === "model")) {
    throw new Error(`first answers of fresh isolates came from ${others.join(", ")}`);
  }
  const handovers = follows.flatMap(({ handoverMs }) => handoverMs ?? []);
  const first = median(firsts.map(({ ms }) => ms));
  return {
    restarts,
    noopFirstAnswer: round(median(noops), 1),
    firstAnswer: round(first, 1),
    firstAnswerWorst: round(
      percentile(
        firsts.map(({ ms }) => ms),
        1,
      ),
      1,
    ),
    firstAnswerAboveNoop: round(first - median(noops), 1),
    firstAnswerEngine: [...new Set(firsts.map(({ engine }) => engine))].join(", "),
    /** Of an isolate that has answered one no-op: what is left when the connection and the router are warm. */
    firstAnswerAfterNoop: round(median(afterNoop), 1),
    firstAnswerUnderTimeout: {
      timeoutMs: TIMEOUT_MS,
      ms: round(median(underTimeout.map(({ ms }) => ms)), 1),
      sources: [...new Set(underTimeout.map(({ source, engine }) => `${source} ${engine ?? "-"}`))],
    },
    /** With REHEARSAL off: the first request compiles what it runs. */
    firstAnswerUnrehearsed: round(median(unrehearsed), 1),
    /** With the runtime alone. */
    firstAnswerOnnx: round(median(onnx), 1),
    /** Inside the isolate: runtime, model and catalogue. */
    runtimeReady: round(median(ready), 1),
    /** With `auto`: the runtime started after the first answer, and the slowest answer until it has taken over. */
    runtimeBehind: {
      handoverMs: handovers.length === 0 ? null : round(median(handovers), 0),
      slowestAnswerMs: round(median(follows.map(({ slowestMs }) => slowestMs)), 1),
    },
  };
}
