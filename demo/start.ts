/**
 * `npm start`: the Worker with the embedded demo, on this machine, with no account. Makes secrets, database, demo app and keys where
 * they are absent, pushes the embedded model, loads Larder, and prints an address, keys, a user token and curls that work.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import path from "node:path";
import { Client } from "../cli/client.ts";
import { modelsPush } from "../cli/commands/models.ts";
import { HOME } from "../cli/settings.ts";
import { signUserToken } from "../functions/domain/identity/user-token.ts";
import { demoUsers, loadEvents, loadItems } from "./load.ts";
import { freePort, startDevServer, type DevServer } from "./dev-server.ts";
import { makeWorld, WORLD_DIGEST, type World } from "./world.ts";

const ROOT = path.resolve(import.meta.dirname, "..");
const FOLDER = path.join(HOME, ".edgewise");
const DEMO_FILE = path.join(FOLDER, "demo.json");
const VARS_FILE = path.join(HOME, ".dev.vars");
const STATE = path.join(HOME, ".wrangler", "state");
const MODEL = path.join(ROOT, "models", "larder");
const APP_NAME = "Larder";
const SHOWN_USERS = 3;
const DEFAULT_PORT = 8787;

interface Demo {
  url: string;
  readonly app: { readonly id: string; readonly name: string };
  readonly keys: { readonly secret: string; readonly publishable: string };
  readonly tokenSecret: { readonly id: string; readonly key: string };
  readonly users: readonly string[];
  /** Digest of the world that is loaded, and version of the model that serves. */
  loaded?: { readonly world: string; readonly model: string };
}

const base62 = (bytes: number): string => {
  const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return Array.from(randomBytes(bytes), (byte) => letters[byte % 62]).join("");
};

/** Secrets of this checkout, made once and readable by their owner alone. */
function secrets(): Record<string, string> {
  mkdirSync(HOME, { recursive: true });
  if (!existsSync(VARS_FILE)) {
    const lines = [`OPERATOR_KEY="ew_op_local_${base62(43)}"`, `WORKER_SECRET="${base62(48)}"`];
    writeFileSync(VARS_FILE, `${lines.join("\n")}\n`, { mode: 0o600 });
  }
  const pairs = readFileSync(VARS_FILE, "utf8").matchAll(/^([A-Z_]+)\s*=\s*"?([^"\n]*)"?$/gm);
  return Object.fromEntries(Array.from(pairs, ([, name, value]) => [name!, value!]));
}

function readDemo(): Demo | undefined {
  return existsSync(DEMO_FILE) ? (JSON.parse(readFileSync(DEMO_FILE, "utf8")) as Demo) : undefined;
}

function writeDemo(demo: Demo): void {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(DEMO_FILE, `${JSON.stringify(demo, null, 2)}\n`, { mode: 0o600 });
}

/** The app of an earlier start, if the database still knows it; else a new one with keys and a secret for user tokens. */
async function demoApp(server: DevServer, operatorKey: string, users: () => readonly string[]): Promise<Demo> {
  const operator = new Client({ url: server.url, key: operatorKey });
  const known = readDemo();
  if (known !== undefined && (await operator.find(`/v1/apps/${known.app.id}`)) !== undefined) {
    return { ...known, url: server.url };
  }
  type Made = Pick<Demo, "app" | "keys">;
  const { app, keys } = await operator.request<Made>("POST", "/v1/apps", { json: { name: APP_NAME } });
  const tokenSecret = await operator.request<Demo["tokenSecret"]>("POST", `/v1/apps/${app.id}/keys`, {
    json: { kind: "userTokenSecret" },
  });
  return { url: server.url, app, keys, tokenSecret, users: users() };
}

async function load(demo: Demo, world: () => World): Promise<void> {
  const model = modelVersion();
  if (demo.loaded?.world === WORLD_DIGEST && demo.loaded.model === model) return;
  const client = new Client({ url: demo.url, key: demo.keys.secret });
  if (demo.loaded?.world !== WORLD_DIGEST) await loadItems(client, world());
  if (demo.loaded?.model !== model) {
    await modelsPush(MODEL, { id: model, promote: true, url: demo.url, key: demo.keys.secret });
  }
  if (demo.loaded?.world !== WORLD_DIGEST) await loadEvents(client, world(), { all: false });
  demo.loaded = { world: WORLD_DIGEST, model };
}

function modelVersion(): string {
  const manifest = JSON.parse(readFileSync(path.join(MODEL, "manifest.json"), "utf8")) as { modelVersion: string };
  return manifest.modelVersion;
}

async function printed(demo: Demo): Promise<string> {
  const [user = "u_1"] = demo.users;
  const token = await signUserToken(demo.tokenSecret.key, {
    kid: demo.tokenSecret.id,
    userId: user,
    issuedAt: Date.now(),
  });
  const json = "-H 'content-type: application/json'";
  return `
Edgewise is running: ${demo.url}          (docs: ${demo.url}/docs)

  app              ${demo.app.id} (${demo.app.name})
  secret key       ${demo.keys.secret}
  publishable key  ${demo.keys.publishable}
  user token       ${token}
                   (user ${user}, good for 24 hours; npx --no edgewise token USER makes another)

What ${user} should see next, as a back end asks:

curl -s ${demo.url}/v1/recommendations -H 'authorization: Bearer ${demo.keys.secret}' ${json} \\
  -d '{"userId":"${user}","count":5,"explain":true,"fields":["title","cuisine","minutes"],"repeat":{"policy":"exclude"}}'

The same from a phone, vegetarian and under 40 minutes:

curl -s ${demo.url}/v1/recommendations -H 'authorization: Bearer ${demo.keys.publishable}' -H 'x-user-token: ${token}' ${json} \\
  -d '{"count":5,"filter":{"and":[{"field":"diet","op":"contains","value":"vegetarian"},{"field":"minutes","op":"lte","value":40}]}}'

A history in the request, nothing stored:

curl -s ${demo.url}/v1/recommendations -H 'authorization: Bearer ${demo.keys.secret}' ${json} \\
  -d '{"history":[{"itemId":"r17","type":"cook"},{"itemId":"r230","type":"save"}],"count":5,"fields":["title"]}'

Stop with Ctrl-C. Everything stays in .wrangler and .edgewise; the next start is quick and prints the same keys.
`;
}

async function main(): Promise<void> {
  const vars = secrets();
  let made: World | undefined;
  const world = (): World => (made ??= makeWorld());
  const users = readDemo()?.users ?? demoUsers(world(), SHOWN_USERS);
  console.log("starting the Worker ...");
  const server = await startDevServer({
    persist: STATE,
    port: process.env["PORT"] === undefined ? await freePort(DEFAULT_PORT) : Number(process.env["PORT"]),
    vars: { ...vars, DEMO_APP_NAME: APP_NAME, DEMO_USERS: users.join(",") },
  });
  let isStopping = false;
  const stop = async (): Promise<void> => {
    isStopping = true;
    await server.stop();
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void stop());
  void server.ended.then((code) => {
    if (isStopping) return;
    console.error(`start: the Worker ended (${code ?? "killed"}):\n${server.output()}`);
    process.exit(1);
  });
  try {
    const demo = await demoApp(server, vars["OPERATOR_KEY"]!, () => users);
    writeDemo(demo);
    await load(demo, world);
    writeDemo(demo);
    console.log(await printed(demo));
  } catch (error) {
    console.error(`start: ${error instanceof Error ? error.message : String(error)}`);
    await server.stop();
    process.exit(1);
  }
}

await main();
