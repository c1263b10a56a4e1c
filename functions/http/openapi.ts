/**
 * The OpenAPI 3.1 document. Each routes file describes its routes with `describe`; the document is built from these and from the
 * zod schemas when it is first asked for. Schemas with `.meta({ id })` become components; a contract test holds routes, document
 * and answers together.
 */
import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { PROBLEMS } from "./problem.ts";
import type { CredentialKind } from "./context.ts";
import type { ProblemCode } from "./problem.ts";

export type Method = "get" | "post" | "put" | "patch" | "delete";
export type Tag =
  | "Recommendations"
  | "Events"
  | "Users"
  | "Items"
  | "Models"
  | "Training"
  | "Webhooks"
  | "Apps and keys"
  | "Operations"
  | (string & {});

export interface ResponseDescription {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Default `application/json`. */
  readonly contentType?: string;
}

export interface RouteDescription {
  readonly method: Method;
  /** Whole path with braces: `/v1/items/{id}`. */
  readonly path: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  /** Kinds of key that may call; empty: public. */
  readonly auth: readonly CredentialKind[];
  /** Whether a publishable key brings an X-User-Token. Default `none`. */
  readonly userToken?: "required" | "optional" | "none";
  /** Scope that a scoped secret key needs. */
  readonly scope?: string;
  /** Accepts `Idempotency-Key`. Default false. */
  readonly idempotent?: boolean;
  /** An object schema of the query parameters. */
  readonly query?: z.ZodObject;
  /** Descriptions of path parameters by name. */
  readonly params?: Readonly<Record<string, string>>;
  /** The JSON body. */
  readonly request?: z.ZodType;
  /** Content type of a body that isn't JSON. */
  readonly requestContentType?: string;
  /** The body of the usual answer. */
  readonly response?: z.ZodType;
  /** Status of the usual answer. Default 200, 204 without a body. */
  readonly status?: number;
  /** Content type of the usual answer. Default `application/json`. */
  readonly responseContentType?: string;
  /** Further answers that are not errors. */
  readonly also?: Readonly<Record<number, ResponseDescription>>;
  /** Problem codes beside those that every route of its kind may give. */
  readonly errors?: readonly ProblemCode[];
  /** A body for the curl of the docs. */
  readonly example?: unknown;
}

const routes: RouteDescription[] = [];

/** Puts a route into the document. Called at module level beside the route. */
export function describe(route: RouteDescription): void {
  routes.push(route);
}

/** Everything described so far, in the order of mounting. */
export function describedRoutes(): readonly RouteDescription[] {
  return routes;
}

/** Money in minor units, for example cents. */
export const Money = z
  .strictObject({ amountMinor: z.int(), currency: z.string().regex(/^[A-Z]{3}$/) })
  .meta({ id: "Money", description: "Money in minor units of an ISO 4217 currency" });

/** `warnings` of an answer. */
export const WarningSchema = z
  .object({ pointer: z.string(), code: z.string(), detail: z.string() })
  .meta({ id: "Warning", description: "Something that was sent and not used" });

export const ProblemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int().min(100).max(599),
    detail: z.string(),
    instance: z.string(),
    code: z.string().meta({ examples: Object.keys(PROBLEMS) }),
    retryable: z.boolean(),
    retryAfterSeconds: z.number().optional(),
    requestId: z.string(),
    errors: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: "Problem", description: "RFC 9457 problem document; `code` is stable, new codes may come" });

type Json = Record<string, unknown>;

/** Resources in the order in which a reader meets them; others follow. */
const TAG_ORDER: readonly Tag[] = [
  "Recommendations",
  "Events",
  "Users",
  "Items",
  "Models",
  "Training",
  "Webhooks",
  "Apps and keys",
  "Operations",
];

function tags(): Tag[] {
  const used = new Set(routes.map((route) => route.tag));
  return [...TAG_ORDER.filter((tag) => used.has(tag)), ...[...used].filter((tag) => !TAG_ORDER.includes(tag))];
}

const SECURITY: Record<CredentialKind, string> = {
  operator: "operatorKey",
  secret: "secretKey",
  publishable: "publishableKey",
};

