/** The resolver over HTTPS against answers in the form of Cloudflare's documentation. */
import { describe, expect, it } from "vitest";
import {
  DohError,
  MAX_ALIASES,
  addressesIn,
  dohResolver,
  type DohFetch,
} from "../../../functions/domain/webhooks/doh.ts";
import { checkTarget } from "../../../functions/domain/webhooks/target.ts";

const PUBLIC4 = "93.184.215.14";
const PUBLIC6 = "2606:2800:220:1:248:1893:25c8:1946";

interface Item {
  name: string;
  type: number;
  TTL?: number;
  data: string;
}

/** Cloudflare's documentation, "Using JSON". */
const answerOf = (records: Item[], more: Record<string, unknown> = {}) => ({
  Status: 0,
  TC: false,
  RD: true,
  RA: true,
  AD: true,
  CD: false,
  Question: [{ name: "example.com.", type: 28 }],
  Answer: records,
  ...more,
});
const a = (name: string, data: string): Item => ({ name, type: 1, TTL: 60, data });
const aaaa = (name: string, data: string): Item => ({ name, type: 28, TTL: 1726, data });
const alias = (name: string, data: string): Item => ({ name, type: 5, TTL: 60, data });

/** Answers from a table by "name type", and keeps what was asked. */
function fakeFetch(answers: Record<string, unknown>, status = 200): { fetch: DohFetch; asked: string[] } {
  const asked: string[] = [];
  const fetch: DohFetch = (url, init) => {
    expect(init.headers).toEqual({ accept: "application/dns-json" });
    asked.push(url);
    const query = new URL(url).searchParams;
    const answer = answers[`${query.get("name")} ${query.get("type")}`] ?? { Status: 0 };
    return Promise.resolve(new Response(typeof answer === "string" ? answer : JSON.stringify(answer), { status }));
  };
  return { fetch, asked };
}
const signal = new AbortController().signal;
const faultOf = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error instanceof DohError ? error.fault : error;
  }
};

describe("an answer", () => {
  it("gives the addresses of the family asked for", () => {
    const records = [a("Example.COM", PUBLIC4), aaaa("example.com.", PUBLIC6), a("example.com", "1.1.1.1")];
    expect(addressesIn(answerOf(records), "example.com", "A")).toEqual([PUBLIC4, "1.1.1.1"]);
    expect(addressesIn(answerOf(records), "example.com.", "AAAA")).toEqual([PUBLIC6]);
  });

  it("is followed along its aliases, in any order of records, and no further", () => {
    const records = [
      a("c.example.net", PUBLIC4),
      alias("b.example.net", "C.example.net."),
      a("stranger.example.net", "10.0.0.1"),
      alias("www.example.com", "b.example.net."),
    ];
    expect(addressesIn(answerOf(records), "www.example.com", "A")).toEqual([PUBLIC4]);
    expect(addressesIn(answerOf(records.slice(1)), "www.example.com", "A")).toEqual([]);
  });

  it("with an endless chain of aliases is malformed", () => {
    const loop = [alias("a.example.com", "b.example.com."), alias("b.example.com", "a.example.com.")];
    expect(faultOf(() => addressesIn(answerOf(loop), "a.example.com", "A"))).toBe("malformed");
    const chain = (length: number) => [
      ...Array.from({ length }, (_, at) => alias(`n${at}.example.com`, `n${at + 1}.example.com.`)),
      a(`n${length}.example.com`, PUBLIC4),
    ];
    expect(addressesIn(answerOf(chain(MAX_ALIASES)), "n0.example.com", "A")).toEqual([PUBLIC4]);
    expect(faultOf(() => addressesIn(answerOf(chain(MAX_ALIASES + 1)), "n0.example.com", "A"))).toBe("malformed");
  });

  it.each([
    ["no such name", { Status: 3 }, []],
    ["no record of the type", { Status: 0 }, []],
    ["server failure", { Status: 2 }, "server-failure"],
    ["refused", { Status: 5 }, "server-failure"],
    ["cut off", answerOf([a("example.com", PUBLIC4)], { TC: true }), "truncated"],
    ["no object", "x", "malformed"],
    ["no status", { Answer: [] }, "malformed"],
    ["a record without data", { Status: 0, Answer: [{ name: "example.com", type: 1 }] }, "malformed"],
    ["an error of the service", { error: "Invalid query name." }, "malformed"],
  ])("%s", (_name, answer, expected) => {
    expect(faultOf(() => addressesIn(answer, "example.com", "A"))).toEqual(expected);
  });
});

describe("the resolver", () => {
  it("asks for both families and joins the answers", async () => {
    const { fetch, asked } = fakeFetch({
      "example.com A": answerOf([a("example.com", PUBLIC4)]),
      "example.com AAAA": answerOf([aaaa("example.com", PUBLIC6)]),
    });
    expect(await dohResolver({ fetch, signal })("example.com")).toEqual([PUBLIC4, PUBLIC6]);
    const at = "https://cloudflare-dns.com/dns-query?name=example.com&type=";
    expect(asked).toEqual([`${at}A`, `${at}AAAA`]);
    const odd = fakeFetch({});
    await dohResolver({ fetch: odd.fetch, signal, endpoint: "https://dns.test/r" })("a&type=TXT");
    expect(odd.asked[0]).toBe("https://dns.test/r?name=a%26type%3DTXT&type=A");
  });

  it("fails as a whole when one of the answers does", async () => {
    const half = fakeFetch({
      "example.com A": answerOf([a("example.com", PUBLIC4)]),
      "example.com AAAA": { Status: 2 },
    });
    await expect(dohResolver({ fetch: half.fetch, signal })("example.com")).rejects.toMatchObject({
      fault: "server-failure",
    });
    const down = fakeFetch({}, 503);
    await expect(dohResolver({ fetch: down.fetch, signal })("example.com")).rejects.toMatchObject({ fault: "http" });
    const html = fakeFetch({ "example.com A": "<html>" });
    await expect(dohResolver({ fetch: html.fetch, signal })("example.com")).rejects.toMatchObject({
      fault: "malformed",
    });
  });

  it("ends with its signal", async () => {
    const never: DohFetch = (_url, init) =>
      new Promise((_resolve, reject) => {
        init.signal.addEventListener("abort", () => reject(init.signal.reason as Error));
      });
    const resolve = dohResolver({ fetch: never, signal: AbortSignal.timeout(10) });
    expect(await checkTarget("https://example.com", resolve, { development: false })).toMatchObject({
      kind: "unresolved",
      cause: { name: "TimeoutError" },
    });
  });

  it("hands a target's check what a name hides behind an alias", async () => {
    const { fetch } = fakeFetch({
      "hooks.example.com A": answerOf([
        alias("hooks.example.com", "10-0-0-1.nip.example."),
        a("10-0-0-1.nip.example", "10.0.0.1"),
      ]),
      "hooks.example.com AAAA": answerOf([aaaa("hooks.example.com", PUBLIC6)]),
    });
    const verdict = await checkTarget("https://hooks.example.com", dohResolver({ fetch, signal }), {
      development: false,
    });
    expect(verdict).toMatchObject({ kind: "refused", reason: "address" });
  });
});
