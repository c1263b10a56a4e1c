/**
 * Research packs -> `items.csv` and `events.csv` in the import format, in the git-ignored cache. The same files feed the server
 * (`edgewise import`) and the trainer. The output is the same for the same pack, so the ledger knows it again.
 */
import { execFileSync } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { once } from "node:events";
import path from "node:path";
import { readRows } from "./readers/read.ts";
import { linesOf } from "./readers/lines.ts";
import { CACHE, DEFAULT_DATA, UsageError } from "./settings.ts";

const ITEM_COLUMNS = ["id", "title", "text", "creator", "origin", "createdAt", "price", "currency", "attributes"];
const EVENT_COLUMNS = ["id", "userId", "itemId", "type", "occurredAt", "value", "quantity"];
const DAY_MS = 86_400_000;
/** Packs with order and no time: the last event of a user is given this day, the one before the day before, and so on. */
const ORDER_ONLY_END = Date.UTC(2014, 6, 1);
/** The interface takes titles up to 500 characters. */
const MAX_TITLE = 500;

type Fields = Readonly<Record<string, string | number | undefined>>;

interface Dataset {
  readonly pack: string;
  readonly about: string;
  items(folder: string): AsyncGenerator<Fields>;
  events(folder: string): AsyncGenerator<Fields>;
}

/** The order of Amazon's packs is real, their days are not: see ORDER_ONLY_END. */
const amazon = (pack: string, about: string): Dataset => ({
  pack,
  about,
  async *items(folder) {
    for await (const { record } of rowsOf(path.join(folder, "items.jsonl"))) {
      const brand = stringOf(record["brand"]);
      const paths = Array.isArray(record["categories"]) ? (record["categories"] as unknown[]) : [];
      const categories = [...new Set(paths.flat().filter((name) => typeof name === "string"))];
      yield {
        id: stringOf(record["id"]),
        title: (stringOf(record["title"]) || stringOf(record["text_id"])).slice(0, MAX_TITLE),
        creator: brand === "Unknown" ? "" : brand,
        attributes: JSON.stringify({ categories, asin: record["asin"] }),
      };
    }
  },
  async *events(folder) {
    for await (const lines of linesOf(path.join(folder, "sequences.txt"))) {
      for (const { text } of lines) {
        const [userId, ...sequence] = text.trim().split(/\s+/);
        for (const [k, itemId] of sequence.entries()) {
          const occurredAt = new Date(ORDER_ONLY_END - (sequence.length - 1 - k) * DAY_MS).toISOString();
          yield { userId, itemId, type: "purchase", occurredAt };
        }
      }
    }
  },
});

const onlineRetail: Dataset = {
  pack: "online-retail-uci",
  about: "purchases of a British gift shop, 2010-12 to 2011-12",
  async *items(folder) {
    for await (const { record } of rowsOf(path.join(folder, "items.csv"))) {
      const price = stringOf(record["price_gbp"]);
      yield {
        id: stringOf(record["item_id"]),
        title: stringOf(record["title"]),
        price,
        currency: price === "" ? "" : "GBP",
      };
    }
  },
  async *events(folder) {
    for await (const { record } of rowsOf(path.join(folder, "interactions.csv"))) {
      yield {
        userId: stringOf(record["user_id"]),
        itemId: stringOf(record["item_id"]),
        type: "purchase",
        occurredAt: `${stringOf(record["timestamp"]).replace(" ", "T")}Z`,
        quantity: stringOf(record["quantity"]),
      };
    }
  },
};

const movieTweetings: Dataset = {
  pack: "movietweetings-100k",
  about: "film ratings from tweets, 2013; ratings 0-10 are halved to the scale of 5",
  async *items(folder) {
    for await (const [id, title, genres] of fieldsOf(path.join(folder, "movies.dat"))) {
      const year = /\((\d{4})\)$/.exec(title ?? "")?.[1];
      const names = (genres ?? "").split("|").filter((name) => name !== "");
      yield {
        id,
        title,
        attributes: JSON.stringify({ genres: names, ...(year === undefined ? {} : { year: Number(year) }) }),
      };
    }
  },
  async *events(folder) {
    for await (const [userId, itemId, rating, seconds] of fieldsOf(path.join(folder, "ratings.dat"))) {
      const occurredAt = new Date(Number(seconds) * 1000).toISOString();
      yield { userId, itemId, type: "rating", occurredAt, value: Number(rating) / 2 };
    }
  },
};