let built: { count: number; document: Json } | undefined; // may vanish with the isolate

/** The document as an object; built once, again only when routes were added since. */
export function openApiDocument(): Json {
  if (built?.count !== routes.length) built = { count: routes.length, document: build() };
  return built.document;
}

function build(): Json {
  const schemas = components();
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method] = operation(route);
  return {
    openapi: "3.1.0",
    info: {
      title: "Edgewise",
      version: "1.0.0",
      summary: "Generative recommendations from one Worker",
      description: DESCRIPTION,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    tags: tags().map((name) => ({ name })),
    paths,
    components: {
      schemas,
      securitySchemes: {
        secretKey: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "ew_sk_...",
          description: "Secret key of a back end",
        },
        publishableKey: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "ew_pk_...",
          description: "Key inside a client",
        },
        operatorKey: { type: "http", scheme: "bearer", bearerFormat: "ew_op_...", description: "The operator's key" },
        userToken: {
          type: "apiKey",
          in: "header",
          name: "X-User-Token",
          description:
            "JWT (HS256) of the app's back end: kid, sub, iat, exp (24 h at most; 30 days for aud events), aud",
        },
      },
      responses: {
        Problem: {
          description: "A problem document (RFC 9457)",
          content: { "application/problem+json": { schema: ref("Problem") } },
        },
      },
    },
    "x-limits": LIMITS,
    "x-problem-codes": PROBLEMS,
  };
}

/** Names every schema that a route uses and has none, then lets zod emit all named ones with references between them. */
function components(): Json {
  for (const route of routes) {
    const base = operationId(route);
    if (route.request) ensureId(route.request, `${base}Request`);
    if (route.response) ensureId(route.response, `${base}Response`);
    for (const [status, answer] of Object.entries(route.also ?? {})) {
      if (answer.schema) ensureId(answer.schema, `${base}Response${status}`);
    }
  }
  const { schemas } = z.toJSONSchema(z.globalRegistry, {
    uri: (id) => `#/components/schemas/${id}`,
    io: "input",
    unrepresentable: "any",
  });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withoutIds(schema as Json)]));
}

function ensureId(schema: z.ZodType, id: string): void {
  const meta = z.globalRegistry.get(schema);
  if (meta?.id === undefined)
    z.globalRegistry.add(schema, { ...meta, id: `${id.charAt(0).toUpperCase()}${id.slice(1)}` });
}

/** `$id` and `$schema` would re-base the references, which already are those of the document; `id` is no keyword. */
function withoutIds(schema: Json): Json {
  const { $id: _id, $schema: _dialect, id: _name, ...rest } = schema;
  return rest;
}

function ref(id: string): Json {
  return { $ref: `#/components/schemas/${id}` };
}

function refOf(schema: z.ZodType): Json {
  const id = z.globalRegistry.get(schema)?.id;
  if (id === undefined) throw new TypeError("a described schema has no id");
  return ref(id);
}

function operation(route: RouteDescription): Json {
  const responses: Record<string, unknown> = {};
  const status = route.status ?? (route.response || route.responseContentType ? 200 : 204);
  responses[status] = response({
    description: status === 204 ? "Done" : "The answer",
    ...(route.response ? { schema: route.response } : {}),
    ...(route.responseContentType ? { contentType: route.responseContentType } : {}),
  });
  for (const [code, answer] of Object.entries(route.also ?? {})) responses[code] = response(answer);
  const codesByStatus = Map.groupBy(problemCodes(route), (code) => PROBLEMS[code].status);
  for (const [code, names] of [...codesByStatus].toSorted(([a], [b]) => a - b)) {
    responses[code] = {
      description: names.map((name) => `\`${name}\`: ${PROBLEMS[name].title}`).join("; "),
      content: { "application/problem+json": { schema: ref("Problem") } },
    };
  }
  const notes = [
    route.description,
    route.scope ? `A scoped secret key needs the scope \`${route.scope}\`.` : undefined,
  ];
  const description = notes.filter((note) => note !== undefined).join("\n\n");
  return {
    operationId: operationId(route),
    summary: route.summary,
    ...(description ? { description } : {}),
    tags: [route.tag],
    security: security(route),
    parameters: parameters(route),
    ...requestBody(route),
    responses,
  };
}

