/**
 * `nextCursor`: what was shown already, signed. Layout, integers big-endian: u8 version, u8 key id, u32 app, 16 bytes subject,
 * u32 expires (s), u16 count, per item u32 number, 16 bytes MAC of the ASCII bytes `c_` and all before. As text: `c_` + base64url.
 */
import { fromBase64Url, toBase64Url } from "./text-codec.ts";
import { MAC_BYTES, isSameMac, macOf } from "./token-mac.ts";

export const CURSOR_PREFIX = "c_";
/** A cursor lives 30 minutes. */
export const CURSOR_SECONDS = 1800;
/** Keeps the cursor below the 8,192 characters that a request takes. */
export const CURSOR_ITEMS = 1500;

const VERSION = 1;
const HEAD_BYTES = 28;
const PREFIX_BYTES = new TextEncoder().encode(CURSOR_PREFIX);

export interface CursorParts {
  readonly keyId: number;
  readonly app: number;
  /** 16 bytes; all zero: of nobody in particular. */
  readonly subject: Uint8Array;
  readonly expiresSeconds: number;
  /** Item numbers that earlier pages showed, at most 1,500. */
  readonly shown: readonly number[];
}

/** @throws RangeError when a part does not fit its place */
export async function encodeCursor(parts: CursorParts, key: CryptoKey): Promise<string> {
  if (parts.subject.length !== 16) throw new RangeError(`subject must be 16 bytes, got ${parts.subject.length}`);
  if (parts.shown.length > CURSOR_ITEMS)
    throw new RangeError(`a cursor holds at most ${CURSOR_ITEMS} items, got ${parts.shown.length}`);
  const bytes = new Uint8Array(HEAD_BYTES + 4 * parts.shown.length + MAC_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, parts.keyId);
  view.setUint32(2, parts.app);
  bytes.set(parts.subject, 6);
  view.setUint32(22, parts.expiresSeconds);
  view.setUint16(26, parts.shown.length);
  let at = HEAD_BYTES;
  for (const number of parts.shown) {
    view.setUint32(at, number);
    at += 4;
  }
  bytes.set(await macOf(key, prefixed(bytes.subarray(0, at))), at);
  return CURSOR_PREFIX + toBase64Url(bytes);
}

/** The parts of an authentic cursor, expired or not; undefined for anything else. */
export async function decodeCursor(text: string, key: CryptoKey): Promise<CursorParts | undefined> {
  if (!text.startsWith(CURSOR_PREFIX)) return undefined;
  const bytes = fromBase64Url(text.slice(CURSOR_PREFIX.length));
  if (bytes === undefined || bytes.length < HEAD_BYTES + MAC_BYTES || bytes[0] !== VERSION) return undefined;
  const view = new DataView(bytes.buffer);
  const end = HEAD_BYTES + 4 * view.getUint16(26);
  if (bytes.length !== end + MAC_BYTES) return undefined;
  if (!isSameMac(await macOf(key, prefixed(bytes.subarray(0, end))), bytes.subarray(end))) return undefined;
  const shown: number[] = [];
  for (let at = HEAD_BYTES; at < end; at += 4) shown.push(view.getUint32(at));
  return {
    keyId: bytes[1]!,
    app: view.getUint32(2),
    subject: bytes.slice(6, 22),
    expiresSeconds: view.getUint32(22),
    shown,
  };
}

/** Sets cursors apart from recommendation tokens, which are signed under the same key. */
function prefixed(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(PREFIX_BYTES.length + payload.length);
  message.set(PREFIX_BYTES);
  message.set(payload, PREFIX_BYTES.length);
  return message;
}
