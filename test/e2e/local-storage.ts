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
  const database = new DatabaseSync(file, { readOnly: true });
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

/** Every row of every table of D1 and of every Durable Object, the platform's own tables included. */
export function everyRow(persist: string): StoredRow[] {
  const stores = [["D1", path.join(persist, "v3", "d1", "miniflare-D1DatabaseObject")]];
  for (const name of ["UserState", "AppLog"]) stores.push([name, path.join(persist, "v3", "do", `edgewise-${name}`)]);
  return stores.flatMap(([store, folder]) =>
    sqliteFiles(folder!).flatMap((file) =>
      query(file, "SELECT name FROM sqlite_master WHERE type = 'table'").flatMap(({ name: table }) =>
        query(file, `SELECT * FROM "${table}"`).map((row) => ({
          store: store!,
          file: path.basename(file),
          table: String(table),
          row: JSON.stringify(row, (_key, value: unknown) =>
            value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value,
          ),
        })),
      ),
    ),
  );
}

/** The SQLite file of every object of a class, whether it holds anything or not. */
export function objectFiles(persist: string, className: string): string[] {
  return sqliteFiles(path.join(persist, "v3", "do", `edgewise-${className}`)).map((file) => path.basename(file));
}

/** The text of everything that lies in a bucket, listed or not. */
export function textsInR2(persist: string, bucket: string): string[] {
  const folder = path.join(persist, "v3", "r2", bucket, "blobs");
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((name) => {
    const bytes = readFileSync(path.join(folder, name));
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes).toString("utf8") : bytes.toString("utf8");
  });
}
