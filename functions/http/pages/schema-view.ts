/** JSON Schema as the reference page shows it: fields, types in words, bounds, and a sample value. */
import { html } from "hono/html";
import type { Markup } from "./shell.ts";

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly format?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly additionalProperties?: boolean | Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly default?: unknown;
}

/** The fields of an object, those of inline objects below them. */
export function properties(schema: Schema, depth = 0): Markup {
  const entries = Object.entries(schema.properties ?? {});
  if (entries.length === 0) return html`<p>${typeOf(schema)}</p>`;
  return html`<dl class="fields">
    ${entries.map(
      ([name, property]) =>
        html`<dt><code>${name}</code></dt>
          <dd>
            ${typeOf(property)}${schema.required?.includes(name) ? "" : ", optional"}${bounds(property)}${note(
              property.description,
            )}${inlineFields(property, depth)}
          </dd>`,
    )}
  </dl>`;
}

function inlineFields(schema: Schema, depth: number): Markup | string {
  const inner = [schema, schema.items, ...(schema.anyOf ?? [])].find((one) => one?.properties !== undefined);
  return inner === undefined || depth >= 3 ? "" : properties(inner, depth + 1);
}

/** A type in words, with links to named schemas. */
export function typeOf(schema: Schema): Markup | string {
  if (schema.$ref !== undefined) {
    const name = refName(schema.$ref);
    return html`<a href="#schema-${name}">${name}</a>`;
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return html`${choices.map((choice, index) => html`${index === 0 ? "" : " or "}${typeOf(choice)}`)}`;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.items) return html`array of ${typeOf(schema.items)}`;
  if (typeof schema.additionalProperties === "object" && !schema.properties) {
    return html`map to ${typeOf(schema.additionalProperties)}`;
  }
  const type = Array.isArray(schema.type)
    ? schema.type.join(" or ")
    : ((schema.type as string | undefined) ?? "anything");
  return schema.format === undefined ? type : `${type} (${schema.format})`;
}

/** zod writes the safest integers as bounds of every integer; those say nothing. */
const isTelling = (value: number | undefined) => value !== undefined && Math.abs(value) < Number.MAX_SAFE_INTEGER;

function bounds(schema: Schema): string {
  const parts = [
    isTelling(schema.minimum) ? `from ${schema.minimum}` : "",
    isTelling(schema.maximum) ? `to ${schema.maximum}` : "",
    schema.maxLength === undefined ? "" : `at most ${schema.maxLength} characters`,
    schema.maxItems === undefined ? "" : `at most ${schema.maxItems} entries`,
    schema.default === undefined ? "" : `default ${JSON.stringify(schema.default)}`,
  ].filter(Boolean);
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

/** Named schemas by name. */
export type Schemas = Readonly<Record<string, Schema>>;

/** A value that shows the needed fields of a schema; not every rule of it is kept. */
export function sampleOf(schema: Schema, schemas: Schemas, depth = 0): unknown {
  if (depth > 4) return null;
  if (schema.$ref !== undefined) return sampleOf(schemas[refName(schema.$ref)] ?? {}, schemas, depth + 1);
  const choice = (schema.anyOf ?? schema.oneOf)?.[0];
  if (choice) return sampleOf(choice, schemas, depth + 1);
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.items) return [sampleOf(schema.items, schemas, depth + 1)];
  if (schema.properties) {
    const needed = Object.entries(schema.properties).filter(([name]) => schema.required?.includes(name));
    return Object.fromEntries(needed.map(([name, property]) => [name, sampleOf(property, schemas, depth + 1)]));
  }
  const type = Array.isArray(schema.type) ? (schema.type[0] as string) : schema.type;
  if (type === "integer" || type === "number") return Math.max(schema.minimum ?? 1, 1);
  if (type === "boolean") return true;
  if (type === "object") return {};
  return schema.format === "date-time" ? "2026-08-22T16:00:00Z" : "...";
}

export function note(description: string | undefined): Markup | string {
  return description === undefined ? "" : html` <span class="soft">${prose(description)}</span>`;
}

/** Text with `code` in backticks. */
export function prose(text: string): Markup {
  return html`${text.split("`").map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part))}`;
}

export function paragraphs(text: string): Markup {
  return html`${text.split("\n\n").map((part) => html`<p>${prose(part)}</p>`)}`;
}

/** The name at the end of a reference. */
export function refName(ref: string): string {
  return ref.slice(ref.lastIndexOf("/") + 1);
}
