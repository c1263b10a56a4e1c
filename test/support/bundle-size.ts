/** Reports the size of the bundle in dist/ and fails past the platform's limits (64 MiB raw; 10 MB gzip is our own bound). */
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_BYTES = 64 * 1024 * 1024; // Workers limits page, every plan since 2026-09-04
const GZIP_LIMIT_BYTES = 10_000_000; // the older rule of the paid plan; holding it keeps deploys quick
const DIST = path.resolve(import.meta.dirname, "../../dist");

let bytes = 0;
let gzip = 0;
for (const file of readdirSync(DIST).filter((name) => !name.endsWith(".map") && name !== "README.md")) {
  const full = path.join(DIST, file);
  if (!statSync(full).isFile()) continue;
  const content = readFileSync(full);
  const packed = gzipSync(content).length;
  console.log(`${file.padEnd(60)} ${String(content.length).padStart(10)} bytes ${String(packed).padStart(10)} gzip`);
  bytes += content.length;
  gzip += packed;
}
console.log(`bundle: ${bytes} bytes of ${LIMIT_BYTES}, gzip ${gzip} bytes of ${GZIP_LIMIT_BYTES}`);
if (bytes === 0 || bytes > LIMIT_BYTES || gzip > GZIP_LIMIT_BYTES) {
  console.error("bundle: empty or over its limit; run `npm run build` first");
  process.exitCode = 1;
}
