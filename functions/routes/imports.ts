/** The ledger of imports: how far a file has come, so that an import resumes after a kill and refuses a finished file. */
import { Hono } from "hono";
import * as z from "zod";
import { requireKind } from "../http/auth.ts";
import { parseBody } from "../http/body.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { findImport, type ImportRow, saveImport } from "../store/ledger.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";

const MAX_ROWS = 1e12;

const Progress = z
  .strictObject({
    kind: z.enum(["items", "events", "lists"]),
    nextRow: z.int().min(0).max(MAX_ROWS),
    rejected: z.int().min(0).max(MAX_ROWS).default(0),
    finished: z.boolean().default(false),
  })
  .meta({ id: "ImportProgress", description: "`nextRow`: rows before it, in the order of sending, were acknowledged" });

const Entry = z
  .object({
    file: z.string(),
    kind: z.string(),
    nextRow: z.int(),
    rejected: z.int(),
    finished: z.boolean(),
    finishedAt: z.iso.datetime().nullable(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: "ImportEntry" });

const SECRET = { tag: "Items", auth: ["secret"], scope: "import", path: "/v1/imports/{file}" } as const;
const params = { file: "SHA-256 (64 hex digits) over the kind of rows, a line feed and the file" };

describe({
  ...SECRET,
  params,
  method: "get",
  summary: "How far the import of a file has come",
  response: Entry,
  errors: ["not_found"],
});
describe({
  ...SECRET,
  params,
  method: "put",
  summary: "Record how far the import of a file has come",
  description: "A finished entry changes no more, unless it begins again at row 0.",
  request: Progress,
  response: Entry,
  errors: ["conflict"],
  example: { kind: "events", nextRow: 1000 },
});

export const importsRoutes = new Hono<Bindings>()
  .use("/imports/*", requireKind("secret"))

  .get("/imports/:file", async (c) => {
    const row = await findImport(c.env.DB, c.get("credential").app, fileOf(c));
    if (row === undefined) throw new ProblemError("not_found", "No import of this file is recorded in this app");
    return c.json(entryOf(row));
  })

  .put("/imports/:file", async (c) => {
    const progress = await parseBody(c, Progress);
    const row = await saveImport(
      c.env.DB,
      c.get("credential").app,
      { file: fileOf(c), ...progress },
      c.get("clock").now(),
    );
    if (row === undefined)
      throw new ProblemError("conflict", "This file was imported to its end, or as another kind of rows");
    return c.json(entryOf(row));
  });

function fileOf(c: Context<Bindings>): string {
  const file = c.req.param("file") ?? "";
  if (/^[0-9a-f]{64}$/.test(file)) return file;
  const errors = [{ pointer: "{file}", code: "invalid_format", detail: "is not a SHA-256 in 64 hex digits" }];
  throw new ProblemError("invalid_request", "The file in the path does not fit its schema", { errors });
}

function entryOf(row: ImportRow): z.output<typeof Entry> {
  return {
    file: row.file,
    kind: row.kind,
    nextRow: row.nextRow,
    rejected: row.rejected,
    finished: row.finishedAt !== null,
    finishedAt: row.finishedAt === null ? null : new Date(row.finishedAt).toISOString(),
    updatedAt: new Date(row.updatedAt).toISOString(),
  };
}
