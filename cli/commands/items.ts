/** `edgewise items ...` and `edgewise recommend`. */
import { text } from "node:stream/consumers";
import { type ConnectionOptions, connect, UsageError } from "../settings.ts";

const pathOf = (id: string) => `/v1/items/${encodeURIComponent(id)}`;
const print = (value: unknown) => console.log(JSON.stringify(value, null, 2));

export async function itemsGet(id: string, flags: ConnectionOptions): Promise<void> {
  print(await connect(flags).request("GET", pathOf(id)));
}

export async function itemsPut(id: string, json: string, flags: ConnectionOptions): Promise<void> {
  let body: unknown;
  try {
    body = JSON.parse(json === "-" ? await text(process.stdin) : json);
  } catch {
    throw new UsageError("the item is not JSON");
  }
  print(await connect(flags).request("PUT", pathOf(id), { json: body }));
}

export async function itemsDelete(id: string, flags: ConnectionOptions): Promise<void> {
  await connect(flags).request("DELETE", pathOf(id));
  console.log(`${id}: deleted`);
}

interface RecommendationAnswer {
  readonly source: string;
  readonly degradedReason: string | null;
  readonly modelVersion: string | null;
  readonly items: readonly {
    readonly itemId: string;
    readonly position: number;
    readonly score: number | null;
    readonly item?: { readonly title?: string };
  }[];
}

export async function recommend(
  flags: ConnectionOptions & { user: string; count: number; json: boolean },
): Promise<void> {
  const json = { userId: flags.user, count: flags.count, fields: ["title"] };
  const answer = await connect(flags).request<RecommendationAnswer>("POST", "/v1/recommendations", { json });
  if (flags.json) return print(answer);
  const why = answer.degradedReason === null ? "" : ` (${answer.degradedReason})`;
  console.log(`${answer.items.length} items from ${answer.source}${why}, model ${answer.modelVersion ?? "none"}`);
  for (const { itemId, position, score, item } of answer.items) {
    const shown = typeof score === "number" ? score.toFixed(3) : "-";
    console.log(`${String(position + 1).padStart(3)}  ${shown.padStart(8)}  ${itemId}  ${item?.title ?? ""}`);
  }
}
