/** The Worker that bench/scale.ts measures from outside: one synthetic app in one isolate, run locally and never deployed. */
import "../../functions/inference/worker-runtime.ts";
import encoder from "../fixtures/scale/encoder.onnx";
import step from "../fixtures/scale/step2.onnx";
import { FilterCache } from "../../functions/domain/catalogue/predicate.ts";
import { decodeSnapshot } from "../../functions/domain/catalogue/snapshot.ts";
import { buildCodeOrder } from "../../functions/domain/generation/code-order.ts";
import { once, runtimeMemoryBytes } from "../../functions/inference/runtime.ts";
import { LEVELS, openNetwork, ScaleWorld, syntheticCodes } from "../scale-world.ts";

const network = once(() => openNetwork(encoder, step));
let world: ScaleWorld | undefined; // the isolate's one app

/** There because bench/scale-isolate.ts starts workerd with --expose-gc. */
const collectGarbage = (globalThis as { gc?: () => void }).gc;

export default {
  /** PUT a snapshot: builds the app. GET ?decodings=n: decodes, and says how long each took. */
  async fetch(request: Request): Promise<Response> {
    if (request.method === "PUT") {
      world = undefined;
      const columns = decodeSnapshot(new Uint8Array(await request.arrayBuffer()));
      const { codes, numbers } = syntheticCodes(columns.largestNumber);
      world = new ScaleWorld(await network(), columns, buildCodeOrder(LEVELS, codes, numbers).order);
      return Response.json({ bytes: world.bytes, wasmBytes: runtimeMemoryBytes() });
    }
    collectGarbage?.();
    if (world === undefined) return Response.json({ wasmBytes: runtimeMemoryBytes() });
    const decodings = Number(new URL(request.url).searchParams.get("decodings"));
    const filters = new FilterCache();
    const times: number[] = [];
    for (let user = 0; user < decodings; user += 1) {
      const seen = world.history(user);
      const legal = world.legal(filters, seen);
      const history = world.vectorsOf(seen);
      const start = performance.now(); // moves during computation in local workerd only
      await world.decode(history, legal);
      times.push(performance.now() - start);
    }
    collectGarbage?.();
    return Response.json({ times, wasmBytes: runtimeMemoryBytes() });
  },
};
