/**
 * GitHub's webhook signature: `X-Hub-Signature-256: sha256=<lower-case hex>`, HMAC-SHA-256 over the raw body under the secret as
 * UTF-8 (GitHub documentation, "Validating webhook deliveries"). Neither a time nor the delivery id is signed: whoever holds one old
 * delivery can send it again under a new id, so a receiver remembers the signature as well as the id.
 */
import { isSameMac } from "../history/token-mac.ts";
import { hex } from "../identity/keys.ts";
import { requireLiveKeys, signatureKey } from "./signature.ts";

export const GITHUB_HEADERS = ["x-hub-signature-256", "x-github-delivery", "x-github-event"] as const;
export type GithubHeader = (typeof GITHUB_HEADERS)[number];

const SIGNATURE = /^sha256=[0-9a-f]{64}$/;
const DELIVERY_ID = /^[0-9A-Za-z-]{1,64}$/; // a UUID today; a redelivery by hand keeps it
const EVENT = /^[a-z_]{1,64}$/;
const encoder = new TextEncoder();

export type GithubVerification =
  | {
      readonly kind: "verified";
      readonly deliveryId: string;
      /** For example `push`; `ping` when the webhook is set up. Not signed: the body decides what is done. */
      readonly event: string;
      /** `sha256=...`, what to remember beside the delivery id. */
      readonly signature: string;
    }
  | { readonly kind: "missing-header"; readonly header: GithubHeader }
  | { readonly kind: "malformed-header"; readonly header: GithubHeader }
  | { readonly kind: "no-matching-signature" };

/** The key of a secret as it was typed into GitHub. @throws RangeError when it is empty */
export async function githubKey(secret: string): Promise<CryptoKey> {
  return await signatureKey(encoder.encode(secret));
}

/** The value of X-Hub-Signature-256. */
export async function signGithub(key: CryptoKey, body: Uint8Array): Promise<string> {
  return `sha256=${hex(new Uint8Array(await crypto.subtle.sign("HMAC", key, body)))}`;
}

/** @throws RangeError on no or more than two keys */
export async function verifyGithub(
  keys: readonly CryptoKey[],
  headers: Headers,
  body: Uint8Array,
): Promise<GithubVerification> {
  requireLiveKeys(keys);
  const missing = GITHUB_HEADERS.find((header) => !headers.get(header));
  if (missing) return { kind: "missing-header", header: missing };
  const [signature, deliveryId, event] = GITHUB_HEADERS.map((header) => headers.get(header) ?? "") as [
    string,
    string,
    string,
  ];
  if (!SIGNATURE.test(signature)) return { kind: "malformed-header", header: "x-hub-signature-256" };
  if (!DELIVERY_ID.test(deliveryId)) return { kind: "malformed-header", header: "x-github-delivery" };
  if (!EVENT.test(event)) return { kind: "malformed-header", header: "x-github-event" };
  const candidate = encoder.encode(signature);
  for (const key of keys) {
    if (isSameMac(candidate, encoder.encode(await signGithub(key, body)))) {
      return { kind: "verified", deliveryId, event, signature };
    }
  }
  return { kind: "no-matching-signature" };
}
