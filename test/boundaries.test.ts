/** The direction of imports: `routes -> domain <- store`. The domain is pure, so it runs and is tested anywhere. */
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "..");

/** Module names that the files of a folder import, with the file. */
function importsOf(folder: string): { file: string; from: string }[] {
  return globSync(`functions/${folder}/**/*.ts`, { cwd: ROOT }).flatMap((file) => {
    const text = readFileSync(path.join(ROOT, file), "utf8");
    const found = text.matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)";|^import "([^"]+)";/gms);
    return Array.from(found, ([, named, bare]) => ({ file, from: (named ?? bare)! }));
  });
}

const inside = (file: string, from: string): string => path.join(path.dirname(file), from).split(path.sep)[1]!;

it("keeps the domain free of the platform, the framework and the database", () => {
  const imports = importsOf("domain");
  expect(imports.length).toBeGreaterThan(50);
  for (const { file, from } of imports) {
    if (from.startsWith(".")) expect(inside(file, from), `${file}: ${from}`).toBe("domain");
    else expect(["zod"], `${file}: ${from}`).toContain(from);
  }
});

it("keeps SQL in the store and routes out of everything else", () => {
  for (const folder of ["domain", "inference", "store", "objects", "serving", "jobs"])
    for (const { file, from } of importsOf(folder)) {
      if (from.startsWith("drizzle-orm")) expect(folder, file).toBe("store");
      if (from.startsWith(".")) expect(inside(file, from), `${file}: ${from}`).not.toBe("routes");
    }
});
