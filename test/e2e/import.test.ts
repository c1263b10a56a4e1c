/** The command line imports files into the built Worker; it is killed in the middle, and so is the server: nothing is lost or doubled. */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDevServer, type DevServer } from "../../demo/dev-server.ts";

const LAUNCHER = path.resolve(import.meta.dirname, "../../cli/edgewise.js");
const VARS = {
  OPERATOR_KEY: "ew_op_import.0123456789abcdefghijklmnopqrstuvwxyzABCD",
  WORKER_SECRET: "import-test-secret-of-at-least-32-characters",
};
const USERS = 40;
const EVENTS_A_USER = 60;

const folder = mkdtempSync(path.join(os.tmpdir(), "edgewise-import-"));
const persist = path.join(folder, "state");
let server: DevServer;
let secret = "";

beforeAll(async () => {
  server = await startDevServer({ persist, vars: VARS });
  const { stdout } = await run("apps", "create", "Import");
  secret = /^secret key +(\S+)$/m.exec(stdout)?.[1] ?? "";
});

afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): { child: ChildProcess; outcome: Promise<Outcome> } {
  const env = {
    ...process.env,
    EDGEWISE_URL: server.url,
    EDGEWISE_KEY: secret,
    EDGEWISE_OPERATOR_KEY: VARS.OPERATOR_KEY,
  };
  const child = spawn(process.execPath, [LAUNCHER, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close") as Promise<[number | null]>;
  const outcome = Promise.all([text(child.stdout), text(child.stderr), closed]).then(
    ([stdout, stderr, [code]]): Outcome => ({ stdout, stderr, code }),
  );
  return { child, outcome };
}

const run = (...args: string[]): Promise<Outcome> => start(...args).outcome;

async function get<T>(route: string): Promise<T> {
  const response = await fetch(server.url + route, { headers: { authorization: `Bearer ${secret}` } });
  return (await response.json()) as T;
}

function write(name: string, lines: readonly string[]): string {
  const file = path.join(folder, name);
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

/** Events of several users, all of them different, in the order of time across users. */
function eventLines(prefix: string): string[] {
  const lines = ["userId,itemId,type,occurredAt"];
  for (let k = 0; k < EVENTS_A_USER; k += 1) {
    const occurredAt = new Date(Date.UTC(2025, 0, 1, k)).toISOString();
    for (let user = 0; user < USERS; user += 1) lines.push(`${prefix}${user},i${k % 7},view,${occurredAt}`);
  }
  return lines;
}

/** Resolves when the ledger says that so many rows of the events file were acknowledged. */
async function acknowledged(file: string, rows: number): Promise<void> {
  const hash = createHash("sha256").update("events\n").update(readFileSync(file)).digest("hex");
  while (((await get<{ nextRow?: number }>(`/v1/imports/${hash}`)).nextRow ?? 0) < rows) await sleep(20);
}

async function expectEveryEventOnce(prefix: string): Promise<void> {
  for (let user = 0; user < USERS; user += 1) {
    const { history } = await get<{ history: { occurredAt: string; itemId: string }[] }>(`/v1/users/${prefix}${user}`);
    const times = history.map(({ occurredAt }) => occurredAt);
    expect(times, `events of ${prefix}${user}, newest first`).toEqual(
      Array.from({ length: EVENTS_A_USER }, (_, k) =>
        new Date(Date.UTC(2025, 0, 1, EVENTS_A_USER - 1 - k)).toISOString(),
      ),
    );
  }
}

describe("edgewise import", () => {
  it("imports items, names bad rows, ends with 2, and refuses the file the next time", async () => {
    const items = Array.from({ length: 7 }, (_, k) => `i${k},Item ${k},${k}.50,EUR,"{""rank"":${k}}"`);
    const file = write("items.csv", [
      "id,title,price,currency,attributes",
      ...items.slice(0, 3),
      'x,"open',
      "y,,1,EUR,",
      ...items.slice(3),
    ]);
    const first = await run("import", "--items", file);
    expect(first.stderr.trim().split("\n")).toEqual([
      "items.csv:5: the row has a quote that is not closed",
      "items.csv:6: title: is missing",
    ]);
    expect(first.stdout).toMatch(/^items\.csv: 9 rows, 7 sent, 0 known before, 2 bad/);
    expect(first.code).toBe(2);
    expect(await get("/v1/items/i3")).toMatchObject({
      title: "Item 3",
      price: { amountMinor: 350 },
      attributes: { rank: 3 },
    });
    expect((await run("import", "--items", file)).code).toBe(1);
    expect((await run("import", "--items", path.join(folder, "none.csv"))).code).toBe(1);
    expect(first.stdout + first.stderr).not.toContain(secret);
  });

  it("goes on where it was killed", async () => {
    const file = write("killed.csv", eventLines("k"));
    const { child, outcome } = start("import", "--events", file, "--backfill", "--batch", "60");
    await acknowledged(file, 300);
    child.kill("SIGKILL");
    expect((await outcome).code).toBe(null);
    const resumed = await run("import", "--events", file, "--backfill", "--batch", "200");
    expect(resumed).toMatchObject({ code: 0, stderr: "" });
    const [, sent, known, before] = /, (\d+) sent, (\d+) known before, 0 bad, resumed after (\d+)/
      .exec(resumed.stdout)!
      .map(Number);
    expect(before).toBeGreaterThanOrEqual(300);
    expect(known).toBeLessThanOrEqual(60); // the batch whose acknowledgement was not recorded
    expect(sent! + known! + before!).toBe(USERS * EVENTS_A_USER);
    await expectEveryEventOnce("k");
  });

  it("outlives a server that is killed and started again", async () => {
    const file = write("outlived.csv", eventLines("o"));
    const { outcome } = start("import", "--events", file, "--backfill", "--batch", "60");
    await acknowledged(file, 300);
    const { port } = server;
    await server.kill();
    server = await startDevServer({ persist, vars: VARS, port });
    expect(await outcome).toMatchObject({ code: 0 });
    await expectEveryEventOnce("o");
  });
});
