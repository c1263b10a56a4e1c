/**
 * Sends one file to the server. The file is read in windows; a window's events are ordered by user and time, cut into batches,
 * sent one after another, and the ledger is written after each acknowledged batch. The order is the same for the same file, so
 * an import that was killed goes on at the ledger's row; what was sent and not yet recorded is sent again and known by its ids.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ApiError, type Client } from "./client.ts";
import { batchesOf, type BatchBounds, BOUNDS, groupByUser, type Sendable } from "./batches.ts";
import { readRows } from "./readers/read.ts";
import { type Fault, FileError } from "./readers/row.ts";
import {
  attempt,
  COLUMNS,
  EventIds,
  eventOf,
  type Exposure,
  exposureOf,
  impressionOf,
  itemOf,
  listOf,
  type Kind,
} from "./rows.ts";

/** Rounds for rows whose storage could not be reached, with growing pauses of half a minute in all. */
const RETRY_ROUNDS = 6;
/** Rows in memory at a time; a user's events further apart than that travel in several batches. */
const WINDOW_ROWS = 200_000;

export interface ImportOptions {
  readonly client: Pick<Client, "request" | "find">;
  readonly backfill: boolean;
  readonly again: boolean;
  readonly bounds?: Partial<BatchBounds>;
  readonly windowRows?: number;
  /** A bad row: `file:line: column: reason`. */
  report(line: string): void;
  progress(done: number, total: number): void;
}

export interface ImportSummary {
  readonly outcome: "imported" | "already-finished";
  /** Rows read, acknowledged, known before, bad. */
  readonly rows: number;
  readonly sent: number;
  readonly known: number;
  readonly bad: number;
  /** Rows that an earlier run had sent. */
  readonly resumedAt: number;
}

interface LedgerEntry {
  readonly nextRow: number;
  readonly rejected: number;
  readonly finished: boolean;
}

/** @throws FileError, ApiError */
export async function importFile(file: string, kind: Kind, options: ImportOptions): Promise<ImportSummary> {
  const { hash, lines } = await digestOf(file, kind);
  const ledgerPath = `/v1/imports/${hash}`;
  const entry = await options.client.find<LedgerEntry>(ledgerPath);
  if (entry?.finished && !options.again) {
    return { outcome: "already-finished", rows: 0, sent: 0, known: 0, bad: entry.rejected, resumedAt: entry.nextRow };
  }
  const resumeAt = entry === undefined || entry.finished ? 0 : entry.nextRow;
  const count = { rows: 0, sent: 0, known: 0, bad: 0, refused: entry?.finished ? 0 : (entry?.rejected ?? 0) };
  const report = (line: number, { column, reason }: Fault) =>
    options.report(`${path.basename(file)}:${line}: ${column === "" ? "the row " : `${column}: `}${reason}`);
  const reportFault = (line: number, fault: Fault) => {
    count.bad += 1;
    report(line, fault);
  };
  const record = (nextRow: number, finished: boolean) =>
    options.client.request("PUT", ledgerPath, {
      json: { kind, nextRow, rejected: finished ? count.bad + count.refused : count.refused, finished },
    });
  if (entry?.finished) await record(0, false);

  const bounds = { ...BOUNDS, ...options.bounds };
  let at = 0; // place in the order of sending
  for await (const window of windowsOf(file, kind, { ...options, reportFault, count, maxBytes: bounds.bytes })) {
    const ordered = kind === "items" ? window : groupByUser(window);
    const todo = ordered.slice(Math.max(0, Math.min(ordered.length, resumeAt - at)));
    at += ordered.length - todo.length;
    for (const batch of batchesOf(todo, bounds)) {
      const results = await send(batch, kind, options);
      for (const [k, result] of results.entries()) {
        if (result.status === "rejected") {
          count.refused += 1;
          report(batch[k]!.line, faultOf(result));
        } else if (result.status === "duplicate") count.known += 1;
        else count.sent += 1;
      }
      at += batch.length;
      await record(at, false);
      options.progress(at, lines);
    }
  }
  await record(at, true);
  return {
    outcome: "imported",
    rows: count.rows,
    sent: count.sent,
    known: count.known,
    bad: count.bad + count.refused,
    resumedAt: resumeAt,
  };
}

/** SHA-256 over the kind and the bytes; lines as an estimate of the rows. */
async function digestOf(file: string, kind: Kind): Promise<{ hash: string; lines: number }> {
  const hash = createHash("sha256").update(`${kind}\n`);
  let lines = 0;
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
      const bytes = chunk as Buffer;
      hash.update(bytes);
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines += 1;
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new FileError(`${file}: can't be read (${code === "ENOENT" ? "there is no such file" : code})`);
  }
  return { hash: hash.digest("hex"), lines };
}

interface WindowOptions {
  readonly windowRows?: number;
  readonly maxBytes: number;
  readonly count: { rows: number };
  reportFault(line: number, fault: Fault): void;
  report(line: string): void;
}

