/**
 * Writes the world: `node demo/generate.ts [--out DIR] [--seed N] [--scale X] [--only items,events,...]
 * [--without-hidden]`, the last for a world whose hidden collaborative factor has no effect. Rows go to disk as they are made; at the
 * default size it takes seconds, at `--scale 100` memory stays under a gigabyte.
 */
import { parseArgs } from "node:util";
import { DEFAULT_SEED, makeWorld } from "./world.ts";
import { PARTS, worldDigest, writeWorld } from "./write-world.ts";
import type { Part } from "./write-world.ts";

const { values } = parseArgs({
  options: {
    out: { type: "string", default: ".cache/larder" },
    seed: { type: "string", default: String(DEFAULT_SEED) },
    scale: { type: "string", default: "1" },
    only: { type: "string", default: PARTS.join(",") },
    "without-hidden": { type: "boolean", default: false },
  },
});
const parts = values.only.split(",");
const unknown = parts.filter((part) => !PARTS.includes(part as Part));
const [seed, scale] = [Number(values.seed), Number(values.scale)];
if (unknown.length > 0 || !Number.isInteger(seed) || !(scale >= 0.025 && scale <= 1000)) {
  console.error(
    `usage: node demo/generate.ts [--out DIR] [--seed WHOLE] [--scale 0.025..1000] [--only ${PARTS.join(",")}] [--without-hidden]`,
  );
  process.exit(2);
}
const started = performance.now();
const files = writeWorld(makeWorld({ seed, scale, hidden: !values["without-hidden"] }), values.out, parts as Part[]);
for (const file of files)
  console.log(`${file.name.padEnd(16)} ${String(file.rows).padStart(9)} rows  sha256 ${file.sha256}`);
console.log(`${values.out}: digest ${worldDigest(files)}, ${((performance.now() - started) / 1000).toFixed(1)} s`);
