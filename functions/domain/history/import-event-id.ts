/** The id of an imported row that has none: the same row always gets the same id, so importing twice doubles nothing. */
import { toBase32 } from "./text-codec.ts";

export interface ImportedRow {
  readonly userId: string;
  readonly itemId: string;
  readonly type: string;
  /** ms since 1970 */
  readonly occurredAt: number;
  /** 0 for the first row of this user, item, type and time, 1 for the second equal one. */
  readonly occurrence: number;
}

/** `imp_` and the first 26 characters (130 bits) of base32(sha256 of the JSON array of the five values), lower case. */
export async function importEventId(row: ImportedRow): Promise<string> {
  const text = JSON.stringify([row.userId, row.itemId, row.type, row.occurredAt, row.occurrence]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `imp_${toBase32(new Uint8Array(digest)).slice(0, 26)}`;
}