/** Good rows as bodies, so many at a time; bad ones are reported on the way. */
async function* windowsOf(file: string, kind: Kind, options: WindowOptions): AsyncGenerator<Sendable[]> {
  const windowRows = options.windowRows ?? WINDOW_ROWS;
  const ids = new EventIds();
  let columns: Set<string> | undefined;
  let window: Sendable[] = [];
  let exposures: { line: number; exposure: Exposure }[] = [];
  const push = (line: number, body: Sendable["body"]) => {
    const bytes = Buffer.byteLength(JSON.stringify(body));
    if (bytes > options.maxBytes)
      options.reportFault(line, { column: "", reason: `has ${bytes} bytes, a request at most ${options.maxBytes}` });
    else window.push({ line, body, bytes });
  };
  for await (const rows of readRows(file)) {
    for (const { line, record, fault } of rows) {
      options.count.rows += 1;
      if (fault !== undefined) {
        options.reportFault(line, fault);
        continue;
      }
      columns = checkColumns(file, kind, record, columns, options);
      if (kind === "items") {
        const item = attempt(() => itemOf(record));
        if (item.fault !== undefined) options.reportFault(line, item.fault);
        else push(line, item.value);
      } else if (kind === "lists" && record["list"] !== undefined) {
        const list = attempt(() => listOf(record));
        if (list.fault !== undefined) options.reportFault(line, list.fault);
        else push(line, list.value);
      } else if (kind === "lists" || isExposure(record)) {
        const exposure = attempt(() => exposureOf(record));
        if (exposure.fault !== undefined) options.reportFault(line, exposure.fault);
        else exposures.push({ line, exposure: exposure.value });
      } else {
        const event = attempt(() => eventOf(record));
        if (event.fault !== undefined) options.reportFault(line, event.fault);
        else push(line, await ids.identify(event.value));
      }
    }
    if (window.length + exposures.length >= windowRows) {
      // the last list may go on in the next rows
      const open = exposures.at(-1)?.exposure.listId;
      for (const list of listsOf(exposures.filter(({ exposure }) => exposure.listId !== open)))
        push(list.line, list.body);
      exposures = exposures.filter(({ exposure }) => exposure.listId === open);
      yield window;
      window = [];
    }
  }
  for (const list of listsOf(exposures)) push(list.line, list.body);
  if (window.length > 0) yield window;
}

/** An event row that tells of a list by its own propensity. */
function isExposure(record: Readonly<Record<string, unknown>>): boolean {
  const has = (column: string) => record[column] !== undefined && record[column] !== null && record[column] !== "";
  return record["type"] === "impression" && has("listId") && has("propensity");
}

function listsOf(rows: readonly { line: number; exposure: Exposure }[]): { line: number; body: Sendable["body"] }[] {
  const lists = Map.groupBy(rows, ({ exposure }) => JSON.stringify([exposure.userId, exposure.listId]));
  return [...lists.values()].map((list) => ({
    line: list[0]!.line,
    body: impressionOf(list.map(({ exposure }) => exposure)),
  }));
}

/** Missing columns end the import of a table at its first row; an unknown column is said once and left out. */
function checkColumns(
  file: string,
  kind: Kind,
  record: Readonly<Record<string, unknown>>,
  known: Set<string> | undefined,
  options: Pick<WindowOptions, "report">,
): Set<string> {
  const { required, optional } = COLUMNS[kind];
  const lacking = required.filter((column) => !Object.hasOwn(record, column));
  if (known === undefined && lacking.length > 0 && !/\.(jsonl|ndjson)$/i.test(file)) {
    throw new FileError(`${file}: lacks the column ${lacking.join(", ")}; ${kind} need ${required.join(", ")}`);
  }
  const seen = known ?? new Set([...required, ...optional]);
  for (const column of Object.keys(record)) {
    if (seen.has(column)) continue;
    seen.add(column);
    options.report(
      `${path.basename(file)}: the column ${JSON.stringify(column)} is not one of ${kind} and is left out`,
    );
  }
  return seen;
}

interface RowResult {
  readonly status: string;
  readonly code?: string | null;
  readonly pointer?: string | null;
  readonly detail?: string | null;
  readonly retryable?: boolean;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}

/** A result a row. Rows that the server could not store just now are sent again until it has them or gives a reason. */
async function send(batch: readonly Sendable[], kind: Kind, options: ImportOptions): Promise<readonly RowResult[]> {
  const results: RowResult[] = [];
  let places = [...batch.keys()];
  for (let round = 0; places.length > 0; round++) {
    if (round > 0) await sleep(Math.min(500 * 2 ** round, 10_000));
    const answers = await post(
      places.map((place) => batch[place]!),
      kind,
      options,
    );
    for (const [k, place] of places.entries()) results[place] = answers[k]!;
    places = places.filter((place) => results[place]!.status === "rejected" && results[place]!.retryable === true);
    if (round >= RETRY_ROUNDS && places.length > 0) {
      const detail = `${places.length} rows could not be stored: ${faultOf(results[places[0]!]!).reason}`;
      throw new ApiError(503, { code: "unavailable", detail }, `import of ${kind}`);
    }
  }
  return results;
}

async function post(batch: readonly Sendable[], kind: Kind, options: ImportOptions): Promise<readonly RowResult[]> {
  const bodies = batch.map((row) => row.body);
  const [route, json] =
    kind === "items"
      ? ["/v1/items/batch", { items: bodies }]
      : [
          "/v1/events",
          { sentAt: new Date().toISOString(), events: bodies, ...(options.backfill ? { backfill: true } : {}) },
        ];
  const answer = await options.client.request<{ results?: readonly RowResult[] } | undefined>("POST", route, { json });
  if (answer?.results?.length === batch.length) return answer.results;
  const detail = `the answer has not a result for each of ${batch.length} rows`;
  throw new ApiError(200, { code: "unexpected", detail }, `POST ${route}`);
}

function faultOf(result: RowResult): Fault {
  const [error] = result.errors ?? [];
  const column = (error?.pointer ?? result.pointer ?? "").replace(/^\/(items|events)\/\d+\/?/, "");
  const detail = error?.detail ?? result.detail ?? `was refused (${result.code ?? "no reason given"})`;
  return { column, reason: detail.startsWith(`${column}: `) ? detail.slice(column.length + 2) : detail };
}
