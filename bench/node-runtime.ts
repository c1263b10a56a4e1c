/** Hands the modules of both engines to them in Node, compiled from their files. Imported for that effect alone. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { useKernelModule } from "../functions/inference/typed/typed-network.ts";
import { useRuntimeModule } from "../functions/inference/runtime.ts";

const file = createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
const kernels = path.join(import.meta.dirname, "../functions/inference/typed/kernels.wasm");
// the Worker's types leave out `compile`, because workerd refuses it
const wasm = WebAssembly as unknown as { compile(bytes: Uint8Array): Promise<WebAssembly.Module> };
useRuntimeModule(async () => wasm.compile(await readFile(file)));
useKernelModule(async () => wasm.compile(await readFile(kernels)));
