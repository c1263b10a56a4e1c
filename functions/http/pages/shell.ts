/** What the pages share: headers, palette and frame. No script, no outside resource; the policy allows nothing else. */
import { html, raw } from "hono/html";
import { base64url } from "../../domain/identity/sealed.ts";
import { randomBytes } from "../random.ts";
import type { HtmlEscapedString } from "hono/utils/html";

export type Markup = HtmlEscapedString | Promise<HtmlEscapedString>;

/** A fresh nonce for the one style element of a page. */
export function pageNonce(): string {
  return base64url(randomBytes(16));
}

export function pageHeaders(nonce: string): Record<string, string> {
  return {
    "content-security-policy":
      `default-src 'none'; style-src 'nonce-${nonce}'; img-src data:; ` +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
  };
}

const BASE_CSS = `
:root{color-scheme:light dark;--ground:#f6f5f1;--card:#fff;--ink:#1d1f21;--soft:#5d6469;--line:#e0ddd5;--accent:#0d6e5d;
--accent-soft:#dceee9;--code:#f0eee8;--warm:#9a4b12;--shadow:0 1px 2px rgb(0 0 0/.05),0 6px 20px rgb(0 0 0/.04)}
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--card:#1c2024;--ink:#e7e6e2;--soft:#9aa3a9;--line:#2d3338;
--accent:#6fd0bb;--accent-soft:#17372f;--code:#23282c;--warm:#eba66f;--shadow:none}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
a{color:var(--accent);text-underline-offset:.18em}
a:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:3px;border-radius:3px}
h1,h2,h3,h4{line-height:1.2;margin:0;text-wrap:balance}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.86em}
.skip{position:absolute;left:-999px}.skip:focus{left:1rem;top:1rem;background:var(--card);padding:.5rem 1rem;z-index:9}
.soft{color:var(--soft)}
`;

/** A whole document with one style element. */
export function shell(options: { title: string; nonce: string; css: string; body: Markup }): Markup {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${options.title}</title>
        <link rel="icon" href="data:," />
        <style nonce="${options.nonce}">
          ${raw(BASE_CSS + options.css)}
        </style>
      </head>
      <body>
        <a class="skip" href="#main">Skip to content</a>
        ${options.body}
      </body>
    </html>`;
}
