/** What every reader yields: rows of a file with the line they begin on, good or bad, in file order. */

/** `column` is empty where the whole row is meant. */
export interface Fault {
  readonly column: string;
  readonly reason: string;
}

export type Row =
  | { readonly line: number; readonly record: Readonly<Record<string, unknown>>; readonly fault?: undefined }
  | { readonly line: number; readonly record?: undefined; readonly fault: Fault };

/** A file that can't be read at all; the message is one line for its owner. */
export class FileError extends Error {
  override readonly name = "FileError";
}

/** Rows come in chunks, because an await for each of a million rows costs more than parsing it. */
export type RowChunks = AsyncGenerator<readonly Row[], void, undefined>;
