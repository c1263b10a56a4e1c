/** Hands the compiled modules of both engines to them inside workerd, where the bundler has compiled them. Imported for that effect alone. */
import ortModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import kernelModule from "./typed/kernels.wasm";
import { useKernelModule } from "./typed/typed-network.ts";
import { useRuntimeModule } from "./runtime.ts";

useRuntimeModule(() => ortModule);
useKernelModule(() => kernelModule);
