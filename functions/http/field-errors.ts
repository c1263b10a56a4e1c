/** Zod's issues as field errors: a JSON pointer, a stable code, and a sentence that names the value (shortened) and the bound. */
import { limit } from "./limits.ts";
import type * as z from "zod";
import type { FieldError } from "./problem.ts";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** RFC 6901. The whole document is the empty pointer. */
export function jsonPointer(path: Path): string {
  return path.map((key) => `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** Every fault of `input`, at most the bound `errors`. `point` turns a path into a pointer. */
export function fieldErrors(
  error: z.ZodError,
  input: unknown,
  point: (path: Path) => string = jsonPointer,
): FieldError[] {
  return error.issues.flatMap((issue) => translate(issue, input, [], point)).slice(0, limit("errors"));
}

/** A value as a short quotation: at most 40 characters of JSON. */
export function quote(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value === "number") return String(value); // JSON would make null of what is beyond its range
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length <= 40 ? text : `${text.slice(0, 37)}...`;
}

function translate(issue: Issue, input: unknown, base: Path, point: (path: Path) => string): FieldError[] {
  const path = [...base, ...issue.path];
  const pointer = point(path);
  const value = valueAt(input, path);
  switch (issue.code) {
    case "invalid_type":
      return value === undefined
        ? [{ pointer, code: "required", detail: `${issue.expected} is needed here` }]
        : [{ pointer, code: "wrong_type", detail: `${quote(value)} is not of type ${issue.expected}` }];
    case "too_big":
      return [{ pointer, code: sizeCode(issue.origin, "big"), detail: tooBig(issue, value) }];
    case "too_small":
      return [{ pointer, code: sizeCode(issue.origin, "small"), detail: tooSmall(issue, value) }];
    case "invalid_format": {
      const fault = issue.format === "regex" ? `: ${issue.message}` : ` is not a valid ${issue.format}`;
      return [{ pointer, code: "invalid_format", detail: quote(value) + fault }];
    }
    case "not_multiple_of":
      return [{ pointer, code: "not_multiple", detail: `${quote(value)} is not a multiple of ${issue.divisor}` }];
    case "invalid_value": {
      const allowed = issue.values.map(String).join(", ");
      if (value === undefined) return [{ pointer, code: "required", detail: `one of ${allowed} is needed here` }];
      return [{ pointer, code: "not_allowed", detail: `${quote(value)} is not one of ${allowed}` }];
    }
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        pointer: point([...path, key]),
        code: "unknown_field",
        detail: `${quote(key)} is not a field here`,
      }));
    case "invalid_union": {
      const branch = closestBranch(issue.errors);
      if (branch) return branch.flatMap((inner) => translate(inner, input, path, point));
      return [{ pointer, code: "no_match", detail: `${quote(value)} fits none of the allowed forms` }];
    }
    case "invalid_key":
    case "invalid_element":
      return issue.issues.map((inner) => ({ pointer, code: "invalid_entry", detail: inner.message }));
    case "custom":
      return [{ pointer, code: "invalid", detail: issue.message }];
    default:
      return issue satisfies never;
  }
}

/** The alternative that came furthest: the one whose first fault lies deepest, then the one with the fewest faults. */
function closestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const depth = (issues: readonly Issue[]) => Math.max(0, ...issues.map((issue) => issue.path.length));
  return branches
    .filter((issues) => issues.some((issue) => issue.code !== "invalid_type" || issue.path.length > 0))
    .toSorted((a, b) => depth(b) - depth(a) || a.length - b.length)[0];
}

function sizeCode(origin: string, side: "big" | "small"): string {
  const isNumber = origin === "number" || origin === "int" || origin === "bigint" || origin === "date";
  if (isNumber) return side === "big" ? "too_large" : "too_small";
  return side === "big" ? "too_long" : "too_short";
}

function tooBig(issue: Extract<Issue, { code: "too_big" }>, value: unknown): string {
  const bound = `${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}`;
  return `${size(issue.origin, value)}, ${bound} allowed`;
}

function tooSmall(issue: Extract<Issue, { code: "too_small" }>, value: unknown): string {
  const bound = `${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}`;
  return `${size(issue.origin, value)}, ${bound} needed`;
}

function size(origin: string, value: unknown): string {
  if (typeof value === "string") return `${quote(value)} has ${value.length} characters`;
  if (Array.isArray(value)) return `the array has ${value.length} entries`;
  if (typeof value === "object" && value !== null) return `the ${origin} has ${Object.keys(value).length} entries`;
  return quote(value);
}

function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
