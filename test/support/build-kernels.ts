/**
 * Compiles functions/inference/typed/kernels.as to kernels.wasm: `npm run kernels`. The compiler is fetched for that run alone,
 * so nothing depends on it; the sha256 of the source goes into the file, where a test finds one that is out of date.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const COMPILER = "assemblyscript@0.28.20";
const FLAGS = ["-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--noExportMemory", "--enable", "simd"];

const folder = path.join(import.meta.dirname, "../../functions/inference/typed");
const source = path.join(folder, "kernels.as");
const work = mkdtempSync(path.join(os.tmpdir(), "edgewise-kernels-"));
try {
  copyFileSync(source, path.join(work, "kernels.ts")); // the compiler takes no other ending
  const asc = ["--yes", "--package", COMPILER, "asc", "kernels.ts", "-o", "kernels.wasm", ...FLAGS];
  execFileSync("npx", asc, { cwd: work, stdio: ["ignore", "inherit", "inherit"] });
  const sha256 = createHash("sha256").update(readFileSync(source)).digest("hex");
  const wasm = Buffer.concat([readFileSync(path.join(work, "kernels.wasm")), customSection("source-sha256", sha256)]);
  writeFileSync(path.join(folder, "kernels.wasm"), wasm);
  process.stderr.write(`kernels.wasm: ${wasm.length} bytes\n`);
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** A custom section (WebAssembly core specification, 5.5.3) of at most 127 bytes, so that each length is one byte. */
function customSection(name: string, content: string): Buffer {
  const text = Buffer.from(name + content);
  if (text.length > 126) throw new RangeError("the section is too long");
  return Buffer.concat([Buffer.from([0, text.length + 1, name.length]), text]);
}
