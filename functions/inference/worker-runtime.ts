/** Hands the runtime's module to it inside workerd, where the bundler has compiled it. Imported for that effect alone. */
import ortModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { useRuntimeModule } from "./runtime.ts";

useRuntimeModule(() => ortModule);
