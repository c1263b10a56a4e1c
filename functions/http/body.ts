/**
 * Request bodies: read once under a bound (gzip inflated under the same bound), parsed as JSON, checked by one strict schema.
 * Secret keys get a 400 for an unknown field; for publishable keys it is taken out and reported, so that a new app version
 * survives an older Worker.
 */
import { fieldErrors, jsonPointer } from "./field-errors.ts";
import { lineAndColumn, malformedAt } from "./json-position.ts";
import { limit } from "./limits.ts";
import { ProblemError } from "./problem.ts";
import type { Context } from "hono";
import type * as z from "zod";
import type { Bindings, Credential, Warning } from "./context.ts";

type Issue = z.core.$ZodIssue;

/** The body of the request, checked. @throws ProblemError malformed_json, invalid_request, too_large, unsupported_media_type */
export async function parseBody<Schema extends z.ZodType>(
  c: Context<Bindings>,
  schema: Schema,
): Promise<z.output<Schema>> {
  const type = (c.req.header("content-type") ?? "").split(";")[0]?.trim().toLowerCase();
  const bytes = await readBody(c);
  if (bytes.length > 0 && type !== "application/json") {
    throw new ProblemError("unsupported_media_type", `The body must be application/json, not ${type || "untyped"}`);
  }
  const input = parseJson(bytes);
  const credential = c.get("credential") as Credential | undefined;
  if (credential?.kind !== "publishable") return check(schema, input);
  const { value, warnings } = readLeniently(schema, input);
  c.get("warnings").push(...warnings);
  return value;
}

/** Query parameters by a schema of strings; a repeated name gives its first value. Pointers are `?name`. */
export function parseQuery<Schema extends z.ZodType>(c: Context<Bindings>, schema: Schema): z.output<Schema> {
  const input = c.req.query();
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const errors = fieldErrors(result.error, input, (path) => `?${path.map(String).join(".")}`);
  throw new ProblemError("invalid_request", "The query does not fit its schema", { errors });
}

/** The bytes of the body under the bound of JSON bodies, inflated where they came as gzip. */
export async function readBody(c: Context<Bindings>): Promise<Uint8Array<ArrayBuffer>> {
  const known = c.get("body");
  if (known) return known;
  const reading = readBytes(c, limit("bodyBytes"));
  c.set("body", reading);
  return reading;
}

/**
 * The bytes of the body under a bound of the caller's, inflated where they came as gzip. Can be called once a request.
 * @throws ProblemError too_large, unsupported_media_type, malformed_json (not a gzip stream)
 */
export async function readBytes(c: Context<Bindings>, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const declared = Number(c.req.header("content-length") ?? 0);
  if (declared > limitBytes) throw tooLarge(limitBytes);
  const body = c.req.raw.body;
  if (!body) return new Uint8Array();
  const encoding = (c.req.header("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding === "identity") return collect(body, limitBytes);
  if (encoding !== "gzip") {
    throw new ProblemError("unsupported_media_type", `Bodies come plain or as gzip, not as ${encoding.slice(0, 40)}`);
  }
  try {
    return await collect(body.pipeThrough(new DecompressionStream("gzip")), limitBytes);
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    throw new ProblemError("malformed_json", "The body is not a whole gzip stream");
  }
}

/** Reads to the end or to the bound, whichever comes first; beyond the bound the rest is never pulled. */
async function collect(stream: ReadableStream<Uint8Array>, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    total += value.length;
    if (total > limitBytes) {
      await reader.cancel().catch(() => undefined);
      throw tooLarge(limitBytes);
    }
    chunks.push(value);
  }
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function tooLarge(limitBytes: number): ProblemError {
  return new ProblemError("too_large", `The body may have at most ${limitBytes} bytes, inflated`);
}

/** @throws ProblemError malformed_json with the place of the first wrong character, invalid_request where it nests too deep */
export function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw new ProblemError("malformed_json", "The body is not UTF-8");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const offset = malformedAt(text) ?? 0;
    const { line, column } = lineAndColumn(text, offset);
    const what = offset >= text.length ? "The body ends before its JSON does" : "The body stops being JSON";
    throw new ProblemError("malformed_json", `${what}, at position ${offset} (line ${line}, column ${column})`);
  }
  const most = limit("jsonDepth");
  if (isDeeperThan(value, most)) {
    const errors = [{ pointer: "", code: "too_deep", detail: `at most ${most} levels are allowed` }];
    throw new ProblemError("invalid_request", "The body nests too deep", { errors });
  }
  return value;
}

/** Level by level, without recursion: a body of a million brackets must not fell the parser. */
function isDeeperThan(value: unknown, most: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > most) return true;
    const next: unknown[] = [];
    for (const entry of level) {
      if (typeof entry !== "object" || entry === null) continue;
      for (const inner of Object.values(entry)) if (typeof inner === "object" && inner !== null) next.push(inner);
    }
    level = next;
  }
  return false;
}

function check<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw new ProblemError("invalid_request", "The body does not fit its schema", {
    errors: fieldErrors(result.error, input),
  });
}

/** Rounds of taking unknown fields out: a union shows those of an inner level only once the outer level fits. */
const LENIENT_ROUNDS = 8;

/** Reads by the strict schema with unknown fields taken out, at any depth, and a warning for each. */
export function readLeniently<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
): { value: z.output<Schema>; warnings: Warning[] } {
  const warnings: Warning[] = [];
  const copy: unknown = structuredClone(input);
  for (let round = 0; round < LENIENT_ROUNDS; round++) {
    const result = schema.safeParse(copy);
    if (result.success) return { value: result.data, warnings: shorten(warnings) };
    const unknown = result.error.issues.flatMap((issue) => unknownFields(issue, []));
    if (unknown.length === 0) break;
    for (const path of unknown) {
      if (!removeAt(copy, path)) continue;
      const detail = `${JSON.stringify(String(path.at(-1)).slice(0, 40))} is not a field here and was ignored`;
      warnings.push({ pointer: jsonPointer(path), code: "unknown_field", detail });
    }
  }
  return { value: check(schema, copy), warnings: shorten(warnings) };
}

/** Paths of unknown fields. Of a union, those of the first alternative that fails for nothing else. */
function unknownFields(issue: Issue, base: readonly PropertyKey[]): PropertyKey[][] {
  const path = [...base, ...issue.path];
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => [...path, key]);
  if (issue.code !== "invalid_union") return [];
  for (const branch of issue.errors) {
    const found = branch.map((inner) => unknownFields(inner, path));
    if (found.length > 0 && found.every((paths) => paths.length > 0)) return found.flat();
  }
  return [];
}

function removeAt(root: unknown, path: readonly PropertyKey[]): boolean {
  let holder = root as Record<PropertyKey, unknown> | undefined;
  for (const key of path.slice(0, -1)) holder = holder?.[key] as Record<PropertyKey, unknown> | undefined;
  const last = path.at(-1);
  if (typeof holder !== "object" || holder === null || last === undefined || !Object.hasOwn(holder, last)) return false;
  delete holder[last];
  return true;
}

function shorten(warnings: Warning[]): Warning[] {
  const most = limit("warnings");
  if (warnings.length <= most) return warnings;
  const rest = warnings.length - most + 1;
  const last = { pointer: "", code: "unknown_field", detail: `${rest} more fields were ignored` };
  return [...warnings.slice(0, most - 1), last];
}
