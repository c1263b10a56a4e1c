/** The Worker that bench/scale.ts measures from outside: one synthetic app in one isolate, run locally and never deployed. */
import "../../functions/inference/worker-runtime.ts";
import encoder from "../fixtures/scale/encoder.onnx";
import step from "../fixtures/scale/step2.onnx";
import { decodeSnapshot } from "../../functions/domain/catalogue/snapshot.ts";
import { ItemTables } from "../../functions/inference/item-tables.ts";
import { once, runtimeMemoryBytes } from "../../functions/inference/runtime.ts";
import { openNetwork, ScaleWorld, syntheticRows, type VectorForm } from "../scale-world.ts";

const network = once(() => openNetwork(encoder, step));
let world: ScaleWorld | undefined; // the isolate's one app

/** Twice, with a turn of the loop between: array buffers are freed behind the collection that found them. */
async function collectGarbage(): Promise<void> {
  const { gc } = globalThis as { gc?: () => void }; // there because bench/workerd.ts starts workerd with --expose-gc
  gc?.();
  await new Promise((resolve) => setTimeout(resolve, 50));
  gc?.();
}

export default {
  /** PUT ?vectors=int8|pq a snapshot: builds the app. GET ?decodings=n: decodes, and says how long each took. */
  async fetch(request: Request): Promise<Response> {
    const { searchParams } = new URL(request.url);
    if (request.method === "PUT") {
      world = undefined;
      const columns = decodeSnapshot(new Uint8Array(await request.arrayBuffer()));
      const { format, rows } = syntheticRows(columns.largestNumber, searchParams.get("vectors") as VectorForm);
      world = new ScaleWorld(await network(), columns, ItemTables.of(format, rows));
      world.warm();
      return Response.json({ bytes: world.bytes, wasmBytes: runtimeMemoryBytes() });
    }
    await collectGarbage();
    if (world === undefined) return Response.json({ wasmBytes: runtimeMemoryBytes() });
    const decodings = Number(searchParams.get("decodings"));
    const times: number[] = [];
    for (let user = 0; user < decodings; user += 1) {
      const seen = world.history(user);
      const legal = world.legal(world.filters, seen);
      const history = world.vectorsOf(seen);
      const start = performance.now(); // moves during computation in local workerd only
      await world.decode(history, legal);
      times.push(performance.now() - start);
    }
    await collectGarbage();
    return Response.json({ times, wasmBytes: runtimeMemoryBytes() });
  },
};
