/** The event log as a trainer reads it: pages, bytes and their hashes, resumed downloads, erasure, tenants, and the items behind numbers. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { sha256Hex } from "../../functions/domain/artefact/digest.ts";
import { fromLines } from "../../functions/domain/history/log-record.ts";
import { deleteItems, putItems } from "../../functions/store/items.ts";
import { gunzip } from "../../functions/store/log.ts";
import { logStub, userStub } from "../../functions/store/subjects.ts";
import { call, json, operator } from "../http/caller.ts";
import { chunkOf, takeInput } from "../objects/objects.ts";
import { item } from "../store/new-app.ts";
import { deliver, makeShop, post, sent, type Shop } from "./user-events.ts";

interface Segment {
  readonly key: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly records: number;
  readonly firstReceivedAt: string;
  readonly generation: number;
}

interface Page<T> {
  readonly items: readonly T[];
  readonly segments: readonly Segment[];
  readonly nextAfter: string | number | null;
}

const read = async <T = Record<string, unknown>>(shop: Shop, path: string, key = shop.secret) =>
  json<T>(await call(`/v1/log${path}`, { key }));
const seal = async (shop: Shop) => json(await call("/v1/log/seal", { key: shop.secret, method: "POST" }));
const listed = async (shop: Shop) => (await read<Page<unknown>>(shop, "/segments")).segments;

async function bytesOf(shop: Shop, key: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await call(`/v1/log/segments/${key}`, { key: shop.secret });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/gzip"]);
  return new Uint8Array(await response.arrayBuffer());
}

/** Sends events of a user, and has them reach the log and a segment of their own. */
async function logged(shop: Shop, userId: string, more: Record<string, unknown> = {}): Promise<void> {
  expect(await post(shop, [sent({ userId, ...more })])).toMatchObject({ accepted: 1 });
  await deliver(shop, userId);
  await seal(shop);
}

it("gives segments page by page, and their bytes as the manifest says", async () => {
  const shop = await makeShop();
  for (const userId of ["u1", "u2", "u3"]) await logged(shop, userId);
  const whole = await read<Page<unknown>>(shop, "/segments");
  expect([whole.segments.length, whole.nextAfter]).toEqual([3, null]);
  const keys: string[] = [];
  let after = "";
  for (;;) {
    const page = await read<Page<unknown>>(shop, `/segments?limit=2&after=${encodeURIComponent(after)}`);
    keys.push(...page.segments.map((segment) => segment.key));
    if (page.nextAfter === null) break;
    after = String(page.nextAfter);
  }
  expect(keys).toEqual(whole.segments.map((segment) => segment.key));
  for (const segment of whole.segments) {
    const bytes = await bytesOf(shop, segment.key);
    expect([await sha256Hex(bytes), bytes.length]).toEqual([segment.sha256, segment.bytes]);
    const records = fromLines(await gunzip(bytes.buffer));
    expect(records).toHaveLength(segment.records);
    expect(records[0]).toMatchObject({ kind: "event", item: shop.numbers[0], consentTraining: 1 });
    expect(segment.firstReceivedAt).toBe(new Date(records[0]!.receivedAt).toISOString());
  }
});

it("goes on with a cut download from the byte that is missing", async () => {
  const shop = await makeShop();
  await logged(shop, "u1");
  const [segment] = await listed(shop);
  const whole = await bytesOf(shop, segment!.key);
  const ask = async (range: string) =>
    call(`/v1/log/segments/${segment!.key}`, { key: shop.secret, headers: { range } });
  const rest = await ask("bytes=40-");
  expect([rest.status, rest.headers.get("x-content-sha256")]).toEqual([206, segment!.sha256]);
  expect(rest.headers.get("content-range")).toBe(`bytes 40-${whole.length - 1}/${whole.length}`);
  expect(new Uint8Array(await rest.arrayBuffer())).toEqual(whole.slice(40));
  for (const range of [`bytes=${whole.length}-`, "bytes=0-3,5-9", "bytes=-5", "lines=1-"]) {
    const response = await ask(range);
    expect([range, response.status]).toEqual([range, 200]);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(whole);
  }
});

it("lacks an erased user: the segment is replaced, and its old key gives nothing", async () => {
  const shop = await makeShop();
  await post(shop, [sent({ userId: "stays" }), sent({ userId: "goes" })]);
  for (const userId of ["stays", "goes"]) await deliver(shop, userId);
  await seal(shop);
  await logged(shop, "goes");
  const before = await listed(shop);
  const { subject } = await (await userStub(env, shop.app, "goes")).recall();
  expect((await call("/v1/users/goes", { key: shop.secret, method: "DELETE" })).status).toBe(202);
  await expect.poll(() => listed(shop)).toHaveLength(1);
  const [left] = await listed(shop);
  expect(left).toMatchObject({ records: 1, generation: 2 });
  expect(await gunzip((await bytesOf(shop, left!.key)).buffer)).not.toContain(subject);
  for (const { key } of before) {
    const gone = await call(`/v1/log/segments/${key}`, { key: shop.secret });
    expect([gone.status, await json(gone)]).toMatchObject([404, { code: "not_found" }]);
  }
});

