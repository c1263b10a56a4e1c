/** What a filter may say: and, or, not over comparisons, bounded in size and depth. */
import { OPERATORS, type Comparison } from "./comparison.ts";

export type Predicate =
  | Comparison
  | { readonly and: readonly Predicate[] }
  | { readonly or: readonly Predicate[] }
  | { readonly not: Predicate };

/** Most nodes of a filter, comparisons and connectives together. */
export const MAX_PREDICATE_NODES = 64;
/** Deepest nesting; a lone comparison has depth 1. */
export const MAX_PREDICATE_DEPTH = 8;

/** A filter that cannot be compiled; `pointer` is a JSON pointer into it (RFC 6901), "" for the whole. */
export class PredicateError extends RangeError {
  readonly pointer: string;

  constructor(pointer: string, detail: string) {
    super(detail);
    this.name = "PredicateError";
    this.pointer = pointer;
  }
}

/** Checks size, depth and that each value fits its operator. @throws PredicateError */
export function checkPredicate(predicate: Predicate): void {
  let nodes = 0;
  const visit = (node: Predicate, pointer: string, depth: number): void => {
    nodes += 1;
    if (nodes > MAX_PREDICATE_NODES) throw new PredicateError("", `a filter has at most ${MAX_PREDICATE_NODES} nodes`);
    if (depth > MAX_PREDICATE_DEPTH)
      throw new PredicateError(pointer, `a filter is at most ${MAX_PREDICATE_DEPTH} deep`);
    if ("and" in node) node.and.forEach((part, at) => visit(part, `${pointer}/and/${at}`, depth + 1));
    else if ("or" in node) node.or.forEach((part, at) => visit(part, `${pointer}/or/${at}`, depth + 1));
    else if ("not" in node) visit(node.not, `${pointer}/not`, depth + 1);
    else withTimes(node, pointer);
  };
  visit(predicate, "", 1);
}

/** Names of the fields that a filter compares, each once, in the order they appear. */
export function fieldsOf(predicate: Predicate): string[] {
  return [...new Set(comparisonsOf(predicate).map(({ field }) => field))];
}

/** The same text for filters that say the same: parts of `and` and `or` in one order. */
export function canonical(node: Predicate): string {
  if ("and" in node) return `and(${node.and.map(canonical).sort().join()})`;
  if ("or" in node) return `or(${node.or.map(canonical).sort().join()})`;
  if ("not" in node) return `not(${canonical(node.not)})`;
  return JSON.stringify([node.field, node.op, node.value]);
}

function comparisonsOf(node: Predicate): Comparison[] {
  if ("and" in node) return node.and.flatMap(comparisonsOf);
  if ("or" in node) return node.or.flatMap(comparisonsOf);
  return "not" in node ? comparisonsOf(node.not) : [node];
}

/** The comparison with times of `createdAt` as milliseconds. @throws PredicateError when the value does not fit the operator */
export function withTimes(comparison: Comparison, pointer: string): Comparison {
  const { field, op, value } = comparison;
  const isList = Array.isArray(value);
  const refuse = (expected: string): never => {
    throw new PredicateError(`${pointer}/value`, `${op} compares with ${expected}`);
  };
  if (!OPERATORS.includes(op)) throw new PredicateError(`${pointer}/op`, `unknown operator ${op as string}`);
  if (op === "exists") {
    if (value !== undefined && typeof value !== "boolean") refuse("true or false");
    return comparison;
  }
  if (value === undefined) refuse("a value");
  if ((op === "in" || op === "containsAny" || op === "containsAll") && !isList) refuse("a list");
  if (op === "contains" && isList) refuse("one value");
  const isOrder = op === "lt" || op === "lte" || op === "gt" || op === "gte";
  if (isOrder && typeof value !== "number" && typeof value !== "string") refuse("a number or a string");
  if (field !== "createdAt") return comparison;

  const time = (one: unknown): number => {
    const ms = typeof one === "string" ? Date.parse(one) : one;
    return typeof ms === "number" && Number.isFinite(ms) ? ms : refuse("a time (RFC 3339, or ms since 1970)");
  };
  return { ...comparison, value: isList ? value.map(time) : time(value) };
}
