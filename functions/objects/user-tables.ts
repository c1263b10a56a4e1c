/**
 * The SQLite of one user's object: its tables and every statement on them. Plain functions over `SqlStorage`, so that the class
 * beside holds the protocol alone.
 */
import type { ActedItem, HistoryEvent, IncomingEvent } from "../domain/history/events.ts";
import { DAY_MS } from "../domain/history/event-time.ts";
import { HISTORY_EVENTS } from "../domain/history/merge.ts";
import type { UserAttributes, UserConsent, UserControls } from "../domain/history/preferences.ts";

/** Ids of events are kept this long, and longer while the event is in the history. */
export const EVENT_IDS_MS = 30 * DAY_MS;
/** A token comes back within 30 days of its list; ids of lists are kept a little longer. */
const LIST_IDS_MS = 33 * DAY_MS;
/** Skips may take this much of the history, so that they never push out what the user liked. */
const SKIPS_KEPT = 50;
/** Events of items that the catalogue does not know. */
export const UNKNOWN_KEPT = 50;
/** Items acted on (for `repeat` rules) and items hidden, newest first; a hide is dropped last of all. */
const ACTED_KEPT = 2000;
const HIDDEN_KEPT = 2000;
const TEXTS_KEPT = 50;

const TABLES = [
  `CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), app INTEGER NOT NULL, object TEXT NOT NULL, shards INTEGER NOT NULL,
    subject TEXT NOT NULL, created_at INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, resolve_at INTEGER,
    resolve_tries INTEGER NOT NULL DEFAULT 0, attributes TEXT NOT NULL, controls TEXT NOT NULL, consent TEXT NOT NULL)`,
  `CREATE TABLE event_ids (event_id TEXT PRIMARY KEY, received_at INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE INDEX event_ids_by_age ON event_ids (received_at)`,
  `CREATE TABLE history (seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, item INTEGER, item_id TEXT,
    type TEXT NOT NULL, occurred_at INTEGER NOT NULL, value REAL)`,
  `CREATE INDEX history_by_time ON history (occurred_at, seq)`,
  `CREATE TABLE acted (item INTEGER NOT NULL, type TEXT NOT NULL, occurred_at INTEGER NOT NULL,
    PRIMARY KEY (item, type)) WITHOUT ROWID`,
  `CREATE TABLE texts (event_id TEXT PRIMARY KEY, text TEXT NOT NULL, occurred_at INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE lists (list_id TEXT PRIMARY KEY, received_at INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, lines TEXT NOT NULL)`,
];

export interface Meta {
  readonly app: number;
  readonly object: string;
  readonly shards: number;
  /** 32 hex characters, random, new for each object. */
  readonly subject: string;
  readonly createdAt: number;
  /** Failed deliveries in a row. */
  readonly tries: number;
  /** When unknown items are looked up next; null when there are none. */
  readonly resolveAt: number | null;
  readonly resolveTries: number;
  readonly attributes: UserAttributes;
  readonly controls: UserControls;
  readonly consent: UserConsent;
}

type Row<T> = { [K in keyof T]: T[K] extends string | number | null ? T[K] : string };

/** `none`: nothing is stored here; `erased`: a tombstone and nothing else. Reads only. */
export function stateOf(sql: SqlStorage): "none" | "live" | "erased" {
  const names = sql
    .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('meta', 'tombstone')")
    .toArray();
  if (names.some(({ name }) => name === "tombstone")) return "erased";
  return names.length > 0 ? "live" : "none";
}

export function writeTombstone(sql: SqlStorage, erasedAt: number): void {
  sql.exec("CREATE TABLE IF NOT EXISTS tombstone (erased_at INTEGER NOT NULL)");
  sql.exec("INSERT INTO tombstone SELECT ? WHERE NOT EXISTS (SELECT 1 FROM tombstone)", erasedAt);
}

/** Empties a live object in place; `deleteAll` afterwards frees the pages. */
export function clearTables(sql: SqlStorage): void {
  for (const table of ["outbox", "lists", "texts", "acted", "history", "event_ids", "meta"])
    sql.exec(`DROP TABLE ${table}`);
}

export function createTables(sql: SqlStorage, meta: Meta): void {
  for (const statement of TABLES) sql.exec(statement);
  sql.exec(
    `INSERT INTO meta (id, app, object, shards, subject, created_at, attributes, controls, consent) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)`,
    meta.app,
    meta.object,
    meta.shards,
    meta.subject,
    meta.createdAt,
    JSON.stringify(meta.attributes),
    JSON.stringify(meta.controls),
    JSON.stringify(meta.consent),
  );
}

export function readMeta(sql: SqlStorage): Meta {
  const row = sql
    .exec<Row<Meta>>(
      `SELECT app, object, shards, subject, created_at AS createdAt, tries, resolve_at AS resolveAt,
        resolve_tries AS resolveTries, attributes, controls, consent FROM meta`,
    )
    .one();
  return {
    ...row,
    attributes: JSON.parse(row.attributes) as UserAttributes, // the three are written by this file alone
    controls: JSON.parse(row.controls) as UserControls,
    consent: JSON.parse(row.consent) as UserConsent,
  };
}

export function writePreferences(sql: SqlStorage, meta: Pick<Meta, "attributes" | "controls" | "consent">): void {
  const { attributes, controls, consent } = meta;
  sql.exec(
    "UPDATE meta SET attributes = ?, controls = ?, consent = ?",
    JSON.stringify(attributes),
    JSON.stringify(controls),
    JSON.stringify(consent),
  );
}

export function writeTries(sql: SqlStorage, tries: number): void {
  sql.exec("UPDATE meta SET tries = ?", tries);
}

