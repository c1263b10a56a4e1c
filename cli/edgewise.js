#!/usr/bin/env node
/** Starts the command line: TypeScript runs as it is from Node 22.18 on; an older Node hands over to the one of the project. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

const [major, minor] = process.versions.node.split(".").map(Number);
const main = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "main.ts");

if (major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18)) {
  await import("./main.ts");
} else {
  const node = path.join(main, "../../node_modules/.bin/node");
  if (!existsSync(node)) {
    console.error(
      `edgewise: Node ${process.versions.node} is too old and the project's own is not installed; run npm ci first`,
    );
    process.exit(1);
  }
  const { status, signal } = spawnSync(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  if (signal !== null) process.kill(process.pid, signal);
  process.exitCode = status ?? 1;
}
