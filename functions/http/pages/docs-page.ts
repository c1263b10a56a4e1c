/** The readable page of the OpenAPI document: one section a resource, one card a route, a curl for each. */
import { html } from "hono/html";
import { DOCS_CSS } from "./docs-css.ts";
import { note, paragraphs, properties, prose, refName, sampleOf, typeOf } from "./schema-view.ts";
import { shell } from "./shell.ts";
import type { Schema, Schemas } from "./schema-view.ts";
import type { Markup } from "./shell.ts";

interface Media {
  readonly schema?: Schema;
  readonly example?: unknown;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly security: readonly Readonly<Record<string, unknown>>[];
  readonly parameters: readonly { name: string; in: string; required: boolean; schema: Schema; description?: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Answer {
  readonly description: string;
  readonly content?: Readonly<Record<string, Media>>;
}

/** What the page reads of the document; the document's own tests hold it to that shape. */
export interface DocumentView {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Schemas };
  readonly "x-limits": Readonly<Record<string, { value: number; unit: string; about: string }>>;
  readonly "x-problem-codes": Readonly<Record<string, { status: number; title: string; retryable: boolean }>>;
}

interface Route {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/** A whole HTML document; `origin` is the address that the curls use. */
export function docsPage(document: DocumentView, origin: string, nonce: string): Markup {
  const routes = Object.entries(document.paths).flatMap(([path, methods]): Route[] =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  );
  const sections = document.tags.map(({ name }) => ({
    name,
    routes: routes.filter(({ operation }) => operation.tags.includes(name)),
  }));
  const body = html`<div class="page">
    <nav class="side" aria-label="Resources">
      <p class="brand"><a href="/">Edgewise</a> <span class="soft">API ${document.info.version}</span></p>
      <ul>
        <li><a href="#basics">Basics</a></li>
        ${sections.map(
          ({ name, routes: own }) =>
            html`<li>
              <a href="#${slug(name)}">${name}</a>
              <ul>
                ${own.map(
                  (route) =>
                    html`<li>
                      <a class="soft" href="#${route.operation.operationId}">${route.operation.summary}</a>
                    </li>`,
                )}
              </ul>
            </li>`,
        )}
        <li><a href="#schemas">Schemas</a></li>
        <li><a href="#problems">Problem codes</a></li>
        <li><a href="#limits">Limits</a></li>
      </ul>
    </nav>
    <main id="main">
      <section id="basics">
        <h1>Edgewise API</h1>
        ${paragraphs(document.info.description)}
        <p>
          Keys travel as <code>Authorization: Bearer ew_sk_...</code>, the user of a phone as a JWT in
          <code>X-User-Token</code>. The same contract for machines: <a href="/openapi.json">openapi.json</a> (OpenAPI
          3.1).
        </p>
      </section>
      ${sections.map(
        ({ name, routes: own }) =>
          html`<section id="${slug(name)}">
            <h2>${name}</h2>
            ${own.map((route) => routeCard(route, document, origin))}
          </section>`,
      )}
      <section id="schemas">
        <h2>Schemas</h2>
        ${Object.entries(document.components.schemas)
          .toSorted(([a], [b]) => a.localeCompare(b))
          .map(([id, schema]) => schemaCard(id, schema))}
      </section>
      ${problemTable(document)} ${limitTable(document)}
    </main>
  </div>`;
  return shell({ title: "Edgewise API", nonce, css: DOCS_CSS, body });
}

function routeCard(route: Route, document: DocumentView, origin: string): Markup {
  const { method, path, operation } = route;
  const request = mediaOf(operation.requestBody?.content);
  const answers = Object.entries(operation.responses);
  return html`<article class="route" id="${operation.operationId}">
    <h3>${operation.summary}</h3>
    <p class="address"><span class="method ${method}">${method.toUpperCase()}</span> <code>${path}</code></p>
    ${operation.description ? paragraphs(operation.description) : ""}
    <p class="soft">${callers(operation)}</p>
    ${
      operation.parameters.length === 0
        ? ""
        : html`<h4>Parameters</h4>
            <dl class="fields">
              ${operation.parameters.map(
                (parameter) =>
                  html`<dt><code>${parameter.name}</code> <span class="soft">${parameter.in}</span></dt>
                    <dd>
                      ${typeOf(parameter.schema)}${parameter.required ? "" : ", optional"}${note(parameter.description)}
                    </dd>`,
              )}
            </dl>`
    }
    ${
      request?.media.schema
        ? html`<h4>Body <span class="soft">${request.type}</span></h4>
            ${fieldsOf(request.media.schema, document)}`
        : ""
    }
    <h4>Answers</h4>
    <dl class="fields">
      ${answers
        .filter(([status]) => Number(status) < 400 || !isProblem(operation.responses[status]))
        .map(
          ([status, answer]) =>
            html`<dt><code>${status}</code></dt>
              <dd>${prose(answer.description)}${answerType(answer.content)}</dd>`,
        )}
      <dt><a href="#schema-Problem">Problem</a></dt>
      <dd>
        ${answers
          .filter(([, answer]) => isProblem(answer))
          .map(
            ([status, answer], index) => html`${index === 0 ? "" : ", "}${status} ${problemCodes(answer.description)}`,
          )}
      </dd>
    </dl>
    <h4>Try it</h4>
    <pre tabindex="0"><code>${curl(route, origin, document)}</code></pre>
  </article>`;
}

function schemaCard(id: string, schema: Schema): Markup {
  // the id stands inside: a link to it makes the browser open the element around it
  return html`<details class="schema">
    <summary><code>${id}</code></summary>
    <div id="schema-${id}">${schema.description ? paragraphs(schema.description) : ""} ${properties(schema)}</div>
  </details>`;
}

function fieldsOf(schema: Schema, document: DocumentView): Markup {
  const name = schema.$ref === undefined ? undefined : refName(schema.$ref);
  const own = name === undefined ? schema : document.components.schemas[name];
  return html`${name === undefined ? "" : html`<p class="soft">${typeOf(schema)}</p>`}${own ? properties(own) : ""}`;
}

function callers(operation: Operation): string {
  if (operation.security.length === 0) return "Public.";
  const names: Record<string, string> = {
    secretKey: "a secret key",
    publishableKey: "a publishable key",
    operatorKey: "the operator key",
    userToken: "a user token",
  };
  const ways = operation.security.map((way) =>
    Object.keys(way)
      .map((name) => names[name] ?? name)
      .join(" with "),
  );
  return `Called with ${ways.join(", or ")}.`;
}

/** A command that can be pasted once its variables are set. */
function curl({ method, path, operation }: Route, origin: string, document: DocumentView): string {
  const lines = [
    `curl${method === "get" ? "" : ` -X ${method.toUpperCase()}`} "${origin}${path.replace(/\{(\w+)\}/g, "$$$1")}"`,
  ];
  const way = operation.security[0];
  if (way) {
    const key = "operatorKey" in way ? "$OPERATOR_KEY" : "publishableKey" in way ? "$PUBLISHABLE_KEY" : "$SECRET_KEY";
    lines.push(`-H "Authorization: Bearer ${key}"`);
    if ("userToken" in way) lines.push('-H "X-User-Token: $USER_TOKEN"');
  }
  const body = mediaOf(operation.requestBody?.content);
  if (body) {
    lines.push(`-H "Content-Type: ${body.type}"`);
    const sample =
      body.media.example ?? (body.media.schema ? sampleOf(body.media.schema, document.components.schemas) : undefined);
    lines.push(body.type === "application/json" ? `-d '${JSON.stringify(sample)}'` : "--data-binary @file");
  }
  return lines.join(" \\\n  ");
}

function problemTable(document: DocumentView): Markup {
  return html`<section id="problems">
    <h2>Problem codes</h2>
    <p>Every refusal is <code>application/problem+json</code> with one of these in <code>code</code>.</p>
    <div class="wide" tabindex="0" role="region" aria-label="Problem codes">
      <table>
        <thead>
          <tr>
            <th scope="col">code</th>
            <th scope="col">status</th>
            <th scope="col">meaning</th>
            <th scope="col">retry</th>
          </tr>
        </thead>
        <tbody>
          ${Object.entries(document["x-problem-codes"]).map(
            ([code, { status, title, retryable }]) =>
              html`<tr id="problem-${code}">
                <td><code>${code}</code></td>
                <td>${status}</td>
                <td>${title}</td>
                <td>${retryable ? "can help" : "no"}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function limitTable(document: DocumentView): Markup {
  const number = new Intl.NumberFormat("en-GB");
  return html`<section id="limits">
    <h2>Limits</h2>
    <div class="wide" tabindex="0" role="region" aria-label="Limits">
      <table>
        <thead>
          <tr>
            <th scope="col">bound</th>
            <th scope="col">at most</th>
            <th scope="col">of</th>
          </tr>
        </thead>
        <tbody>
          ${Object.entries(document["x-limits"]).map(
            ([name, { value, unit, about }]) =>
              html`<tr>
                <td><code>${name}</code></td>
                <td>${number.format(value)} ${unit}</td>
                <td>${about}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function mediaOf(content: Readonly<Record<string, Media>> | undefined): { type: string; media: Media } | undefined {
  const [entry] = Object.entries(content ?? {});
  return entry ? { type: entry[0], media: entry[1] } : undefined;
}

function answerType(content: Readonly<Record<string, Media>> | undefined): Markup | string {
  const found = mediaOf(content);
  if (!found) return "";
  return html`: ${found.media.schema ? typeOf(found.media.schema) : html`<code>${found.type}</code>`}`;
}

function isProblem(answer: Answer | undefined): boolean {
  return answer?.content !== undefined && "application/problem+json" in answer.content;
}

/** The codes in a description of problems, each a link to the table. */
function problemCodes(description: string): Markup {
  const codes = [...description.matchAll(/`(\w+)`/g)].map(([, code]) => code);
  return html`${codes.map(
    (code, index) => html`${index === 0 ? "" : " "}<a href="#problem-${code}"><code>${code}</code></a>`,
  )}`;
}

function slug(name: string): string {
  return `tag-${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
}
