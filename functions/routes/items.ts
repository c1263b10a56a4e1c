/** The catalogue: one item, batches with a result each, look-ups by id, and what changed since a time. Secret keys only. */
import { Hono } from "hono";
import * as z from "zod";
import { digest, hex } from "../domain/identity/keys.ts";
import { requireKind } from "../http/auth.ts";
import { parseBody, parseQuery } from "../http/body.ts";
import { fieldErrors, jsonPointer } from "../http/field-errors.ts";
import { idempotent } from "../http/idempotency.ts";
import { limit } from "../http/limits.ts";
import { describe } from "../http/openapi.ts";
import { type FieldError, ProblemError } from "../http/problem.ts";
import { codeItems } from "../jobs/code-items.ts";
import {
  deleteItems,
  getItems,
  type HydratedItem,
  type ItemWrite,
  listUpdatedSince,
  putItemIf,
  putItems,
  type UpdateCursor,
  versionOf,
} from "../store/items.ts";
import {
  BatchItem,
  changeJson,
  DeletedItem,
  etagOf,
  Item,
  ItemBody,
  ItemId,
  itemJson,
  matchesTag,
  writeOf,
} from "./item-schemas.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";

/** So many items are coded while the caller waits; more of them by the queue. */
const CODED_AT_ONCE = 20;
/** Faults named for one bad item of a batch. */
const ERRORS_AN_ITEM = 5;

const PENDING_CODES =
  "`pendingCodes`: the serving model can recommend what was written within 30 s; false: at once, or there is no model";
const PutAnswer = z
  .object({ item: Item, created: z.boolean(), pendingCodes: z.boolean() })
  .meta({ id: "PutItemAnswer" });
const Batch = z.strictObject({ items: z.array(BatchItem).min(1).max(limit("batchItems")) }).meta({ id: "ItemBatch" });
/** As `Batch`, but each entry is checked by itself. */
const Envelope = z.strictObject({ items: z.array(z.unknown()).min(1).max(limit("batchItems")) });
const BatchResult = z
  .object({
    id: z.string().nullable(),
    status: z.string().meta({ examples: ["created", "updated", "rejected"] }),
    code: z.string().nullable(),
    errors: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: "ItemResult", description: "In the order of the request" });
const BatchAnswer = z
  .object({
    created: z.int(),
    updated: z.int(),
    rejected: z.int(),
    pendingCodes: z.boolean(),
    results: z.array(BatchResult),
  })
  .meta({ id: "ItemBatchAnswer" });
const Listing = z.strictObject({
  ids: z.string().max(16_384).optional().describe("Ids joined by commas, at most 100"),
  updatedSince: z.iso.datetime({ offset: true }).optional(),
  cursor: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(200).optional(),
});
const ListAnswer = z
  .object({
    items: z.array(z.union([Item, DeletedItem])),
    missing: z.array(z.string()).optional().describe("Ids of `ids` that the app does not have"),
    nextCursor: z.string().nullable(),
  })
  .meta({ id: "ItemList" });

const SECRET = { tag: "Items", auth: ["secret"], scope: "catalogue" } as const;
const ETAG = "`ETag` names the version; `If-None-Match` with it gives 304.";

describe({
  ...SECRET,
  method: "put",
  path: "/v1/items/{id}",
  idempotent: true,
  summary: "Create or replace an item",
  description: `The item has its codes when the answer comes, so the next request can recommend it. \`If-Match\` makes it conditional. ${PENDING_CODES}.`,
  request: ItemBody,
  response: PutAnswer,
  also: { 201: { description: "The item is new", schema: PutAnswer } },
  errors: ["precondition_failed"],
  example: { title: "Lentil dal", creator: "c_7", origin: "human", attributes: { minutes: 25, diet: ["vegan"] } },
});
describe({
  ...SECRET,
  method: "get",
  path: "/v1/items/{id}",
  summary: "Read an item",
  description: ETAG,
  response: Item,
  also: { 304: { description: "Not modified" } },
  errors: ["not_found"],
});
describe({
  ...SECRET,
  method: "delete",
  path: "/v1/items/{id}",
  idempotent: true,
  summary: "Delete an item",
  description:
    "It leaves every list at once and is listed as deleted by `updatedSince`. `If-Match` makes it conditional.",
  errors: ["not_found", "precondition_failed"],
});
describe({
  ...SECRET,
  method: "post",
  path: "/v1/items/batch",
  idempotent: true,
  summary: "Create or replace up to 1,000 items",
  description: `One bad item never spoils the others: each has its result. Of entries with one id the last one wins. ${PENDING_CODES}.`,
  request: Batch,
  response: BatchAnswer,
  example: { items: [{ id: "r123", title: "Lentil dal", attributes: { minutes: 25 } }] },
});
describe({
  ...SECRET,
  method: "get",
  path: "/v1/items",
  summary: "Read items by id, or what changed since a time",
  description: `\`ids\` reads live items; an id with a comma is read by its own path. Otherwise everything written since \`updatedSince\` (default: ever), deleted items included, oldest change first, page by page. ${ETAG}`,
  query: Listing,
  response: ListAnswer,
  also: { 304: { description: "Not modified" } },
});

