/** Standard Webhooks: the vectors in both directions, against a second implementation, and under any change of a byte. */
import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeNewSecret,
  decodeSecret,
  mintSecret,
  signMessage,
  signatureKey,
  verifyMessage,
} from "../../../functions/domain/webhooks/signature.ts";
import { VECTOR, emptySecrets, failuresOf, secondVerifier, signCases, verifyChecks } from "./vectors.ts";
import type { Defect, Verifier } from "./vectors.ts";

const encoder = new TextEncoder();
const random = (count: number) => crypto.getRandomValues(new Uint8Array(count));

async function keyOf(secret: string): Promise<CryptoKey> {
  const verdict = decodeSecret(secret);
  if (verdict.kind !== "decoded") throw new Error(verdict.kind);
  return await signatureKey(verdict.bytes);
}

const ours: Verifier = async ({ secret, headers, body, nowSeconds }) => {
  const options = { nowMs: nowSeconds * 1000 };
  const { kind } = await verifyMessage([await keyOf(secret)], new Headers(headers), encoder.encode(body), options);
  return kind === "verified" ? "ok" : kind;
};

describe("the vectors of Standard Webhooks", () => {
  it("are all here: 30 checks", () => {
    expect(emptySecrets.length + signCases.length + verifyChecks.length).toBe(30);
  });

  for (const [place, { expected, ...check }] of verifyChecks.entries()) {
    it(`verify ${place + 1}: ${check.name}`, async () => {
      expect(await ours(check)).toBe(expected);
    });
  }

  it.each(signCases)("sign: $name", async ({ secret, id, timestamp, body, expect: expected }) => {
    const message = { id: id!, timestampSeconds: timestamp!, body: encoder.encode(body) };
    expect(await signMessage([await keyOf(secret!)], message)).toEqual({
      "webhook-id": id,
      "webhook-timestamp": String(timestamp),
      "webhook-signature": expected.signature,
    });
  });

  it.each([...emptySecrets, undefined])("construct: %j is an empty secret", async (secret) => {
    expect(decodeSecret(secret)).toEqual({ kind: "empty-secret" });
    await expect(signatureKey(new Uint8Array(0))).rejects.toThrow(RangeError);
  });

  it("hold for a second implementation, and each planted defect fails one of them", async () => {
    expect(await failuresOf(ours)).toEqual([]);
    expect(await failuresOf(secondVerifier())).toEqual([]);
    const caught: Record<Defect, string> = {
      "compares a prefix": "partial signature",
      "keeps no past limit": "timestamp too old",
      "keeps no future limit": "timestamp too new",
      "refuses the limit itself": "age exactly 300 s is accepted",
      "reads any version": "right value under another version label is not accepted",
      "reads the first signature only": "several signatures, one matches",
      "takes text for a time": "timestamp is not a number",
      "parses and writes the body again": "valid signature",
      "looks for headers in lower case": "header names are case-insensitive",
      "signs without the id": "other id",
      "signs without the time": "other timestamp inside the window",
      "keeps the prefix of the secret": "valid signature",
      "asks for no id": "missing id",
    };
    for (const [defect, check] of Object.entries(caught)) {
      expect(await failuresOf(secondVerifier(defect as Defect)), defect).toContain(check);
    }
  });
});

describe("a secret", () => {
  it("is minted as whsec_ and 32 bytes of base64, and is fit as a new one", () => {
    const secret = mintSecret(random);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(decodeNewSecret(secret)).toMatchObject({ kind: "decoded", bytes: { length: 32 } });
    expect(mintSecret(random)).not.toBe(secret);
  });

  it("has 24 to 64 bytes where it is new", () => {
    const ofLength = (bytes: number) => `whsec_${Buffer.alloc(bytes, 7).toString("base64")}`;
    expect([23, 24, 64, 65].map((bytes) => decodeNewSecret(ofLength(bytes)).kind)).toEqual([
      "secret-length",
      "decoded",
      "decoded",
      "secret-length",
    ]);
    expect(decodeSecret(ofLength(1)).kind).toBe("decoded");
    expect(decodeNewSecret("")).toEqual({ kind: "empty-secret" });
  });

  it.each([
    "whsec_A",
    "whsec_AA=",
    "whsec_=",
    "whsec_==",
    "whsec_====",
    "whsec_ AAAA",
    "whsec_AAAA\n",
    "whsec_AA-_",
    "whsk_AAAA",
    "é",
  ])("is not %j", (secret) => {
    expect(decodeSecret(secret)).toEqual({ kind: "malformed-secret" });
  });
});

const messages = fc.record({
  id: fc.stringMatching(/^msg_[0-9A-Za-z]{1,40}$/),
  timestampSeconds: fc.integer({ min: 1, max: 99_999_999_999 }),
  body: fc.uint8Array({ maxLength: 300 }),
});
const secrets = fc.uint8Array({ minLength: 24, maxLength: 64 });

