/** Reads what a dev server keeps on disk: D1 and Durable Objects are SQLite files, R2 answers on a local address. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { gunzipSync } from "node:zlib";

type Row = Record<string, string | number | null>;

function sqliteFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".sqlite") && name !== "metadata.sqlite")
    .map((name) => path.join(folder, name));
}

function query(file: string, sql: string): Row[] {
  const database = new DatabaseSync(file, { readOnly: true, timeout: 10_000 });
  try {
    return database.prepare(sql).all() as Row[];
  } catch (error) {
    if (/no such table/.test(String(error))) return [];
    throw error;
  } finally {
    database.close();
  }
}

/** Rows of every D1 database of the storage folder. */
export function queryD1(persist: string, sql: string): Row[] {
  return sqliteFiles(path.join(persist, "v3", "d1", "miniflare-D1DatabaseObject")).flatMap((file) => query(file, sql));
}

/** Rows of every object of a Durable Object class, those without the table left out. */
export function queryObjects(persist: string, className: string, sql: string): Row[] {
  return sqliteFiles(path.join(persist, "v3", "do", `edgewise-${className}`)).flatMap((file) => query(file, sql));
}

/** Lines of a gzip object in R2. */
export async function linesInR2(url: string, bucket: string, key: string): Promise<string[]> {
  const response = await fetch(
    `${url}/cdn-cgi/local/r2/public/${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`,
  );
  if (!response.ok) throw new Error(`R2 answered ${response.status} for ${key}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const text: string =
    bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes).toString("utf8") : bytes.toString("utf8");
  return text.split("\n").filter((line) => line !== "");
}

export interface StoredRow {
  /** `D1`, or the class of the object. */
  readonly store: string;
  /** The SQLite file: one a database or object. */
  readonly file: string;
  readonly table: string;
  /** The row as JSON; blobs as the text that their bytes are in Latin-1. */
  readonly row: string;
}

/** Tables that the platform keeps for itself: counts of writes, the time of an alarm, and (only here) an object's name. */
const OF_THE_PLATFORM = new Set(["_cf_METADATA", "_cf_ALARM", "__miniflare_do_name", "sqlite_sequence"]);

/** Every row of every table of D1 and of every Durable Object. */
export function everyRow(persist: string): StoredRow[] {
  const stores = [["D1", path.join(persist, "v3", "d1", "miniflare-D1DatabaseObject")]];
  for (const name of ["UserState", "AppLog"]) stores.push([name, path.join(persist, "v3", "do", `edgewise-${name}`)]);
  return stores.flatMap(([store, folder]) => sqliteFiles(folder!).flatMap((file) => rowsOfFile(store!, file)));
}

function rowsOfFile(store: string, file: string): StoredRow[] {
  const database = new DatabaseSync(file, { readOnly: true, timeout: 10_000 });
  try {
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[];
    return tables.flatMap(({ name: table }) => {
      if (OF_THE_PLATFORM.has(table)) return [];
      const statement = database.prepare(`SELECT * FROM "${table}"`);
      return statement
        .all()
        .map((row) => ({ store, file: path.basename(file), table, row: JSON.stringify(row, plain) }));
    });
  } finally {
    database.close();
  }
}

function plain(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value;
}

/**
 * The text of every object of a bucket, listed in a manifest or not. The simulator deletes an object's row first and its file
 * afterwards, so that a SIGKILL can leave a file that no object has (workers/r2/bucket.worker of miniflare): such a file can't
 * be read by anybody, R2 has none, and it is left out.
 */
export function textsInR2(persist: string, bucket: string): string[] {
  const store = path.join(persist, "v3", "r2");
  const blobs = sqliteFiles(path.join(store, "miniflare-R2BucketObject")).flatMap((file) =>
    query(file, "SELECT blob_id AS blob FROM _mf_objects WHERE blob_id IS NOT NULL"),
  );
  return blobs
    .map(({ blob }) => path.join(store, bucket, "blobs", String(blob)))
    .filter((file) => existsSync(file))
    .map((file) => {
      const bytes = readFileSync(file);
      return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes).toString("utf8") : bytes.toString("utf8");
    });
}
