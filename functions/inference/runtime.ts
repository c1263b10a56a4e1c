/**
 * Starts ONNX Runtime on one thread and opens sessions. workerd refuses to compile WebAssembly from bytes, so the runtime is
 * handed a module that was compiled before (`useRuntimeModule`): by the bundler in a Worker, from the package's file in Node.
 */
import type * as Ort from "onnxruntime-web/wasm";
import { GraphError } from "./graph-error.ts";

export { GraphError } from "./graph-error.ts";

type Instantiate = (source: BufferSource | WebAssembly.Module, imports?: WebAssembly.Imports) => Promise<unknown>;
type ModuleLoader = () => WebAssembly.Module | Promise<WebAssembly.Module>;

/** Opening a session may take this long at most, the start of the runtime (260-470 ms) included. */
export const SESSION_TIMEOUT_MS = 10_000;

// never read: being set, it selects the glue inside onnxruntime-web/wasm, and its size tells the runtime's call from others
const DUMMY_BYTES = 8;

let loadModule: ModuleLoader | undefined; // set once when the isolate's code is evaluated
let ort: typeof Ort | undefined; // set before the first session is there
let memory: WebAssembly.Memory | undefined;

/** Says where the compiled runtime comes from; called once, before the first session. */
export function useRuntimeModule(load: ModuleLoader): void {
  loadModule = load;
}

/** Makes a value once: concurrent first callers share the attempt, a failed attempt isn't kept. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let attempt: Promise<T> | undefined; // may vanish with the isolate
  return () =>
    (attempt ??= make().catch((error: unknown) => {
      attempt = undefined;
      throw error;
    }));
}

/** Rejects with a `DOMException` TimeoutError when `work` takes longer; the work itself can't be stopped. */
export async function within<T>(timeoutMs: number, what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const expire = () => reject(new DOMException(`${what} took longer than ${timeoutMs} ms`, "TimeoutError"));
    timer = setTimeout(expire, timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function memoryOf(imports: WebAssembly.Imports, instance: WebAssembly.Instance): WebAssembly.Memory | undefined {
  const values = [
    ...Object.values(imports).flatMap((group) => Object.values(group)),
    ...Object.values(instance.exports),
  ];
  return values.find((value): value is WebAssembly.Memory => value instanceof WebAssembly.Memory);
}

/** Sends the runtime's one call with (dummy) bytes to the compiled module; every other call passes through. */
function wrapInstantiate(): void {
  const original = WebAssembly.instantiate.bind(WebAssembly) as Instantiate;
  const replacement: Instantiate = async (source, imports = {}) => {
    if (source instanceof WebAssembly.Module || source.byteLength !== DUMMY_BYTES) return original(source, imports);
    if (loadModule === undefined) throw new Error("useRuntimeModule was not called");
    const module = await loadModule();
    const instance = (await original(module, imports)) as WebAssembly.Instance;
    memory = memoryOf(imports, instance);
    return { module, instance };
  };
  Object.assign(WebAssembly, { instantiate: replacement });
}

/** The runtime's package, evaluated when it is first needed: that takes milliseconds of a new isolate's start. */
const loadRuntime = once(async () => {
  const module = await import("onnxruntime-web/wasm");
  wrapInstantiate();
  module.env.wasm.numThreads = 1; // workerd has no shared wasm memory
  module.env.wasm.wasmBinary = new ArrayBuffer(DUMMY_BYTES);
  ort = module;
  return module;
});

/** High-water mark of the runtime's memory, bytes: wasm memory never shrinks. 0 before the first session. */
export function runtimeMemoryBytes(): number {
  return memory?.buffer.byteLength ?? 0;
}

export interface SessionOptions {
  readonly timeoutMs?: number;
  /** Overrides for measurements. */
  readonly runtime?: Ort.InferenceSession.SessionOptions;
}

/**
 * Opens a graph on the wasm CPU provider. Optimisation "all" folds the int8 weights' Cast and Mul into float32 constants.
 * Arena and memory pattern stay on: without either one, neither memory nor time changed at d 128 (without prepacked weights
 * a run of 20 items took 13 % longer and no byte less).
 *
 * @throws GraphError when the graph is not valid; a TimeoutError when the runtime does not start: it keeps an attempt pending
 * for ever instead of rejecting it. The runtime remembers a failed start, so only a new isolate gets over that one.
 */
export async function createSession(graph: ArrayBuffer | Uint8Array, options: SessionOptions = {}): Promise<Session> {
  const { InferenceSession } = await loadRuntime();
  const bytes = graph instanceof Uint8Array ? graph : new Uint8Array(graph);
  const opening = InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    ...options.runtime,
  });
  const checked = opening.catch((error: unknown) => {
    throw isOfRuntime(error) ? error : new GraphError(messageOf(error), { cause: error });
  });
  return within(options.timeoutMs ?? SESSION_TIMEOUT_MS, "opening an inference session", checked);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 300);

/** The runtime itself could not start: no fault of the graph. */
function isOfRuntime(error: unknown): boolean {
  return messageOf(error).startsWith("no available backend found");
}

type Feeds = Record<string, Ort.Tensor>;

/** Runs a graph. @throws GraphError where it can't be run on these inputs. */
export async function run(session: Session, feeds: Feeds): Promise<Outputs> {
  try {
    return await session.run(feeds);
  } catch (error) {
    throw new GraphError(messageOf(error), { cause: error });
  }
}

type Outputs = Ort.InferenceSession.OnnxValueMapType;

function outputOf(outputs: Outputs, name: string, type: Ort.Tensor.Type, dims: readonly number[]): Ort.Tensor {
  const output = outputs[name];
  if (output === undefined) throw new GraphError(`the graph has no output ${name}`);
  if (output.type !== type) throw new GraphError(`output ${name} is ${output.type}, not ${type}`);
  if (output.dims.length !== dims.length || dims.some((size, axis) => output.dims[axis] !== size)) {
    throw new GraphError(`output ${name} has shape (${output.dims.join(", ")}), not (${dims.join(", ")})`);
  }
  return output;
}

/** A float32 output after a check of its name, type and shape. @throws GraphError where one differs. */
export function floatsOf(outputs: Outputs, name: string, dims: readonly number[]): Float32Array {
  return outputOf(outputs, name, "float32", dims).data as Float32Array;
}

/** An int32 output after the same check. @throws GraphError where one differs. */
export function integersOf(outputs: Outputs, name: string, dims: readonly number[]): Int32Array {
  return outputOf(outputs, name, "int32", dims).data as Int32Array;
}

// whoever has inputs for a session has opened one
export const floatTensor = (values: Float32Array, dims: readonly number[]) => new ort!.Tensor("float32", values, dims);
export const integerTensor = (values: Int32Array, dims: readonly number[]) => new ort!.Tensor("int32", values, dims);

export type Session = Ort.InferenceSession;