describe("a signed message", () => {
  it("verifies with either of two live secrets, also where each side has one of them", async () => {
    await fc.assert(
      fc.asyncProperty(messages, secrets, secrets, async (message, first, second) => {
        const [old, fresh] = [await signatureKey(first), await signatureKey(second)];
        const both = new Headers(await signMessage([fresh, old], message));
        const one = new Headers(await signMessage([old], message));
        const now = { nowMs: message.timestampSeconds * 1000 };
        const verified = { kind: "verified", id: message.id, timestampSeconds: message.timestampSeconds };
        expect(both.get("webhook-signature")).toMatch(/^v1,\S{44} v1,\S{44}$/);
        for (const keys of [[old], [fresh], [old, fresh]]) {
          expect(await verifyMessage(keys, both, message.body, now)).toEqual(verified);
        }
        expect(await verifyMessage([fresh, old], one, message.body, now)).toEqual(verified);
      }),
      { numRuns: 50 },
    );
  });

  it("is what node:crypto makes of the same bytes, also of bytes that are no UTF-8", async () => {
    await fc.assert(
      fc.asyncProperty(messages, secrets, async (message, secret) => {
        const mac = createHmac("sha256", secret).update(`${message.id}.${message.timestampSeconds}.`);
        const headers = await signMessage([await signatureKey(secret)], message);
        expect(headers["webhook-signature"]).toBe(`v1,${mac.update(message.body).digest("base64")}`);
      }),
      { numRuns: 50 },
    );
  });

  it("fails with any changed byte of body, id, timestamp, signature or secret", async () => {
    const places = fc.constantFrom("body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret");
    await fc.assert(
      fc.asyncProperty(messages, secrets, places, fc.nat(), fc.integer({ min: 1, max: 127 }), async (...input) => {
        const [message, secret, place, index, mask] = input;
        const headers = await signMessage([await signatureKey(secret)], message);
        const flip = (bytes: Uint8Array) => bytes.map((byte, at) => (at === index % bytes.length ? byte ^ mask : byte));
        const body = place === "body" ? flip(message.body) : message.body;
        const key = await signatureKey(place === "secret" ? flip(secret) : secret);
        const received = new Map<string, string>(Object.entries(headers));
        if (place.startsWith("webhook-")) {
          received.set(place, Buffer.from(flip(encoder.encode(received.get(place)))).toString("latin1"));
        }
        fc.pre(place !== "body" || body.length > 0);
        // a map in the place of Headers, which would refuse or trim some of these
        const lookup = { get: (name: string) => received.get(name) ?? null } as Headers;
        const result = await verifyMessage([key], lookup, body, { nowMs: message.timestampSeconds * 1000 });
        expect(result.kind).not.toBe("verified");
      }),
      { numRuns: 400 },
    );
  });

  it("is one spelling: the other base64 texts of the same bytes don't count", async () => {
    const key = await keyOf(VECTOR.secret);
    const last = VECTOR.signature.at(-2)!;
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const next = alphabet[alphabet.indexOf(last) + 1];
    const other = `${VECTOR.signature.slice(0, -2)}${next}=`;
    expect(Buffer.from(other.slice(3), "base64")).toEqual(Buffer.from(VECTOR.signature.slice(3), "base64"));
    for (const signature of [other, VECTOR.signature.slice(0, -1), `${VECTOR.signature},x`, ` ${other}`]) {
      const headers = new Headers({
        "webhook-id": VECTOR.id,
        "webhook-timestamp": String(VECTOR.timestamp),
        "webhook-signature": signature,
      });
      const options = { nowMs: VECTOR.timestamp * 1000 };
      const result = await verifyMessage([key], headers, encoder.encode(VECTOR.body), options);
      expect(result, signature).toEqual({ kind: "no-matching-signature" });
    }
  });
});

describe("verifying", () => {
  const verify = async (headers: Record<string, string>, options: Parameters<typeof verifyMessage>[3]) => {
    const all = { "webhook-id": VECTOR.id, "webhook-timestamp": String(VECTOR.timestamp), ...headers };
    const signed = new Headers({ "webhook-signature": VECTOR.signature, ...all });
    return await verifyMessage([await keyOf(VECTOR.secret)], signed, encoder.encode(VECTOR.body), options);
  };
  const nowMs = VECTOR.timestamp * 1000;

  it("says how far a timestamp is off", async () => {
    expect(await verify({}, { nowMs: nowMs + 301_000 })).toEqual({ kind: "timestamp-too-old", ageSeconds: 301 });
    expect(await verify({}, { nowMs: nowMs - 301_000 })).toEqual({ kind: "timestamp-too-new", aheadSeconds: 301 });
    expect(await verify({}, { nowMs: nowMs + 11_000, toleranceSeconds: 10 })).toMatchObject({ ageSeconds: 11 });
  });

  it("names the missing header", async () => {
    expect(await verify({ "webhook-id": "" }, { nowMs })).toEqual({ kind: "missing-header", header: "webhook-id" });
  });

  it.each(["1614265330.0", " 1614265330x", "+1614265330", "01614265330", "1e9", "0x60", "-1", "9999999999999"])(
    "takes %j for no timestamp",
    async (timestamp) => {
      expect(await verify({ "webhook-timestamp": timestamp }, { nowMs })).toEqual({ kind: "bad-timestamp" });
    },
  );

  it.each(["msg_a.1614265330", "msg a", "m".repeat(257)])("takes %j for no id", async (id) => {
    expect(await verify({ "webhook-id": id }, { nowMs })).toEqual({ kind: "bad-id" });
  });

  it("refuses when its clock or its tolerance is no number", async () => {
    expect((await verify({}, { nowMs: Number.NaN })).kind).toBe("timestamp-too-old");
    expect((await verify({}, { nowMs, toleranceSeconds: Number.NaN })).kind).toBe("timestamp-too-old");
  });

  it("needs one or two secrets, and signing an id without a full stop", async () => {
    const key = await keyOf(VECTOR.secret);
    const message = { id: "msg_1", timestampSeconds: 1, body: new Uint8Array(0) };
    await expect(verifyMessage([], new Headers(), message.body, { nowMs })).rejects.toThrow(RangeError);
    await expect(signMessage([key, key, key], message)).rejects.toThrow(RangeError);
    await expect(signMessage([key], { ...message, id: "msg_1.2" })).rejects.toThrow(RangeError);
    await expect(signMessage([key], { ...message, timestampSeconds: 1.5 })).rejects.toThrow(RangeError);
  });
});
