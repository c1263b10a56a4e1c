/** Hands ONNX Runtime's module to it in Node, compiled from the package's file. Imported for that effect alone. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { useRuntimeModule } from "../functions/inference/runtime.ts";

const file = createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
// the Worker's types leave out `compile`, because workerd refuses it
const wasm = WebAssembly as unknown as { compile(bytes: Uint8Array): Promise<WebAssembly.Module> };
useRuntimeModule(async () => wasm.compile(await readFile(file)));
