/**
 * The Standard Webhooks vectors (copied from shared/vectors, formatted) as flat checks, so that any implementation can be held
 * against them: ours, the one of node:crypto below, or the reference library behind the same `Verifier`.
 */
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";

interface Expectation {
  readonly result: "ok" | "error";
  readonly error?: string;
  readonly value?: unknown;
  readonly signature?: string;
}

interface VectorCase {
  readonly name: string;
  readonly operation: "construct" | "verify" | "sign";
  readonly secret?: string;
  readonly secrets?: readonly (string | null)[];
  readonly secret_variants?: readonly string[];
  readonly headers?: Record<string, string>;
  readonly header_variants?: readonly Record<string, string>[];
  readonly id?: string;
  readonly timestamp?: number;
  readonly body?: string;
  readonly now?: number;
  readonly expect: Expectation;
}

interface StandardVectors {
  readonly vector: { secret: string; id: string; timestamp: number; body: string; signature: string };
  readonly cases: readonly VectorCase[];
  readonly extra_cases: readonly VectorCase[];
}

export interface VerifyCheck {
  readonly name: string;
  readonly secret: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly nowSeconds: number;
  /** "ok", or the vectors' label of the error. */
  readonly expected: string;
}

/** Says "ok", or a label of an error. */
export type Verifier = (check: Omit<VerifyCheck, "expected">) => Promise<string> | string;

export function readVectors(file: string): unknown {
  return JSON.parse(readFileSync(path.join(import.meta.dirname, file), "utf8"));
}

const standard = readVectors("standard-webhooks.json") as StandardVectors;
const all = [...standard.cases, ...standard.extra_cases];

export const VECTOR = standard.vector;

export const emptySecrets: readonly (string | null)[] = all
  .filter(({ operation }) => operation === "construct")
  .flatMap(({ secrets = [] }) => secrets);

export const signCases = all.filter(({ operation }) => operation === "sign");

export const verifyChecks: readonly VerifyCheck[] = all
  .filter(({ operation }) => operation === "verify")
  .flatMap(({ name, secret, secret_variants, headers, header_variants, body = "", now = Number.NaN, expect }) =>
    (secret_variants ?? [secret!]).flatMap((eachSecret) =>
      (header_variants ?? [headers!]).map((eachHeaders) => ({
        name,
        secret: eachSecret,
        headers: eachHeaders,
        body,
        nowSeconds: now,
        expected: expect.error ?? expect.result,
      })),
    ),
  );

/** Names of the checks that a verifier gets wrong. */
export async function failuresOf(verifier: Verifier): Promise<string[]> {
  const failures: string[] = [];
  for (const check of verifyChecks) {
    const { expected, ...input } = check;
    if ((await verifier(input)) !== expected) failures.push(check.name);
  }
  return failures;
}

/** Mistakes that receivers make. */
export type Defect =
  | "compares a prefix"
  | "keeps no past limit"
  | "keeps no future limit"
  | "refuses the limit itself"
  | "reads any version"
  | "reads the first signature only"
  | "takes text for a time"
  | "parses and writes the body again"
  | "looks for headers in lower case"
  | "signs without the id"
  | "signs without the time"
  | "keeps the prefix of the secret"
  | "asks for no id";

/** The scheme once more, over node:crypto and written apart from ours; with at most one planted defect. */
export function secondVerifier(defect?: Defect): Verifier {
  return ({ secret, headers, body, nowSeconds }) => {
    const key = Buffer.from(
      defect === "keeps the prefix of the secret" ? secret : secret.replace("whsec_", ""),
      "base64",
    );
    const header = (name: string): string | undefined =>
      defect === "looks for headers in lower case"
        ? headers[name]
        : Object.entries(headers).find(([each]) => each.toLowerCase() === name)?.[1];
    const [id, time, signatures] = [header("webhook-id"), header("webhook-timestamp"), header("webhook-signature")];
    if (!time || !signatures || (!id && defect !== "asks for no id")) return "missing-header";
    const seconds = Number(time);
    if (Number.isNaN(seconds) && defect !== "takes text for a time") return "bad-timestamp";
    const limit = defect === "refuses the limit itself" ? 299 : 300;
    if (nowSeconds - seconds > limit && defect !== "keeps no past limit") return "timestamp-too-old";
    if (seconds - nowSeconds > limit && defect !== "keeps no future limit") return "timestamp-too-new";
    const sent = defect === "parses and writes the body again" && body ? JSON.stringify(JSON.parse(body)) : body;
    const signedId = defect === "signs without the id" ? VECTOR.id : id;
    const signedTime = defect === "signs without the time" ? VECTOR.timestamp : time;
    const expected = createHmac("sha256", key).update(`${signedId}.${signedTime}.${sent}`).digest("base64");
    const listed = signatures.split(" ").map((each) => each.split(","));
    const read = defect === "reads the first signature only" ? listed.slice(0, 1) : listed;
    const matches = read.some(
      ([version, value = ""]) =>
        (version === "v1" || defect === "reads any version") &&
        (defect === "compares a prefix" ? expected.startsWith(value) : expected === value),
    );
    return matches ? "ok" : "no-matching-signature";
  };
}
