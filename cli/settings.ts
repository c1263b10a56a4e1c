/** Where the server is and which keys to use: options, then the environment, then what the local start wrote down. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { Client } from "./client.ts";

/** The checkout. */
export const ROOT = path.resolve(import.meta.dirname, "..");
/** Where the local start keeps secrets and keys: the checkout, or EDGEWISE_HOME for a second one beside it. */
export const HOME = path.resolve(process.env["EDGEWISE_HOME"] ?? ROOT);
/** Data packs lie in a folder beside the checkout unless --data says otherwise. */
export const DEFAULT_DATA = path.resolve(ROOT, "../shared/data");
export const CACHE = path.join(ROOT, ".cache");

/** Something the caller can mend; the message is one line. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export interface ConnectionOptions {
  readonly url?: string | undefined;
  readonly key?: string | undefined;
}

/** What `npm start` leaves in .edgewise/demo.json, as far as the command line reads it. */
interface LocalStart {
  readonly url?: string;
  readonly keys?: { readonly secret: string };
  readonly tokenSecret?: { readonly id: string; readonly key: string };
}

export function localStart(): LocalStart {
  const file = path.join(HOME, ".edgewise", "demo.json");
  if (!existsSync(file)) return {};
  try {
    return JSON.parse(readFileSync(file, "utf8")) as LocalStart;
  } catch {
    throw new UsageError(".edgewise/demo.json is not JSON; npm start writes it anew where it is absent");
  }
}

/** A client with the app's secret key. @throws UsageError where url or key is nowhere to be found */
export function connect(options: ConnectionOptions): Client {
  const local = localStart();
  const url = options.url ?? process.env["EDGEWISE_URL"] ?? local.url;
  const key = options.key ?? process.env["EDGEWISE_KEY"] ?? local.keys?.secret;
  if (url === undefined) throw new UsageError("no server: give --url or EDGEWISE_URL, or start one with npm start");
  if (key === undefined) throw new UsageError("no key: give --key or EDGEWISE_KEY, or run npm start, which makes one");
  return new Client({ url: checkedUrl(url), key });
}

/** A client with the operator's key, from EDGEWISE_OPERATOR_KEY or the local .dev.vars. */
export function connectAsOperator(options: ConnectionOptions): Client {
  const url = options.url ?? process.env["EDGEWISE_URL"] ?? localStart().url;
  const key = process.env["EDGEWISE_OPERATOR_KEY"] ?? devVar("OPERATOR_KEY");
  if (url === undefined) throw new UsageError("no server: give --url or EDGEWISE_URL, or start one with npm start");
  if (key === undefined) throw new UsageError("no operator key: set EDGEWISE_OPERATOR_KEY");
  return new Client({ url: checkedUrl(url), key });
}

function checkedUrl(url: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`${JSON.stringify(url)} is not an http(s) address`);
  return url;
}

function devVar(name: string): string | undefined {
  const file = path.join(HOME, ".dev.vars");
  if (!existsSync(file)) return undefined;
  const line = readFileSync(file, "utf8")
    .split("\n")
    .find((text) => text.startsWith(`${name}=`));
  return line
    ?.slice(name.length + 1)
    .trim()
    .replace(/^"(.*)"$/, "$1");
}
