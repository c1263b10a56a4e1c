/** Refuses a filter of very many nodes before its schema looks at it: a union that branches at every node is slow to fail. */
import { MAX_PREDICATE_NODES } from "../domain/catalogue/predicate.ts";
import { parseJson, readBody } from "./body.ts";
import { ProblemError } from "./problem.ts";
import type { Context } from "hono";
import type { Bindings } from "./context.ts";

/** A body this small holds no filter that is slow to check. */
const SMALL_BYTES = 8192;

/** @throws ProblemError invalid_request for more nodes than a filter may have */
export async function checkFilterSize(c: Context<Bindings>): Promise<void> {
  const bytes = await readBody(c);
  if (bytes.length <= SMALL_BYTES) return;
  const body = parseJson(bytes);
  if (typeof body !== "object" || body === null || !("filter" in body)) return;
  const open: unknown[] = [body.filter];
  let nodes = 0;
  while (open.length > 0) {
    const node = open.pop();
    if (typeof node !== "object" || node === null) continue;
    nodes += 1;
    if (nodes > MAX_PREDICATE_NODES) {
      const detail = `a filter has at most ${MAX_PREDICATE_NODES} nodes`;
      throw new ProblemError("invalid_request", "The filter can't be used", {
        errors: [{ pointer: "/filter", code: "invalid_filter", detail }],
      });
    }
    const { and, or, not } = node as Record<string, unknown>;
    for (const parts of [and, or]) if (Array.isArray(parts)) open.push(...parts.slice(0, MAX_PREDICATE_NODES + 1));
    open.push(not);
  }
}
