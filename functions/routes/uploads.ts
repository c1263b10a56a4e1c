/** Bodies that are files: stored by their hash, which the caller may declare. */
import { sha256Hex } from "../domain/artefact/digest.ts";
import { Sha256 } from "../domain/artefact/manifest.ts";
import { readBytes } from "../http/body.ts";
import { limit } from "../http/limits.ts";
import { ProblemError } from "../http/problem.ts";
import { putFile } from "../store/artefacts.ts";
import type { Context } from "hono";
import type * as z from "zod";
import type { Bindings } from "../http/context.ts";

/** A value of the path or a header. @throws ProblemError invalid_request */
export function checked(schema: z.ZodString, value: string, pointer: string): string {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const detail = result.error.issues.map((issue) => issue.message).join("; ");
  throw new ProblemError("invalid_request", `${pointer} is not valid`, {
    errors: [{ pointer, code: "invalid_format", detail }],
  });
}

/** Stores the body under the key of its hash: streamed where the caller declared hash and length, otherwise read and hashed here. */
export async function storeUpload(
  c: Context<Bindings>,
  keyOf: (sha256: string) => string,
): Promise<{ bytes: number; sha256: string }> {
  const header = c.req.header("x-content-sha256");
  const declared = header === undefined ? undefined : checked(Sha256, header.toLowerCase(), "x-content-sha256");
  const stream = c.req.raw.body;
  const isPlain = (c.req.header("content-encoding") ?? "identity") === "identity";
  if (declared !== undefined && stream !== null && isPlain && c.req.header("content-length") !== undefined) {
    const stored = await putFile(c.env, keyOf(declared), declared, stream);
    if (stored === undefined) throw otherHash(declared);
    return { bytes: stored.bytes, sha256: declared };
  }
  const content = await readBytes(c, limit("modelFileBytes"));
  const sha256 = await sha256Hex(content);
  if (declared !== undefined && declared !== sha256) throw otherHash(declared);
  await putFile(c.env, keyOf(sha256), sha256, content);
  return { bytes: content.length, sha256 };
}

function otherHash(declared: string): ProblemError {
  return new ProblemError("invalid_request", `The body's sha256 is not ${declared}; nothing was kept`, {
    errors: [{ pointer: "x-content-sha256", code: "mismatch", detail: "differs from the sha256 of the body" }],
  });
}
