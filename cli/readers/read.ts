/** Chooses a reader by the file's ending. */
import path from "node:path";
import { readCsv } from "./csv.ts";
import { readJsonl } from "./jsonl.ts";
import { readParquet } from "./parquet.ts";
import { FileError, type RowChunks } from "./row.ts";

const READERS: Readonly<Record<string, (path: string) => RowChunks>> = {
  ".csv": readCsv,
  ".jsonl": readJsonl,
  ".ndjson": readJsonl,
  ".parquet": readParquet,
};

/** @throws FileError for an ending that no reader takes */
export function readRows(file: string): RowChunks {
  const reader = READERS[path.extname(file).toLowerCase()];
  if (reader === undefined) {
    throw new FileError(`${file}: the ending is not one of ${Object.keys(READERS).join(", ")}`);
  }
  return reader(file);
}