function response({ description, schema, contentType }: ResponseDescription): Json {
  if (!schema && !contentType) return { description };
  const media = schema ? { schema: refOf(schema) } : {};
  return { description, content: { [contentType ?? "application/json"]: media } };
}

function requestBody(route: RouteDescription): Json {
  if (route.request) {
    const media = { schema: refOf(route.request), ...(route.example === undefined ? {} : { example: route.example }) };
    return { requestBody: { required: true, content: { "application/json": media } } };
  }
  if (!route.requestContentType) return {};
  const media = { schema: { type: "string", format: "binary" } };
  return { requestBody: { required: true, content: { [route.requestContentType]: media } } };
}

function security(route: RouteDescription): Json[] {
  return route.auth.flatMap((kind): Json[] => {
    const key = { [SECURITY[kind]]: [] };
    if (kind !== "publishable" || !route.userToken || route.userToken === "none") return [key];
    const both = { ...key, userToken: [] };
    return route.userToken === "required" ? [both] : [key, both];
  });
}

function parameters(route: RouteDescription): Json[] {
  const list: Json[] = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
    ...(route.params?.[name] ? { description: route.params[name] } : {}),
  }));
  if (route.query) {
    const schema = z.toJSONSchema(route.query, { io: "input", unrepresentable: "any" });
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      list.push({ name, in: "query", required: schema.required?.includes(name) ?? false, schema: property });
    }
  }
  if (route.idempotent) {
    list.push({
      name: "Idempotency-Key",
      in: "header",
      required: false,
      schema: { type: "string", minLength: 1, maxLength: 255 },
      description: "The same key and body within 24 h give the first answer again, with `Idempotent-Replay: true`",
    });
  }
  return list;
}

/** What the manners of the interface may answer on such a route, and what it names itself. */
function problemCodes(route: RouteDescription): ProblemCode[] {
  const hasBody = route.request !== undefined || route.requestContentType !== undefined;
  const codes = new Set<ProblemCode>(route.errors);
  if (route.auth.length > 0) codes.add("unauthenticated").add("forbidden");
  if (route.userToken && route.userToken !== "none") codes.add("user_token_invalid");
  if (hasBody) codes.add("too_large");
  if (route.request) codes.add("malformed_json").add("invalid_request").add("unsupported_media_type");
  if (route.query || route.path.includes("{")) codes.add("invalid_request");
  if (route.idempotent) codes.add("invalid_request").add("idempotency_in_flight").add("idempotency_mismatch");
  return [...codes, "rate_limited", "internal", "unavailable"];
}

/** `POST /v1/apps/{id}/keys` -> `postAppsByIdKeys`. */
export function operationId(route: Pick<RouteDescription, "method" | "path">): string {
  const words = route.path
    .replace(/^\/v1/, "")
    .split("/")
    .filter(Boolean)
    .map((part) => (part.startsWith("{") ? `By-${part.slice(1, -1)}` : part))
    .flatMap((part) => part.split(/[^A-Za-z0-9]+/))
    .filter(Boolean);
  return (
    route.method + (words.length === 0 ? ["Home"] : words).map((w) => w.charAt(0).toUpperCase() + w.slice(1)).join("")
  );
}

const DESCRIPTION = [
  "JSON over HTTPS under `/v1`. Names are camelCase, times RFC 3339, money is in minor units, enums are open to new values.",
  "Errors are problem documents (RFC 9457) with a stable `code`; `x-problem-codes` lists them, `x-limits` lists every bound.",
  "Requests of secret keys with unknown fields are refused; of publishable keys they are ignored and reported in `warnings`, so" +
    " `additionalProperties: false` in a request schema binds secret keys only.",
  "`RateLimit` is an upper bound from one location, not an exact quota. Secret keys are exempt from the gate.",
].join("\n\n");
