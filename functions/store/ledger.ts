/** The import ledger in D1: one row an app and file. */
import type { Database } from "./items.ts";
import type { importLedger } from "./schema.ts";

export type ImportRow = Omit<typeof importLedger.$inferSelect, "app">;

export interface ImportProgress {
  readonly file: string;
  readonly kind: ImportRow["kind"];
  readonly nextRow: number;
  readonly rejected: number;
  readonly finished: boolean;
}

const COLUMNS = `file, kind, next_row AS nextRow, rejected, finished_at AS finishedAt, updated_at AS updatedAt`;
/** Both use the primary key. */
const FIND = `SELECT ${COLUMNS} FROM import_ledger WHERE app = ?1 AND file = ?2`;
const SAVE = `INSERT INTO import_ledger (app, file, kind, next_row, rejected, finished_at, updated_at)
  VALUES (?1, ?2, ?3, ?4, ?5, iif(?6, ?7, NULL), ?7)
  ON CONFLICT (app, file) DO UPDATE SET next_row = excluded.next_row, rejected = excluded.rejected,
    finished_at = excluded.finished_at, updated_at = excluded.updated_at
  WHERE kind = excluded.kind AND (finished_at IS NULL OR excluded.next_row = 0 OR
    (excluded.finished_at IS NOT NULL AND next_row = excluded.next_row))
  RETURNING ${COLUMNS}`;

export async function findImport(db: Database, app: number, file: string): Promise<ImportRow | undefined> {
  return (await db.prepare(FIND).bind(app, file).first<ImportRow>()) ?? undefined;
}

/**
 * Records progress. A finished row is left alone, and `undefined` given, unless the import begins again (row 0) or the same
 * end is recorded once more; likewise for another kind of rows.
 */
export async function saveImport(
  db: Database,
  app: number,
  progress: ImportProgress,
  now: number,
): Promise<ImportRow | undefined> {
  const { file, kind, nextRow, rejected, finished } = progress;
  const row = await db.prepare(SAVE).bind(app, file, kind, nextRow, rejected, finished, now).first<ImportRow>();
  return row ?? undefined;
}
