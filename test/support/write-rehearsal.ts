/** Makes the tiny model of functions/rehearsal: `npm run rehearsal`. Needed when graphs or the artefact change their form. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Manifest } from "../../functions/domain/artefact/manifest.ts";
import { servedFiles } from "../../functions/inference/load-model.ts";

const root = path.join(import.meta.dirname, "../..");
const folder = path.join(root, "functions/rehearsal");
const work = mkdtempSync(path.join(os.tmpdir(), "edgewise-rehearsal-"));
try {
  const trained = ["training/run.sh", "--config", "tiny", "--out", work];
  execFileSync("bash", trained, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  const manifest = Manifest.parse(JSON.parse(readFileSync(path.join(work, "manifest.json"), "utf8")));
  for (const file of servedFiles(manifest)) copyFileSync(path.join(work, file), path.join(folder, file));
  const kept = { ...manifest, metrics: { split: "none", rows: [] } };
  writeFileSync(path.join(folder, "manifest.json"), `${JSON.stringify(kept, null, 2)}\n`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
