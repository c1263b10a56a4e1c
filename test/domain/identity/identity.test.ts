/** Keys, sealed texts, user tokens and ids, apart from HTTP. */
import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { base62, hashKey, mintId, mintKey, parseKey } from "../../../functions/domain/identity/keys.ts";
import { base64url, fromBase64url, seal, sealingKey, unseal } from "../../../functions/domain/identity/sealed.ts";
import { judgeClaims, signUserToken } from "../../../functions/domain/identity/user-token.ts";
import { uuidv7 } from "../../../functions/domain/identity/uuid.ts";

const random = (count: number) => crypto.getRandomValues(new Uint8Array(count));
const NOW = Date.parse("2026-08-22T16:00:00Z");

describe("keys", () => {
  it("have the form of the wire and say their kind and id", () => {
    for (const kind of ["secret", "publishable"] as const) {
      const { id, key } = mintKey(kind, random);
      expect(key).toMatch(/^ew_(sk|pk)_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}$/);
      expect(parseKey(key)).toEqual({ kind, id });
      expect(parseKey(`${key}x`)).toBeUndefined();
      expect(parseKey(key.slice(1))).toBeUndefined();
    }
    expect(mintId("app", random)).toMatch(/^app_[0-9A-Za-z]{11}$/);
    expect(mintKey("userTokenSecret", random).key).toMatch(/^ew_ts_/);
  });

  it("spell the number of their bytes in base 62, always at full width", () => {
    expect(base62(new Uint8Array(32))).toBe("0".repeat(43));
    expect(base62(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 62]))).toBe("00000000010");
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 32 }), (bytes) => {
        const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let value = 0n;
        for (const character of base62(bytes)) value = value * 62n + BigInt(digits.indexOf(character));
        expect(value).toBe(BigInt(`0x${Buffer.from(bytes).toString("hex")}`));
      }),
    );
  });

  it("are kept as SHA-256 in hex", async () => {
    // FIPS 180-2, appendix B.1
    expect(await hashKey("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  });
});

describe("a sealed text", () => {
  const secret = "a worker secret that is long enough";

  it("opens with its key in its place, and with nothing else", async () => {
    const key = await sealingKey(secret, "a");
    const sealed = await seal(key, "ew_ts_x", "1:kid", random);
    expect(sealed).not.toContain("ew_ts");
    expect(await unseal(key, sealed, "1:kid")).toBe("ew_ts_x");
    await expect(unseal(key, sealed, "2:kid")).rejects.toThrow();
    await expect(unseal(await sealingKey(secret, "b"), sealed, "1:kid")).rejects.toThrow();
    await expect(unseal(await sealingKey(`${secret}!`, "a"), sealed, "1:kid")).rejects.toThrow();
    const bytes = fromBase64url(sealed);
    for (const place of [0, 12, bytes.length - 1]) {
      const changed = bytes.map((byte, index) => (index === place ? byte ^ 1 : byte));
      await expect(unseal(key, base64url(changed), "1:kid")).rejects.toThrow();
    }
    expect(await seal(key, "ew_ts_x", "1:kid", random)).not.toBe(sealed);
  });

  it("needs a Worker secret of 32 characters", async () => {
    await expect(sealingKey("short", "a")).rejects.toThrow("WORKER_SECRET has 5 characters, at least 32 are needed");
  });
});

describe("a user token", () => {
  it("is a JWT that node's own HMAC signs alike", async () => {
    const token = await signUserToken("ew_ts_k_s", {
      kid: "k",
      userId: "u_42",
      issuedAt: NOW + 999,
      lifetimeSeconds: 60,
    });
    const [header = "", claims = "", signature = ""] = token.split(".");
    expect(JSON.parse(Buffer.from(header, "base64url").toString())).toEqual({ alg: "HS256", typ: "JWT", kid: "k" });
    const iat = NOW / 1000;
    expect(JSON.parse(Buffer.from(claims, "base64url").toString())).toEqual({
      sub: "u_42",
      aud: "edgewise",
      iat,
      exp: iat + 60,
    });
    expect(createHmac("sha256", "ew_ts_k_s").update(`${header}.${claims}`).digest("base64url")).toBe(signature);
  });

  it("holds from a minute before iat to exp, a day at most, thirty for events", () => {
    const iat = NOW / 1000;
    const judge = (claims: object, now = NOW) =>
      judgeClaims({ sub: "u", aud: "edgewise", iat, exp: iat + 60, ...claims }, now).kind;
    expect(judge({})).toBe("valid");
    expect(judge({}, NOW - 60_000)).toBe("valid");
    expect(judge({}, NOW - 61_000)).toBe("refused");
    expect(judge({}, NOW + 59_999)).toBe("valid");
    expect(judge({}, NOW + 60_000)).toBe("refused");
    expect(judge({ exp: iat + 86_400 })).toBe("valid");
    expect(judge({ exp: iat + 86_401 })).toBe("refused");
    expect(judge({ aud: "events", exp: iat + 30 * 86_400 })).toBe("valid");
    expect(judge({ aud: "events", exp: iat + 30 * 86_400 + 1 })).toBe("refused");
    expect(judge({ nbf: iat + 120 })).toBe("refused");
    for (const aud of [undefined, "", "other", ["edgewise", "events"], [], 5]) expect(judge({ aud })).toBe("refused");
    for (const sub of [undefined, "", 5, "u".repeat(257)]) expect(judge({ sub })).toBe("refused");
    for (const unnameable of ["me", ".", "..", "\ud800"]) expect(judge({ sub: unnameable })).toBe("refused");
    for (const odd of ["...", "../", "Me", "\u{1f35d}", "constructor"]) expect(judge({ sub: odd })).toBe("valid");
    for (const bad of [undefined, "1", Number.NaN, Infinity, null]) {
      expect(judge({ exp: bad })).toBe("refused");
      expect(judge({ iat: bad })).toBe("refused");
    }
  });

  it("that has expired passes only within a grace that the caller asks for", () => {
    const iat = NOW / 1000 - 7200;
    const claims = { sub: "u", aud: "edgewise", iat, exp: iat + 3600 };
    expect(judgeClaims(claims, NOW).kind).toBe("refused");
    expect(judgeClaims(claims, NOW, 3601).kind).toBe("valid");
    expect(judgeClaims(claims, NOW, 3600).kind).toBe("refused");
  });
});

describe("a UUIDv7", () => {
  it("has the fields of RFC 9562 and sorts by its millisecond", () => {
    // RFC 9562, appendix A.6: 2022-02-22T19:22:22Z
    const example = Uint8Array.from(Buffer.from("0000000000000cc398c4dc0c0c07398f", "hex"));
    expect(uuidv7(0x017f22e279b0, () => example)).toBe("017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 48 - 2 }), (ms) => {
        expect(uuidv7(ms, random)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(uuidv7(ms, random) < uuidv7(ms + 1, random)).toBe(true);
      }),
    );
  });
});
