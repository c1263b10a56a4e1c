/**
 * The built Worker on this machine: bundles it once, migrates a storage folder, serves it on loopback and ends it, politely or by
 * SIGKILL. `npm start` and the end-to-end tests share it. Nothing here needs a network or an account.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "..");
const WRANGLER = path.join(ROOT, "node_modules", "wrangler", "wrangler-dist", "cli.js");
/** Beside wrangler's own state; git-ignored. */
const BUNDLES = path.join(ROOT, ".wrangler", "edgewise");
const BUNDLES_KEPT = 3;
const READY_MS = 90_000;
const GONE_MS = 15_000;
const LINES_KEPT = 200;

export interface DevServerOptions {
  /** Folder of the local storage; the same folder again is the same data. */
  readonly persist: string;
  /** Names listed in `secrets.required` go into a file of mode 0600, the others into the configuration. */
  readonly vars: Readonly<Record<string, string>>;
  /** Default: a free one. */
  readonly port?: number;
  /** Each line that wrangler prints. */
  readonly onLine?: (line: string) => void;
}

export interface DevServer {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  /** SIGKILL to the whole process group; resolves when the port refuses. */
  kill(): Promise<void>;
  /** SIGTERM, and SIGKILL for what is left after a while. */
  stop(): Promise<void>;
  /** Resolves with the exit code when the server ends by itself or is ended. */
  readonly ended: Promise<number | null>;
  /** The last lines it printed. */
  output(): string;
}

/** Folder of the bundle of the sources as they are now; built when there is none. @throws Error with wrangler's output */
export function buildBundle(): string {
  const bundle = path.join(BUNDLES, sourcesHash());
  if (existsSync(path.join(bundle, "index.js"))) return bundle;
  const building = `${bundle}.${process.pid}`;
  runWrangler(["deploy", "--dry-run", "--outdir", building], "bundling");
  try {
    renameSync(building, bundle);
  } catch (error) {
    if (!existsSync(path.join(bundle, "index.js"))) throw error; // another process was first
    rmSync(building, { recursive: true, force: true });
  }
  removeOldBundles();
  return bundle;
}

/** Keeps the newest few: a server reads its bundle when it starts. */
function removeOldBundles(): void {
  const folders = readdirSync(BUNDLES)
    .filter((name) => !name.includes("."))
    .map((name) => ({ folder: path.join(BUNDLES, name), at: statSync(path.join(BUNDLES, name)).mtimeMs }));
  const old = folders.toSorted((a, b) => b.at - a.at).slice(BUNDLES_KEPT);
  for (const { folder } of old) rmSync(folder, { recursive: true, force: true });
}

function sourcesHash(): string {
  const hash = createHash("sha256");
  for (const file of ["wrangler.toml", "package-lock.json", "tsconfig.json"])
    hash.update(readFileSync(path.join(ROOT, file)));
  const sources = readdirSync(path.join(ROOT, "functions"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
  for (const file of sources.toSorted()) hash.update(path.relative(ROOT, file)).update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
}

/** Applies the migrations to a storage folder; does nothing when these very migrations were applied to it before. */
export function migrate(persist: string): void {
  const folder = path.join(ROOT, "migrations");
  const hash = createHash("sha256");
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith(".sql"))
    .toSorted())
    hash.update(readFileSync(path.join(folder, file)));
  const stamp = path.join(persist, "migrated");
  const wanted = hash.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  mkdirSync(persist, { recursive: true });
  runWrangler(["d1", "migrations", "apply", "DB", "--local", "--persist-to", persist], "migrating");
  writeFileSync(stamp, wanted);
}

