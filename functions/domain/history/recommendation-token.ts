/**
 * `recommendationId`: the list that was shown, signed, so that serving it costs no write. Its layout, integers big-endian:
 * u8 version, u8 key id, u32 app, 16 bytes subject, u32 issued (s), u32 model, 8 bytes list id, u8 count,
 * per item { u32 number, u8 slot, u16 w }, 16 bytes MAC of all before. As text: `rec_` + base64url.
 */
import { DAY_MS } from "./event-time.ts";
import type { Slot } from "./events.ts";
import { fromBase64Url, toBase64Url } from "./text-codec.ts";
import { MAC_BYTES, isSameMac, macOf } from "./token-mac.ts";

export { tokenKey } from "./token-mac.ts";

export const TOKEN_PREFIX = "rec_";
const VERSION = 1;
const HEAD_BYTES = 39;
const ITEM_BYTES = 7;

/** The token's u8 slot is the index into this. */
export const SLOTS: readonly Slot[] = ["ranked", "explored", "pinned"];

export interface TokenItem {
  readonly number: number;
  /** 0 ranked, 1 explored, 2 pinned */
  readonly slot: number;
  /** round(-4096 log2 w), u16 */
  readonly w: number;
}

export interface TokenParts {
  readonly keyId: number;
  readonly app: number;
  /** 16 bytes; all zero: made for nobody in particular. */
  readonly subject: Uint8Array;
  readonly issuedSeconds: number;
  /** 0: no model made the list. */
  readonly model: number;
  /** 8 bytes */
  readonly listId: Uint8Array;
  /** At most 255, in the order shown. */
  readonly items: readonly TokenItem[];
}

/** @throws RangeError when a part does not fit its place */
export async function encodeToken(parts: TokenParts, key: CryptoKey): Promise<string> {
  if (parts.subject.length !== 16) throw new RangeError(`subject must be 16 bytes, got ${parts.subject.length}`);
  if (parts.listId.length !== 8) throw new RangeError(`listId must be 8 bytes, got ${parts.listId.length}`);
  if (parts.items.length > 255) throw new RangeError(`a token holds at most 255 items, got ${parts.items.length}`);
  const bytes = new Uint8Array(HEAD_BYTES + ITEM_BYTES * parts.items.length + MAC_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, unsigned("keyId", parts.keyId, 0xff));
  view.setUint32(2, unsigned("app", parts.app, 0xffff_ffff));
  bytes.set(parts.subject, 6);
  view.setUint32(22, unsigned("issuedSeconds", parts.issuedSeconds, 0xffff_ffff));
  view.setUint32(26, unsigned("model", parts.model, 0xffff_ffff));
  bytes.set(parts.listId, 30);
  view.setUint8(38, parts.items.length);
  let at = HEAD_BYTES;
  for (const item of parts.items) {
    view.setUint32(at, unsigned("number", item.number, 0xffff_ffff));
    view.setUint8(at + 4, unsigned("slot", item.slot, SLOTS.length - 1));
    view.setUint16(at + 5, unsigned("w", item.w, 0xffff));
    at += ITEM_BYTES;
  }
  bytes.set(await macOf(key, bytes.subarray(0, at)), at);
  return TOKEN_PREFIX + toBase64Url(bytes);
}

/** The parts of an authentic token; undefined for anything else, whatever is wrong with it. */
export async function decodeToken(text: string, key: CryptoKey): Promise<TokenParts | undefined> {
  if (!text.startsWith(TOKEN_PREFIX)) return undefined;
  const bytes = fromBase64Url(text.slice(TOKEN_PREFIX.length));
  if (bytes === undefined || bytes.length < HEAD_BYTES + MAC_BYTES || bytes[0] !== VERSION) return undefined;
  const count = bytes[38]!;
  const end = HEAD_BYTES + ITEM_BYTES * count;
  if (bytes.length !== end + MAC_BYTES) return undefined;
  if (!isSameMac(await macOf(key, bytes.subarray(0, end)), bytes.subarray(end))) return undefined;
  const view = new DataView(bytes.buffer);
  const items: TokenItem[] = [];
  for (let at = HEAD_BYTES; at < end; at += ITEM_BYTES)
    items.push({ number: view.getUint32(at), slot: view.getUint8(at + 4), w: view.getUint16(at + 5) });
  return {
    keyId: bytes[1]!,
    app: view.getUint32(2),
    subject: bytes.slice(6, 22),
    issuedSeconds: view.getUint32(22),
    model: view.getUint32(26),
    listId: bytes.slice(30, 38),
    items,
  };
}

/** An event may have happened this long after its list was made. */
export const TOKEN_EVENT_MS = 48 * 3_600_000;
/** A token may come back this long after its list was made. */
export const TOKEN_RECEIPT_MS = 30 * DAY_MS;
/** The Worker that issued and the device whose time was corrected may differ by this much. */
const EARLY_MS = 60_000;

/** Whether a list made at `issuedSeconds` may be tied to an event of `occurredAt` (corrected) that came at `receivedAt`. */
export function isTokenTimely(issuedSeconds: number, occurredAt: number, receivedAt: number): boolean {
  const issuedAt = issuedSeconds * 1000;
  return (
    occurredAt >= issuedAt - EARLY_MS &&
    occurredAt <= issuedAt + TOKEN_EVENT_MS &&
    receivedAt <= issuedAt + TOKEN_RECEIPT_MS
  );
}

function unsigned(name: string, value: number, largest: number): number {
  if (!Number.isInteger(value) || value < 0 || value > largest)
    throw new RangeError(`${name} must be an integer from 0 to ${largest}, got ${value}`);
  return value;
}
