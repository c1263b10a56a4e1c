/**
 * Where a delivery may go (OWASP API7:2023, server-side request forgery). The URL is parsed once, by WHATWG rules, and only the
 * parsed URL may be fetched: `https://0x7f.1`, full-width digits and `https://2130706433` are 127.0.0.1 by then.
 *
 * What remains: `fetch` resolves the name again and a Worker can't pin an address, so a name may turn private between check and
 * connection (rebinding). It is checked before every attempt and every redirect; the deployment's network has to do the rest. An
 * IPv4 address behind the NAT64 prefix of one network (RFC 6052, section 2.2) looks like any other IPv6 address.
 */
import { parseAddress, purposeOf, type AddressPurpose } from "./address.ts";

/** Addresses of a name, A and AAAA, in text; empty where the name has none. Rejects where that can't be told now. */
export type Resolve = (name: string) => Promise<readonly string[]>;

export interface TargetOptions {
  /** The app's flag: http, any port and targets on the developer's own machine or network. Metadata services stay refused. */
  readonly development: boolean;
}

export type TargetRefusal =
  | "malformed-url"
  | "scheme"
  | "credentials"
  | "port"
  | "malformed-name"
  | "local-name"
  | "metadata-name"
  | "address" // not globally routable
  | "no-address";

export interface Refused {
  readonly kind: "refused";
  readonly reason: TargetRefusal;
  /** A sentence for the tenant and the delivery log. */
  readonly detail: string;
}

export type UrlVerdict = { readonly kind: "allowed"; readonly url: URL } | Refused;

export type TargetVerdict =
  | { readonly kind: "allowed"; readonly url: URL; readonly addresses: readonly string[] }
  | Refused
  /** The resolver failed: nothing is known, nothing is sent, a later attempt may tell. */
  | { readonly kind: "unresolved"; readonly cause: unknown };

export const MAX_URL_LENGTH = 2048;

/** Where Cloudflare's network takes HTTPS for a site behind it. */
const PORTS: readonly string[] = ["", "443", "2053", "2083", "2087", "2096", "8443"];

/** RFC 6761, 6762, 7686, 8375 and 9476, and ICANN's `internal`: names that no public resolver may know. */
const RESERVED_ZONES = [
  "localhost",
  "local",
  "internal",
  "arpa",
  "test",
  "invalid",
  "example",
  "onion",
  "alt",
] as const;
/** What networks use at home though nobody assigned it. */
const HOME_ZONES = ["home", "corp", "mail", "lan", "intranet", "private", "localdomain"] as const;
const LOCAL_ZONES = [...RESERVED_ZONES, ...HOME_ZONES];

const METADATA_NAMES: readonly string[] = [
  "metadata",
  "metadata.google.internal",
  "metadata.goog",
  "metadata.azure.internal",
  "instance-data",
  "instance-data.ec2.internal",
];

const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
const AT_HOME: readonly AddressPurpose[] = ["loopback", "private", "unique-local"];

/** What can be said without asking anybody; for the form in which an endpoint is entered. Keep `url.href`, not the text. */
export function checkTargetUrl(text: string, { development }: TargetOptions): UrlVerdict {
  const url = text.length > MAX_URL_LENGTH ? null : URL.parse(text);
  if (url === null)
    return refused("malformed-url", `a target is an absolute URL of at most ${MAX_URL_LENGTH} characters`);
  url.hash = "";
  const isHttp = url.protocol === "https:" || (development && url.protocol === "http:");
  if (!isHttp) return refused("scheme", `a target is an https URL, not ${url.protocol}`);
  if (url.username !== "" || url.password !== "") {
    return refused("credentials", "a target has no user name or password: the signature authenticates the sender");
  }
  if (!development && !PORTS.includes(url.port)) {
    return refused("port", `a target listens on one of the ports ${PORTS.slice(1).join(", ")}, not ${url.port}`);
  }
  const address = parseAddress(bareHost(url));
  const refusal =
    address === undefined ? refuseName(nameOf(url), development) : refuseAddress(bareHost(url), development);
  return refusal ?? { kind: "allowed", url };
}

/** As `checkTargetUrl`, and every address behind the name must be globally routable. To be called before each attempt. */
export async function checkTarget(
  target: string | URL,
  resolve: Resolve,
  options: TargetOptions,
): Promise<TargetVerdict> {
  const verdict = checkTargetUrl(String(target), options);
  if (verdict.kind === "refused") return verdict;
  const { url } = verdict;
  if (parseAddress(bareHost(url)) !== undefined) return { kind: "allowed", url, addresses: [bareHost(url)] };
  const name = nameOf(url);
  if (isLocal(name)) return { kind: "allowed", url, addresses: [] }; // development: no public resolver knows it
  let addresses: readonly string[];
  try {
    addresses = await resolve(name);
  } catch (cause) {
    return { kind: "unresolved", cause };
  }
  if (addresses.length === 0) return refused("no-address", `${name} has no address`);
  for (const address of addresses) {
    const refusal = refuseAddress(address, options.development);
    if (refusal !== undefined) return refused(refusal.reason, `${name} leads to ${address}: ${refusal.detail}`);
  }
  return { kind: "allowed", url, addresses };
}

function refuseName(name: string, development: boolean): Refused | undefined {
  if (name.length > 253 || !name.split(".").every((label) => LABEL.test(label))) {
    return refused("malformed-name", `${name.slice(0, 253)} is no host name`);
  }
  if (METADATA_NAMES.includes(name)) return refused("metadata-name", `${name} is a metadata service`);
  if (!development && isLocal(name)) return refused("local-name", `${name} is a name of a local network`);
  return undefined;
}

function refuseAddress(text: string, development: boolean): Refused | undefined {
  const address = parseAddress(text);
  if (address === undefined) return refused("address", "what the resolver gave is no address");
  const purpose = purposeOf(address);
  if (purpose === "global" || (development && AT_HOME.includes(purpose))) return undefined;
  return refused("address", `the address is not globally routable (${purpose})`);
}

/** Single-label names are looked up in whatever domain the resolver's network belongs to. */
function isLocal(name: string): boolean {
  return !name.includes(".") || LOCAL_ZONES.some((zone) => name.endsWith(`.${zone}`));
}

function nameOf(url: URL): string {
  return url.hostname.replace(/\.$/, "");
}

function bareHost(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}

function refused(reason: TargetRefusal, detail: string): Refused {
  return { kind: "refused", reason, detail };
}
