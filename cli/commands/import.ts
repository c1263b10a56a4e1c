/** `edgewise import` and `edgewise convert`. */
import path from "node:path";
import { convertDataset } from "../convert.ts";
import { importFile } from "../import-file.ts";
import { progressOf } from "../progress.ts";
import { type ConnectionOptions, connect, UsageError } from "../settings.ts";
import type { Kind } from "../rows.ts";

interface ImportFlags extends ConnectionOptions {
  readonly items?: string[];
  readonly events?: string[];
  readonly lists?: string[];
  readonly dataset?: string;
  readonly data?: string;
  readonly backfill: boolean;
  readonly batch?: number;
  readonly again: boolean;
}

/** Items go first, so that events find them. A finished file is skipped while others are not; alone it is refused. */
export async function importFiles(flags: ImportFlags): Promise<void> {
  const files: [Kind, string][] = [
    ...(flags.items ?? []).map((file): [Kind, string] => ["items", file]),
    ...(flags.lists ?? []).map((file): [Kind, string] => ["lists", file]),
    ...(flags.events ?? []).map((file): [Kind, string] => ["events", file]),
  ];
  if (flags.dataset !== undefined) {
    const converted = await convertDataset(flags.dataset, { data: flags.data });
    console.error(`${flags.dataset}: ${converted.itemRows} items, ${converted.eventRows} events converted`);
    files.push(["items", converted.items], ["events", converted.events]);
  }
  if (files.length === 0) throw new UsageError("nothing to import: give --items, --events, --lists or --dataset");
  const client = connect(flags);
  let bad = 0;
  let finishedBefore = 0;
  for (const [kind, file] of files) {
    const name = path.basename(file);
    const progress = progressOf(name);
    const startedAt = Date.now();
    const isHistory = kind === "lists" || flags.dataset !== undefined;
    const summary = await importFile(file, kind, {
      client,
      backfill: flags.backfill || isHistory,
      again: flags.again,
      ...(flags.batch === undefined ? {} : { bounds: { rows: flags.batch } }),
      report: (line) => progress.interrupt(line),
      progress: (done, total) => progress.update(done, total),
    }).finally(() => progress.stop());
    if (summary.outcome === "already-finished") {
      finishedBefore += 1;
      console.error(`${name}: was imported to its end before; --again imports it once more`);
      continue;
    }
    bad += summary.bad;
    const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
    const resumed = summary.resumedAt > 0 ? `, resumed after ${summary.resumedAt}` : "";
    console.log(
      `${name}: ${summary.rows} rows, ${summary.sent} sent, ${summary.known} known before, ${summary.bad} bad${resumed}, ${seconds} s`,
    );
  }
  if (finishedBefore === files.length) process.exitCode = 1;
  else if (bad > 0) process.exitCode = 2;
}

export async function convert(flags: { dataset: string; data?: string; out?: string }): Promise<void> {
  const { items, events, itemRows, eventRows } = await convertDataset(flags.dataset, flags);
  console.log(`${path.relative(".", items)}: ${itemRows} rows\n${path.relative(".", events)}: ${eventRows} rows`);
}
