/**
 * CSV (RFC 4180, header row required) by csv-parse, with recovery: a broken quote costs its own row and never the rows after it.
 * Lines are first joined to records by the parity of their quotes; a record that does not parse gives up its first line only.
 */
import { parse } from "csv-parse/sync";
import { type Line, linesOf } from "./lines.ts";
import { FileError, type Row, type RowChunks } from "./row.ts";

/** A quoted field may span that many lines; longer ones are a quote that nobody closed. */
const MAX_LINES_A_RECORD = 200;
const PARSER = { record_delimiter: "\n", relax_column_count: true };

interface Span {
  /** Place of its first line in the lines that were grouped. */
  readonly from: number;
  readonly lines: number;
  readonly number: number;
  readonly text: string;
}

export async function* readCsv(path: string): RowChunks {
  let header: readonly string[] | undefined;
  let pending: readonly Line[] = [];
  const drain = (isLast: boolean): Row[] => {
    const rows: Row[] = [];
    for (;;) {
      const { spans, unclosed, rest } = spansOf(pending, isLast);
      const parsed = parseSpans(spans);
      for (const { span, fields, reason } of parsed) {
        if (fields === undefined) rows.push({ line: span.number, fault: { column: "", reason } });
        else if (header === undefined) header = headerOf(path, fields);
        else rows.push(rowOf(span.number, header, fields));
      }
      // parsing ends early at a broken record of several lines: those after its first are grouped anew
      const broken = parsed.length < spans.length || isBrokenSpan(parsed.at(-1)) ? parsed.at(-1)?.span : undefined;
      for (const line of unclosed) {
        if (broken === undefined || line < broken.number) {
          rows.push({ line, fault: { column: "", reason: REASONS["CSV_QUOTE_NOT_CLOSED"]! } });
        }
      }
      if (broken === undefined) {
        pending = rest;
        return unclosed.length === 0 ? rows : rows.sort((a, b) => a.line - b.line);
      }
      pending = pending.slice(broken.from + 1);
    }
  };
  for await (const lines of linesOf(path)) {
    pending = pending.length === 0 ? lines : [...pending, ...lines];
    yield drain(false);
  }
  yield drain(true);
  if (header === undefined) throw new FileError(`${path}: is empty; a header row is needed`);
}

/** Groups lines into records with an even number of quotes; `unclosed` are the lines whose last quote finds no partner. */
function spansOf(
  lines: readonly Line[],
  isLast: boolean,
): { spans: Span[]; unclosed: number[]; rest: readonly Line[] } {
  const spans: Span[] = [];
  const unclosed: number[] = [];
  let from = 0;
  while (from < lines.length) {
    const first = lines[from]!;
    if (first.text.trim() === "") {
      from += 1;
      continue;
    }
    const bound = Math.min(lines.length, from + MAX_LINES_A_RECORD);
    let end = from;
    let isOpen = false;
    do {
      isOpen = isOpen !== hasOddQuotes(lines[end]!.text);
      end += 1;
    } while (isOpen && end < bound);
    if (isOpen) {
      if (bound < from + MAX_LINES_A_RECORD && !isLast) break; // its end may still be to be read
      unclosed.push(first.number);
      from += 1;
      continue;
    }
    const text =
      end === from + 1
        ? first.text
        : lines
            .slice(from, end)
            .map((line) => line.text)
            .join("\n");
    spans.push({ from, lines: end - from, number: first.number, text: text.replace(/\r$/, "") });
    from = end;
  }
  return { spans, unclosed, rest: lines.slice(from) };
}

function hasOddQuotes(text: string): boolean {
  let isOdd = false;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) isOdd = !isOdd;
  return isOdd;
}

type Parsed =
  | { readonly span: Span; readonly fields: readonly string[]; readonly reason?: undefined }
  | { readonly span: Span; readonly fields?: undefined; readonly reason: string };

const isBrokenSpan = (parsed: Parsed | undefined): boolean =>
  parsed !== undefined && parsed.fields === undefined && parsed.span.lines > 1;

/** All at once, which is fast; where something is wrong one by one, up to the first broken record of several lines. */
function parseSpans(spans: readonly Span[]): Parsed[] {
  if (spans.length === 0) return [];
  try {
    const records: string[][] = parse(spans.map((span) => span.text).join("\n"), PARSER);
    if (records.length === spans.length) return spans.map((span, k) => ({ span, fields: records[k]! }));
  } catch {
    // found again below, for the one record that it belongs to
  }
  const parsed: Parsed[] = [];
  for (const span of spans) {
    const one = parseSpan(span);
    parsed.push(one);
    if (isBrokenSpan(one)) break;
  }
  return parsed;
}

function parseSpan(span: Span): Parsed {
  try {
    const [fields]: string[][] = parse(span.text, PARSER);
    return fields === undefined ? { span, reason: "is empty" } : { span, fields };
  } catch (error) {
    return { span, reason: reasonOf(error) };
  }
}

const REASONS: Readonly<Record<string, string>> = {
  INVALID_OPENING_QUOTE: "has a quote inside a field that does not begin with one",
  CSV_INVALID_CLOSING_QUOTE: "has text after a closing quote",
  CSV_QUOTE_NOT_CLOSED: "has a quote that is not closed",
};

function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return REASONS[code] ?? "is not CSV";
}

function headerOf(path: string, fields: readonly string[]): string[] {
  const names = fields.map((name) => name.trim());
  const twice = names.find((name, k) => names.indexOf(name) !== k);
  if (twice !== undefined) throw new FileError(`${path}: the header names the column ${JSON.stringify(twice)} twice`);
  return names;
}

function rowOf(line: number, header: readonly string[], fields: readonly string[]): Row {
  if (fields.length !== header.length) {
    return { line, fault: { column: "", reason: `has ${fields.length} fields, the header has ${header.length}` } };
  }
  const record: Record<string, string> = {};
  for (const [k, value] of fields.entries()) record[header[k]!] = value;
  return { line, record };
}
