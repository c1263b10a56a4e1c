/**
 * Memory of one isolate that serves a synthetic app inside workerd, read through the inspector. The Worker collects
 * garbage itself before it answers: workerd leaves HeapProfiler.collectGarbage without an answer.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { median, round } from "./bench.ts";

export interface IsolateMemory {
  /** usedSize + backingStorageSize, + wasm memory where that is not inside already. */
  readonly isolateBytes: number;
  readonly usedSize: number;
  readonly backingStorageSize: number;
  readonly wasmBytes: number;
  readonly isWasmInside: boolean;
  /** Median decoding by workerd's own clock, ms. */
  readonly decodeP50: number;
}

interface HeapUsage {
  readonly usedSize: number;
  readonly backingStorageSize: number;
}

const DECODINGS = 60;
/** Starting takes a second or two, and the inspector answers at once. */
const CALL_TIMEOUT_MS = 30_000;

/** Serves each catalogue in turn, smallest first, from one isolate. @throws Error when the local Worker does not start */
export async function measureIsolates(
  catalogues: readonly { readonly items: number; readonly snapshot: Uint8Array }[],
): Promise<IsolateMemory[]> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "edgewise-scale-"));
  const [port, inspectorPort] = [await freePort(), await freePort()];
  bundle(folder);
  writeFileSync(path.join(folder, "config.capnp"), workerdConfig(port, readdirSync(folder)));
  // workerd itself, not `wrangler dev`, which starts the isolate anew whenever a source file changes
  const server = spawn(bin("workerd"), ["serve", "config.capnp", `--inspector-addr=127.0.0.1:${inspectorPort}`], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    const origin = `http://127.0.0.1:${port}/`;
    await answering(origin, server);
    const inspector = await openInspector(inspectorPort);
    const before = await inspector.heapUsage();
    const memories: IsolateMemory[] = [];
    let isWasmInside: boolean | undefined;
    for (const { snapshot } of catalogues) {
      await json(fetch(origin, { method: "PUT", body: snapshot as Uint8Array<ArrayBuffer> }));
      const { times, wasmBytes } = await json(fetch(`${origin}?decodings=${DECODINGS}`));
      const usage = await inspector.heapUsage();
      // the first catalogue is small: what the backing stores gained is the wasm memory, or is not
      isWasmInside ??= usage.backingStorageSize - before.backingStorageSize >= wasmBytes;
      memories.push({
        isolateBytes: usage.usedSize + usage.backingStorageSize + (isWasmInside ? 0 : wasmBytes),
        usedSize: usage.usedSize,
        backingStorageSize: usage.backingStorageSize,
        wasmBytes,
        isWasmInside,
        decodeP50: round(median(times ?? []), 3),
      });
    }
    inspector.close();
    return memories;
  } finally {
    server.kill("SIGKILL"); // on SIGTERM it waits for the inspector to hang up
    rmSync(folder, { recursive: true });
  }
}

/** The Worker of bench/worker as one module, with its wasm and graphs beside it. */
function bundle(folder: string): void {
  const config = path.join(import.meta.dirname, "worker/wrangler.toml");
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
  services = [(name = "scale", worker = .scale)],
  v8Flags = ["--expose-gc"],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "scale")],
);
const scale :Workerd.Worker = (compatibilityDate = "2026-10-01", modules = [${modules.join(", ")}]);
`;
}

async function answering(origin: string, server: { readonly exitCode: number | null }): Promise<void> {
  for (const deadline = Date.now() + CALL_TIMEOUT_MS; Date.now() < deadline; await sleep(100)) {
    if (server.exitCode !== null) throw new Error(`workerd ended with ${server.exitCode}`);
    const answer = await fetch(origin).catch(() => undefined);
    if (answer?.ok === true) return;
  }
  throw new Error(`the Worker did not answer within ${CALL_TIMEOUT_MS} ms`);
}

async function json(response: Promise<Response>): Promise<{ times?: number[]; wasmBytes: number }> {
  const answer = await response;
  if (!answer.ok) throw new Error(`the Worker answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as { times?: number[]; wasmBytes: number };
}

/** Speaks the Chrome DevTools protocol with the first target. */
async function openInspector(port: number): Promise<{ heapUsage(): Promise<HeapUsage>; close(): void }> {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as { webSocketDebuggerUrl: string }[];
  const url = targets[0]?.webSocketDebuggerUrl;
  if (url === undefined) throw new Error("the inspector names no target");
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", () => reject(new Error(`no inspector at ${url}`)), { once: true });
  });
  let lastId = 0;
  const call = (method: string): Promise<unknown> => {
    const id = (lastId += 1);
    return new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error(`${method}: no answer in ${CALL_TIMEOUT_MS} ms`)), CALL_TIMEOUT_MS).unref();
      const listen = ({ data }: MessageEvent): void => {
        const message = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: { message: string } };
        if (message.id !== id) return;
        socket.removeEventListener("message", listen);
        if (message.error === undefined) resolve(message.result);
        else reject(new Error(`${method}: ${message.error.message}`));
      };
      socket.addEventListener("message", listen);
      socket.send(JSON.stringify({ id, method }));
    });
  };
  return {
    heapUsage: () => call("Runtime.getHeapUsage") as Promise<HeapUsage>,
    close: () => socket.close(),
  };
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
