/**
 * Memory of one isolate that serves a synthetic app inside workerd, read through the inspector. The Worker collects
 * garbage itself before it answers: workerd leaves HeapProfiler.collectGarbage without an answer.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { median, round } from "./bench.ts";
import type { VectorForm } from "./scale-world.ts";
import { startWorkerd } from "./workerd.ts";

export interface IsolateMemory {
  /** usedSize + backingStorageSize, + wasm memory where that is not inside already. */
  readonly isolateBytes: number;
  readonly usedSize: number;
  readonly backingStorageSize: number;
  readonly wasmBytes: number;
  readonly isWasmInside: boolean;
  /** Largest figure that the inspector gave while the app was built, garbage not collected; a lower bound of the peak. */
  readonly peakBytes: number;
  /** Median decoding by workerd's own clock, ms. */
  readonly decodeP50: number;
}

interface HeapUsage {
  readonly usedSize: number;
  readonly backingStorageSize: number;
}

const DECODINGS = 60;
/** The inspector answers at once, or when the request under way lets it. */
const CALL_TIMEOUT_MS = 30_000;

/** Serves each catalogue in turn, smallest first, from one isolate. @throws Error when the local Worker does not start */
export async function measureIsolates(
  catalogues: readonly { readonly vectors: VectorForm; readonly snapshot: Uint8Array }[],
): Promise<IsolateMemory[]> {
  const server = await startWorkerd("wrangler.toml");
  try {
    const { origin } = server;
    const inspector = await openInspector(server.inspectorPort);
    const before = await inspector.heapUsage();
    const memories: IsolateMemory[] = [];
    let isWasmInside: boolean | undefined;
    for (const { vectors, snapshot } of catalogues) {
      const body = snapshot as Uint8Array<ArrayBuffer>;
      const building = json(fetch(`${origin}?vectors=${vectors}`, { method: "PUT", body }));
      const peak = await largestUntil(building, async () => bytesOf(await inspector.heapUsage()));
      const { times, wasmBytes } = await json(fetch(`${origin}?decodings=${DECODINGS}`));
      const usage = await inspector.heapUsage();
      // the first catalogue is small: what the backing stores gained is the wasm memory, or is not
      isWasmInside ??= usage.backingStorageSize - before.backingStorageSize >= wasmBytes;
      const wasm = isWasmInside ? 0 : wasmBytes;
      memories.push({
        isolateBytes: bytesOf(usage) + wasm,
        usedSize: usage.usedSize,
        backingStorageSize: usage.backingStorageSize,
        wasmBytes,
        isWasmInside,
        peakBytes: Math.max(peak, bytesOf(usage)) + wasm,
        decodeP50: round(median(times ?? []), 3),
      });
    }
    inspector.close();
    return memories;
  } finally {
    server.stop();
  }
}

function bytesOf({ usedSize, backingStorageSize }: HeapUsage): number {
  return usedSize + backingStorageSize;
}

/** The largest value that is read, again and again, until the work is done. */
async function largestUntil(work: Promise<unknown>, read: () => Promise<number>): Promise<number> {
  const done = work.then(() => true);
  let largest = 0;
  while (!(await Promise.race([done, sleep(5, false)]))) largest = Math.max(largest, await read());
  return largest;
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
