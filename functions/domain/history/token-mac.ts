/** Authentication that both tokens share: the first 16 bytes of HMAC-SHA-256 (RFC 2104) under a key of the app (HKDF, RFC 5869). */

export const MAC_BYTES = 16;

const encoder = new TextEncoder();

/**
 * The app's token key, from the Worker's secret. Cached by callers: deriving costs two HMACs.
 * HKDF-SHA-256, empty salt, info `edgewise/token/<app>`.
 */
export async function tokenKey(secret: string, app: number): Promise<CryptoKey> {
  const root = await crypto.subtle.importKey("raw", encoder.encode(secret), "HKDF", false, ["deriveKey"]);
  return await crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: encoder.encode(`edgewise/token/${app}`) },
    root,
    { name: "HMAC", hash: "SHA-256", length: 256 },
    false,
    ["sign"],
  );
}

export async function macOf(key: CryptoKey, message: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, message)).subarray(0, MAC_BYTES);
}

/** Compares in a time that depends on the lengths alone. */
export function isSameMac(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i += 1) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
