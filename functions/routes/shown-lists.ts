/** Lists that events bring back: recommendation tokens verified once a request, and lists that an import carries. */
import type { ShownList } from "../domain/history/events.ts";
import { SLOTS, decodeToken, isTokenTimely, type TokenParts } from "../domain/history/recommendation-token.ts";
import { toHex } from "../domain/history/text-codec.ts";
import { modelVersionOf } from "../store/log.ts";
import { appTokenKey } from "../store/subjects.ts";
import type { CheckedEvent } from "./event-schemas.ts";

export interface BroughtBack {
  readonly list: ShownList;
  readonly isTimely: (occurredAt: number, receivedAt: number) => boolean;
}

/** Authentic tokens of the app by their text. */
export async function verifyTokens(env: Env, app: number, texts: readonly string[]): Promise<Map<string, BroughtBack>> {
  const good = new Map<string, BroughtBack>();
  if (texts.length === 0) return good;
  const key = await appTokenKey(env, app);
  for (const text of new Set(texts)) {
    const parts = await decodeToken(text, key);
    if (parts === undefined || parts.app !== app) continue;
    const modelVersion = await modelVersionOf(env, app, parts.model);
    const isTimely = (occurredAt: number, receivedAt: number) =>
      isTokenTimely(parts.issuedSeconds, occurredAt, receivedAt);
    good.set(text, { list: listOf(parts, modelVersion), isTimely });
  }
  return good;
}

function listOf(parts: TokenParts, modelVersion: string | null): ShownList {
  return {
    id: toHex(parts.listId),
    subject: parts.subject.every((byte) => byte === 0) ? "" : toHex(parts.subject),
    issuedAt: parts.issuedSeconds * 1000,
    policy: parts.model === 0 ? "fallback" : "model",
    modelVersion,
    items: parts.items.map(({ number, slot, w }, position) => ({
      item: number,
      position,
      slot: SLOTS[slot] ?? "ranked",
      w,
    })),
  };
}

/** u16 of a share, as in the token: round(-4096 log2 share). */
function quantised(share: number): number {
  return Math.min(0xffff, Math.round(-4096 * Math.log2(share)));
}

/** `w` holds the propensity that the file gives; without one 1, which is a fixed order. */
export function importedList(
  list: NonNullable<CheckedEvent["list"]>,
  at: number,
  numbers: ReadonlyMap<string, number>,
): ShownList {
  return {
    id: list.id,
    subject: "",
    issuedAt: at,
    policy: list.policy,
    modelVersion: null,
    items: list.items.map(({ itemId, position, propensity }) => ({
      item: numbers.get(itemId) ?? null,
      position,
      slot: "ranked",
      w: quantised(propensity ?? 1),
    })),
  };
}
