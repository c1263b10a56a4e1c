/** Parquet by hyparquet, one row group in memory at a time. The line of a row is its number, from 1. */
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { FileError, type RowChunks } from "./row.ts";

export async function* readParquet(path: string): RowChunks {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((error: unknown) => {
    throw new FileError(`${path}: is not a Parquet file (${error instanceof Error ? error.message : String(error)})`);
  });
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const records = await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd });
    const from = rowStart;
    yield records.map((record, k) => ({ line: from + k + 1, record: plain(record) as Record<string, unknown> }));
    rowStart = rowEnd;
  }
}

/** BigInt -> number where exact, else its digits; dates -> RFC 3339; inside lists and structs too. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  }
  return value;
}
