/** The Worker of bench/worker/latency.ts on loopback, with the bindings of wrangler.toml and a storage folder of its own. */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, migrate } from "../demo/dev-server.ts";

const ROOT = path.resolve(import.meta.dirname, "..");
const START_TIMEOUT_MS = 90_000;
const SETTLE_MS = 1000;
/** The simulator's own tracing runs on the thread that is measured; production has nothing of the kind there. */
const NO_COLLECTOR = { X_LOCAL_OBSERVABILITY: "false", X_LOCAL_EXPLORER: "false" };

export const OPERATOR_KEY = "ew_op_bench.0123456789abcdefghijklmnopqrstuvwxyzABCDEF";

export interface BenchServer {
  readonly url: string;
  stop(): Promise<void>;
}

function writeConfig(folder: string, { engine, rehearses = true }: BenchServerOptions): string {
  const file = path.join(folder, "wrangler.toml");
  const main = JSON.stringify(path.join(ROOT, "bench", "worker", "latency.ts"));
  const migrations = JSON.stringify(path.join(ROOT, "migrations"));
  const config = readFileSync(path.join(ROOT, "wrangler.toml"), "utf8")
    .replace(/^main = .*$/m, `main = ${main}`)
    .replace(/^INFERENCE_ENGINE = "\w+"/m, (line) => (engine === undefined ? line : `INFERENCE_ENGINE = "${engine}"`))
    .replace(/^REHEARSAL = "\w+"/m, (line) => (rehearses ? line : 'REHEARSAL = "off"'))
    .replace(/^migrations_dir = "[^"]*"/m, `migrations_dir = ${migrations}`);
  writeFileSync(file, config);
  const secrets = [`OPERATOR_KEY="${OPERATOR_KEY}"`, 'WORKER_SECRET="bench-worker-secret-of-at-least-32-characters"'];
  writeFileSync(path.join(folder, ".dev.vars"), `${secrets.join("\n")}\n`, { mode: 0o600 });
  return file;
}

export interface BenchServerOptions {
  /** Which engine runs the model; as shipped where nothing is said. */
  readonly engine?: "auto" | "typed" | "onnx";
  /** Whether an isolate rehearses while its code is evaluated; it does where nothing is said. */
  readonly rehearses?: boolean;
  /** The server is up before anything was asked of the Worker, so that the first request meets a fresh isolate. */
  readonly isFresh?: boolean;
}

/** Starts in `folder`; what it stores stays there for the next start. @throws Error with the last lines when it does not come up */
export async function startBenchServer(folder: string, options: BenchServerOptions = {}): Promise<BenchServer> {
  mkdirSync(folder, { recursive: true });
  const persist = path.join(folder, "state");
  migrate(persist);
  const { isFresh = false } = options;
  const config = writeConfig(folder, options);
  const port = await freePort();
  const wrangler = path.join(ROOT, "node_modules", "wrangler", "wrangler-dist", "cli.js");
  const where = [
    "--local",
    "--minify", // as it is deployed
    "--ip",
    "127.0.0.1",
    "--port",
    String(port),
    "--inspector-port",
    "0",
    "--persist-to",
    persist,
  ];
  const child = spawn(process.execPath, ["--no-warnings", wrangler, "dev", "--config", config, ...where], {
    cwd: folder,
    detached: true, // a process group of its own, so that one signal reaches workerd too
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", ...NO_COLLECTOR },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-4000)));
  }
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, name);
    } catch {
      // the group is gone already
    }
  };
  const stop = async () => {
    signal("SIGTERM");
    await Promise.race([ended, sleep(5000, undefined, { ref: false })]);
    signal("SIGKILL");
  };
  const url = `http://127.0.0.1:${port}`;
  for (const deadline = Date.now() + START_TIMEOUT_MS; Date.now() < deadline; await sleep(100)) {
    if (isFresh ? output.includes("Ready on") : await isServing(url)) {
      if (isFresh) await sleep(SETTLE_MS); // wrangler's own start goes on for a moment
      return { url, stop };
    }
    if (child.exitCode !== null) break;
  }
  await stop();
  throw new Error(`the Worker did not come up:\n${output}`);
}

async function isServing(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/healthz`).catch(() => undefined);
  await answer?.arrayBuffer();
  return answer?.ok === true;
}
