import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, describe, expect, it } from "vitest";
import { csvField } from "../../cli/convert.ts";
import { readRows } from "../../cli/readers/read.ts";
import type { Row } from "../../cli/readers/row.ts";

const folder = mkdtempSync(path.join(tmpdir(), "edgewise-readers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function fileOf(content: string | Uint8Array, ending: string): string {
  const file = path.join(folder, `${files++}.${ending}`);
  writeFileSync(file, content);
  return file;
}

async function read(content: string | Uint8Array, ending: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const chunk of readRows(fileOf(content, ending))) rows.push(...chunk);
  return rows;
}

const good = (rows: Row[]) =>
  rows.flatMap((row) => (row.record === undefined ? [] : [[row.line, ...Object.values(row.record)]]));
const bad = (rows: Row[]) => rows.flatMap((row) => (row.fault === undefined ? [] : [[row.line, row.fault.reason]]));

describe("CSV", () => {
  it("reads quotes, commas and line breaks inside fields, a byte order mark, CRLF and blank lines", async () => {
    const rows = await read('\uFEFFid,title\r\n1,"a ""b"", c"\r\n\r\n2,"two\r\nlines"\r\n3,last', "csv");
    expect(good(rows)).toEqual([
      [2, "1", 'a "b", c'],
      [4, "2", "two\r\nlines"],
      [6, "3", "last"],
    ]);
    expect(bad(rows)).toEqual([]);
  });

  it("loses no row after a broken quote", async () => {
    const rows = await read(
      'id,title\n1,x"y\n2,fine\n3,"bad"z\n4,fine\n5,"open\n6,fine\n7,"q"\n8,too,many\n9,fine\n',
      "csv",
    );
    expect(good(rows)).toEqual([2, 4, 6, 7, 9].map((id) => [id + 1, String(id), id === 7 ? "q" : "fine"]));
    expect(bad(rows).sort(([a], [b]) => Number(a) - Number(b))).toEqual([
      [2, "has a quote inside a field that does not begin with one"],
      [4, "has text after a closing quote"],
      [6, "has a quote that is not closed"],
      [9, "has 3 fields, the header has 2"],
    ]);
  });

  it("names the line of a quote that nobody closes and reads the rest", async () => {
    const rest = Array.from({ length: 500 }, (_, k) => `${k},fine`).join("\n");
    const rows = await read(`id,title\nx,"open\n${rest}`, "csv");
    expect(bad(rows)).toEqual([[2, "has a quote that is not closed"]]);
    expect(good(rows)).toHaveLength(500);
  });

  it("refuses an empty file and a header with one name twice", async () => {
    await expect(read("", "csv")).rejects.toThrow(/is empty/);
    await expect(read("id,title,id\n", "csv")).rejects.toThrow(/"id" twice/);
  });

  it("gives back any fields that were written by the rules of quoting, across chunks of the file", async () => {
    const field = fc.string({
      unit: fc.constantFrom("a", ",", '"', "\n", "\r\n", "é", "漢", " ", "😀"),
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 30 }), async (table) => {
        const text = table.map((row, k) => `${k},${row.map((cell) => csvField(cell)).join(",")}`).join("\n");
        const rows = await read(`n,a,b\n${text}\n`, "csv");
        expect(good(rows).map(([, ...cells]) => cells)).toEqual(table.map((row, k) => [String(k), ...row]));
      }),
      { numRuns: 60 },
    );
  });

  it("finds every good row of a file larger than one chunk", async () => {
    const lines = Array.from({ length: 40_000 }, (_, k) => (k % 1000 === 7 ? `${k},"br` : `${k},"row\n${k}"`));
    const rows = await read(`id,title\n${lines.join("\n")}\n`, "csv");
    expect(good(rows)).toHaveLength(39_960);
    expect(bad(rows)).toHaveLength(40);
  });
});

describe("JSON Lines", () => {
  it("reads objects and names the line of what is none", async () => {
    const rows = await read('\uFEFF{"id":1,"t":"a\u2028b"}\r\n\r\n{"id":2\n[3]\nnull\n{"id":4}', "jsonl");
    expect(good(rows)).toEqual([
      [1, 1, "a\u2028b"],
      [6, 4],
    ]);
    expect(bad(rows)).toEqual([
      [3, "is not JSON"],
      [4, "is not a JSON object"],
      [5, "is not a JSON object"],
    ]);
  });
});

describe("Parquet", () => {
  it("reads strings, numbers, big integers, times, lists and nulls, row group by row group", async () => {
    const times = [Date.UTC(2026, 0, 2), Date.UTC(2026, 0, 3), Date.UTC(2026, 0, 4)];
    const buffer = parquetWriteBuffer({
      columnData: [
        { name: "id", data: ["a", "b", "c"], type: "STRING" },
        { name: "value", data: [1.5, 2, 3], type: "DOUBLE" },
        { name: "quantity", data: [1n, 2n, 3n], type: "INT64" },
        { name: "occurredAt", data: times.map((time) => new Date(time)), type: "TIMESTAMP" },
        { name: "note", data: ["x", null, "z"], type: "STRING" },
      ],
      rowGroupSize: 2,
    });
    const rows = await read(new Uint8Array(buffer), "parquet");
    expect(rows.map((row) => [row.line, row.record])).toEqual(
      ["a", "b", "c"].map((id, k) => [
        k + 1,
        {
          id,
          value: [1.5, 2, 3][k],
          quantity: k + 1,
          occurredAt: new Date(times[k]!).toISOString(),
          note: ["x", null, "z"][k] ?? null,
        },
      ]),
    );
  });

  it("refuses a file that is none", async () => {
    await expect(read("hello", "parquet")).rejects.toThrow(/is not a Parquet file/);
  });
});

it("names the endings it reads when a file has another one", async () => {
  await expect(read("x", "xlsx")).rejects.toThrow(/\.csv, \.jsonl, \.ndjson, \.parquet/);
});
