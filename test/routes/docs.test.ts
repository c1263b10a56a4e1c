/** Pages and operations: /docs, /, /healthz, /readyz. */
import { env } from "cloudflare:workers";
import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { describedRoutes, operationId } from "../../functions/http/openapi.ts";
import { homeRoutesOver } from "../../functions/routes/home.ts";
import { call, json } from "../http/caller.ts";
import type { Bindings } from "../../functions/http/context.ts";
import type { HomeData } from "../../functions/http/pages/home-page.ts";

/** The page loads nothing from elsewhere, runs nothing, and its policy would not let it. */
function expectSelfContained(response: Response, page: string): void {
  const policy = response.headers.get("content-security-policy") ?? "";
  const nonce = /style-src 'nonce-([A-Za-z0-9_-]{22})'/.exec(policy)?.[1];
  expect(policy).toContain("default-src 'none'");
  expect(page).toContain(`<style nonce="${nonce}">`);
  expect(page.match(/<style/g)).toHaveLength(1);
  expect(page).not.toMatch(/<script|\son[a-z]+=|\sstyle=|src=|@import|url\(/i);
  expect([...page.matchAll(/<link[^>]*href="([^"]*)"/g)].map(([, href]) => href)).toEqual(["data:,"]);
}

describe("/docs", () => {
  it("shows every route, problem code and limit, with a curl each, and loads nothing from elsewhere", async () => {
    const response = await call("/docs");
    const page = await response.text();
    expect(response.headers.get("content-type")).toBe("text/html; charset=UTF-8");
    expectSelfContained(response, page);
    for (const route of describedRoutes()) expect(page).toContain(`id="${operationId(route)}"`);
    expect(page.match(/<code>curl/g)).toHaveLength(describedRoutes().length);
    expect(page).toContain("https://edge.test/v1/anonymous-tokens");
    expect(page).toContain("idempotency_mismatch");
    expect(page).toContain("modelFileBytes");
    expect(page).not.toContain("[object");
    expect(page).not.toContain("undefined");
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, target] of page.matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(target);
  });

  it("has a fresh nonce each time", async () => {
    const [a, b] = [await call("/docs"), await call("/docs")];
    expect(a.headers.get("content-security-policy")).not.toBe(b.headers.get("content-security-policy"));
  });

  it("is readable as a document from any origin", async () => {
    const response = await call("/openapi.json", { headers: { origin: "https://tool.example" } });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(await json(response)).toMatchObject({ openapi: "3.1.0" });
  });
});

describe("/", () => {
  const home: HomeData = {
    appName: "Larder",
    modelVersion: "m_0123456789ab",
    links: [{ href: "https://example.org/", text: "Source" }],
    users: [
      {
        id: "u_1",
        name: "Ada <b>",
        history: [{ title: "Chickpea & spinach", type: "cook", when: "2026-08-22T16:00:00Z" }],
        recommendations: [
          {
            title: "Lentil dal",
            cuisine: "indian",
            reasons: ["Because you cooked Chickpea & spinach"],
            logProbability: -3.1,
            score: 0.82,
          },
          { title: "Shakshuka", reasons: [], logProbability: -4.25, score: 0.4 },
        ],
      },
      { id: "u_2", history: [], recommendations: [] },
    ],
  };
  const page = async (data: HomeData | null) => {
    const routes = new Hono<Bindings>().route(
      "/",
      homeRoutesOver(async () => data),
    );
    const response = await routes.request("https://edge.test/", {}, { ...env });
    return { response, text: await response.text() };
  };

  it("shows each person's history and recommendations with reasons and figures, every text escaped", async () => {
    const { response, text } = await page(home);
    expectSelfContained(response, text);
    for (const part of [
      "Ada &lt;b&gt;",
      "Lentil dal",
      "indian",
      "Because you cooked Chickpea &amp; spinach",
      "log p -3.10",
      "score 0.82",
    ]) {
      expect(text).toContain(part);
    }
    expect(text).toContain("22 Aug 2026");
    expect(text).toContain("m_0123456789ab");
    expect(text).toContain("Nothing yet");
    expect(text).not.toContain("<b>");
    for (const href of ["/docs", "/openapi.json", "https://example.org/"]) expect(text).toContain(`href="${href}"`);
    expect(text.match(/<article/g)).toHaveLength(2);
    expect(text.match(/class="fill" width="(\d+)"/g)).toEqual(['class="fill" width="100"', 'class="fill" width="10"']);
  });

  it("says how to begin where no demo is loaded", async () => {
    const { response, text } = await page(null);
    expect(response.status).toBe(200);
    expectSelfContained(response, text);
    expect(text).toContain("npm start");
    expect(text).toContain("/v1/apps");
  });
});

describe("operations", () => {
  it("say that the Worker runs, and what of its ground is missing, without a word on any app", async () => {
    expect(await json(await call("/healthz"))).toEqual({ status: "ok" });
    const ready = await call("/readyz");
    expect(ready.status).toBe(200);
    expect(await json(ready)).toEqual({
      status: "ready",
      checks: { database: true, models: true, log: true, secrets: true },
    });
    const down = { prepare: () => ({ all: () => Promise.reject(new Error("down")) }) } as unknown as D1Database;
    const unready = await call("/readyz", { env: { DB: down, WORKER_SECRET: "short" } });
    expect(unready.status).toBe(503);
    expect(await json(unready)).toMatchObject({
      status: "unready",
      checks: { database: false, models: true, secrets: false },
    });
  });
});
