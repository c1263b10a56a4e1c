/** Rows of the import format, one line at a time: items and events as CSV (RFC 4180), lists and users as JSON Lines. */
import { timeText } from "./calendar.ts";
import { POLICY } from "./exposures.ts";
import { AGE_BANDS, HOUSEHOLDS, REGIONS } from "./users.ts";
import { itemId, userId } from "./world.ts";
import type { Life, ShownList } from "./behaviour.ts";
import type { User } from "./users.ts";
import type { WorldItem } from "./world.ts";

export const ITEM_COLUMNS = "id,title,text,creator,origin,createdAt,price,currency,attributes";
export const EVENT_COLUMNS =
  "id,userId,itemId,type,occurredAt,value,quantity,sessionId,surface,listId,position,propensity";

export function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function itemRow(item: WorldItem): string {
  const price = item.price ? (item.price.amountMinor / 100).toFixed(2) : "";
  const fields = [
    item.id,
    item.title,
    item.text,
    item.creator,
    item.origin,
    item.createdAt,
    price,
    item.price?.currency ?? "",
    JSON.stringify(item.attributes),
  ];
  return fields.map(csvField).join(",");
}

export function listId(user: number, list: number): string {
  return `l_${user + 1}_${list + 1}`;
}

/** One event in the import format; empty fields are null. */
export interface EventRow {
  readonly id: string;
  readonly userId: string;
  readonly itemId: string;
  readonly type: string;
  readonly occurredAt: string;
  readonly value: number | null;
  readonly quantity: null;
  readonly sessionId: string;
  readonly surface: string;
  readonly listId: string | null;
  readonly position: number | null;
  readonly propensity: number | null;
}

/** A user's events, oldest first. Ids count the user's own events. */
export function eventRows(user: number, life: Life): EventRow[] {
  const ordered = life.interactions.map((entry, place) => ({ entry, place }));
  ordered.sort((left, right) => left.entry.seconds - right.entry.seconds || left.place - right.place);
  return ordered.map(({ entry }, place) => ({
    id: `e_${user + 1}_${place + 1}`,
    userId: userId(user),
    itemId: itemId(entry.item),
    type: entry.type,
    occurredAt: timeText(entry.seconds),
    value: entry.value,
    quantity: null,
    sessionId: `s_${user + 1}_${entry.session + 1}`,
    surface: entry.surface,
    listId: entry.list < 0 ? null : listId(user, entry.list),
    position: entry.list < 0 ? null : entry.position,
    propensity: entry.list < 0 ? null : entry.propensity,
  }));
}

export function eventLine(row: EventRow): string {
  return [
    row.id,
    row.userId,
    row.itemId,
    row.type,
    row.occurredAt,
    row.value ?? "",
    "",
    row.sessionId,
    row.surface,
    row.listId ?? "",
    row.position ?? "",
    row.propensity ?? "",
  ].join(",");
}

export function listLine(user: number, list: ShownList): string {
  const items = list.items.map((item, position) => ({
    itemId: itemId(item),
    position,
    propensity: list.propensities[position],
  }));
  return JSON.stringify({
    userId: userId(user),
    occurredAt: timeText(list.seconds),
    sessionId: `s_${user + 1}_${list.session + 1}`,
    surface: "home.forYou",
    list: { id: listId(user, list.index), policy: POLICY, items },
  });
}

/** Profile of a user; nothing of it is hidden. */
export function userLine(user: User): string {
  return JSON.stringify({
    userId: userId(user.index),
    region: REGIONS[user.region],
    ageBand: AGE_BANDS[user.ageBand],
    household: HOUSEHOLDS[user.household],
    diet: user.diet,
  });
}
