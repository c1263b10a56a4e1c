/** The signed tokens: their bytes against an independent computation with node:crypto, and that nothing forged passes. */
import { createHmac, hkdfSync } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CURSOR_ITEMS, decodeCursor, encodeCursor } from "../../../functions/domain/history/cursor-token.ts";
import {
  decodeToken,
  encodeToken,
  isTokenTimely,
  tokenKey,
  type TokenParts,
} from "../../../functions/domain/history/recommendation-token.ts";
import { fromBase64Url, fromHex, toBase32, toBase64Url, toHex } from "../../../functions/domain/history/text-codec.ts";

const SECRET = "a-worker-secret-of-at-least-32-characters";
const key = await tokenKey(SECRET, 7);

const known: TokenParts = {
  keyId: 1,
  app: 7,
  subject: fromHex("000102030405060708090a0b0c0d0e0f"),
  issuedSeconds: 0x6924_0000,
  model: 31,
  listId: fromHex("a1a2a3a4a5a6a7a8"),
  items: [
    { number: 1, slot: 0, w: 0 },
    { number: 0xffff_ffff, slot: 1, w: 65_535 },
    { number: 258, slot: 2, w: 4096 },
  ],
};

/** HKDF (RFC 5869) and HMAC (RFC 2104) of Node, apart from WebCrypto. */
function macByNode(app: number, message: Buffer): Buffer {
  const derived = Buffer.from(hkdfSync("sha256", SECRET, "", `edgewise/token/${app}`, 32));
  return createHmac("sha256", derived).update(message).digest().subarray(0, 16);
}

describe("a recommendation token", () => {
  it("has the documented bytes, signed with HMAC-SHA-256 under HKDF of secret and app", async () => {
    const payload = Buffer.from(
      "01" +
        "01" +
        "00000007" +
        "000102030405060708090a0b0c0d0e0f" +
        "69240000" +
        "0000001f" +
        "a1a2a3a4a5a6a7a8" +
        "03" +
        "00000001000000" +
        "ffffffff01ffff" +
        "00000102021000",
      "hex",
    );
    const expected = Buffer.concat([payload, macByNode(7, payload)]).toString("base64url");
    expect(await encodeToken(known, key)).toBe(`rec_${expected}`);
  });

  it("has about 260 characters for 20 items", async () => {
    const items = Array.from({ length: 20 }, (_, i) => ({ number: i + 1, slot: 0, w: i }));
    expect((await encodeToken({ ...known, items }, key)).length).toBe(264);
  });

  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  const parts = fc.record({
    keyId: fc.integer({ min: 0, max: 255 }),
    app: u32,
    subject: bytes(16),
    issuedSeconds: u32,
    model: u32,
    listId: bytes(8),
    items: fc.array(
      fc.record({ number: u32, slot: fc.integer({ min: 0, max: 2 }), w: fc.integer({ min: 0, max: 65_535 }) }),
      { maxLength: 255 },
    ),
  });

  it("gives back what it was made of", async () => {
    await fc.assert(
      fc.asyncProperty(parts, async (given) => {
        expect(await decodeToken(await encodeToken(given, key), key)).toEqual(given);
      }),
      { numRuns: 60 },
    );
  });

  it("is refused when any one character is changed, cut off or added", async () => {
    const text = await encodeToken(known, key);
    for (let at = 0; at < text.length; at += 1) {
      const other = text[at] === "A" ? "B" : "A";
      const changed = await decodeToken(text.slice(0, at) + other + text.slice(at + 1), key);
      // the last character may carry unused bits; the bytes are the same then
      if (changed !== undefined) expect(at).toBe(text.length - 1);
      expect(await decodeToken(text.slice(0, at), key)).toBeUndefined();
    }
    expect(await decodeToken(`${text}A`, key)).toBeUndefined();
    expect(await decodeToken(`${text}AAAA`, key)).toBeUndefined();
  });

  it("is refused under the key of another app or secret", async () => {
    const text = await encodeToken(known, key);
    expect(await decodeToken(text, await tokenKey(SECRET, 8))).toBeUndefined();
    expect(await decodeToken(text, await tokenKey(`${SECRET}!`, 7))).toBeUndefined();
  });

  it("does not take parts that do not fit their place", async () => {
    await expect(encodeToken({ ...known, model: 2 ** 32 }, key)).rejects.toThrow("model must be an integer");
    await expect(encodeToken({ ...known, subject: new Uint8Array(15) }, key)).rejects.toThrow("16 bytes");
    const items = Array.from({ length: 256 }, () => ({ number: 1, slot: 0, w: 0 }));
    await expect(encodeToken({ ...known, items }, key)).rejects.toThrow("255 items");
  });

  it("holds for an event up to 48 h after issue and a receipt up to 30 days after it", () => {
    const issued = 1_700_000_000;
    const at = issued * 1000;
    const hours = 3_600_000;
    expect(isTokenTimely(issued, at, at)).toBe(true);
    expect(isTokenTimely(issued, at + 48 * hours, at + 720 * hours)).toBe(true);
    expect(isTokenTimely(issued, at + 48 * hours + 1, at + 49 * hours)).toBe(false);
    expect(isTokenTimely(issued, at + hours, at + 720 * hours + 1)).toBe(false);
    expect(isTokenTimely(issued, at - hours, at)).toBe(false);
  });
});

describe("a cursor", () => {
  const cursor = {
    keyId: 1,
    app: 7,
    subject: new Uint8Array(16),
    expiresSeconds: 1_700_001_800,
    shown: [5, 4_000_000_000, 1],
  };

  it("gives back what it was made of and fits into a request at its largest", async () => {
    expect(await decodeCursor(await encodeCursor(cursor, key), key)).toEqual(cursor);
    const shown = Array.from({ length: CURSOR_ITEMS }, (_, i) => i);
    expect((await encodeCursor({ ...cursor, shown }, key)).length).toBeLessThanOrEqual(8192);
  });

  it("is signed apart from recommendation tokens: the prefix is part of what is signed", async () => {
    const bytes = Buffer.from((await encodeCursor(cursor, key)).slice(2), "base64url");
    const payload = bytes.subarray(0, -16);
    expect(bytes.subarray(-16)).toEqual(macByNode(7, Buffer.concat([Buffer.from("c_"), payload])));
  });

  it("is refused when tampered with or from another app", async () => {
    const text = await encodeCursor(cursor, key);
    expect(await decodeCursor(text.replace("c_A", "c_B"), key)).toBeUndefined();
    expect(await decodeCursor(text, await tokenKey(SECRET, 8))).toBeUndefined();
    expect(await decodeCursor(await encodeToken(known, key), key)).toBeUndefined();
  });
});

describe("bytes as text", () => {
  it("follows the base32 vectors of RFC 4648, in lower case and without padding", () => {
    const vectors = {
      "": "",
      f: "my",
      fo: "mzxq",
      foo: "mzxw6",
      foob: "mzxw6yq",
      fooba: "mzxw6ytb",
      foobar: "mzxw6ytboi",
    };
    for (const [text, expected] of Object.entries(vectors))
      expect(toBase32(new TextEncoder().encode(text))).toBe(expected);
  });

  it("goes to base64url and hex and back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(toBase64Url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
        expect(fromBase64Url(toBase64Url(bytes))).toEqual(bytes);
        expect(fromHex(toHex(bytes))).toEqual(bytes);
      }),
    );
    expect(fromBase64Url("a")).toBeUndefined();
    expect(fromBase64Url("ab+/")).toBeUndefined();
  });
});
