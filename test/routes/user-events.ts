/** What tests of events and users share: an app with items, events as a caller sends them, and tokens as serving makes them. */
import { env } from "cloudflare:workers";
import { encodeToken, type TokenItem } from "../../functions/domain/history/recommendation-token.ts";
import { fromHex } from "../../functions/domain/history/text-codec.ts";
import { putItems } from "../../functions/store/items.ts";
import { appTokenKey, logStub, userStub } from "../../functions/store/subjects.ts";
import { call, makeApp, type TestApp } from "../http/caller.ts";
import { item } from "../store/new-app.ts";

export interface Shop extends TestApp {
  /** The app's number inside. */
  readonly app: number;
  /** Numbers of the items i1, i2, i3. */
  readonly numbers: readonly number[];
}

export async function makeShop(): Promise<Shop> {
  const made = await makeApp();
  const row = await env.DB.prepare("SELECT app FROM apps WHERE id = ?1").bind(made.id).first<{ app: number }>();
  const app = row!.app;
  const put = await putItems(env, app, [item("i1"), item("i2"), item("i3")], Date.now());
  return { ...made, app, numbers: put.map(({ number }) => number) };
}

let made = 0;

/** An event of a back end, a minute ago. */
export function sent(more: Record<string, unknown> = {}): Record<string, unknown> {
  made += 1;
  return {
    id: `ev-${made}`,
    userId: "u1",
    itemId: "i1",
    type: "view",
    occurredAt: new Date(Date.now() - 60_000).toISOString(),
    ...more,
  };
}

export interface Result {
  readonly id: string | null;
  readonly status: string;
  readonly code: string | null;
  readonly pointer: string | null;
  readonly detail: string | null;
  readonly retryable: boolean;
}

export interface Answer {
  readonly status: number;
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: number;
  readonly clockSkewMs: number;
  readonly results: Result[];
  readonly warnings: { pointer: string; code: string }[];
  readonly code?: string;
  readonly errors?: { pointer: string; code: string; detail: string }[];
  readonly detail?: string;
}

export async function post(
  shop: Shop,
  events: readonly unknown[],
  options: { token?: string; envelope?: Record<string, unknown>; offsetMs?: number } = {},
): Promise<Answer> {
  const response = await call("/v1/events", {
    key: options.token === undefined ? shop.secret : shop.publishable,
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.offsetMs === undefined ? {} : { offsetMs: options.offsetMs }),
    body: { ...options.envelope, events },
  });
  return { ...(await response.json<Omit<Answer, "status">>()), status: response.status };
}

/** Delivers a user's outbox now. */
export async function deliver(shop: Shop, userId: string): Promise<void> {
  await (await userStub(env, shop.app, userId)).tend(Date.now());
}

export async function totalsOf(shop: Shop, items: readonly number[]) {
  return await logStub(env, shop.app, 0).totals(items);
}

let lists = 0;

export async function tokenFor(
  shop: Pick<Shop, "app">,
  items: readonly number[],
  more: { subject?: string; issuedAt?: number; model?: number } = {},
): Promise<string> {
  lists += 1;
  const shown: TokenItem[] = items.map((number, i) => ({ number, slot: i % 2, w: 100 * i }));
  const parts = {
    keyId: 1,
    app: shop.app,
    subject: more.subject === undefined ? new Uint8Array(16) : fromHex(more.subject),
    issuedSeconds: Math.floor((more.issuedAt ?? Date.now() - 120_000) / 1000),
    model: more.model ?? 0,
    listId: fromHex(lists.toString(16).padStart(16, "0")),
    items: shown,
  };
  return await encodeToken(parts, await appTokenKey(env, shop.app));
}
