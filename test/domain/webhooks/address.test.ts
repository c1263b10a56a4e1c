/** Addresses against the registries' ranges, typed in apart from the code's own table, and against node:net as a second opinion. */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress, purposeOf, type AddressPurpose } from "../../../functions/domain/webhooks/address.ts";

const SPECIAL: Record<string, AddressPurpose> = {
  "0.0.0.0/8": "reserved",
  "10.0.0.0/8": "private",
  "100.64.0.0/10": "shared",
  "127.0.0.0/8": "loopback",
  "169.254.0.0/16": "link-local",
  "172.16.0.0/12": "private",
  "192.0.0.0/24": "protocol",
  "192.0.2.0/24": "documentation",
  "192.31.196.0/24": "protocol",
  "192.52.193.0/24": "protocol",
  "192.88.99.0/24": "translation",
  "192.168.0.0/16": "private",
  "192.175.48.0/24": "protocol",
  "198.18.0.0/15": "benchmarking",
  "198.51.100.0/24": "documentation",
  "203.0.113.0/24": "documentation",
  "224.0.0.0/4": "multicast",
  "240.0.0.0/4": "reserved",
  "::/128": "unspecified",
  "::1/128": "loopback",
  "::ffff:0:0/96": "translation",
  "::ffff:0:0:0/96": "translation",
  "64:ff9b::/96": "translation",
  "64:ff9b:1::/48": "translation",
  "100::/64": "protocol",
  "100:0:0:1::/64": "protocol",
  "2001::/32": "translation",
  "2001:1::1/128": "protocol",
  "2001:1::2/128": "protocol",
  "2001:1::3/128": "protocol",
  "2001:2::/48": "benchmarking",
  "2001:3::/32": "protocol",
  "2001:4:112::/48": "protocol",
  "2001:10::/28": "protocol",
  "2001:20::/28": "protocol",
  "2001:30::/28": "protocol",
  "2001:db8::/32": "documentation",
  "2002::/16": "translation",
  "2620:4f:8000::/48": "protocol",
  "3fff::/20": "documentation",
  "5f00::/16": "protocol",
  "fc00::/7": "unique-local",
  "fe80::/10": "link-local",
  "fec0::/10": "private",
  "ff00::/8": "multicast",
};

const purpose = (text: string): AddressPurpose | undefined => {
  const address = parseAddress(text);
  return address && purposeOf(address);
};
const dotted = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
const groupsOf = (value: bigint) =>
  Array.from({ length: 8 }, (_, at) => Number((value >> BigInt(112 - 16 * at)) & 0xffffn));
const coloned = (value: bigint) =>
  groupsOf(value)
    .map((group) => group.toString(16))
    .join(":");

/** First and last address of a range and the one after it, in text. */
function edges(range: string): { first: string; last: string; after: string } {
  const [text, length] = range.split("/") as [string, string];
  const { family, value } = parseAddress(text)!;
  const size = 1n << BigInt((family === 4 ? 32 : 128) - Number(length));
  const write = (each: bigint) =>
    family === 4 ? dotted(Number(BigInt.asUintN(32, each))) : coloned(BigInt.asUintN(128, each));
  return { first: write(value), last: write(value + size - 1n), after: write(value + size) };
}