export const itemsRoutes = new Hono<Bindings>()
  .use("/items", requireKind("secret"))
  .use("/items/*", requireKind("secret"))

  .post("/items/batch", idempotent, async (c) => {
    const { items } = await parseBody(c, Envelope);
    const { app } = c.get("credential");
    const checked = items.map((entry, place) => checkEntry(entry, place));
    const writes = checked.flatMap(({ write }) => (write === undefined ? [] : [write]));
    const stored = await putItems(c.env, app, writes, c.get("clock").now());
    const pendingCodes = writes.length > 0 && (await code(c.env, app, writes.length));
    let next = 0;
    const results = checked.map(({ id, write, errors }) => {
      if (write === undefined) return { id, status: "rejected", code: "invalid_item", errors };
      return { id, status: stored[next++]!.created ? "created" : "updated", code: null };
    });
    const count = (status: string) => results.filter((result) => result.status === status).length;
    const counts = { created: count("created"), updated: count("updated"), rejected: count("rejected") };
    return c.json({ ...counts, pendingCodes, results } satisfies z.output<typeof BatchAnswer>);
  })

  .put("/items/:id", idempotent, async (c) => {
    const id = pathId(c);
    const body = await parseBody(c, ItemBody);
    if (body.id !== undefined && body.id !== id) {
      const errors = [{ pointer: "/id", code: "not_allowed", detail: "differs from the id of the path" }];
      throw new ProblemError("invalid_request", "The body names another item than the path", { errors });
    }
    const { app } = c.get("credential");
    const now = c.get("clock").now();
    const write = writeOf(id, body);
    const version = await conditionOf(c, app, id);
    const stored =
      version === undefined
        ? (await putItems(c.env, app, [write], now))[0]
        : await putItemIf(c.env, app, write, { version, now });
    if (stored === undefined) throw changedMeanwhile();
    const pendingCodes = await code(c.env, app, 1);
    const item = await findItem(c.env, app, id);
    c.header("etag", etagOf(item));
    const answer: z.output<typeof PutAnswer> = { item: itemJson(item), created: stored.created, pendingCodes };
    return c.json(answer, stored.created ? 201 : 200);
  })

  .get("/items/:id", async (c) => {
    const item = await findItem(c.env, c.get("credential").app, pathId(c));
    c.header("etag", etagOf(item));
    if (matchesTag(c.req.header("if-none-match"), etagOf(item))) return c.body(null, 304);
    return c.json(itemJson(item));
  })

  .delete("/items/:id", idempotent, async (c) => {
    const id = pathId(c);
    const { app } = c.get("credential");
    const version = await conditionOf(c, app, id);
    const now = c.get("clock").now();
    const gone = await deleteItems(c.env, app, [id], version === undefined ? { now } : { now, version });
    if (!gone.has(id)) {
      await findItem(c.env, app, id); // still there: the condition failed
      throw changedMeanwhile();
    }
    return c.body(null, 204);
  })

  .get("/items", async (c) => {
    const query = parseQuery(c, Listing);
    const { app } = c.get("credential");
    const [found, answer] =
      query.ids === undefined ? await changes(c.env, app, query) : await byIds(c.env, app, idsOf(query.ids));
    const etag = `"${hex(await digest(JSON.stringify([found.map((item) => [item.number, versionOf(item)]), answer.missing]))).slice(0, 32)}"`;
    c.header("etag", etag);
    if (matchesTag(c.req.header("if-none-match"), etag)) return c.body(null, 304);
    return c.json(answer);
  });

type ListBody = z.output<typeof ListAnswer>;

