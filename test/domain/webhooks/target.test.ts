/** Which targets a delivery may have: by form, by name, by what a name resolves to, and at each hop of a redirect. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_REDIRECTS, checkRedirect, isRedirect } from "../../../functions/domain/webhooks/redirect.ts";
import { checkTarget, checkTargetUrl, type Resolve } from "../../../functions/domain/webhooks/target.ts";

const production = { development: false };
const development = { development: true };
const PUBLIC = "93.184.215.14";

const names: Record<string, readonly string[]> = {
  "hooks.example.com": [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
  "inside.example.com": ["10.0.0.7"],
  "half.example.com": [PUBLIC, "::ffff:169.254.169.254"],
  "odd.example.com": [PUBLIC, "not an address"],
  "nothing.example.com": [],
};
const resolve: Resolve = (name) => Promise.resolve(names[name] ?? []);
const nobody: Resolve = (name) => Promise.reject(new Error(`asked for ${name}`));

const reasonOf = (text: string, options = production): string => {
  const verdict = checkTargetUrl(text, options);
  return verdict.kind === "refused" ? verdict.reason : verdict.kind;
};

describe("the URL of a target", () => {
  it.each([
    ["https://hooks.example.com/a?b=c", "allowed"],
    ["https://hooks.example.com:8443/", "allowed"],
    ["https://hooks.example.com:443", "allowed"],
    ["https://bücher.example.com", "allowed"],
    ["https://1.1.1.1/", "allowed"],
    ["https://[2606:4700:4700::1111]/", "allowed"],
    ["http://hooks.example.com", "scheme"],
    ["ftp://hooks.example.com", "scheme"],
    ["file:///etc/passwd", "scheme"],
    ["data:text/plain,x", "scheme"],
    ["https://user@hooks.example.com", "credentials"],
    ["https://:secret@hooks.example.com", "credentials"],
    ["https://hooks.example.com:22", "port"],
    ["https://hooks.example.com:80", "port"],
    ["https://hooks.example.com:0", "port"],
    ["hooks.example.com", "malformed-url"],
    ["/relative", "malformed-url"],
    ["https://", "malformed-url"],
    ["https://256.1.1.1", "malformed-url"],
    ["https://[fe80::1%25eth0]/", "malformed-url"],
    [`https://hooks.example.com/${"a".repeat(2048)}`, "malformed-url"],
    ["https://a..example.com", "malformed-name"],
    ["https://-a.example.com", "malformed-name"],
    [`https://${"a".repeat(64)}.example.com`, "malformed-name"],
    [`https://${"abc.".repeat(63)}example.com`, "malformed-name"],
    ["https://localhost", "local-name"],
    ["https://LOCALHOST./", "local-name"],
    ["https://a.localhost", "local-name"],
    ["https://printer.local", "local-name"],
    ["https://db.prod.internal", "local-name"],
    ["https://nas.home.arpa", "local-name"],
    ["https://1.0.0.127.in-addr.arpa", "local-name"],
    ["https://router.lan", "local-name"],
    ["https://x.onion", "local-name"],
    ["https://intranet", "local-name"],
    ["https://metadata.google.internal/computeMetadata/v1/", "metadata-name"],
    ["https://metadata.goog", "metadata-name"],
  ])("%s: %s", (text, expected) => {
    expect(reasonOf(text)).toBe(expected);
  });

  it.each(
    `
    127.0.0.1 127.1 0x7f.1 0177.0.0.1 2130706433 0x7f000001 017700000001 127.0.0.1. 0 １２７.0.0.1 127。0。0。1 ①②⑦.0.0.1
    %31%32%37.0.0.1 10.0.0.1 192.168.1 172.16.0.1 169.254.169.254 0xa9fea9fe 168.63.129.16 100.64.0.1 224.0.0.1
    255.255.255.255 203.0.113.9 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:8.8.8.8]
    [::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::a00:1] [2002:7f00:1::] [2001:0:4136:e378:8000:63bf:3fff:fdd2] [fe80::1]
    [fd00:ec2::254] [fc00::1] [fec0::1] [ff02::1] [2001:db8::1] [3fff::1] [4000::1]
  `
      .trim()
      .split(/\s+/),
  )("https://%s is refused for its address", (host) => {
    expect(reasonOf(`https://${host}/`)).toBe("address");
  });

  it("is judged by the number, in any notation that a URL parser takes for an IPv4 address", () => {
    const radix = fc.constantFrom(8, 10, 16);
    const written = (value: number, base: number) =>
      (base === 16 ? "0x" : base === 8 ? "0" : "") + value.toString(base);
    const places = fc.constantFrom(
      ["10.0.0.0", 8, "address"],
      ["127.0.0.0", 8, "address"],
      ["172.16.0.0", 12, "address"],
      ["192.168.0.0", 16, "address"],
      ["1.0.0.0", 8, "allowed"],
      ["8.0.0.0", 8, "allowed"],
    );
    fc.assert(
      fc.property(
        places,
        fc.nat(0xffffffff),
        fc.integer({ min: 1, max: 4 }),
        radix,
        radix,
        (place, low, parts, a, b) => {
          const [net, length, expected] = place as [string, number, string];
          const first = net.split(".").reduce((sum, each) => sum * 256 + Number(each), 0);
          const value = first + (low % 2 ** (32 - length));
          const head = Array.from({ length: parts - 1 }, (_, at) => Math.floor(value / 2 ** (24 - 8 * at)) % 256);
          const tail = value % 2 ** (32 - 8 * (parts - 1));
          const host = [...head.map((each) => written(each, a)), written(tail, b)].join(".");
          expect(reasonOf(`https://${host}/`), host).toBe(expected);
        },
      ),
    );
  });

  it("comes back parsed, without its fragment", () => {
    expect(checkTargetUrl(" https:\\\\HOOKS.example.com/x#y", production)).toMatchObject({
      kind: "allowed",
      url: { href: "https://hooks.example.com/x" },
    });
  });

  it("may be at home in development, and a metadata service never", () => {
    for (const host of [
      "localhost:8787",
      "127.0.0.1:3000",
      "[::1]:1",
      "192.168.1.5",
      "[fd12::1]",
      "trainer:80",
      "a.test",
    ]) {
      expect(reasonOf(`http://${host}/`, development), host).toBe("allowed");
    }
    for (const host of [
      "169.254.169.254",
      "[fd00:ec2::254]",
      "[::ffff:127.0.0.1]",
      "0.0.0.0",
      "224.0.0.1",
      "100.64.0.1",
    ]) {
      expect(reasonOf(`http://${host}/`, development), host).toBe("address");
    }
    expect(reasonOf("http://metadata.google.internal./", development)).toBe("metadata-name");
    expect(reasonOf("ftp://localhost", development)).toBe("scheme");
    expect(reasonOf("http://a:b@localhost", development)).toBe("credentials");
  });
});

describe("a target", () => {
  it("is allowed when all that its name resolves to is public", async () => {
    const verdict = await checkTarget("https://Hooks.example.com./x", resolve, production);
    expect(verdict).toMatchObject({ kind: "allowed", addresses: names["hooks.example.com"] });
  });

  it.each([
    [
      "inside.example.com",
      "address",
      "inside.example.com leads to 10.0.0.7: the address is not globally routable (private)",
    ],
    [
      "half.example.com",
      "address",
      "half.example.com leads to ::ffff:169.254.169.254: the address is not globally routable (translation)",
    ],
    ["odd.example.com", "address", "odd.example.com leads to not an address: what the resolver gave is no address"],
    ["nothing.example.com", "no-address", "nothing.example.com has no address"],
  ])("%s is refused: %s", async (name, reason, detail) => {
    expect(await checkTarget(`https://${name}/`, resolve, production)).toEqual({ kind: "refused", reason, detail });
  });

  it("is refused by one bad address at any place among good ones", async () => {
    const bad = fc.constantFrom("127.0.0.1", "10.1.2.3", "::1", "fe80::1", "64:ff9b::a00:1", "2002:a00:1::", "::", "x");
    await fc.assert(
      fc.asyncProperty(fc.nat(5), bad, fc.nat(5), async (before, address, after) => {
        const addresses = [
          ...Array<string>(before).fill(PUBLIC),
          address,
          ...Array<string>(after).fill("2606:4700::1"),
        ];
        const verdict = await checkTarget("https://a.example.com/", () => Promise.resolve(addresses), production);
        expect(verdict).toMatchObject({ kind: "refused", reason: "address" });
      }),
    );
  });

  it("is unresolved, not allowed, when the resolver fails", async () => {
    const verdict = await checkTarget("https://hooks.example.com/", nobody, production);
    expect(verdict).toMatchObject({ kind: "unresolved", cause: { message: "asked for hooks.example.com" } });
  });

  it("asks nobody about addresses, refused URLs and a developer's local names", async () => {
    expect((await checkTarget("https://1.1.1.1/", nobody, production)).kind).toBe("allowed");
    expect((await checkTarget("https://localhost/", nobody, production)).kind).toBe("refused");
    expect((await checkTarget("http://trainer:8080/", nobody, development)).kind).toBe("allowed");
    expect((await checkTarget("http://inside.example.com/", resolve, development)).kind).toBe("allowed");
    expect((await checkTarget("http://half.example.com/", resolve, development)).kind).toBe("refused");
  });
});

describe("a redirect", () => {
  const url = new URL("https://hooks.example.com/a/b");
  const hop = (status: number, location: string | null, followed = 0) =>
    checkRedirect({ url, status, location, followed }, resolve, production);

  it("is followed with 307 and 308, relative to where it came from", async () => {
    for (const status of [307, 308]) {
      expect(await hop(status, "../c")).toMatchObject({
        kind: "allowed",
        url: { href: "https://hooks.example.com/c" },
      });
    }
    expect(await hop(308, "//1.1.1.1/x")).toMatchObject({ kind: "allowed", url: { href: "https://1.1.1.1/x" } });
  });

  it("is not followed where the POST would become a GET", async () => {
    for (const status of [300, 301, 302, 303, 304, 305]) {
      expect(await hop(status, "/c")).toEqual({ kind: "not-followed", reason: "method-changes" });
    }
  });

  it.each([
    ["http://hooks.example.com/", "scheme"],
    ["https://169.254.169.254/latest/meta-data", "address"],
    ["https://inside.example.com/", "address"],
    ["//localhost/", "local-name"],
    ["https://u:p@hooks.example.com/", "credentials"],
    ["https://hooks.example.com:6379/", "port"],
    ["https://[", "malformed-url"],
  ])("to %s is refused like a first target: %s", async (location, reason) => {
    expect(await hop(307, location)).toMatchObject({ kind: "refused", reason });
  });

  it("ends after a few hops or without a place to go", async () => {
    expect((await hop(307, "/c", MAX_REDIRECTS - 1)).kind).toBe("allowed");
    expect(await hop(307, "/c", MAX_REDIRECTS)).toEqual({ kind: "not-followed", reason: "too-many" });
    expect(await hop(307, null)).toEqual({ kind: "not-followed", reason: "no-location" });
    expect([299, 300, 399, 400].map(isRedirect)).toEqual([false, true, true, false]);
  });
});
