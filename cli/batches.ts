/** How rows are grouped into requests: few users a request, each user's events in the order of time, bounded in every direction. */

export interface Sendable {
  readonly line: number;
  readonly body: { readonly id: string; readonly userId?: string; readonly occurredAt?: string };
  readonly bytes: number;
}

export interface BatchBounds {
  readonly rows: number;
  readonly users: number;
  readonly bytes: number;
}

/** 40 users: each costs the server a call of its object. Bytes: under the 1 MiB of a body, with room for the envelope. */
export const BOUNDS: BatchBounds = { rows: 1000, users: 40, bytes: 1_000_000 };

/** By user in the order of their first row, then by time, then as in the file. A stable order for a given file. */
export function groupByUser(rows: readonly Sendable[]): Sendable[] {
  const users = new Map<string, Sendable[]>();
  for (const row of rows) {
    const user = row.body.userId ?? "";
    const own = users.get(user);
    if (own === undefined) users.set(user, [row]);
    else own.push(row);
  }
  const time = new Map(rows.map((row) => [row, Date.parse(row.body.occurredAt ?? "") || 0]));
  return [...users.values()].flatMap((own) => own.sort((a, b) => time.get(a)! - time.get(b)!));
}

/** Cuts rows into batches in their order. A row above `bytes` stands alone; the reader has refused it before. */
export function* batchesOf(rows: readonly Sendable[], bounds: BatchBounds): Generator<readonly Sendable[]> {
  let batch: Sendable[] = [];
  let users = new Set<string>();
  let bytes = 0;
  for (const row of rows) {
    const user = row.body.userId ?? "";
    const isFull =
      batch.length >= bounds.rows ||
      bytes + row.bytes + 1 > bounds.bytes ||
      (!users.has(user) && users.size >= bounds.users);
    if (isFull && batch.length > 0) {
      yield batch;
      [batch, users, bytes] = [[], new Set(), 0];
    }
    batch.push(row);
    users.add(user);
    bytes += row.bytes + 1;
  }
  if (batch.length > 0) yield batch;
}