/** Pages begin at a time or go on from a cursor, which is the place of the last item that was shown. */
async function changes(
  env: Env,
  app: number,
  query: { updatedSince?: string | undefined; cursor?: string | undefined; limit?: number | undefined },
): Promise<[HydratedItem[], ListBody]> {
  const since = query.updatedSince === undefined ? 0 : Date.parse(query.updatedSince);
  const from = query.cursor === undefined ? { updatedAt: since, number: 0 } : cursorOf(query.cursor);
  const { items, next } = await listUpdatedSince(env.DB, app, from, query.limit ?? 100);
  const nextCursor = next === undefined ? null : `u_${next.updatedAt.toString(36)}_${next.number.toString(36)}`;
  return [items, { items: items.map(changeJson), nextCursor }];
}

function cursorOf(cursor: string): UpdateCursor {
  const match = /^u_([0-9a-z]{1,10})_([0-9a-z]{1,7})$/.exec(cursor);
  if (match === null) {
    const errors = [{ pointer: "?cursor", code: "invalid", detail: "is not a nextCursor of this route" }];
    throw new ProblemError("invalid_request", "The query does not fit its schema", { errors });
  }
  return { updatedAt: Number.parseInt(match[1]!, 36), number: Number.parseInt(match[2]!, 36) };
}

async function byIds(env: Env, app: number, ids: readonly string[]): Promise<[HydratedItem[], ListBody]> {
  const byId = new Map((await getItems(env.DB, app, ids)).map((item) => [item.id, item]));
  const found = ids.flatMap((id) => byId.get(id) ?? []);
  const missing = ids.filter((id) => !byId.has(id));
  return [found, { items: found.map(itemJson), missing, nextCursor: null }];
}

function idsOf(text: string): string[] {
  const ids = [...new Set(text.split(",").filter((id) => id !== ""))];
  const most = limit("idsPerQuery");
  if (ids.length > 0 && ids.length <= most) return ids;
  const errors = [{ pointer: "?ids", code: "invalid", detail: `${ids.length} ids, 1 to ${most} are allowed` }];
  throw new ProblemError("invalid_request", "The query does not fit its schema", { errors });
}

interface CheckedEntry {
  readonly id: string | null;
  readonly write?: ItemWrite;
  readonly errors?: FieldError[];
}

function checkEntry(entry: unknown, place: number): CheckedEntry {
  const result = BatchItem.safeParse(entry);
  if (result.success) return { id: result.data.id, write: writeOf(result.data.id, result.data) };
  const id =
    typeof entry === "object" && entry !== null && "id" in entry && typeof entry.id === "string" ? entry.id : null;
  const errors = fieldErrors(result.error, entry, (path) => jsonPointer(["items", place, ...path]));
  return { id: id?.slice(0, 256) ?? null, errors: errors.slice(0, ERRORS_AN_ITEM) };
}

function pathId(c: Context<Bindings>): string {
  const result = ItemId.safeParse(c.req.param("id"));
  if (result.success) return result.data;
  const errors = fieldErrors(result.error, c.req.param("id"), () => "{id}");
  throw new ProblemError("invalid_request", "The id in the path does not fit its schema", { errors });
}

async function findItem(env: Env, app: number, id: string): Promise<HydratedItem> {
  const [item] = await getItems(env.DB, app, [id]);
  if (item === undefined) throw new ProblemError("not_found", "There is no such item in this app");
  return item;
}

/** The version that `If-Match` asks for; `*` is whichever there is. */
async function conditionOf(c: Context<Bindings>, app: number, id: string): Promise<string | undefined> {
  const header = c.req.header("if-match")?.trim();
  if (header === undefined) return undefined;
  if (header === "*") return versionOf(await findItem(c.env, app, id));
  const version = /^"([^"]{1,64})"$/.exec(header)?.[1];
  if (version !== undefined) return version;
  const errors = [{ pointer: "If-Match", code: "invalid", detail: "is neither * nor one strong ETag" }];
  throw new ProblemError("invalid_request", "If-Match is not understood", { errors });
}

function changedMeanwhile(): ProblemError {
  const errors = [{ pointer: "If-Match", code: "changed", detail: "the item has another version now, or is gone" }];
  return new ProblemError("precondition_failed", "The item is not the version that If-Match names", { errors });
}

/** Codes a few items now, leaves many to the queue. The items are stored already: a fault here only makes them wait. */
async function code(env: Env, app: number, items: number): Promise<boolean> {
  if (items <= CODED_AT_ONCE) {
    try {
      return (await codeItems(env, app, { limit: CODED_AT_ONCE })).pending > 0;
    } catch {
      // the queue tries again
    }
  }
  await env.JOBS.send({ type: "code-items", app }).catch(() => undefined); // a wake-up; the cron finds what is left
  return true;
}
