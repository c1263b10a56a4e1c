/** What a loaded model costs an isolate, known from its manifest before a byte is read. */
import type { Manifest } from "./manifest.ts";

/** What all models of an isolate (128 MB) may take together; the runtime's module and everything else have the other half. */
export const MODEL_BUDGET_BYTES = 64 * 1024 * 1024;

/**
 * Bytes of the runtime's memory for a byte of a graph. Measured with onnxruntime-web 1.30: 40 copies of the Beauty model (two
 * layers, d 128, 0.66 MB with int8 weights, 2.42 MB in float32) took 2.8 MB each, 4.3 and 1.2 times their files; int8 weights
 * become float32 constants when a session opens. The runtime's memory starts at 16 MB, where one such model fits as well.
 */
const GRAPH_FACTOR = { "int8-weights": 5, float32: 1.5 } as const;

/** Tables by place: number, way back from the number, codes, vector, scale. */
function itemBytes({ dim, levels, vectors }: Pick<Manifest, "dim" | "levels" | "vectors">): number {
  const vector = { int8: dim + 4, float32: 4 * dim, pq: vectors.subspaces ?? 0 };
  return 4 + 4 + levels.length + vector[vectors.dtype];
}

export function graphBytes(dtype: keyof typeof GRAPH_FACTOR, fileBytes: number): number {
  return GRAPH_FACTOR[dtype] * fileBytes;
}

/** Estimate for the item tables of `items` items and the decoding graphs. */
export function modelBytes(manifest: Manifest, items: number): number {
  const sizes = new Map(manifest.files.map((file) => [file.path, file.bytes]));
  let total = items * itemBytes(manifest) + 4 * manifest.levels.slice(0, -1).reduce((all, size) => all * size, 1);
  for (const graph of manifest.graphs) {
    if (graph.role === "encoder" || graph.role === "step") total += graphBytes(graph.dtype, sizes.get(graph.file) ?? 0);
  }
  return total;
}
