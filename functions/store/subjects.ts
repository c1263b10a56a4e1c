/**
 * Addresses of Durable Objects. A user's object is named by an HMAC of app and user, so no user id ever stands in a name;
 * a log object by app and shard.
 */
import { toHex } from "../domain/history/text-codec.ts";
import { tokenKey } from "../domain/history/token-mac.ts";
import type { AppLog } from "../objects/app-log.ts";
import type { UserState } from "../objects/user-state.ts";

const encoder = new TextEncoder();

/** Derived keys by purpose; may vanish with the isolate. A changed secret makes a new entry. */
const keys = new Map<string, Promise<CryptoKey>>();
const KEYS_KEPT = 500;

/** HKDF-SHA-256 of the Worker's secret, empty salt, info `edgewise/users`. */
async function nameKey(secret: string): Promise<CryptoKey> {
  const root = await crypto.subtle.importKey("raw", encoder.encode(secret), "HKDF", false, ["deriveKey"]);
  return await crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: encoder.encode("edgewise/users") },
    root,
    { name: "HMAC", hash: "SHA-256", length: 256 },
    false,
    ["sign"],
  );
}

async function cached(name: string, make: () => Promise<CryptoKey>): Promise<CryptoKey> {
  let key = keys.get(name);
  if (key === undefined) {
    if (keys.size >= KEYS_KEPT) keys.clear();
    key = make();
    keys.set(name, key);
    key.catch(() => keys.delete(name));
  }
  return await key;
}

/** 64 hex characters. */
export async function userObjectName(env: Pick<Env, "WORKER_SECRET">, app: number, userId: string): Promise<string> {
  const key = await cached(`users/${env.WORKER_SECRET}`, () => nameKey(env.WORKER_SECRET));
  const mac = await crypto.subtle.sign("HMAC", key, encoder.encode(`${app}:${userId}`));
  return toHex(new Uint8Array(mac));
}

/** The app's key for recommendation and cursor tokens, derived once an isolate. */
export async function appTokenKey(env: Pick<Env, "WORKER_SECRET">, app: number): Promise<CryptoKey> {
  return await cached(`tokens/${app}/${env.WORKER_SECRET}`, () => tokenKey(env.WORKER_SECRET, app));
}

export async function userStub(env: Env, app: number, userId: string): Promise<DurableObjectStub<UserState>> {
  return userStubByName(env, await userObjectName(env, app, userId));
}

export function userStubByName(env: Env, object: string): DurableObjectStub<UserState> {
  return env.USER_STATE.getByName(object);
}

/** Shard of a subject (hex) among an app's log objects. */
export function shardOf(subject: string, shards: number): number {
  return Number.parseInt(subject.slice(0, 8), 16) % shards;
}

export function logStub(env: Env, app: number, shard: number): DurableObjectStub<AppLog> {
  return env.APP_LOG.getByName(`${app}:${shard}`);
}
