/**
 * The event log for whoever trains on it: sealed segments as the manifest lists them, their bytes as they were put, and the items that
 * their numbers mean. Records of erased users are in no listed segment; `consentTraining` says which of the others may be trained on.
 */
import { Hono } from "hono";
import * as z from "zod";
import { requireKind } from "../http/auth.ts";
import { parseQuery } from "../http/body.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import {
  itemsAfter,
  type NumberedItem,
  readSegment,
  sealAll,
  type Segment,
  segmentByKey,
  segmentsAfter,
} from "../store/log.ts";
import { Item } from "./item-schemas.ts";
import type { Bindings } from "../http/context.ts";

const SEGMENTS_A_PAGE = 1000;
const ITEMS_A_PAGE = 500;

const Time = z.iso.datetime();

const SegmentQuery = z.strictObject({
  after: z.string().max(128).optional().describe("Key of the last segment that was read"),
  limit: z.coerce.number().int().min(1).max(SEGMENTS_A_PAGE).optional(),
});
const ItemQuery = z.strictObject({
  after: z.coerce.number().int().min(0).max(0xffff_ffff).optional().describe("Number of the last item that was read"),
  limit: z.coerce.number().int().min(1).max(ITEMS_A_PAGE).optional(),
});

const LogSegment = z
  .object({
    key: z.string(),
    sha256: z.string().meta({ description: "Of the gzip file, hex" }),
    bytes: z.int(),
    records: z.int(),
    firstReceivedAt: Time,
    lastReceivedAt: Time,
    generation: z.int().meta({ description: "Grows by one when records of erased users are taken out" }),
  })
  .meta({ id: "LogSegment", description: "A sealed piece of the event log. Its content never changes" });
const LogSegmentList = z
  .object({ segments: z.array(LogSegment), nextAfter: z.string().nullable() })
  .meta({ id: "LogSegmentList" });
const LogItem = Item.omit({ updatedAt: true, revision: true })
  .extend({
    number: z.int().meta({ description: "What log records call the item" }),
    deleted: z.boolean().meta({ description: "A deleted item keeps number and id, its texts are empty" }),
  })
  .meta({ id: "LogItem" });
const LogItemList = z.object({ items: z.array(LogItem), nextAfter: z.int().nullable() }).meta({ id: "LogItemList" });
const LogSealing = z
  .object({ shards: z.int(), segments: z.int().meta({ description: "Sealed by this call" }) })
  .meta({ id: "LogSealing" });

const rfc3339 = (ms: number) => new Date(ms).toISOString();

function segmentJson({ firstReceivedAt, lastReceivedAt, ...rest }: Segment): z.output<typeof LogSegment> {
  return { ...rest, firstReceivedAt: rfc3339(firstReceivedAt), lastReceivedAt: rfc3339(lastReceivedAt) };
}

function itemJson({ priceMinor, currency, createdAt, ...rest }: NumberedItem): z.output<typeof LogItem> {
  return {
    ...rest,
    createdAt: rfc3339(createdAt),
    price: priceMinor === null || currency === null ? null : { amountMinor: priceMinor, currency },
    attributes: rest.attributes as z.output<typeof LogItem>["attributes"],
  };
}

/** First byte that is wanted; other forms of Range than `bytes=n-` get the whole (RFC 9110, section 14.2, allows that). */
function offsetOf(range: string | undefined, bytes: number): number {
  const offset = Number(/^bytes=(\d{1,15})-$/.exec(range ?? "")?.[1] ?? 0);
  return offset < bytes ? offset : 0;
}

const secret = requireKind("secret");

export const logExportRoutes = new Hono<Bindings>()
  .get("/log/segments", secret, async (c) => {
    const { after = "", limit = SEGMENTS_A_PAGE } = parseQuery(c, SegmentQuery);
    const found = await segmentsAfter(c.env, c.get("credential").app, after, limit + 1);
    const segments = found.slice(0, limit);
    const nextAfter = found.length > limit ? segments.at(-1)!.key : null;
    return c.json({ segments: segments.map(segmentJson), nextAfter } satisfies z.output<typeof LogSegmentList>);
  })
  .get("/log/segments/:key{.+}", secret, async (c) => {
    const segment = await segmentByKey(c.env, c.get("credential").app, c.req.param("key"));
    const offset = segment === undefined ? 0 : offsetOf(c.req.header("range"), segment.bytes);
    const body = segment === undefined ? undefined : await readSegment(c.env, segment.key, offset);
    if (segment === undefined || body === undefined)
      throw new ProblemError("not_found", "There is no such segment in this app; one that was rewritten has a new key");
    const headers = {
      "content-type": "application/gzip",
      "x-content-sha256": segment.sha256,
      "accept-ranges": "bytes",
    };
    if (offset === 0) return c.body(body, 200, headers);
    const range = `bytes ${offset}-${segment.bytes - 1}/${segment.bytes}`;
    return c.body(body, 206, { ...headers, "content-range": range });
  })
  .get("/log/items", secret, async (c) => {
    const { after = 0, limit = ITEMS_A_PAGE } = parseQuery(c, ItemQuery);
    const { items, next } = await itemsAfter(c.env, c.get("credential").app, after, limit);
    return c.json({ items: items.map(itemJson), nextAfter: next ?? null } satisfies z.output<typeof LogItemList>);
  })
  .post("/log/seal", secret, async (c) => {
    const sealed = await sealAll(c.env, c.get("credential").app, c.get("clock").now());
    return c.json(sealed satisfies z.output<typeof LogSealing>);
  });

const COMMON = { tag: "Training", auth: ["secret"], scope: "trainer" } as const;

describe({
  ...COMMON,
  method: "get",
  path: "/v1/log/segments",
  summary: "List sealed segments of the event log",
  description:
    `By key, ${SEGMENTS_A_PAGE} at most; \`nextAfter\` is the \`after\` of the next page. A segment from which an erased user's records ` +
    "were taken is replaced by one with a greater key: whoever keeps copies drops those that are not listed any more. Over several " +
    "pages a segment may be met beside its replacement; it is then gone from the next listing.",
  query: SegmentQuery,
  response: LogSegmentList,
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/log/segments/{key}",
  summary: "Read a sealed segment",
  description:
    "Gzip of JSON lines, one record a line, as it was put; `x-content-sha256` is the hash of the whole file. `Range: bytes=n-` goes on " +
    "from byte n. Records with `consentTraining` 0 may not be trained on.",
  params: { key: "Key of the segment, slashes included" },
  responseContentType: "application/gzip",
  also: { 206: { description: "The rest of the file, from the byte that Range names" } },
  status: 200,
  errors: ["not_found"],
});
describe({
  ...COMMON,
  method: "get",
  path: "/v1/log/items",
  summary: "List items by number",
  description: `What the numbers in log records mean, deleted and hidden items included. ${ITEMS_A_PAGE} at most, fewer where texts are long.`,
  query: ItemQuery,
  response: LogItemList,
});
describe({
  ...COMMON,
  method: "post",
  path: "/v1/log/seal",
  summary: "Seal what the log holds open",
  description:
    "Segments are sealed when they are full or five minutes old; this seals them now. Events that their users' objects still hold " +
    "(for seconds, unless a delivery failed) come with the next segment.",
  response: LogSealing,
});