export function writeResolve(sql: SqlStorage, at: number | null, tries: number): void {
  sql.exec("UPDATE meta SET resolve_at = ?, resolve_tries = ?", at, tries);
}

/** Whether the id is new; it is known from then on. */
export function takeEventId(sql: SqlStorage, eventId: string, receivedAt: number): boolean {
  return sql.exec("INSERT OR IGNORE INTO event_ids VALUES (?, ?)", eventId, receivedAt).rowsWritten > 0;
}

/** Whether a list comes for the first time. */
export function takeListId(sql: SqlStorage, listId: string, receivedAt: number): boolean {
  return sql.exec("INSERT OR IGNORE INTO lists VALUES (?, ?)", listId, receivedAt).rowsWritten > 0;
}

export function addEvent(sql: SqlStorage, event: IncomingEvent): void {
  if (event.type === "impression") return; // seen, not done: it is counted and logged, and would crowd the history out
  sql.exec(
    "INSERT INTO history (event_id, item, item_id, type, occurred_at, value) VALUES (?, ?, ?, ?, ?, ?)",
    event.eventId,
    event.item,
    event.item === null ? event.itemId : null,
    event.type,
    event.occurredAt,
    event.value,
  );
  if (event.item !== null) addActed(sql, event.item, event.type, event.occurredAt);
  if (event.text !== null)
    sql.exec("INSERT OR IGNORE INTO texts VALUES (?, ?, ?)", event.eventId, event.text, event.occurredAt);
}

function addActed(sql: SqlStorage, item: number, type: string, occurredAt: number): void {
  sql.exec(
    `INSERT INTO acted VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET occurred_at = max(occurred_at, excluded.occurred_at)`,
    item,
    type,
    occurredAt,
  );
}

/** Holds every table to its bound. */
export function trim(sql: SqlStorage, now: number): void {
  const beyond = (where: string, kept: number) =>
    sql.exec(
      `DELETE FROM history WHERE seq IN (SELECT seq FROM history WHERE ${where}
        ORDER BY occurred_at DESC, seq DESC LIMIT -1 OFFSET ?)`,
      kept,
    );
  beyond("item IS NULL", UNKNOWN_KEPT);
  beyond("type = 'skip'", SKIPS_KEPT);
  beyond("true", HISTORY_EVENTS);
  for (const [where, kept] of [
    ["type <> 'hide'", ACTED_KEPT],
    ["type = 'hide'", HIDDEN_KEPT],
  ] as const) {
    const { total } = sql.exec<{ total: number }>(`SELECT count(*) AS total FROM acted WHERE ${where}`).one();
    if (total > kept)
      sql.exec(
        `DELETE FROM acted WHERE (item, type) IN (SELECT item, type FROM acted WHERE ${where} ORDER BY occurred_at LIMIT ?)`,
        total - kept,
      );
  }
  sql.exec(
    "DELETE FROM texts WHERE event_id IN (SELECT event_id FROM texts ORDER BY occurred_at DESC LIMIT -1 OFFSET ?)",
    TEXTS_KEPT,
  );
  sql.exec(
    `DELETE FROM event_ids WHERE received_at < ?
      AND NOT EXISTS (SELECT 1 FROM history WHERE history.event_id = event_ids.event_id)`,
    now - EVENT_IDS_MS,
  );
  sql.exec("DELETE FROM lists WHERE received_at < ?", now - LIST_IDS_MS);
}

/** Newest last. */
export function readHistory(sql: SqlStorage): HistoryEvent[] {
  return sql
    .exec<Row<HistoryEvent>>(
      `SELECT event_id AS eventId, item, item_id AS itemId, type, occurred_at AS occurredAt, value
        FROM history ORDER BY occurred_at, seq`,
    )
    .toArray();
}

export function readActed(sql: SqlStorage): ActedItem[] {
  return sql.exec<Row<ActedItem>>("SELECT item, type, occurred_at AS occurredAt FROM acted").toArray();
}

export function readTexts(sql: SqlStorage): Map<string, string> {
  const rows = sql.exec<{ event_id: string; text: string }>("SELECT event_id, text FROM texts").toArray();
  return new Map(rows.map((row) => [row.event_id, row.text]));
}

export function unknownItemIds(sql: SqlStorage): string[] {
  return sql
    .exec<{ item_id: string }>("SELECT DISTINCT item_id FROM history WHERE item IS NULL AND item_id IS NOT NULL")
    .toArray()
    .map((row) => row.item_id);
}

/** Gives events of unknown items their numbers. */
export function resolveItems(sql: SqlStorage, numbers: Iterable<readonly [id: string, number: number]>): void {
  for (const [id, number] of numbers) {
    const rows = sql
      .exec<{ type: string; at: number }>(
        "SELECT type, occurred_at AS at FROM history WHERE item IS NULL AND item_id = ?",
        id,
      )
      .toArray();
    for (const { type, at } of rows) addActed(sql, number, type, at);
    sql.exec("UPDATE history SET item = ?, item_id = NULL WHERE item IS NULL AND item_id = ?", number, id);
  }
}

export function addChunk(sql: SqlStorage, lines: string): void {
  sql.exec("INSERT INTO outbox (lines) VALUES (?)", lines);
}

export interface Chunk {
  readonly seq: number;
  /** Log records, one JSON a line. */
  readonly lines: string;
}

export function readChunks(sql: SqlStorage, limit: number): Chunk[] {
  return sql.exec<Row<Chunk>>("SELECT seq, lines FROM outbox ORDER BY seq LIMIT ?", limit).toArray();
}

export function dropChunks(sql: SqlStorage, upTo: number): void {
  sql.exec("DELETE FROM outbox WHERE seq <= ?", upTo);
}