it("says in each record whether it may be trained on", async () => {
  const shop = await makeShop();
  await logged(shop, "shy");
  const body = { consent: { training: false } };
  expect((await call("/v1/users/shy", { key: shop.secret, method: "PATCH", body })).status).toBe(200);
  await logged(shop, "shy", { itemId: "i2" });
  const segments = await Promise.all((await listed(shop)).map(({ key }) => bytesOf(shop, key)));
  const records = await Promise.all(segments.map(async (bytes) => fromLines(await gunzip(bytes.buffer))));
  const found = records.flat().map(({ item: number, consentTraining }) => [number, consentTraining]);
  expect(found).toEqual([
    [shop.numbers[0], 1],
    [shop.numbers[1], 0],
  ]);
});

it("is closed to other apps, to other scopes and to phones", async () => {
  const [shop, other] = [await makeShop(), await makeShop()];
  await logged(shop, "u1");
  const [segment] = await listed(shop);
  expect(await listed(other)).toEqual([]);
  const theirs = await call(`/v1/log/segments/${segment!.key}`, { key: other.secret });
  expect([theirs.status, await json(theirs)]).toMatchObject([404, { code: "not_found" }]);
  const unlisted = `log/app=${shop.app}/day=2026-01-01/shard=000/00000001.ndjson.gz`;
  await env.LOG.put(unlisted, "not in the manifest");
  expect((await call(`/v1/log/segments/${unlisted}`, { key: shop.secret })).status).toBe(404);
  const minted = async (scope: string) => {
    const body = { kind: "secret", scopes: [scope] };
    return (await json<{ key: string }>(await call(`/v1/apps/${shop.id}/keys`, { key: operator, body }))).key;
  };
  const [trainer, events] = [await minted("trainer"), await minted("events")];
  for (const [method, path] of [
    ["GET", "/segments"],
    ["GET", `/segments/${segment!.key}`],
    ["GET", "/items"],
    ["POST", "/seal"],
  ] as const) {
    for (const [key, status] of [
      [trainer, 200],
      [events, 403],
      [shop.publishable, 403],
    ] as const) {
      const response = await call(`/v1/log${path}`, { key, method });
      expect([path, response.status]).toEqual([path, status]);
      await response.body?.cancel();
    }
  }
});

it("names the items behind numbers, deleted and hidden ones too, page by page", async () => {
  const shop = await makeShop();
  const priced = item("i4", { priceMinor: 499, currency: "EUR", attributes: { category: "tea" }, hidden: true });
  await putItems(env, shop.app, [priced], Date.now());
  await deleteItems(env, shop.app, ["i2"], { now: Date.now() });
  type Row = { id: string; number: number; title: string; deleted: boolean; hidden: boolean };
  const rows: Row[] = [];
  let after = 0;
  for (;;) {
    const page = await read<Page<Row>>(shop, `/items?limit=3&after=${after}`);
    rows.push(...page.items);
    if (page.nextAfter === null) break;
    after = Number(page.nextAfter);
  }
  expect(rows.map(({ id, deleted, hidden }) => [id, deleted, hidden])).toEqual([
    ["i1", false, false],
    ["i2", true, false],
    ["i3", false, false],
    ["i4", false, true],
  ]);
  expect(rows.slice(0, 3).map(({ number }) => number)).toEqual(shop.numbers);
  expect(rows[3]).toMatchObject({
    price: { amountMinor: 499, currency: "EUR" },
    attributes: { category: "tea" },
    title: "Title of i4",
  });
});

it("cuts a page of items where their texts grow long", async () => {
  const shop = await makeShop();
  const long = Object.fromEntries(
    Array.from({ length: 60 }, (_, at) => [`a${at}`, Array<string>(64).fill("x".repeat(240))]),
  );
  const rows = Array.from({ length: 6 }, (_, at) => item(`long-${at}`, { attributes: long }));
  for (const row of rows) await putItems(env, shop.app, [row], Date.now());
  const first = await read<Page<{ id: string }>>(shop, "/items");
  expect(first.items.map(({ id }) => id)).toEqual(["i1", "i2", "i3", "long-0", "long-1", "long-2", "long-3"]);
  const second = await read<Page<{ id: string }>>(shop, `/items?after=${first.nextAfter}`);
  expect([second.items.map(({ id }) => id), second.nextAfter]).toEqual([["long-4", "long-5"], null]);
});

it("seals every shard at once, and again nothing", async () => {
  const shop = await makeShop();
  await env.DB.prepare("UPDATE apps SET log_shards = 3 WHERE app = ?1").bind(shop.app).run();
  for (const shard of [0, 2]) {
    const subject = `0${shard}`.repeat(16);
    await logStub(env, shop.app, shard).take({ ...takeInput(shop.app, subject, [chunkOf(subject, 1, [1])]), shard });
  }
  expect(await seal(shop)).toEqual({ shards: 3, segments: 2 });
  expect(await listed(shop)).toHaveLength(2);
  expect(await seal(shop)).toEqual({ shards: 3, segments: 0 });
});

it("refuses a query that does not fit", async () => {
  const shop = await makeShop();
  for (const path of [
    "/segments?limit=1001",
    "/segments?limit=0",
    "/items?after=-1",
    "/items?after=i3",
    "/items?cursor=1",
  ]) {
    const response = await call(`/v1/log${path}`, { key: shop.secret });
    expect([path, response.status, await json(response)]).toMatchObject([path, 400, { code: "invalid_request" }]);
  }
});
