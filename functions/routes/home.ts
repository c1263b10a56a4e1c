/** `GET /`: what runs here, for a browser. */
import { Hono } from "hono";
import { homePage } from "../http/pages/home-page.ts";
import { pageHeaders, pageNonce } from "../http/pages/shell.ts";
import { describe } from "../http/openapi.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";
import type { HomeData } from "../http/pages/home-page.ts";

/** The page over a source of demo data; null where no demo app is loaded. */
export function homeRoutesOver(source: (c: Context<Bindings>) => Promise<HomeData | null>): Hono<Bindings> {
  const routes = new Hono<Bindings>();
  routes.get("/", async (c) => {
    const nonce = pageNonce();
    return c.html(homePage(await source(c), nonce), 200, pageHeaders(nonce));
  });
  return routes;
}

describe({
  method: "get",
  path: "/",
  tag: "Operations",
  summary: "A page that shows what runs",
  auth: [],
  responseContentType: "text/html",
});
