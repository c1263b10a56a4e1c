/**
 * Secrets that must come back (token keys, stored answers that hold a key) lie encrypted: AES-256-GCM under a key derived from the
 * Worker secret by HKDF-SHA-256 (RFC 5869), one key a purpose. The context is authenticated, so that a ciphertext can't be moved
 * to another row.
 */
import type { RandomBytes } from "./keys.ts";

const IV_BYTES = 12; // 96 bits, what GCM is specified for
const encoder = new TextEncoder();

/** @throws RangeError when the Worker secret is shorter than 32 characters */
export async function derivedBits(workerSecret: string, purpose: string): Promise<ArrayBuffer> {
  if (workerSecret.length < 32) {
    throw new RangeError(`WORKER_SECRET has ${workerSecret.length} characters, at least 32 are needed`);
  }
  const root = await crypto.subtle.importKey("raw", encoder.encode(workerSecret), "HKDF", false, ["deriveBits"]);
  const salt = new Uint8Array(32);
  return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info: encoder.encode(purpose) }, root, 256);
}

/** The AES-GCM key of one purpose, for example `token-secrets`. */
export async function sealingKey(workerSecret: string, purpose: string): Promise<CryptoKey> {
  const bits = await derivedBits(workerSecret, `edgewise seal ${purpose}`);
  return crypto.subtle.importKey("raw", bits, "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** base64url of iv | ciphertext | tag. */
export async function seal(key: CryptoKey, text: string, context: string, random: RandomBytes): Promise<string> {
  const iv = random(IV_BYTES);
  const parameters = { name: "AES-GCM", iv, additionalData: encoder.encode(context) };
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt(parameters, key, encoder.encode(text)));
  const sealed = new Uint8Array(IV_BYTES + ciphertext.length);
  sealed.set(iv);
  sealed.set(ciphertext, IV_BYTES);
  return base64url(sealed);
}

/** @throws DOMException when the key, the context or a bit of the text is another */
export async function unseal(key: CryptoKey, sealed: string, context: string): Promise<string> {
  const bytes = fromBase64url(sealed);
  const parameters = { name: "AES-GCM", iv: bytes.slice(0, IV_BYTES), additionalData: encoder.encode(context) };
  const text = await crypto.subtle.decrypt(parameters, key, bytes.slice(IV_BYTES));
  return new TextDecoder().decode(text);
}

export function base64url(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** @throws DOMException when the text is not base64url */
export function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
