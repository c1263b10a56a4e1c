/** The contract: `/openapi.json` for machines, `/docs` for people. */
import { Hono } from "hono";
import { docsPage } from "../http/pages/docs-page.ts";
import { pageHeaders, pageNonce } from "../http/pages/shell.ts";
import { describe, openApiDocument } from "../http/openapi.ts";
import type { Bindings } from "../http/context.ts";
import type { DocumentView } from "../http/pages/docs-page.ts";

const PUBLIC = { "access-control-allow-origin": "*", "cache-control": "public, max-age=300" };

export const docsRoutes = new Hono<Bindings>();

describe({
  method: "get",
  path: "/openapi.json",
  tag: "Operations",
  summary: "This document",
  auth: [],
  responseContentType: "application/json",
});
docsRoutes.get("/openapi.json", (c) => c.json(openApiDocument(), 200, PUBLIC));

describe({
  method: "get",
  path: "/docs",
  tag: "Operations",
  summary: "This document as a page",
  auth: [],
  responseContentType: "text/html",
});
docsRoutes.get("/docs", (c) => {
  const nonce = pageNonce();
  return c.html(
    docsPage(openApiDocument() as unknown as DocumentView, new URL(c.req.url).origin, nonce),
    200,
    pageHeaders(nonce),
  );
});
