/** What the configuration must and must not hold. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "..");
const toml = readFileSync(path.join(ROOT, "wrangler.toml"), "utf8");

it("binds no test clock and no test timing in wrangler.toml", () => {
  expect(toml).not.toMatch(/TEST_/);
});

it("has no wrangler.jsonc, which would win silently over wrangler.toml", () => {
  expect(existsSync(path.join(ROOT, "wrangler.jsonc"))).toBe(false);
  expect(existsSync(path.join(ROOT, "wrangler.json"))).toBe(false);
});

it("leaves CPU for the first inference of an isolate", () => {
  expect(Number(/cpu_ms = (\d+)/.exec(toml)?.[1])).toBeGreaterThanOrEqual(1000);
});

it("pins every dependency exactly and keeps addresses out of the lock file", () => {
  const manifest = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as Record<
    string,
    Record<string, string>
  >;
  for (const [name, version] of Object.entries({ ...manifest["dependencies"], ...manifest["devDependencies"] }))
    expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
  expect(readFileSync(path.join(ROOT, "package-lock.json"), "utf8")).not.toMatch(/"resolved"/);
});

it("says in README.md and docs/ablation.md what bench/results holds", () => {
  const check = () => execFileSync(process.execPath, ["bench/figures.ts", "--check"], { cwd: ROOT, stdio: "pipe" });
  expect(check).not.toThrow();
});
