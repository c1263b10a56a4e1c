/** The SQLite of one log object: open rows, segments being sealed or rewritten, counters, and who may write. */
import { popularFactor, type Count } from "../domain/history/counters.ts";
import { DAY_MS, dayOf } from "../domain/history/event-time.ts";

/** Ids of lists are kept as long as a token may come back, and a little longer. */
const LIST_IDS_MS = 33 * DAY_MS;

const TABLES = [
  `CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), app INTEGER NOT NULL, shard INTEGER NOT NULL,
    next_segment INTEGER NOT NULL DEFAULT 1, tries INTEGER NOT NULL DEFAULT 0)`,
  `CREATE TABLE subjects (subject TEXT PRIMARY KEY, object TEXT NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE refused (subject TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE lists (list_id TEXT PRIMARY KEY, received_at INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE INDEX lists_by_age ON lists (received_at)`,
  `CREATE TABLE rows (id INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, day INTEGER NOT NULL,
    received_at INTEGER NOT NULL, records INTEGER NOT NULL, bytes INTEGER NOT NULL, lines TEXT NOT NULL, segment INTEGER)`,
  `CREATE INDEX rows_by_segment ON rows (segment, id)`,
  `CREATE INDEX rows_by_subject ON rows (subject)`,
  `CREATE TABLE segments (number INTEGER PRIMARY KEY, day INTEGER NOT NULL)`,
  `CREATE TABLE rewrites (old_key TEXT PRIMARY KEY, number INTEGER NOT NULL, subjects TEXT NOT NULL, removed TEXT NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE counters (day INTEGER NOT NULL, item INTEGER NOT NULL, views INTEGER NOT NULL, positives INTEGER NOT NULL,
    impressions INTEGER NOT NULL, weight REAL NOT NULL, PRIMARY KEY (day, item)) WITHOUT ROWID`,
  `CREATE TABLE totals (item INTEGER PRIMARY KEY, views INTEGER NOT NULL, positives INTEGER NOT NULL,
    impressions INTEGER NOT NULL, popular REAL NOT NULL)`,
  `CREATE INDEX totals_by_popular ON totals (popular)`,
];

/** What each user brought to each model's lists, for the comparison of models; made when the first list comes. */
const OUTCOMES = `CREATE TABLE IF NOT EXISTS outcomes (version TEXT NOT NULL, subject TEXT NOT NULL,
    since INTEGER NOT NULL, reward REAL NOT NULL, PRIMARY KEY (version, subject)) WITHOUT ROWID`;
const OUTCOMES_KEPT_MS = 60 * DAY_MS;

export function hasOutcomes(sql: SqlStorage): boolean {
  return sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'outcomes'").toArray().length > 0;
}

/** A user has seen a list by a model; the first one counts. */
export function addShown(sql: SqlStorage, version: string, subject: string, at: number): void {
  sql.exec(OUTCOMES);
  sql.exec("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, 0)", version, subject, at);
}

/** What a user brought counts for a model while its first list is younger than `within`. */
export function addReward(
  sql: SqlStorage,
  reward: { readonly version: string; readonly subject: string; readonly at: number; readonly value: number },
  within: number,
): void {
  if (!hasOutcomes(sql)) return;
  const { version, subject, at, value } = reward;
  const statement = `UPDATE outcomes SET reward = reward + ?
    WHERE version = ? AND subject = ? AND ? BETWEEN since AND since + ?`;
  sql.exec(statement, value, version, subject, at, within);
}

/** Rewards of users who first saw a list by the model at `since` or later, each cut to [-bound, bound]. */
export function outcomesOf(
  sql: SqlStorage,
  version: string,
  since: number,
  bound: number,
): { users: number; total: number; squares: number } {
  const none = { users: 0, total: 0, squares: 0 };
  if (!hasOutcomes(sql)) return none;
  const statement = `SELECT count(*) AS users, coalesce(sum(reward), 0) AS total, coalesce(sum(reward * reward), 0) AS squares
    FROM (SELECT max(-?3, min(?3, reward)) AS reward FROM outcomes WHERE version = ?1 AND since >= ?2)`;
  return sql.exec<{ users: number; total: number; squares: number }>(statement, version, since, bound).one();
}

export function dropOutcomes(sql: SqlStorage, subject: string): void {
  if (hasOutcomes(sql)) sql.exec("DELETE FROM outcomes WHERE subject = ?", subject);
}

export function trimOutcomes(sql: SqlStorage, now: number): void {
  if (hasOutcomes(sql)) sql.exec("DELETE FROM outcomes WHERE since < ?", now - OUTCOMES_KEPT_MS);
}

export function hasTables(sql: SqlStorage): boolean {
  return sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").toArray().length > 0;
}

export function createTables(sql: SqlStorage, app: number, shard: number): void {
  for (const statement of TABLES) sql.exec(statement);
  sql.exec("INSERT INTO meta (id, app, shard) VALUES (1, ?, ?)", app, shard);
}

type LogMeta = { app: number; shard: number; tries: number };

