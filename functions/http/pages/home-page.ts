/**
 * The home page: a few users of the demo app side by side, what they did and what they are recommended, with reasons. Rendered on
 * the server from data that the caller hands in.
 */
import { html } from "hono/html";
import { HOME_CSS } from "./home-css.ts";
import { shell } from "./shell.ts";
import type { Markup } from "./shell.ts";

export interface HomeHistoryEntry {
  readonly title: string;
  readonly type: string; // of the event, for example cook
  readonly when: string; // RFC 3339
}

export interface HomeRecommendation {
  readonly title: string;
  readonly cuisine?: string;
  readonly reasons: readonly string[];
  readonly logProbability: number;
  readonly score: number;
}

export interface HomeUser {
  readonly id: string;
  readonly name?: string;
  readonly history: readonly HomeHistoryEntry[]; // newest first
  readonly recommendations: readonly HomeRecommendation[]; // best first
}

export interface HomeData {
  readonly appName: string;
  readonly modelVersion: string | null;
  readonly users: readonly HomeUser[];
  /** Shown beside the links to /docs and /openapi.json. */
  readonly links: readonly { readonly href: string; readonly text: string }[];
}

const LINKS = [
  { href: "/docs", text: "API reference" },
  { href: "/openapi.json", text: "OpenAPI document" },
] as const;

/** A whole HTML document; with null, how to load the demo. */
export function homePage(home: HomeData | null, nonce: string): Markup {
  const title = home ? `${home.appName} on Edgewise` : "Edgewise";
  const links = [...LINKS, ...(home?.links.filter(({ href }) => !LINKS.some((known) => known.href === href)) ?? [])];
  const body = html`<header class="top">
      <p class="brand">${MARK} Edgewise</p>
      <nav aria-label="Pages">${links.map(({ href, text }) => html`<a href="${href}">${text}</a>`)}</nav>
    </header>
    <main id="main">${home ? loaded(home) : unloaded()}</main>
    <footer class="soft">
      <p>
        <strong>log p</strong> is the generator's log probability of the item among all items the person may see; the
        probabilities of all of them sum to 1. The bar shows the fused score that orders the list, from the lowest shown
        to the highest.
      </p>
    </footer>`;
  return shell({ title, nonce, css: HOME_CSS, body });
}

function loaded(home: HomeData): Markup {
  return html`<section class="intro">
      <h1>What ${home.appName} suggests next</h1>
      <p class="soft">
        Each list is generated for one person, from what that person did, inside this Worker and at the moment this page
        was asked for.
      </p>
      <p class="chips">
        <span class="chip">${home.users.length} people</span>
        ${
          home.modelVersion === null
            ? html`<span class="chip">no model is serving yet</span>`
            : html`<span class="chip">model <code>${home.modelVersion}</code></span>`
        }
      </p>
    </section>
    <section class="people" aria-label="People and their recommendations">${home.users.map(personCard)}</section>`;
}

function personCard(user: HomeUser, index: number): Markup {
  const name = user.name ?? user.id;
  return html`<article class="person" aria-labelledby="person-${index}">
    <header>
      <span class="monogram tint-${index % 4}" aria-hidden="true">${name.slice(0, 1).toUpperCase()}</span>
      <div>
        <h2 id="person-${index}">${name}</h2>
        ${user.name === undefined ? "" : html`<p class="soft id">${user.id}</p>`}
      </div>
    </header>
    <h3>Lately</h3>
    ${
      user.history.length === 0
        ? html`<p class="soft">Nothing yet: the list below is what is popular.</p>`
        : html`<ol class="history">
            ${user.history.map(historyRow)}
          </ol>`
    }
    <h3>Next</h3>
    ${
      user.recommendations.length === 0
        ? html`<p class="soft">No recommendation could be made just now.</p>`
        : html`<ol class="next">
            ${user.recommendations.map((entry) => recommendationRow(entry, user.recommendations))}
          </ol>`
    }
  </article>`;
}

function historyRow(entry: HomeHistoryEntry): Markup {
  return html`<li>
    <span class="what">${entry.title}</span>
    <span class="soft how">${entry.type}, <time datetime="${entry.when}">${day(entry.when)}</time></span>
  </li>`;
}

function recommendationRow(entry: HomeRecommendation, all: readonly HomeRecommendation[]): Markup {
  return html`<li>
    <div class="line">
      <span class="what">${entry.title}</span>
      ${entry.cuisine === undefined ? "" : html`<span class="soft cuisine">${entry.cuisine}</span>`}
    </div>
    ${entry.reasons.map((reason) => html`<p class="reason">${reason}</p>`)}
    <div class="figures soft">
      <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="rail" width="100" height="4" rx="2" />
        <rect class="fill" width="${share(entry.score, all)}" height="4" rx="2" />
      </svg>
      <span>score ${entry.score.toFixed(2)}</span>
      <span>log p ${entry.logProbability.toFixed(2)}</span>
    </div>
  </li>`;
}

/** Width of the bar in per cent: the best entry fills it, the last keeps a tenth. */
function share(score: number, all: readonly HomeRecommendation[]): number {
  const scores = all.map((entry) => entry.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  return high === low ? 100 : Math.round(10 + (90 * (score - low)) / (high - low));
}

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

function day(when: string): string {
  const date = new Date(when);
  return Number.isNaN(date.getTime()) ? when : DAY.format(date);
}

function unloaded(): Markup {
  return html`<section class="intro">
      <h1>The Worker runs, and waits for its first app</h1>
      <p class="soft">No demo app is loaded here, so there is nobody to recommend anything to yet.</p>
    </section>
    <section class="steps" aria-label="How to begin">
      <article class="step">
        <h2>See the demo</h2>
        <p>
          On your own machine one command makes the secrets, loads the demo world with its model and serves this page:
        </p>
        <pre><code>npm start</code></pre>
      </article>
      <article class="step">
        <h2>Make your own app</h2>
        <p>The operator key makes an app and gives its two keys, once:</p>
        <pre><code>curl -X POST "$ADDRESS/v1/apps" \\
  -H "Authorization: Bearer $OPERATOR_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{ "name": "my app" }'</code></pre>
      </article>
      <article class="step">
        <h2>Read on</h2>
        <p>Items, events, models and recommendations are described in the <a href="/docs">API reference</a>.</p>
      </article>
    </section>`;
}

const MARK = html`<svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
  <path d="M4 19 12 4l8 15" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round" />
  <circle cx="12" cy="15" r="2.4" fill="currentColor" />
</svg>`;
