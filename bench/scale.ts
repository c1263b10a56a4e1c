/**
 * Does a request cost the same with ten thousand items and with a million? `npm run bench:scale [-- --quick]`, a minute or two.
 *
 * One graph (two levels of 256, d 64) at every size; random codes and a synthetic snapshot, no database. In Node: bytes, loading,
 * filtering, decoding (sizes in turn, so that a busy machine slows them alike). In workerd: the isolate's memory by its inspector.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import "./node-runtime.ts";
import { CatalogueColumns } from "../functions/domain/catalogue/columns.ts";
import { FilterCache } from "../functions/domain/catalogue/predicate.ts";
import { decodeSnapshot, encodeSnapshot } from "../functions/domain/catalogue/snapshot.ts";
import { buildCodeOrder, type CodeOrderTable } from "../functions/domain/generation/code-order.ts";
import { benchArguments, median, percentile, round, startBench, timed } from "./bench.ts";
import { LEVELS, LEAF_ITEMS, openNetwork, ScaleWorld, syntheticCodes, syntheticColumns } from "./scale-world.ts";
import { measureIsolates } from "./scale-isolate.ts";

const args = benchArguments();
const sizes = args.quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000];
const rounds = args.quick ? 3 : 10;
const perRound = 30;

const bench = startBench("scale", args);
const graph = async (name: string): Promise<ArrayBuffer> => {
  const bytes = await readFile(path.join(import.meta.dirname, "fixtures/scale", name));
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};
const network = await openNetwork(await graph("encoder.onnx"), await graph("step2.onnx"));

interface Measured {
  readonly items: number;
  readonly world: ScaleWorld;
  readonly snapshot: Uint8Array;
  readonly load: number;
  readonly build: number;
  readonly filter: number;
  readonly filterJoin: number;
  readonly decode: number[];
  leafItems: number;
}

async function measure(items: number): Promise<Measured> {
  const snapshot = encodeSnapshot(syntheticColumns(items));
  const { codes, numbers } = syntheticCodes(items);
  let columns = new CatalogueColumns();
  let order: CodeOrderTable | undefined;
  const times = { times: 5, warmUp: 1 };
  const build = median(await timed(() => (order = buildCodeOrder(LEVELS, codes, numbers).order), times));
  const decoding = median(await timed(() => (columns = decodeSnapshot(snapshot.slice())), times));
  const world = new ScaleWorld(network, columns, order!);
  const showing = median(await timed(() => world.showable.at(columns), { times: 1, warmUp: 0 }));
  const filter = median(await timed(() => world.legal(new FilterCache(), []), times));
  // four known bitmaps: (a or b) and c, without d, with counts
  const cache = new FilterCache();
  const [a, b, c, d] = (["category", "rating", "isInStock", "tags"] as const).map((field) =>
    cache.bitmap(world.order, columns, { field, op: "exists" }),
  );
  const filterJoin = median(await timed(() => a!.or(b!).and(c!).andNot(d!).countsDone(), { times: 50, warmUp: 10 }));
  return {
    items,
    world,
    snapshot,
    load: build + decoding + showing,
    build,
    filter,
    filterJoin,
    decode: [],
    leafItems: 0,
  };
}

const measured: Measured[] = [];
for (const items of sizes) measured.push(await measure(items));

for (let turn = -1; turn < rounds; turn += 1) {
  for (const one of measured) {
    const filters = new FilterCache();
    for (let at = 0; at < perRound; at += 1) {
      const seen = one.world.history(turn * perRound + at + 1000);
      const legal = one.world.legal(filters, seen);
      const history = one.world.vectorsOf(seen);
      const scoredBefore = one.world.scored;
      const start = performance.now();
      const found = await one.world.decode(history, legal);
      const elapsed = performance.now() - start;
      if (found.places.length !== 20) throw new Error(`${found.places.length} of 20 items at ${one.items}`);
      one.leafItems = Math.max(one.leafItems, one.world.scored - scoredBefore);
      if (turn >= 0) one.decode.push(elapsed); // the first round warms up
    }
  }
}

const isolates = await measureIsolates(measured.map(({ items, snapshot }) => ({ items, snapshot })));
const rows = measured.map((one, at) => ({
  items: one.items,
  bytes: one.world.bytes,
  load: round(one.load, 2),
  filter: round(one.filter, 2),
  decodeP50: round(median(one.decode), 3),
  isolateBytes: isolates[at]!.isolateBytes,
  decodeP90: round(percentile(one.decode, 0.9), 3),
  filterJoin: round(one.filterJoin, 3),
  codeOrderBuild: round(one.build, 2),
  snapshotBytes: one.snapshot.length,
  columnBytes: one.world.columns.bytes,
  vectorBytes: one.world.vectors.bytes,
  codeOrderBytes: one.world.order.bytes,
  leaves: one.world.leaves,
  leafItems: one.leafItems,
  isolate: isolates[at],
}));
for (const { items, leafItems } of rows) {
  if (leafItems > LEAF_ITEMS) throw new Error(`${leafItems} leaf items scored at ${items}, at most ${LEAF_ITEMS}`);
}
const ratio = round(rows.at(-1)!.decodeP50 / rows[0]!.decodeP50, 3);
bench.finish(
  { rows, decodeRatio: ratio },
  {
    title: `decoding ${rows.at(-1)!.items} items takes ${ratio} times as long as ${rows[0]!.items} (ms, MB)`,
    columns: ["items", "MB", "load", "filter", "join", "decode p50", "decode p90", "leaf items", "isolate MB"],
    rows: rows.map((row) => [
      row.items,
      round(row.bytes / 1e6, 1),
      row.load,
      row.filter,
      row.filterJoin,
      row.decodeP50,
      row.decodeP90,
      row.leafItems,
      row.isolateBytes === null ? null : round(row.isolateBytes / 1e6, 1),
    ]),
  },
);
