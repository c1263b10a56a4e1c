/** GitHub's scheme against the vectors and under any change of a byte. */
import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { githubKey, signGithub, verifyGithub } from "../../../functions/domain/webhooks/github.ts";
import { readVectors } from "./vectors.ts";

const { vector, cases } = readVectors("github-hmac.json") as {
  vector: { secret: string; body: string; signature: string };
  cases: { name: string; header: string | null; body: string; expect: "ok" | "error" }[];
};

const encoder = new TextEncoder();
const DELIVERY = { "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "x-github-event": "push" };

const verify = async (signature: string | null, body: string, more: Record<string, string> = {}) => {
  const headers = new Headers({
    ...DELIVERY,
    ...(signature === null ? {} : { "X-Hub-Signature-256": signature }),
    ...more,
  });
  return await verifyGithub([await githubKey(vector.secret)], headers, encoder.encode(body));
};

describe("GitHub's vectors", () => {
  it.each(cases)("$name", async ({ header, body, expect: expected }) => {
    expect((await verify(header, body)).kind === "verified" ? "ok" : "error").toBe(expected);
  });

  it("are signed alike", async () => {
    expect(cases).toHaveLength(9);
    expect(await signGithub(await githubKey(vector.secret), encoder.encode(vector.body))).toBe(vector.signature);
  });
});

describe("a delivery of GitHub", () => {
  it("gives what to remember: its id and its signature", async () => {
    expect(await verify(vector.signature, vector.body)).toEqual({
      kind: "verified",
      deliveryId: DELIVERY["x-github-delivery"],
      event: "push",
      signature: vector.signature,
    });
  });

  it("says which header is missing or malformed", async () => {
    const missing = { kind: "missing-header", header: "x-hub-signature-256" };
    expect(await verify(null, vector.body)).toEqual(missing);
    expect(await verify("", vector.body)).toEqual(missing);
    const upper = vector.signature.toUpperCase().replace("SHA256", "sha256");
    for (const signature of [upper, `sha1=${"0".repeat(40)}`, vector.signature.slice(0, -1)]) {
      expect(await verify(signature, vector.body)).toEqual({ kind: "malformed-header", header: "x-hub-signature-256" });
    }
    for (const [header, value] of [
      ["x-github-delivery", "a b"],
      ["x-github-delivery", "a".repeat(65)],
      ["x-github-event", "Push"],
    ] as const) {
      expect(await verify(vector.signature, vector.body, { [header]: value })).toEqual({
        kind: "malformed-header",
        header,
      });
    }
    expect(await verify(vector.signature, vector.body, { "x-github-delivery": "" })).toEqual({
      kind: "missing-header",
      header: "x-github-delivery",
    });
  });

  it("verifies with either of two secrets and with no changed byte", async () => {
    const text = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" });
    const body = fc.uint8Array({ minLength: 1, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(text, text, body, fc.nat(), async (first, second, bytes, index) => {
        fc.pre(first !== second);
        const keys = [await githubKey(first), await githubKey(second)];
        const signature = `sha256=${createHmac("sha256", second).update(bytes).digest("hex")}`;
        expect(await signGithub(keys[1]!, bytes)).toBe(signature);
        const headers = new Headers({ ...DELIVERY, "x-hub-signature-256": signature });
        expect((await verifyGithub(keys, headers, bytes)).kind).toBe("verified");
        expect(await verifyGithub(keys.slice(0, 1), headers, bytes)).toEqual({ kind: "no-matching-signature" });
        const changed = bytes.map((byte, at) => (at === index % bytes.length ? byte ^ 1 : byte));
        expect(await verifyGithub(keys, headers, changed)).toEqual({ kind: "no-matching-signature" });
      }),
      { numRuns: 50 },
    );
  });

  it("needs a secret", async () => {
    await expect(githubKey("")).rejects.toThrow(RangeError);
    await expect(verifyGithub([], new Headers(DELIVERY), new Uint8Array(0))).rejects.toThrow(RangeError);
  });
});
