/** JSON Lines: one object a line, blank lines skipped. */
import { linesOf } from "./lines.ts";
import type { Row, RowChunks } from "./row.ts";

export async function* readJsonl(path: string): RowChunks {
  for await (const lines of linesOf(path)) {
    yield lines.filter((line) => line.text.trim() !== "").map((line) => rowOf(line.number, line.text));
  }
}

function rowOf(line: number, text: string): Row {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { line, fault: { column: "", reason: "is not JSON" } };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { line, fault: { column: "", reason: "is not a JSON object" } };
  }
  return { line, record: value as Record<string, unknown> };
}
