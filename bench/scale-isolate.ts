/** Memory of one isolate that serves a synthetic app inside workerd, read through the inspector after a garbage collection. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { Miniflare } from "miniflare";
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
/** A call of the inspector takes a collection at most; one that takes longer was lost with its isolate. */
const CALL_TIMEOUT_MS = 30_000;

/** Serves each catalogue in turn, smallest first, from one isolate. @throws Error when the local Worker does not start */
export async function measureIsolates(
  catalogues: readonly { readonly items: number; readonly snapshot: Uint8Array }[],
): Promise<IsolateMemory[]> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "edgewise-scale-"));
  const inspectorPort = await freePort();
  bundle(folder);
  // not `wrangler dev`: it would start the isolate anew whenever a source file changes
  const server = new Miniflare({
    inspectorPort,
    workers: [
      {
        name: "scale",
        rootPath: folder,
        modulesRoot: folder,
        modules: true,
        scriptPath: path.join(folder, "scale.js"),
        modulesRules: [
          { type: "CompiledWasm", include: ["**/*.wasm"] },
          { type: "Data", include: ["**/*.onnx"] },
        ],
        compatibilityDate: "2026-10-20",
      },
    ],
  });
  try {
    const origin = String(await server.ready);
    await json(fetch(origin));
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
    await server.dispose();
    rmSync(folder, { recursive: true });
  }
}

/** The Worker of bench/worker as one module, with its wasm and graphs beside it. */
function bundle(folder: string): void {
  const wrangler = path.join(path.dirname(createRequire(import.meta.url).resolve("wrangler/package.json")), "bin/wrangler.js");
  const config = path.join(import.meta.dirname, "worker/wrangler.toml");
  execFileSync(process.execPath, [wrangler, "deploy", "--dry-run", "--config", config, "--outdir", folder], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false" },
  });
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
  // the proxy asks for a local origin; Node's WebSocket (undici) takes headers, which the Worker's types do not know
  const options = { headers: { origin: "http://localhost" } } as unknown as string[];
  const socket = new WebSocket(url, options);
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
    async heapUsage() {
      await call("HeapProfiler.enable");
      await call("HeapProfiler.collectGarbage");
      return (await call("Runtime.getHeapUsage")) as HeapUsage;
    },
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
