/**
 * A Worker of bench/worker in workerd itself on loopback, bundled by wrangler: `wrangler dev` would start the isolate anew whenever a
 * source file changes. Its garbage can be collected from inside (--expose-gc) and its inspector is open.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const START_TIMEOUT_MS = 30_000;

export interface WorkerdServer {
  /** Ends in a slash. */
  readonly origin: string;
  readonly inspectorPort: number;
  readonly stop: () => void;
}

/** @param config a wrangler.toml of bench/worker. @throws Error when the local Worker does not start */
export async function startWorkerd(config: string): Promise<WorkerdServer> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "edgewise-workerd-"));
  const [port, inspectorPort] = [await freePort(), await freePort()];
  bundle(path.join(import.meta.dirname, "worker", config), folder);
  writeFileSync(path.join(folder, "config.capnp"), workerdConfig(port, readdirSync(folder)));
  const server = spawn(bin("workerd"), ["serve", "config.capnp", `--inspector-addr=127.0.0.1:${inspectorPort}`], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const stop = () => {
    server.kill("SIGKILL"); // on SIGTERM it waits for the inspector to hang up
    rmSync(folder, { recursive: true });
  };
  const origin = `http://127.0.0.1:${port}/`;
  try {
    await answering(origin, server);
  } catch (error) {
    stop();
    throw error;
  }
  return { origin, inspectorPort, stop };
}

/** The Worker as one module, with its wasm and graphs beside it. */
function bundle(config: string, folder: string): void {
  execFileSync(process.execPath, [bin("wrangler"), "deploy", "--dry-run", "--config", config, "--outdir", folder], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false" },
  });
}

/** The program of a package; workerd is wrangler's own dependency. */
function bin(name: "wrangler" | "workerd"): string {
  const wrangler = createRequire(import.meta.url).resolve("wrangler/package.json");
  const manifest = name === "wrangler" ? wrangler : createRequire(wrangler).resolve("workerd/package.json");
  return path.join(path.dirname(manifest), name === "wrangler" ? "bin/wrangler.js" : "bin/workerd");
}

/** The bundle's files as one Worker that listens on `port` (workerd.capnp, Config). */
function workerdConfig(port: number, files: readonly string[]): string {
  const kinds: Readonly<Record<string, string>> = { ".js": "esModule", ".wasm": "wasm", ".onnx": "data" };
  const modules = files
    .filter((file) => path.extname(file) in kinds)
    .sort((a, b) => Number(b.endsWith(".js")) - Number(a.endsWith(".js"))) // the first module is the entry point
    .map((file) => `(name = "${file}", ${kinds[path.extname(file)]!} = embed "${file}")`);
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "bench", worker = .bench)],
  v8Flags = ["--expose-gc"],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "bench")],
);
const bench :Workerd.Worker = (compatibilityDate = "2026-10-01", modules = [${modules.join(", ")}]);
`;
}

async function answering(origin: string, server: { readonly exitCode: number | null }): Promise<void> {
  for (const deadline = Date.now() + START_TIMEOUT_MS; Date.now() < deadline; await sleep(100)) {
    if (server.exitCode !== null) throw new Error(`workerd ended with ${server.exitCode}`);
    const answer = await fetch(origin).catch(() => undefined);
    if (answer?.ok === true) return;
  }
  throw new Error(`the Worker did not answer within ${START_TIMEOUT_MS} ms`);
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
