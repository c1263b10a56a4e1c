/**
 * Standard Webhooks 1.0.0, symmetric scheme v1, in both directions: HMAC-SHA-256 over `id.timestamp.body`, the body as the raw bytes
 * of the wire. Nothing here parses a body, so nothing can be verified in another spelling than the one that was sent.
 */
import { isSameMac } from "../history/token-mac.ts";
import type { RandomBytes } from "../identity/keys.ts";

export const SECRET_PREFIX = "whsec_";
/** Decoded bytes of a secret that is accepted as a new one; an older one may have any length but 0. */
export const SECRET_BYTES = { min: 24, max: 64, minted: 32 } as const;

/** How far a timestamp may lie from now, both ways; exactly this far still counts. */
export const TOLERANCE_SECONDS = 300;
/** A secret and its predecessor while it is being replaced. */
export const MAX_LIVE_SECRETS = 2;

export const SIGNATURE_HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"] as const;
export type SignatureHeader = (typeof SIGNATURE_HEADERS)[number];

const VERSION = "v1";
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
// the specification forbids "." alone, which would let id and timestamp trade characters; the rest keeps ids storable
const MESSAGE_ID = /^[!-\-/-~]{1,256}$/;
const TIMESTAMP = /^(?:0|[1-9]\d{0,11})$/;
const encoder = new TextEncoder();

export type SecretVerdict =
  | { readonly kind: "decoded"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "empty-secret" }
  | { readonly kind: "malformed-secret" };

export type NewSecretVerdict = SecretVerdict | { readonly kind: "secret-length"; readonly bytes: number };

export type Verification =
  | { readonly kind: "verified"; readonly id: string; readonly timestampSeconds: number }
  | { readonly kind: "missing-header"; readonly header: SignatureHeader }
  | { readonly kind: "bad-id" }
  | { readonly kind: "bad-timestamp" }
  | { readonly kind: "timestamp-too-old"; readonly ageSeconds: number }
  | { readonly kind: "timestamp-too-new"; readonly aheadSeconds: number }
  | { readonly kind: "no-matching-signature" };

/** The bytes of a secret, with or without `whsec_`. The decoded length decides what is empty: an empty byte array is truthy. */
export function decodeSecret(text: string | null | undefined): SecretVerdict {
  const encoded = text?.startsWith(SECRET_PREFIX) ? text.slice(SECRET_PREFIX.length) : (text ?? "");
  if (!BASE64.test(encoded)) return { kind: "malformed-secret" };
  try {
    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
    return bytes.length === 0 ? { kind: "empty-secret" } : { kind: "decoded", bytes };
  } catch {
    return { kind: "malformed-secret" };
  }
}

/** As `decodeSecret`, for a secret that somebody brings along: 24 to 64 bytes. */
export function decodeNewSecret(text: string | null | undefined): NewSecretVerdict {
  const verdict = decodeSecret(text);
  if (verdict.kind !== "decoded") return verdict;
  const { length } = verdict.bytes;
  return length < SECRET_BYTES.min || length > SECRET_BYTES.max ? { kind: "secret-length", bytes: length } : verdict;
}

/** `whsec_` and 32 random bytes in base64. */
export function mintSecret(random: RandomBytes): string {
  return SECRET_PREFIX + base64(random(SECRET_BYTES.minted));
}

/** @throws RangeError when there are no bytes */
export async function signatureKey(secret: Uint8Array): Promise<CryptoKey> {
  if (secret.length === 0) throw new RangeError("a webhook secret has at least 1 byte, got 0");
  return await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

export interface OutgoingMessage {
  /** The same for every attempt at one message. */
  readonly id: string;
  /** Of this attempt, seconds since 1970. */
  readonly timestampSeconds: number;
  readonly body: Uint8Array;
}

/**
 * The three headers of an attempt, with one signature for each live key, in the order of the keys.
 * @throws RangeError on no or more than two keys, an id with a full stop, or a timestamp that is no whole second
 */
export async function signMessage(
  keys: readonly CryptoKey[],
  message: OutgoingMessage,
): Promise<Record<SignatureHeader, string>> {
  requireLiveKeys(keys);
  if (!MESSAGE_ID.test(message.id)) throw new RangeError(`a message id is 1 to 256 visible characters without a "."`);
  const timestamp = String(message.timestampSeconds);
  if (!TIMESTAMP.test(timestamp)) throw new RangeError(`a timestamp is a whole second since 1970, got ${timestamp}`);
  const content = signedContent(message.id, timestamp, message.body);
  const signatures = await Promise.all(keys.map((key) => signatureOf(key, content)));
  return { "webhook-id": message.id, "webhook-timestamp": timestamp, "webhook-signature": signatures.join(" ") };
}

/**
 * Whether one of the signatures was made with one of the keys, and lately. `body` is what came over the wire, before any parsing.
 * The id is still to be looked up among those that were received before (a message dated 300 s ahead is good for 600 s).
 * @throws RangeError on no or more than two keys
 */
export async function verifyMessage(
  keys: readonly CryptoKey[],
  headers: Headers,
  body: Uint8Array,
  { nowMs, toleranceSeconds = TOLERANCE_SECONDS }: { readonly nowMs: number; readonly toleranceSeconds?: number },
): Promise<Verification> {
  requireLiveKeys(keys);
  const missing = SIGNATURE_HEADERS.find((header) => !headers.get(header));
  if (missing) return { kind: "missing-header", header: missing };
  const [id, timestamp, signatures] = SIGNATURE_HEADERS.map((header) => headers.get(header) ?? "") as [
    string,
    string,
    string,
  ];
  if (!MESSAGE_ID.test(id)) return { kind: "bad-id" };
  if (!TIMESTAMP.test(timestamp)) return { kind: "bad-timestamp" };

  const timestampSeconds = Number(timestamp);
  const ageSeconds = Math.floor(nowMs / 1000) - timestampSeconds;
  // negated, so that a clock or a tolerance that is NaN refuses
  if (!(ageSeconds <= toleranceSeconds)) return { kind: "timestamp-too-old", ageSeconds };
  if (!(ageSeconds >= -toleranceSeconds)) return { kind: "timestamp-too-new", aheadSeconds: -ageSeconds };

  const content = signedContent(id, timestamp, body);
  const candidates = signatures.split(" ").map((signature) => encoder.encode(signature));
  for (const key of keys) {
    // compared as text: decoded, four spellings of the last base64 character would pass
    const expected = encoder.encode(await signatureOf(key, content));
    if (candidates.some((candidate) => isSameMac(candidate, expected)))
      return { kind: "verified", id, timestampSeconds };
  }
  return { kind: "no-matching-signature" };
}

/** @throws RangeError */
export function requireLiveKeys(keys: readonly CryptoKey[]): void {
  if (keys.length < 1 || keys.length > MAX_LIVE_SECRETS) {
    throw new RangeError(`1 to ${MAX_LIVE_SECRETS} live secrets are needed, got ${keys.length}`);
  }
}

function signedContent(id: string, timestamp: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = encoder.encode(`${id}.${timestamp}.`);
  const content = new Uint8Array(head.length + body.length);
  content.set(head);
  content.set(body, head.length);
  return content;
}

async function signatureOf(key: CryptoKey, content: Uint8Array<ArrayBuffer>): Promise<string> {
  return `${VERSION},${base64(new Uint8Array(await crypto.subtle.sign("HMAC", key, content)))}`;
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