export const DATASETS: Readonly<Record<string, Dataset>> = {
  "amazon-beauty": amazon("amazon-beauty-2014", "Amazon reviews of 2014, Beauty; order is real, days are made up"),
  "amazon-sports": amazon(
    "amazon-sports-2014",
    "Amazon reviews of 2014, Sports; no titles; order is real, days are made up",
  ),
  "online-retail": onlineRetail,
  movietweetings: movieTweetings,
};

export interface Converted {
  readonly items: string;
  readonly events: string;
  readonly itemRows: number;
  readonly eventRows: number;
}

/** Writes both files into `out` (default: .cache/import/<name>). @throws UsageError for an unknown name or an absent pack */
export async function convertDataset(
  name: string,
  options: { data?: string | undefined; out?: string | undefined },
): Promise<Converted> {
  const dataset = DATASETS[name];
  if (dataset === undefined)
    throw new UsageError(`${JSON.stringify(name)} is not one of ${Object.keys(DATASETS).join(", ")}`);
  const folder = unpacked(dataset.pack, options.data ?? DEFAULT_DATA);
  const out = path.resolve(options.out ?? path.join(CACHE, "import", name));
  mkdirSync(out, { recursive: true });
  const [items, events] = [path.join(out, "items.csv"), path.join(out, "events.csv")];
  const itemRows = await writeCsv(items, ITEM_COLUMNS, dataset.items(folder));
  const eventRows = await writeCsv(events, EVENT_COLUMNS, dataset.events(folder));
  return { items, events, itemRows, eventRows };
}

/** The pack's folder, unpacked once into the cache; atomic, so that another process sees all of it or nothing. */
function unpacked(pack: string, data: string): string {
  const folder = path.join(CACHE, "data", pack);
  if (existsSync(folder)) return folder;
  const archive = path.join(data, `${pack}.tar.xz`);
  if (!existsSync(archive))
    throw new UsageError(`${pack}.tar.xz is not in ${data}; --data names the folder of the packs`);
  mkdirSync(path.dirname(folder), { recursive: true });
  const fresh = mkdtempSync(path.join(path.dirname(folder), "unpacking-"));
  try {
    execFileSync("tar", ["-xJf", archive, "-C", fresh]);
    renameSync(path.join(fresh, pack), folder);
  } catch (error) {
    if (!existsSync(folder)) throw error; // otherwise another process was first
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return folder;
}

/** A quoted field where it must be (RFC 4180). */
export function csvField(value: string | number | undefined): string {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function writeCsv(file: string, columns: readonly string[], rows: AsyncGenerator<Fields>): Promise<number> {
  const fresh = `${file}.${process.pid}.tmp`;
  const stream = createWriteStream(fresh);
  let count = 0;
  let buffer = `${columns.join(",")}\n`;
  for await (const row of rows) {
    buffer += `${columns.map((column) => csvField(row[column])).join(",")}\n`;
    count += 1;
    if (buffer.length < 1 << 18) continue;
    if (!stream.write(buffer)) await once(stream, "drain");
    buffer = "";
  }
  stream.end(buffer);
  await once(stream, "finish");
  renameSync(fresh, file);
  return count;
}

async function* rowsOf(file: string): AsyncGenerator<{ record: Readonly<Record<string, unknown>> }> {
  for await (const rows of readRows(file)) {
    for (const { line, record, fault } of rows) {
      if (record === undefined) throw new UsageError(`${path.basename(file)}:${line}: ${fault.reason}`);
      yield { record };
    }
  }
}

/** Fields joined by `::`. */
async function* fieldsOf(file: string): AsyncGenerator<string[]> {
  for await (const lines of linesOf(file)) {
    for (const { text } of lines) if (text.trim() !== "") yield text.replace(/\r$/, "").split("::");
  }
}

function stringOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}
