/**
 * `npm test`: every vitest project, then the trainer's tests where its environment stands. `--soak` runs the long tests
 * instead. Prints `N passed, N failed, N skipped` last and leaves the counts in .cache/test/ for .ci/run to add up.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const ROOT = path.resolve(import.meta.dirname, "..");
const RESULTS = path.join(ROOT, ".cache", "test");
const soak = process.argv.includes("--soak");
const trainingOnly = process.argv.includes("--training-only");

function run(command: string, args: readonly string[], env: Record<string, string> = {}): number {
  const bin = path.join(ROOT, "node_modules", ".bin");
  const done = spawnSync(command, args, {
    cwd: ROOT,
    stdio: "inherit",
    env: {
      ...process.env,
      PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}`,
      WRANGLER_SEND_METRICS: "false",
      ...env,
    },
  });
  return done.status ?? 1;
}

/** Runs vitest and reads what it counted; a run that ended without a report is one failure. */
function vitest(name: string, args: readonly string[], env: Record<string, string> = {}): Counts {
  const report = path.join(RESULTS, `${name}.json`);
  rmSync(report, { force: true });
  const status = run(
    "vitest",
    ["run", "--reporter=verbose", "--reporter=json", `--outputFile.json=${report}`, ...args],
    env,
  );
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const json = JSON.parse(readFileSync(report, "utf8")) as Record<string, number>;
  const failed = json["numFailedTests"] ?? 0;
  const passed = json["numPassedTests"] ?? 0;
  // an unhandled error or a file that did not load fails the run without failing a test
  const broken = status !== 0 && failed === 0 ? 1 : 0;
  return { passed, failed: failed + broken, skipped: (json["numPendingTests"] ?? 0) + (json["numTodoTests"] ?? 0) };
}

/** The trainer's tests, when `.venv` was set up for the present requirements. */
function training(): Counts {
  const stamp = path.join(ROOT, ".venv", ".stamp");
  const want = createHash("sha256")
    .update(readFileSync(path.join(ROOT, "training", "requirements.txt")))
    .digest("hex");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8").trim() !== want) {
    console.log(
      "The trainer's tests were skipped: its environment does not stand. Set it up with: npm run training:setup",
    );
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const report = path.join(RESULTS, "training.xml");
  rmSync(report, { force: true });
  const python = path.join(ROOT, ".venv", "bin", "python");
  const status = run(python, ["-m", "pytest", "training", "-q", `--junitxml=${report}`]);
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const suite = /<testsuite\b[^>]*>/.exec(readFileSync(report, "utf8"))?.[0] ?? "";
  const count = (name: string): number => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = count("failures") + count("errors");
  const skipped = count("skipped");
  return {
    passed: count("tests") - failed - skipped,
    failed: status !== 0 && failed === 0 ? 1 : failed,
    skipped,
  };
}

mkdirSync(RESULTS, { recursive: true });
const parts: Counts[] = [];
if (soak) {
  parts.push(vitest("soak", ["--project", "e2e", "test/e2e/kill.test.ts"], { EDGEWISE_SOAK: "1" }));
} else {
  if (!trainingOnly) parts.push(vitest("vitest", []));
  parts.push(training());
}
const sum = parts.reduce(
  (all, one) => ({
    passed: all.passed + one.passed,
    failed: all.failed + one.failed,
    skipped: all.skipped + one.skipped,
  }),
  { passed: 0, failed: 0, skipped: 0 },
);
writeFileSync(path.join(RESULTS, soak ? "counts-soak.json" : "counts.json"), JSON.stringify(sum));
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