export function readMeta(sql: SqlStorage): LogMeta {
  return sql.exec<LogMeta>("SELECT app, shard, tries FROM meta").one();
}

export function writeTries(sql: SqlStorage, tries: number): void {
  sql.exec("UPDATE meta SET tries = ?", tries);
}

export function takeSegmentNumber(sql: SqlStorage): number {
  return sql
    .exec<{ number: number }>("UPDATE meta SET next_segment = next_segment + 1 RETURNING next_segment - 1 AS number")
    .one().number;
}

/** Highest sequence number taken of a subject; 0 for a new one. */
export function markOf(sql: SqlStorage, subject: string): number {
  return sql.exec<{ seq: number }>("SELECT seq FROM subjects WHERE subject = ?", subject).toArray()[0]?.seq ?? 0;
}

export function writeMark(sql: SqlStorage, subject: string, object: string, seq: number): void {
  sql.exec(
    "INSERT INTO subjects VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET object = excluded.object, seq = excluded.seq",
    subject,
    object,
    seq,
  );
}

export function isRefused(sql: SqlStorage, subject: string): boolean {
  return sql.exec("SELECT 1 FROM refused WHERE subject = ?", subject).toArray().length > 0;
}

export function refuse(sql: SqlStorage, subject: string, now: number): void {
  sql.exec("INSERT OR IGNORE INTO refused VALUES (?, ?)", subject, now);
  sql.exec("DELETE FROM subjects WHERE subject = ?", subject);
}

/** Names of users' objects after `after`, at most `limit`, in order of their subjects. */
export function readObjects(sql: SqlStorage, after: string, limit: number): { subject: string; object: string }[] {
  return sql
    .exec<{ subject: string; object: string }>(
      "SELECT subject, object FROM subjects WHERE subject > ? ORDER BY subject LIMIT ?",
      after,
      limit,
    )
    .toArray();
}

export function takeListId(sql: SqlStorage, listId: string, receivedAt: number): boolean {
  return sql.exec("INSERT OR IGNORE INTO lists VALUES (?, ?)", listId, receivedAt).rowsWritten > 0;
}

export function trimLists(sql: SqlStorage, now: number): void {
  sql.exec("DELETE FROM lists WHERE received_at < ?", now - LIST_IDS_MS);
}

export type LogRow = {
  id: number;
  subject: string;
  day: number;
  received_at: number;
  records: number;
  bytes: number;
  lines: string;
};

export function addRow(
  sql: SqlStorage,
  row: { subject: string; receivedAt: number; records: number; lines: string },
): void {
  sql.exec(
    "INSERT INTO rows (subject, day, received_at, records, bytes, lines) VALUES (?, ?, ?, ?, ?, ?)",
    row.subject,
    dayOf(row.receivedAt),
    row.receivedAt,
    row.records,
    row.lines.length,
    row.lines,
  );
}

export interface OpenSize {
  records: number;
  bytes: number;
  /** Receipt of the oldest open row; null when there is none. */
  oldest: number | null;
}

export function openSize(sql: SqlStorage): OpenSize {
  return sql
    .exec<{ records: number; bytes: number; oldest: number | null }>(
      `SELECT coalesce(sum(records), 0) AS records, coalesce(sum(bytes), 0) AS bytes, min(received_at) AS oldest
        FROM rows WHERE segment IS NULL`,
    )
    .one();
}

/**
 * Gives the oldest open rows of one day of receipt a segment number: as many as fit. Undefined when nothing is open. A
 * segment holds at least one row, however large.
 */
export function planSegment(sql: SqlStorage, fits: (records: number, bytes: number) => boolean): number | undefined {
  let records = 0;
  let bytes = 0;
  let last: { id: number; day: number } | undefined;
  const open = sql.exec<{ id: number; day: number; records: number; bytes: number }>(
    "SELECT id, day, records, bytes FROM rows WHERE segment IS NULL ORDER BY id",
  );
  for (const row of open) {
    records += row.records;
    bytes += row.bytes;
    if (last !== undefined && (row.day !== last.day || !fits(records, bytes))) break;
    last = row;
  }
  if (last === undefined) return undefined;
  const number = takeSegmentNumber(sql);
  sql.exec("INSERT INTO segments VALUES (?, ?)", number, last.day);
  sql.exec("UPDATE rows SET segment = ? WHERE segment IS NULL AND id <= ?", number, last.id);
  return number;
}

export function plannedSegments(sql: SqlStorage): { number: number; day: number }[] {
  return sql.exec<{ number: number; day: number }>("SELECT number, day FROM segments ORDER BY number").toArray();
}

export function rowsOfSegment(sql: SqlStorage, number: number): LogRow[] {
  return sql.exec<LogRow>("SELECT * FROM rows WHERE segment = ? ORDER BY id", number).toArray();
}

export function openRows(sql: SqlStorage): LogRow[] {
  return sql.exec<LogRow>("SELECT * FROM rows WHERE segment IS NULL ORDER BY id").toArray();
}

