/** Hands the runtime's module to it in Node, compiled from the package's file. Imported for that effect alone. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { useRuntimeModule } from "../../functions/inference/runtime.ts";

const file = createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
useRuntimeModule(async () => WebAssembly.compile(await readFile(file)));
