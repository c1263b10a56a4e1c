/** An app of its own for each test: storage is shared by the tests of a file. */
import { env } from "cloudflare:workers";
import type { ItemWrite } from "../../functions/store/items.ts";

export async function newApp(): Promise<number> {
  const row = await env.DB.prepare("INSERT INTO apps (id, name, created_at) VALUES (?1, 'test', 0) RETURNING app")
    .bind(`app_${crypto.randomUUID()}`)
    .first<{ app: number }>();
  return row!.app;
}

export function item(id: string, more: Partial<ItemWrite> = {}): ItemWrite {
  return {
    id,
    title: `Title of ${id}`,
    text: "",
    creator: "",
    origin: "unknown",
    createdAt: null,
    priceMinor: null,
    currency: null,
    attributes: {},
    available: true,
    hidden: false,
    ...more,
  };
}