/** Serves on 127.0.0.1; resolves when `/healthz` answers. @throws Error with the last lines when it does not come up */
export async function startDevServer(options: DevServerOptions): Promise<DevServer> {
  const bundle = buildBundle();
  migrate(options.persist);
  const config = writeConfig(bundle, options);
  const port = options.port ?? (await freePort());
  const args = ["--config", config, "--local", "--ip", "127.0.0.1", "--port", String(port), "--inspector-port", "0"];
  const flags = ["--persist-to", options.persist, "--show-interactive-dev-session=false"];
  const child = spawn(process.execPath, ["--no-warnings", WRANGLER, "dev", ...args, ...flags], {
    cwd: path.dirname(config),
    detached: true, // a process group of its own, so that one signal reaches workerd too
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...wranglerEnv(), WRANGLER_REGISTRY_PATH: path.join(path.dirname(config), "registry") },
  });
  const lines = collectLines(child, options.onLine);
  const ended = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  const url = `http://127.0.0.1:${port}`;
  const server: DevServer = {
    url,
    port,
    ended,
    output: () => lines.join("\n"),
    kill: async () => {
      signalGroup(child, "SIGKILL");
      await ended;
      await waitUntilRefused(port);
    },
    stop: async () => {
      signalGroup(child, "SIGTERM");
      const timer = setTimeout(() => signalGroup(child, "SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
      signalGroup(child, "SIGKILL"); // what the first process left behind
      await waitUntilRefused(port);
    },
  };
  await waitUntilReady(server, child);
  return server;
}

/** A free port of 127.0.0.1, or the first free one from `from` on. */
export async function freePort(from = 0): Promise<number> {
  for (let port = from; ; port += 1) {
    const found = await new Promise<number | undefined>((resolve) => {
      const probe = createServer();
      probe.once("error", () => resolve(undefined));
      probe.listen(port, "127.0.0.1", () => {
        const address = probe.address();
        probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : undefined));
      });
    });
    if (found !== undefined) return found;
    if (port >= 65_535) throw new Error(`no port from ${from} on is free`);
  }
}

/** wrangler.toml with the bundle as its main file, in a folder of its own, with secrets beside it. Gives its path. */
function writeConfig(bundle: string, { persist, vars }: DevServerOptions): string {
  const folder = path.join(path.resolve(persist), "config");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const source = readFileSync(path.join(ROOT, "wrangler.toml"), "utf8");
  const required = JSON.parse(/^required = (\[.*\])/m.exec(source)?.[1] ?? "[]") as string[];
  const main = [
    `main = ${quoted(path.join(bundle, "index.js"))}`,
    "no_bundle = true",
    "find_additional_modules = true",
    `base_dir = ${quoted(bundle)}`,
  ];
  const config = source
    .replace(/^main = .*$/m, main.join("\n"))
    .replace(/^migrations_dir = "(.*)"/m, (_line, name: string) => `migrations_dir = ${quoted(path.join(ROOT, name))}`);
  const open = Object.entries(vars).filter(([name]) => !required.includes(name));
  const table = open.map(([name, value]) => `${name} = ${quoted(value)}`);
  const file = path.join(folder, "wrangler.toml");
  const kept = config.replace(/^(\w+) = .*\n/gm, (line, name: string) => (Object.hasOwn(vars, name) ? "" : line));
  writeFileSync(
    file,
    kept.replace(/^\[vars\]$/m, () => ["[vars]", ...table].join("\n")),
  );
  const secrets = required.map((name) => `${name}=${quoted(vars[name] ?? "")}`);
  writeFileSync(path.join(folder, ".dev.vars"), `${secrets.join("\n")}\n`, { mode: 0o600 });
  return file;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function wranglerEnv(): NodeJS.ProcessEnv {
  return { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", CI: "1" };
}

function runWrangler(args: readonly string[], what: string): void {
  const done = spawnSync(process.execPath, ["--no-warnings", WRANGLER, ...args], {
    cwd: ROOT,
    env: wranglerEnv(),
    encoding: "utf8",
  });
  if (done.status !== 0) throw new Error(`${what} failed:\n${done.stdout}\n${done.stderr}`);
}

function collectLines(child: ChildProcess, onLine?: (line: string) => void): string[] {
  const kept: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream?.setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        kept.push(line);
        onLine?.(line);
      }
      kept.splice(0, Math.max(0, kept.length - LINES_KEPT));
    });
  }
  return kept;
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it is gone already
  }
}

async function waitUntilReady(server: DevServer, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_MS;
  while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
    try {
      const response = await fetch(`${server.url}/healthz`, { signal: AbortSignal.timeout(10_000) });
      await response.arrayBuffer();
      if (response.ok) return;
    } catch {
      // not listening yet
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  signalGroup(child, "SIGKILL");
  throw new Error(`the server did not come up on port ${server.port}:\n${server.output()}`);
}

async function waitUntilRefused(port: number): Promise<void> {
  const deadline = Date.now() + GONE_MS;
  while (Date.now() < deadline) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (!isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`port ${port} still answers after the server was ended`);
}
