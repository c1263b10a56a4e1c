/**
 * IP addresses and what they are for, after the IANA special-purpose address registries (RFC 6890, RFC 8190) and the
 * registries of multicast and of IPv6 address space. A range of the table below hosts nobody's endpoint, also where its entry says
 * "globally reachable" (AS112, AMT, anycast services). IPv6 outside 2000::/3 is reserved: IANA assigns from there alone.
 */

export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

export type AddressPurpose =
  | "global"
  | "unspecified"
  | "loopback"
  | "private"
  | "unique-local"
  | "link-local"
  | "shared" // carrier-grade NAT
  | "metadata" // answers virtual machines about themselves, credentials included
  | "multicast"
  | "benchmarking"
  | "documentation"
  | "translation" // stands for an IPv4 address that somebody else unpacks
  | "protocol"
  | "reserved";

/** First match wins. */
const RANGES: readonly (readonly [range: string, purpose: AddressPurpose])[] = [
  ["169.254.169.254/32", "metadata"], // most clouds
  ["168.63.129.16/32", "metadata"], // Azure, in a range that is otherwise public
  ["0.0.0.0/32", "unspecified"],
  ["0.0.0.0/8", "reserved"], // "this network", RFC 791
  ["10.0.0.0/8", "private"], // RFC 1918
  ["100.64.0.0/10", "shared"], // RFC 6598
  ["127.0.0.0/8", "loopback"], // RFC 1122
  ["169.254.0.0/16", "link-local"], // RFC 3927
  ["172.16.0.0/12", "private"],
  ["192.0.0.0/24", "protocol"], // RFC 6890, with the anycast addresses .9 and .10
  ["192.0.2.0/24", "documentation"], // RFC 5737
  ["192.31.196.0/24", "protocol"], // AS112, RFC 7535
  ["192.52.193.0/24", "protocol"], // AMT, RFC 7450
  ["192.88.99.0/24", "translation"], // 6to4 relays, RFC 7526; 6a44, RFC 6751
  ["192.168.0.0/16", "private"],
  ["192.175.48.0/24", "protocol"], // AS112, RFC 7534
  ["198.18.0.0/15", "benchmarking"], // RFC 2544
  ["198.51.100.0/24", "documentation"],
  ["203.0.113.0/24", "documentation"],
  ["224.0.0.0/4", "multicast"], // RFC 5771
  ["240.0.0.0/4", "reserved"], // RFC 1112, with the broadcast address

  ["fd00:ec2::254/128", "metadata"], // Amazon
  ["fd00:ec2::23/128", "metadata"], // credentials of Amazon EKS pods
  ["fd20:ce::254/128", "metadata"], // Google
  ["::/128", "unspecified"],
  ["::1/128", "loopback"], // RFC 4291
  ["::/96", "translation"], // IPv4-compatible, deprecated by RFC 4291
  ["::ffff:0:0/96", "translation"], // IPv4-mapped, RFC 4291
  ["::ffff:0:0:0/96", "translation"], // IPv4-translated, RFC 2765
  ["64:ff9b::/96", "translation"], // NAT64, RFC 6052
  ["64:ff9b:1::/48", "translation"], // NAT64 of local use, RFC 8215
  ["100::/64", "protocol"], // discard only, RFC 6666
  ["100:0:0:1::/64", "protocol"], // dummy prefix, RFC 9780
  ["2001::/32", "translation"], // Teredo, RFC 4380
  ["2001:2::/48", "benchmarking"], // RFC 5180
  ["2001::/23", "protocol"], // RFC 2928: anycast, AMT, AS112, ORCHID, drone identities
  ["2001:db8::/32", "documentation"], // RFC 3849
  ["2002::/16", "translation"], // 6to4, RFC 3056
  ["2620:4f:8000::/48", "protocol"], // AS112, RFC 7534
  ["3fff::/20", "documentation"], // RFC 9637
  ["5f00::/16", "protocol"], // SRv6, RFC 9602
  ["fc00::/7", "unique-local"], // RFC 4193
  ["fe80::/10", "link-local"], // RFC 4291
  ["fec0::/10", "private"], // site-local, deprecated by RFC 3879
  ["ff00::/8", "multicast"], // RFC 4291
];

const DOTTED = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const COLONED = /^[0-9A-Fa-f:.]{2,45}$/;

/** An address in text: IPv4 as four decimal numbers, IPv6 in any form of RFC 4291, section 2.2, without a zone. */
export function parseAddress(text: string): IpAddress | undefined {
  if (DOTTED.test(text)) return { family: 4, value: joined(text.split("."), 8n, 10) };
  if (!text.includes(":") || !COLONED.test(text)) return undefined;
  const hostname = URL.parse(`http://[${text}]/`)?.hostname; // serialised: hex groups, at most one "::", no dotted tail
  if (hostname === undefined) return undefined;
  const [head = [], tail = []] = hostname
    .slice(1, -1)
    .split("::")
    .map((side) => side.split(":").filter((group) => group !== ""));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => "0");
  return { family: 6, value: joined([...head, ...zeros, ...tail], 16n, 16) };
}

export function purposeOf({ family, value }: IpAddress): AddressPurpose {
  const bits = family === 4 ? 32n : 128n;
  const shares = (first: bigint, length: bigint): boolean => value >> (bits - length) === first >> (bits - length);
  const found = RANGE_TABLE.find((range) => range.family === family && shares(range.first, range.length));
  if (found !== undefined) return found.purpose;
  return family === 4 || shares(0x2000n << 112n, 3n) ? "global" : "reserved";
}

function joined(groups: readonly string[], bitsEach: bigint, radix: number): bigint {
  return groups.reduce((value, group) => (value << bitsEach) | BigInt(Number.parseInt(group, radix)), 0n);
}

const RANGE_TABLE = RANGES.map(([range, purpose]) => {
  const [text = "", length = ""] = range.split("/");
  const address = parseAddress(text);
  if (address === undefined) throw new RangeError(`${range} is no range`);
  return { family: address.family, first: address.value, length: BigInt(length), purpose };
});
