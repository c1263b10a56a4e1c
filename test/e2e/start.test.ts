/** `npm start` as a newcomer meets it: the printed curls work, the page shows people and reasons, the second start keeps the keys. */
import { spawn, execFileSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { freePort } from "../../demo/dev-server.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const home = mkdtempSync(path.join(os.tmpdir(), "edgewise-start-"));

interface Started {
  readonly child: ChildProcess;
  readonly text: string;
  readonly seconds: number;
}

async function start(port: number): Promise<Started> {
  const began = performance.now();
  const child = spawn(process.execPath, ["demo/start.ts"], {
    cwd: ROOT,
    env: { ...process.env, EDGEWISE_HOME: home, PORT: String(port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  const ready = Promise.withResolvers<void>();
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      if (text.includes("Stop with Ctrl-C")) ready.resolve();
    });
  child.once("exit", (code) => ready.reject(new Error(`npm start ended with ${code}:\n${text}`)));
  await ready.promise;
  return { child, text, seconds: (performance.now() - began) / 1000 };
}

async function stop({ child }: Started): Promise<void> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.removeAllListeners("exit").once("exit", () => undefined);
  child.kill("SIGINT");
  await Promise.race([gone, new Promise((resolve) => child.once("exit", resolve))]);
}

/** The commands of the text that a shell would run as they stand. */
const curls = (text: string): string[] => text.match(/^curl .*\\\n.*$/gm) ?? [];
const keys = (text: string): string[] => text.match(/ew_[sp]k_\w+/g) ?? [];

let first: Started;
let port = 0;

beforeAll(async () => {
  port = await freePort();
  first = await start(port);
}, 180_000);

afterAll(async () => {
  await stop(first);
  rmSync(home, { recursive: true, force: true });
});

it("prints curls that answer with titled items, log-probabilities, reasons and the model version", () => {
  const commands = curls(first.text);
  expect(commands.length).toBeGreaterThanOrEqual(3);
  for (const command of commands) {
    const answer = JSON.parse(execFileSync("bash", ["-c", command], { encoding: "utf8" })) as {
      source: string;
      modelVersion: string;
      items: {
        item: { title: string; diet?: string[]; minutes: number };
        logProbability?: number;
        reasons: { text: string }[];
      }[];
    };
    expect(answer).toMatchObject({
      source: "model",
      modelVersion: expect.stringMatching(/^m_[0-9a-f]{12}$/) as string,
    });
    expect(answer.items).toHaveLength(5);
    for (const { item, reasons, logProbability } of answer.items) {
      expect(item.title).toMatch(/\w+ \w+/);
      expect(reasons[0]!.text.length).toBeGreaterThan(5);
      if (command.includes("ew_sk_")) expect(logProbability).toBeLessThan(0);
      if (command.includes("vegetarian"))
        expect([item.diet, item.minutes <= 40]).toEqual([expect.arrayContaining(["vegetarian"]), true]);
    }
  }
});

it("keeps secrets to their owner", () => {
  for (const file of [".dev.vars", ".edgewise/demo.json"]) expect(statSync(path.join(home, file)).mode & 0o077).toBe(0);
});

it("shows a browser several people, what they did and what comes next with reasons, without a script error", async (context) => {
  if (CHROMIUM === undefined) context.skip("no chromium here; .ci/run installs one");
  const args = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ];
  const browser = await chromium.launch({ executablePath: CHROMIUM!, args });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const errors: string[] = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith(`http://127.0.0.1:${port}/`) && !request.url().startsWith("data:"))
        errors.push(`outside: ${request.url()}`);
    });
    await page.goto(`http://127.0.0.1:${port}/`);
    expect(await page.locator("article, section.person, .person").count()).toBeGreaterThanOrEqual(3);
    expect(await page.getByText(/Because you (cooked|viewed|saved)/).count()).toBeGreaterThanOrEqual(6);
    await page.getByRole("link", { name: "API reference" }).click();
    await page.waitForURL("**/docs");
    expect(await page.getByRole("heading", { name: "What to show this user next" }).isVisible()).toBe(true);
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
  }
});

it("starts a second time quickly, with the same keys and without loading again", async () => {
  await stop(first);
  const second = await start(port);
  expect(keys(second.text)).toEqual(keys(first.text));
  expect(second.text).not.toContain("recipes:");
  expect(second.seconds).toBeLessThan(Math.max(15, first.seconds));
  first = second;
});
