import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import type { Client, RequestOptions } from "../../cli/client.ts";
import { importFile, type ImportOptions, type ImportSummary } from "../../cli/import-file.ts";
import type { Kind } from "../../cli/rows.ts";

const folder = mkdtempSync(path.join(tmpdir(), "edgewise-import-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

class Killed extends Error {}

interface Sent {
  readonly id: string;
  readonly userId?: string;
  readonly itemId?: string;
  readonly list?: { readonly items: readonly unknown[] };
}

/** A server in memory: events once by id, items by id, the ledger; dies after so many requests, before or after the effect. */
class Server {
  readonly ledger = new Map<string, { nextRow: number; rejected: number; finished: boolean }>();
  readonly stored = new Map<string, Sent>();
  readonly batches: Sent[][] = [];
  accepted = 0;
  requestsToLive = Number.POSITIVE_INFINITY;
  diesAfterEffect = false;
  refuse: (row: Sent) => Record<string, unknown> | undefined = () => undefined;

  find<T>(file: string): Promise<T | undefined> {
    return Promise.resolve(this.ledger.get(file) as T | undefined);
  }

  request<T>(_method: string, route: string, { json }: RequestOptions = {}): Promise<T> {
    this.requestsToLive -= 1;
    if (this.requestsToLive < 0 && !this.diesAfterEffect) throw new Killed();
    const answer = this.#effect(route, json as Record<string, unknown>);
    if (this.requestsToLive < 0) throw new Killed();
    return Promise.resolve(answer as T);
  }

  #effect(route: string, json: Record<string, unknown>): unknown {
    if (route.startsWith("/v1/imports/")) {
      this.ledger.set(route, json as { nextRow: number; rejected: number; finished: boolean });
      return json;
    }
    const rows = (json["items"] ?? json["events"]) as Sent[];
    this.batches.push(rows);
    return {
      results: rows.map((row) => {
        const refusal = this.refuse(row);
        if (refusal !== undefined) return { id: row.id, status: "rejected", ...refusal };
        if (this.stored.has(row.id) && route === "/v1/events") return { id: row.id, status: "duplicate" };
        this.stored.set(row.id, row);
        this.accepted += 1;
        return { id: row.id, status: "accepted" };
      }),
    };
  }
}

let server: Server;
let reports: string[];
beforeEach(() => {
  server = new Server();
  reports = [];
});

function run(file: string, kind: Kind, more: Partial<ImportOptions> = {}): Promise<ImportSummary> {
  const client = server as unknown as Pick<Client, "request" | "find">;
  const report = (line: string) => void reports.push(line);
  return importFile(file, kind, { client, backfill: true, again: false, report, progress: () => undefined, ...more });
}

function write(name: string, lines: readonly string[]): string {
  const file = path.join(folder, name);
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

const day = (k: number) => new Date(Date.UTC(2026, 0, 1 + k)).toISOString();
const events = (rows: readonly (readonly [user: number, item: number, day: number])[]) => [
  "userId,itemId,type,occurredAt",
  ...rows.map(([user, item, k]) => `u${user},i${item},view,${day(k)}`),
];

describe("importing a file", () => {
  it("sends good rows, names bad ones with line, column and reason, and counts both", async () => {
    server.refuse = (row) =>
      row.id === "c"
        ? { code: "invalid_item", errors: [{ pointer: "/items/1/title", detail: "too long" }] }
        : undefined;
    const file = write("items.csv", [
      "id,title,price,currency,colour",
      "a,A,1.50,EUR,red",
      ",B,,,",
      "c,C,,,",
      "d,D,x,EUR,",
      'e,"E',
      "f,F,,,",
    ]);
    expect(await run(file, "items")).toMatchObject({ outcome: "imported", rows: 6, sent: 2, bad: 4 });
    expect(reports.sort()).toEqual([
      'items.csv: the column "colour" is not one of items and is left out',
      "items.csv:3: id: is missing",
      "items.csv:4: title: too long",
      'items.csv:5: price: "x" is not a decimal number of at least 0',
      "items.csv:6: the row has a quote that is not closed",
    ]);
    expect([...server.stored.keys()]).toEqual(["a", "f"]);
    expect([...server.ledger.values()]).toEqual([{ kind: "items", nextRow: 3, rejected: 4, finished: true }]);
  });

  it("refuses a table without a needed column, a file that is not there, and an ending it can't read", async () => {
    await expect(run(write("events.csv", ["userId,itemId,type", "u,i,view"]), "events")).rejects.toThrow(
      /lacks the column occurredAt/,
    );
    await expect(run(path.join(folder, "nothing.csv"), "items")).rejects.toThrow(/there is no such file/);
    await expect(run(write("items.txt", ["x"]), "items")).rejects.toThrow(/ending/);
  });

  it("refuses a file that was imported to its end, and with --again doubles nothing", async () => {
    const file = write(
      "again.csv",
      events([
        [1, 1, 0],
        [1, 1, 0],
        [2, 1, 0],
      ]),
    );
    expect(await run(file, "events")).toMatchObject({ sent: 3, known: 0 });
    expect(await run(file, "events")).toMatchObject({ outcome: "already-finished", sent: 0 });
    expect(await run(file, "events", { again: true })).toMatchObject({ outcome: "imported", sent: 0, known: 3 });
    expect(server.accepted).toBe(3);
    expect(await run(file, "lists").catch((error: Error) => error.message)).toMatch(/lacks the column/); // another kind is another entry
  });

  it("sends rows again that the server could not store just then", async () => {
    let failures = 2;
    server.refuse = ({ itemId }) =>
      itemId === "i2" && failures-- > 0 ? { code: "unavailable", retryable: true, detail: "later" } : undefined;
    const summary = await run(
      write(
        "flaky.csv",
        events([
          [1, 1, 0],
          [1, 2, 1],
          [1, 3, 2],
        ]),
      ),
      "events",
    );
    expect(summary).toMatchObject({ sent: 3, bad: 0 });
    expect(server.batches.map((batch) => batch.length)).toEqual([3, 1, 1]);
    expect(reports).toEqual([]);
  }, 15_000);

  it("makes one impression of the rows of a list, across windows too", async () => {
    const rows = ["listId,userId,occurredAt,itemId,position,propensity,policy"];
    for (const list of [0, 1, 2])
      for (const place of [0, 1, 2]) rows.push(`l${list},u${list % 2},${day(list)},i${place},${place},0.5,random`);
    expect(await run(write("lists.csv", rows), "lists", { windowRows: 4 })).toMatchObject({ rows: 9, sent: 3, bad: 0 });
    expect([...server.stored.values()].map(({ list }) => list?.items.length)).toEqual([3, 3, 3]);
  });

  it("reads lists that stand whole in a line of JSON, and names what is wrong with one", async () => {
    const items = [0, 1].map((position) => ({ itemId: `i${position}`, position, propensity: 0.5 }));
    const row = { userId: "u", occurredAt: day(0), surface: "home", list: { id: "l1", policy: "random", items } };
    const bad = { ...row, list: { id: "l2", policy: "random", items: [{ itemId: "i", position: 0, propensity: 2 }] } };
    const file = write(
      "lists.jsonl",
      [row, bad, { ...row, list: 7 }].map((line) => JSON.stringify(line)),
    );
    expect(await run(file, "lists")).toMatchObject({ rows: 3, sent: 1, bad: 2 });
    expect([...server.stored.values()]).toMatchObject([
      { id: "imp_l1", itemId: "i0", list: { id: "l1", policy: "random", items } },
    ]);
    expect(reports.toSorted()).toEqual([
      "lists.jsonl:2: propensity: 2 is not above 0 and at most 1",
      "lists.jsonl:3: list: 7 is not a JSON object",
    ]);
  });

  it("turns event rows with a list and a propensity into the impression of their list", async () => {
    const lines = ["userId,itemId,type,occurredAt,listId,position,propensity"];
    lines.push(`u,a,impression,${day(0)},l1,0,0.5`, `u,b,impression,${day(0)},l1,1,0.25`, `u,a,click,${day(0)},l1,0,`);
    expect(await run(write("mixed.csv", lines), "events")).toMatchObject({ rows: 3, sent: 2 });
    expect(new Set([...server.stored.values()].map(({ list }) => list?.items.length))).toEqual(new Set([2, undefined]));
  });
});

describe("an import that is killed", () => {
  const rows = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 })),
    { minLength: 1, maxLength: 60 },
  );

  it("goes on where it was, however often it dies: every row once, each user's in order, nothing doubled", async () => {
    let files = 0;
    await fc.assert(
      fc.asyncProperty(
        rows,
        fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.boolean()), { maxLength: 8 }),
        async (table, kills) => {
          server = new Server();
          const file = write(`killed-${files++}.csv`, events(table));
          const more = { bounds: { rows: 4, users: 2 }, windowRows: 25 };
          for (const [requests, afterEffect] of kills) {
            [server.requestsToLive, server.diesAfterEffect] = [requests, afterEffect];
            await run(file, "events", more).catch((error: unknown) => {
              if (!(error instanceof Killed)) throw error;
            });
          }
          server.requestsToLive = Number.POSITIVE_INFINITY;
          await run(file, "events", more);
          expect(server.accepted).toBe(table.length);
          expect([...server.ledger.values()]).toEqual([
            { kind: "events", nextRow: table.length, rejected: 0, finished: true },
          ]);
          const whole = new Server();
          const killed = server;
          server = whole;
          await run(file, "events", more);
          const byUser = (of: Server) => Map.groupBy(of.stored.values(), ({ userId }) => userId);
          expect(byUser(killed)).toEqual(byUser(whole));
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);

  it("sends no acknowledged batch again", async () => {
    const file = write("resume.csv", events(Array.from({ length: 40 }, (_, k) => [k, 1, k] as const)));
    server.requestsToLive = 6; // three batches of 5 with their ledger entries
    await expect(run(file, "events", { bounds: { rows: 5 } })).rejects.toThrow(Killed);
    server.requestsToLive = Number.POSITIVE_INFINITY;
    expect(await run(file, "events", { bounds: { rows: 7 } })).toMatchObject({ sent: 25, known: 0, resumedAt: 15 });
  });
});
