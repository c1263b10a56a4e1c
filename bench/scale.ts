/**
 * Does a request cost the same with ten thousand items and with a million? `npm run bench:scale [-- --quick]`, a minute or two.
 *
 * One graph (two levels of 256, d 64) at every size; random codes and a synthetic snapshot, no database; item vectors are
 * product-quantised at every size, as the trainer stores large catalogues, and int8 once for comparison. In Node: bytes, loading, filtering, decoding. The sizes take turns, a
 * few decodings each, and the ratio is the median over rounds of neighbouring medians: a machine that others use as well slows
 * both alike. In workerd: the isolate's memory by its inspector, three filters and the norms of similar items included.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import "./node-runtime.ts";
import { CatalogueColumns } from "../functions/domain/catalogue/columns.ts";
import { FilterCache } from "../functions/domain/catalogue/predicate.ts";
import { decodeSnapshot, encodeSnapshot } from "../functions/domain/catalogue/snapshot.ts";
import { ItemTables } from "../functions/inference/item-tables.ts";
import { benchArguments, bootstrapMedian, median, percentile, round, startBench, timed } from "./bench.ts";
import {
  LEAF_ITEMS,
  openNetwork,
  ScaleWorld,
  syntheticColumns,
  syntheticRows,
  type VectorForm,
} from "./scale-world.ts";
import { measureIsolates } from "./scale-isolate.ts";

const args = benchArguments();
const sizes = args.quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000];
/** int8 once, as small catalogues are stored, then product-quantised at every size. */
const catalogues: readonly { readonly items: number; readonly vectors: VectorForm }[] = [
  { items: 10_000, vectors: "int8" },
  ...sizes.map((items) => ({ items, vectors: "pq" as const })),
];
const rounds = args.quick ? 10 : 60;
const perRound = 15;

const bench = startBench("scale", args);
const graph = async (name: string): Promise<ArrayBuffer> => {
  const bytes = await readFile(path.join(import.meta.dirname, "fixtures/scale", name));
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};
const network = await openNetwork(await graph("encoder.onnx"), await graph("step2.onnx"));

interface Measured {
  readonly items: number;
  readonly vectors: VectorForm;
  readonly world: ScaleWorld;
  readonly snapshot: Uint8Array;
  readonly load: number;
  readonly build: number;
  readonly filter: number;
  readonly filterJoin: number;
  /** A round: (perRound) ms. */
  readonly decode: number[][];
  leafItems: number;
}

async function measure({ items, vectors }: (typeof catalogues)[number]): Promise<Measured> {
  const snapshot = encodeSnapshot(syntheticColumns(items));
  const { format, rows } = syntheticRows(items, vectors);
  let columns = new CatalogueColumns();
  let tables: ItemTables | undefined;
  const times = { times: 5, warmUp: 1 };
  const build = median(await timed(() => (tables = ItemTables.of(format, rows)), times));
  const decoding = median(await timed(() => (columns = decodeSnapshot(snapshot.slice())), times));
  const world = new ScaleWorld(network, columns, tables!);
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
    vectors,
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
for (const catalogue of catalogues) measured.push(await measure(catalogue));

for (let turn = -1; turn < rounds; turn += 1) {
  for (const one of measured) {
    const filters = new FilterCache();
    const elapsed: number[] = [];
    for (let at = 0; at < perRound; at += 1) {
      const seen = one.world.history(turn * perRound + at + 1000);
      const legal = one.world.legal(filters, seen);
      const history = one.world.vectorsOf(seen);
      const scoredBefore = one.world.scored;
      const start = performance.now();
      const found = await one.world.decode(history, legal);
      elapsed.push(performance.now() - start);
      if (found.places.length !== 20) throw new Error(`${found.places.length} of 20 items at ${one.items}`);
      one.leafItems = Math.max(one.leafItems, one.world.scored - scoredBefore);
    }
    if (turn >= 0) one.decode.push(elapsed); // the first round warms up
  }
}

const isolates = await measureIsolates(measured);
const all = measured.map((one, at) => ({
  items: one.items,
  vectors: one.vectors,
  bytes: one.world.bytes,
  load: round(one.load, 2),
  filter: round(one.filter, 2),
  decodeP50: round(median(one.decode.flat()), 3),
  isolateBytes: isolates[at]!.isolateBytes,
  decodeP90: round(percentile(one.decode.flat(), 0.9), 3),
  filterJoin: round(one.filterJoin, 3),
  tablesBuild: round(one.build, 2),
  snapshotBytes: one.snapshot.length,
  columnBytes: one.world.columns.bytes,
  vectorBytes: one.world.vectors.bytes,
  codeOrderBytes: one.world.order.bytes,
  tableBytes: one.world.tables.bytes,
  leaves: one.world.leaves,
  leafItems: one.leafItems,
  isolate: isolates[at],
}));
for (const { items, leafItems } of all) {
  if (leafItems > LEAF_ITEMS) throw new Error(`${leafItems} leaf items scored at ${items}, at most ${LEAF_ITEMS}`);
}

/** How much longer decoding the largest takes than another: the median over rounds of the ratio of their medians. */
function ratioTo(other: Measured) {
  const ratios = largest.decode.map((times, turn) => median(times) / median(other.decode[turn]!));
  const { value, interval } = bootstrapMedian(ratios);
  const quick = percentile(largest.decode.flat(), 0.1) / percentile(other.decode.flat(), 0.1);
  return { ratio: round(value, 3), interval: interval.map((bound) => round(bound, 3)), ofQuickest: round(quick, 3) };
}

const largest = measured.at(-1)!;
const toInt8 = ratioTo(measured[0]!);
const ratio = ratioTo(measured[1]!);
const words = (one: typeof ratio) => `${one.ratio} [${one.interval.join(", ")}], of 10th percentiles ${one.ofQuickest}`;
bench.finish(
  {
    rows: all.slice(1),
    int8Rows: all.slice(0, 1),
    rounds,
    decodeRatio: ratio.ratio,
    decodeRatioInterval: ratio.interval,
    decodeRatioOfQuickest: ratio.ofQuickest,
    decodeRatioToInt8: toInt8,
  },
  {
    title:
      `decoding ${largest.items} items against 10000, both product-quantised: ${words(ratio)}\n` +
      `against 10000 with int8 vectors: ${words(toInt8)} (ms, MB)`,
    columns: [
      "items",
      "vectors",
      "MB",
      "load",
      "filter",
      "join",
      "decode p50",
      "decode p90",
      "leaf items",
      "isolate MB",
      "peak MB",
    ],
    rows: all.map((row) => [
      row.items,
      row.vectors,
      round(row.bytes / 1e6, 1),
      row.load,
      row.filter,
      row.filterJoin,
      row.decodeP50,
      row.decodeP90,
      row.leafItems,
      round(row.isolateBytes / 1e6, 1),
      round(row.isolate!.peakBytes / 1e6, 1),
    ]),
  },
);
