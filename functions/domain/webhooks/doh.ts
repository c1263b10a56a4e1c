/**
 * Names to addresses over HTTPS, in the JSON form of Cloudflare's and Google's resolvers (it has no RFC; record types and codes are
 * those of RFC 1035 and RFC 3596). Both families are asked, and one unanswered question fails the whole: half an answer could hide
 * the private address.
 */
import * as z from "zod";
import type { Resolve } from "./target.ts";

export const DOH_ENDPOINT = "https://cloudflare-dns.com/dns-query";

/** Aliases followed from a name to its addresses, as common resolvers do. */
export const MAX_ALIASES = 16;

const RECORD_TYPES = { A: 1, AAAA: 28 } as const;
const CNAME = 5;
const NO_ERROR = 0;
const NO_SUCH_NAME = 3;

export const DnsAnswer = z.object({
  Status: z.int().min(0).max(65_535),
  TC: z.boolean().optional(),
  Answer: z
    .array(z.object({ name: z.string().max(1024), type: z.int(), data: z.string().max(65_535) }))
    .max(1000)
    .optional(),
});

export type DohFault =
  | "http" // an answer other than 200
  | "malformed"
  | "truncated"
  | "server-failure"; // the resolver answered with an error other than "no such name"

/** The resolver couldn't tell. A later try may work. */
export class DohError extends Error {
  override readonly name = "DohError";
  readonly fault: DohFault;

  constructor(fault: DohFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** The part of `fetch` that is needed. */
export type DohFetch = (
  url: string,
  init: { readonly headers: Record<string, string>; readonly signal: AbortSignal },
) => Promise<Pick<Response, "status" | "json">>;

export interface DohOptions {
  readonly fetch: DohFetch;
  /** Ends the wait for both answers, for example `AbortSignal.timeout(5000)`. */
  readonly signal: AbortSignal;
  /** Default `DOH_ENDPOINT`. */
  readonly endpoint?: string;
}

/** A resolver for one check: its signal ends with it. It rejects with DohError, or with what `fetch` rejects with. */
export function dohResolver({ fetch, signal, endpoint = DOH_ENDPOINT }: DohOptions): Resolve {
  const ask = async (name: string, type: keyof typeof RECORD_TYPES): Promise<string[]> => {
    const query = new URLSearchParams({ name, type });
    const response = await fetch(`${endpoint}?${query.toString()}`, {
      headers: { accept: "application/dns-json" },
      signal,
    });
    if (response.status !== 200) throw new DohError("http", `the resolver answered ${response.status}`);
    return addressesIn(await jsonOf(response), name, type);
  };
  return async (name) => (await Promise.all([ask(name, "A"), ask(name, "AAAA")])).flat();
}

/**
 * Addresses of one family that an answer gives for a name or for what it is an alias of; records of other names are left out.
 * @throws DohError
 */
export function addressesIn(answer: unknown, name: string, type: keyof typeof RECORD_TYPES): string[] {
  const parsed = DnsAnswer.safeParse(answer);
  if (!parsed.success) throw new DohError("malformed", "the resolver's answer does not fit its schema");
  const { Status: status, TC: isTruncated, Answer: records = [] } = parsed.data;
  if (status === NO_SUCH_NAME) return [];
  if (status !== NO_ERROR) throw new DohError("server-failure", `the resolver answered with code ${status}`);
  if (isTruncated) throw new DohError("truncated", "the resolver's answer is cut off");
  let owner = canonical(name);
  for (let aliases = 0; aliases <= MAX_ALIASES; aliases++) {
    const own = records.filter((record) => canonical(record.name) === owner);
    const addresses = own.filter((record) => record.type === RECORD_TYPES[type]).map((record) => record.data);
    const alias = own.find((record) => record.type === CNAME);
    if (addresses.length > 0 || alias === undefined) return addresses;
    owner = canonical(alias.data);
  }
  throw new DohError("malformed", `${name} has more than ${MAX_ALIASES} aliases`);
}

async function jsonOf(response: Pick<Response, "json">): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof SyntaxError) throw new DohError("malformed", "the resolver's answer is not JSON");
    throw error;
  }
}

function canonical(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}
