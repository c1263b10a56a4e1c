/** The body of an item, how it is checked, and how a stored one looks in an answer. */
import * as z from "zod";
import { limit } from "../http/limits.ts";
import { Money } from "../http/openapi.ts";
import { type HydratedItem, type ItemWrite, versionOf } from "../store/items.ts";

const LAST_TIME = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
/** Above it a sum of prices would leave the exact integers of JSON. */
const MAX_AMOUNT_MINOR = 1e13;
const CURRENCIES = new Set(Intl.supportedValuesOf("currency"));
/** An attribute of such a name could not be told from the item's own field in a filter or in `fields`. */
const OWN_FIELDS = new Set(["id", "title", "text", "creator", "origin", "createdAt", "price"]);

/** Text as SQLite and UTF-8 can keep it. */
function string(maxLength: number) {
  return z
    .string()
    .max(maxLength)
    .refine((text) => text.isWellFormed() && !text.includes("\0"), "holds U+0000 or half of a surrogate pair");
}

// oxlint-disable-next-line no-control-regex -- control characters are what it keeps out
const CONTROL = /[\u0000-\u001f\u007f]/;

export const ItemId = z
  .string()
  .min(1)
  .max(limit("idCharacters"))
  .refine((id) => id.isWellFormed() && !CONTROL.test(id), "holds a control character or half of a surrogate pair")
  .refine((id) => id !== "." && id !== "..", "is a dot segment, which no path can name (RFC 3986, section 5.2.4)");

const AttributeName = z
  .string()
  .regex(
    /^\p{L}[\p{L}\p{N} _.:/-]{0,63}$/u,
    "an attribute's name is a letter and at most 63 letters, digits or _ . : / - and spaces",
  )
  .refine((name) => !OWN_FIELDS.has(name), "an attribute may not bear the name of a field of the item");

const Attributes = z
  .record(AttributeName, z.union([string(256), z.number(), z.boolean(), z.array(string(256)).max(64)]))
  .refine((record) => Object.keys(record).length <= 64, "an item has at most 64 attributes");

const Price = z.strictObject({
  amountMinor: z.int().min(0).max(MAX_AMOUNT_MINOR),
  currency: z.string().refine((code) => CURRENCIES.has(code), "currency is not an ISO 4217 code such as EUR"),
});

const CreatedAt = z.iso
  .datetime({ offset: true })
  .refine((text) => Date.parse(text) >= 0 && Date.parse(text) <= LAST_TIME, "createdAt is a time from 1970 to 9999");

const FIELDS = {
  title: string(500).min(1),
  text: string(limit("textCharacters")).nullish(),
  creator: string(256).nullish(),
  origin: z.enum(["human", "machine", "mixed", "unknown"]).nullish(),
  createdAt: CreatedAt.nullish(),
  price: Price.nullish(),
  attributes: Attributes.nullish(),
  available: z.boolean().nullish(),
  hidden: z.boolean().nullish(),
};

/** Body of PUT /v1/items/{id}: the whole item; what is left out takes its default, `createdAt` the time it already has. */
export const ItemBody = z.strictObject({ id: ItemId.optional(), ...FIELDS }).meta({ id: "ItemBody" });

/** One entry of a batch. */
export const BatchItem = z.strictObject({ id: ItemId, ...FIELDS }).meta({ id: "BatchItem" });

export const Item = z
  .object({
    id: z.string(),
    title: z.string(),
    text: z.string(),
    creator: z.string(),
    origin: z.string().meta({ examples: ["human", "machine", "mixed", "unknown"] }),
    createdAt: z.iso.datetime(),
    price: Money.nullable(),
    attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])),
    available: z.boolean(),
    hidden: z.boolean(),
    updatedAt: z.iso.datetime(),
    revision: z.int(),
  })
  .meta({ id: "Item", description: "`revision` is the catalogue's, it grows with every write of the app" });

export const DeletedItem = z
  .object({ id: z.string(), deleted: z.literal(true), updatedAt: z.iso.datetime(), revision: z.int() })
  .meta({ id: "DeletedItem" });

/** The checked body as the store takes it. */
export function writeOf(id: string, body: z.output<typeof ItemBody> | z.output<typeof BatchItem>): ItemWrite {
  return {
    id,
    title: body.title,
    text: body.text ?? "",
    creator: body.creator ?? "",
    origin: body.origin ?? "unknown",
    createdAt: body.createdAt ? Date.parse(body.createdAt) : null,
    priceMinor: body.price?.amountMinor ?? null,
    currency: body.price?.currency ?? null,
    attributes: body.attributes ?? {},
    available: body.available ?? true,
    hidden: body.hidden ?? false,
  };
}

export function itemJson(item: HydratedItem): z.output<typeof Item> {
  const { priceMinor, currency } = item;
  return {
    id: item.id,
    title: item.title,
    text: item.text,
    creator: item.creator,
    origin: item.origin,
    createdAt: new Date(item.createdAt).toISOString(),
    price: priceMinor === null || currency === null ? null : { amountMinor: priceMinor, currency },
    attributes: item.attributes as z.output<typeof Item>["attributes"],
    available: item.available,
    hidden: item.hidden,
    updatedAt: new Date(item.updatedAt).toISOString(),
    revision: item.revision,
  };
}

/** An item or its tombstone. */
export function changeJson(item: HydratedItem): z.output<typeof Item> | z.output<typeof DeletedItem> {
  if (!item.deleted) return itemJson(item);
  return { id: item.id, deleted: true, updatedAt: new Date(item.updatedAt).toISOString(), revision: item.revision };
}

/** The ETag of one item. */
export function etagOf(item: HydratedItem): string {
  return `"${versionOf(item)}"`;
}

/** Whether `If-None-Match` names the tag (weak comparison, RFC 9110 section 13.1.2). */
export function matchesTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === "*") return true;
  return header.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
}
