/** A test file that no project claims never runs, and nobody would notice. */
import { globSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "..");
const WORKER = /^test\/(routes|store|objects|jobs|http|contract|serving)\//;

/** The projects of vitest.config.ts, as predicates over a path. */
const PROJECTS: Record<string, (file: string) => boolean> = {
  worker: (file) => WORKER.test(file) && !file.endsWith(".onnx.test.ts"),
  onnx: (file) => file.endsWith(".onnx.test.ts") && !file.startsWith("test/e2e/"),
  e2e: (file) => file.startsWith("test/e2e/"),
  node: (file) => !WORKER.test(file) && !file.endsWith(".onnx.test.ts") && !file.startsWith("test/e2e/"),
};

it("gives every test file to exactly one project", () => {
  const files = globSync("{test,functions,demo,cli,bench,training}/**/*.{test,spec}.{ts,js,tsx,mts}", { cwd: ROOT });
  expect(files.length).toBeGreaterThan(10);
  for (const file of files) {
    const claims = Object.entries(PROJECTS).filter(
      ([, takes]) => file.startsWith("test/") && file.endsWith(".test.ts") && takes(file),
    );
    expect(
      claims.map(([name]) => name),
      file,
    ).toHaveLength(1);
  }
});
