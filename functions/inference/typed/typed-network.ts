/**
 * The decoding graphs as a `DecodeNetwork` without a runtime to start: small WebAssembly kernels over typed arrays. It answers
 * an isolate's first requests, and goes on where ONNX Runtime does not start.
 */
import type { Manifest } from "../../domain/artefact/manifest.ts";
import type { DecodeNetwork } from "../../domain/generation/types.ts";
import { GraphError } from "../graph-error.ts";
import { Heap } from "./heap.ts";
import { TypedGraph } from "./typed-graph.ts";
import type { Value } from "./values.ts";

/** What a run usually takes above the constants. */
const RUN_BYTES = 512 * 1024;

type ModuleLoader = () => WebAssembly.Module | Promise<WebAssembly.Module>;

let loadModule: ModuleLoader | undefined; // set once when the isolate's code is evaluated

/** Says where the compiled kernels come from; called once, before the first model is loaded. */
export function useKernelModule(load: ModuleLoader): void {
  loadModule = load;
}

/** Contents of the encoder graph and of the step graphs of levels 2..L. */
export interface GraphContents {
  readonly encoder: ArrayBuffer;
  readonly steps: readonly ArrayBuffer[];
}

export interface TypedNetwork extends DecodeNetwork {
  readonly encoder: TypedGraph;
  readonly steps: readonly TypedGraph[];
  /** Of its memory, which grows with the longest history and the most beams it has seen. */
  readonly bytes: number;
}

/** Runs are synchronous, so all of them share the heap above the constants. @throws GraphError for a graph that can't be run */
export async function openTypedNetwork(
  manifest: Pick<Manifest, "dim" | "levels" | "historyLength">,
  contents: GraphContents,
): Promise<TypedNetwork> {
  if (loadModule === undefined) throw new Error("useKernelModule was not called");
  const { dim, levels, historyLength } = manifest;
  const constantBytes = [contents.encoder, ...contents.steps].reduce((sum, content) => sum + content.byteLength, 0);
  const heap = new Heap(await loadModule(), constantBytes + RUN_BYTES);
  const encoder = new TypedGraph(contents.encoder, heap);
  const steps = contents.steps.map((content) => new TypedGraph(content, heap));
  const constants = heap.end;
  const floats = (values: Float32Array, dims: readonly number[]): Value => ({
    kind: "floats",
    dims,
    at: heap.put(values),
  });
  const run = (graph: TypedGraph, inputs: () => readonly Value[], dims: readonly (readonly number[])[]) => {
    heap.reset(constants);
    const outputs = graph.run(inputs());
    return dims.map((shape, at) => floatsOf(heap, outputs[at], graph.outputNames[at], shape));
  };
  return {
    encoder,
    steps,
    get bytes() {
      return heap.bytes;
    },
    async encode(x, length) {
      if (length < 1 || length > historyLength) {
        throw new RangeError(`a history has 1 to ${historyLength} items, got ${length}`);
      }
      const shapes = [
        [1, dim],
        [1, levels[0]!],
      ];
      const inputs = () => [floats(x.subarray(0, length * dim), [1, length, dim])];
      const [h, logits] = run(encoder, inputs, shapes);
      return { h: h!, logits: logits! };
    },
    async step(level, h, prefixes, beams) {
      const graph = steps[level - 2];
      const codes = levels[level - 1];
      if (graph === undefined || codes === undefined) {
        throw new RangeError(`level must be 2 to ${levels.length}, got ${level}`);
      }
      const data = prefixes.subarray(0, beams * (level - 1));
      const inputs = (): Value[] => [floats(h, [1, dim]), { kind: "integers", dims: [beams, level - 1], data }];
      return run(graph, inputs, [[beams, codes]])[0]!;
    },
  };
}

/** A copy of a float output after a check of its shape. @throws GraphError where it differs. */
function floatsOf(
  heap: Heap,
  output: Value | undefined,
  name: string | undefined,
  dims: readonly number[],
): Float32Array {
  if (output?.kind !== "floats") throw new GraphError(`output ${name} is ${output?.kind ?? "missing"}, not floats`);
  if (output.dims.length !== dims.length || dims.some((size, axis) => output.dims[axis] !== size)) {
    throw new GraphError(`output ${name} has shape (${output.dims.join(", ")}), not (${dims.join(", ")})`);
  }
  return heap.floats(output.at, dims[0]! * dims[1]!);
}