describe("the purpose of an address", () => {
  it.each(Object.entries(SPECIAL))("%s is %s to its edges", (range, expected) => {
    const { first, last } = edges(range);
    if (first !== "0.0.0.0") expect(purpose(first), first).toBe(expected);
    expect(purpose(last), last).toBe(expected);
  });

  it("is global right after the ranges that border on assigned addresses", () => {
    const after = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"];
    const v6 = ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48"];
    for (const range of [...after, "192.168.0.0/16", "198.18.0.0/15", ...v6]) {
      expect(purpose(edges(range).after), range).toBe("global");
    }
    for (const text of [
      "9.255.255.255",
      "172.15.255.255",
      "192.167.255.255",
      "223.255.255.255",
      "1.1.1.1",
      "8.8.8.8",
    ]) {
      expect(purpose(text), text).toBe("global");
    }
    for (const text of ["2606:2800:220:1:248:1893:25c8:1946", "2001:200::", "2400:cb00::1", "2a00:1450::5"]) {
      expect(purpose(text), text).toBe("global");
    }
  });

  it("knows the metadata services", () => {
    for (const text of ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "FD00:0EC2:0:0::23", "fd20:ce::254"]) {
      expect(purpose(text), text).toBe("metadata");
    }
    expect(purpose("0.0.0.0")).toBe("unspecified");
    expect(purpose("255.255.255.255")).toBe("reserved");
    expect(purpose("::7f00:1")).toBe("translation");
  });

  it("is that of node:net's block list over the registry, near any edge and anywhere", () => {
    const list4 = new BlockList();
    const list6 = new BlockList();
    for (const range of [...Object.keys(SPECIAL), "2001::/23", "168.63.129.16/32"]) {
      const [net, prefix] = range.split("/") as [string, string];
      if (isIPv4(net)) list4.addSubnet(net, Number(prefix), "ipv4");
      else list6.addSubnet(net, Number(prefix), "ipv6");
    }
    // outside 2000::/3: nothing is assigned
    for (const [net, prefix] of [
      ["::", 3],
      ["4000::", 2],
      ["8000::", 1],
    ] as const)
      list6.addSubnet(net, prefix, "ipv6");

    const starts = Object.keys(SPECIAL).map((range) => parseAddress(range.split("/")[0]!)!);
    const near = (family: 4 | 6) => starts.filter((each) => each.family === family).map((each) => each.value);
    const bits4 = fc.oneof(fc.bigInt(0n, 2n ** 32n - 1n), nearby(near(4), 32));
    const bits6 = fc.oneof(
      fc.bigInt(0n, 2n ** 128n - 1n),
      fc.bigInt(2n ** 125n, 2n ** 126n - 1n),
      nearby(near(6), 128),
    );
    fc.assert(
      fc.property(bits4, (value) => {
        const text = dotted(Number(value));
        expect(purpose(text) !== "global", text).toBe(list4.check(text, "ipv4"));
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(bits6, (value) => {
        const text = coloned(value);
        // node reads an IPv4-mapped address as IPv4
        fc.pre(value >> 32n !== 0xffffn);
        expect(purpose(text) !== "global", text).toBe(list6.check(text, "ipv6"));
      }),
      { numRuns: 2000 },
    );
  });
});

/** Values a power of two away from one of the given, on either side: where a wrong prefix length shows. */
function nearby(values: readonly bigint[], bits: number): fc.Arbitrary<bigint> {
  const distance = fc.tuple(fc.nat({ max: bits - 1 }), fc.constantFrom(-1n, 0n, 1n), fc.constantFrom(-1n, 1n));
  return fc
    .tuple(fc.constantFrom(...values), distance)
    .map(([value, [power, off, sign]]) => BigInt.asUintN(bits, value + sign * (2n ** BigInt(power) + off)));
}

describe("an address in text", () => {
  it("has one value in all forms of RFC 4291, section 2.2", () => {
    const group = fc.oneof(fc.constant(0), fc.nat({ max: 0xffff }));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const value = groups.reduce((sum, each) => (sum << 16n) | BigInt(each), 0n);
        const short = groups.map((each) => each.toString(16));
        const padded = short.map((each) => each.padStart(4, "0"));
        const forms = [short.join(":"), padded.join(":"), padded.join(":").toUpperCase()];
        const tail = dotted(((groups[6]! << 16) | groups[7]!) >>> 0);
        forms.push(`${short.slice(0, 6).join(":")}:${tail}`);
        for (let from = 0; from < 8; from++) {
          for (let to = from + 1; to <= 8 && groups[to - 1] === 0; to++) {
            forms.push(`${short.slice(0, from).join(":")}::${short.slice(to).join(":")}`);
            if (to <= 6) forms.push(`${short.slice(0, from).join(":")}::${[...short.slice(to, 6), tail].join(":")}`);
          }
        }
        for (const form of forms) {
          expect(isIPv6(form), form).toBe(true);
          expect(parseAddress(form), form).toEqual({ family: 6, value });
        }
      }),
    );
  });

  it("has one form as IPv4", () => {
    fc.assert(
      fc.property(fc.nat({ max: 0xffffffff }), (value) => {
        expect(parseAddress(dotted(value))).toEqual({ family: 4, value: BigInt(value) });
      }),
    );
  });

  const malformed = `
    1 1.2.3 1.2.3.4.5 1.2.3.256 01.2.3.4 1.2.3.4. 0x7f.0.0.1 ١.2.3.4 : ::: 1::2::3 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 12345::
    g:: fe80::1%eth0 [::1] ::1.2.3 ::01.2.3.4 1.2.3.4:: ::1/128 example.com`;
  it.each([...malformed.trim().split(/\s+/), "", " 1.2.3.4", "1.2.3.4\n", "::1 "])("is not %j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});