/** The rows of a planned segment under another number. */
export function renumberSegment(sql: SqlStorage, number: number): void {
  const next = takeSegmentNumber(sql);
  sql.exec("UPDATE segments SET number = ? WHERE number = ?", next, number);
  sql.exec("UPDATE rows SET segment = ? WHERE segment = ?", next, number);
}

export function dropSegment(sql: SqlStorage, number: number): void {
  sql.exec("DELETE FROM rows WHERE segment = ?", number);
  sql.exec("DELETE FROM segments WHERE number = ?", number);
}

/** Takes a subject's open rows out and gives their lines; rows of a segment being sealed stay for its rewriting. */
export function dropOpenRows(sql: SqlStorage, subject: string): string[] {
  return sql
    .exec<{ lines: string }>("DELETE FROM rows WHERE subject = ? AND segment IS NULL RETURNING lines", subject)
    .toArray()
    .map((row) => row.lines);
}

export interface Rewrite {
  readonly oldKey: string;
  readonly number: number;
  /** Subjects that go. */
  readonly subjects: readonly string[];
  /** What their records had counted. */
  readonly removed: readonly Count[];
}

export function addRewrite(sql: SqlStorage, rewrite: Rewrite): void {
  const { oldKey, number, subjects, removed } = rewrite;
  sql.exec(
    "INSERT INTO rewrites VALUES (?, ?, ?, ?)",
    oldKey,
    number,
    JSON.stringify(subjects),
    JSON.stringify(removed),
  );
}

export function readRewrites(sql: SqlStorage): Rewrite[] {
  return sql
    .exec<{ old_key: string; number: number; subjects: string; removed: string }>(
      "SELECT * FROM rewrites ORDER BY number",
    )
    .toArray()
    .map((row) => ({
      oldKey: row.old_key,
      number: row.number,
      subjects: JSON.parse(row.subjects) as string[],
      removed: JSON.parse(row.removed) as Count[],
    }));
}

export function moveRewrite(sql: SqlStorage, oldKey: string, number: number): void {
  sql.exec("UPDATE rewrites SET number = ? WHERE old_key = ?", number, oldKey);
}

export function dropRewrite(sql: SqlStorage, oldKey: string): void {
  sql.exec("DELETE FROM rewrites WHERE old_key = ?", oldKey);
}

/** Adds (sign 1) or takes away (-1) counts, per day and in total. */
export function applyCounts(sql: SqlStorage, counts: Iterable<Count>, sign: 1 | -1 = 1): void {
  for (const { day, item, views, positives, impressions, weight } of counts) {
    sql.exec(
      `INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET views = views + excluded.views,
        positives = positives + excluded.positives, impressions = impressions + excluded.impressions,
        weight = weight + excluded.weight`,
      day,
      item,
      sign * views,
      sign * positives,
      sign * impressions,
      sign * weight,
    );
    sql.exec(
      `INSERT INTO totals VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET views = views + excluded.views,
        positives = positives + excluded.positives, impressions = impressions + excluded.impressions,
        popular = popular + excluded.popular`,
      item,
      sign * views,
      sign * positives,
      sign * impressions,
      sign * weight * popularFactor(day),
    );
    if (sign === -1) {
      sql.exec(
        "DELETE FROM counters WHERE day = ? AND item = ? AND views = 0 AND positives = 0 AND impressions = 0",
        day,
        item,
      );
      sql.exec("DELETE FROM totals WHERE item = ? AND views = 0 AND positives = 0 AND impressions = 0", item);
    }
  }
}

export function clearCounts(sql: SqlStorage): void {
  sql.exec("DELETE FROM counters");
  sql.exec("DELETE FROM totals");
}

export function readCounts(sql: SqlStorage): Count[] {
  return sql.exec<{ [K in keyof Count]: number }>("SELECT * FROM counters ORDER BY day, item").toArray();
}

/** Sums over all days, for some items. */
export interface Totals {
  readonly item: number;
  readonly views: number;
  readonly positives: number;
  readonly impressions: number;
}

export function readTotals(sql: SqlStorage, items: readonly number[]): Totals[] {
  return sql
    .exec<{ item: number; views: number; positives: number; impressions: number }>(
      "SELECT item, views, positives, impressions FROM totals WHERE item IN (SELECT value FROM json_each(?)) ORDER BY item",
      JSON.stringify(items),
    )
    .toArray();
}

/** Uses totals_by_popular from its end. */
export function mostPopular(sql: SqlStorage, limit: number): { item: number; popular: number }[] {
  return sql
    .exec<{ item: number; popular: number }>(
      "SELECT item, popular FROM totals WHERE popular > 0 ORDER BY popular DESC, item LIMIT ?",
      limit,
    )
    .toArray();
}

/** Uses the primary key from a day on. */
export function weightsSince(sql: SqlStorage, day: number): { day: number; item: number; weight: number }[] {
  return sql
    .exec<{ day: number; item: number; weight: number }>(
      "SELECT day, item, weight FROM counters WHERE day >= ? AND weight > 0",
      day,
    )
    .toArray();
}
