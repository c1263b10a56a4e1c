/** Calls the app as a client would, with a clock that can be moved, and makes apps and tokens to call it with. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { app } from "../../functions/app.ts";
import { signUserToken } from "../../functions/domain/identity/user-token.ts";
import type { UserTokenOptions } from "../../functions/domain/identity/user-token.ts";

export interface CallOptions {
  readonly method?: string;
  readonly key?: string;
  readonly token?: string;
  /** Sent as JSON; a string or bytes go as they are. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Moves the clock of this request. */
  readonly offsetMs?: number;
  readonly env?: Partial<Env>;
}

export async function call(path: string, options: CallOptions = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  if (options.key !== undefined) headers.set("authorization", `Bearer ${options.key}`);
  if (options.token !== undefined) headers.set("x-user-token", options.token);
  let body: string | Uint8Array<ArrayBuffer> | null = null;
  if (options.body instanceof Uint8Array) body = options.body as Uint8Array<ArrayBuffer>;
  else if (typeof options.body === "string") body = options.body;
  else if (options.body !== undefined) body = JSON.stringify(options.body);
  if (body !== null && !headers.has("content-type")) headers.set("content-type", "application/json");
  const method = options.method ?? (body === null ? "GET" : "POST");
  const request = new Request(`https://edge.test${path}`, { method, headers, body });
  const context = createExecutionContext();
  const bindings = { ...env, TEST_CLOCK_OFFSET_MS: String(options.offsetMs ?? 0), ...options.env };
  const response = await app.fetch(request, bindings, context);
  await waitOnExecutionContext(context);
  return response;
}

/** The JSON of an answer, of the form that the test expects. */
export async function json<T = Record<string, unknown>>(response: Response): Promise<T> {
  return response.json();
}

export const operator = env.OPERATOR_KEY;

export interface TestApp {
  readonly id: string;
  readonly secret: string;
  readonly publishable: string;
  readonly tokenSecret: { readonly id: string; readonly key: string };
  userToken(userId: string, more?: Partial<UserTokenOptions>): Promise<string>;
}

/** An app of its own with both keys and a user token secret. */
export async function makeApp(name = "Test"): Promise<TestApp> {
  const made = await call("/v1/apps", { key: operator, body: { name } });
  const { app: row, keys } = await json<{ app: { id: string }; keys: { secret: string; publishable: string } }>(made);
  const minted = await call(`/v1/apps/${row.id}/keys`, { key: operator, body: { kind: "userTokenSecret" } });
  const tokenSecret = await json<{ id: string; key: string }>(minted);
  return {
    id: row.id,
    ...keys,
    tokenSecret,
    userToken: (userId, more = {}) =>
      signUserToken(tokenSecret.key, { kid: tokenSecret.id, userId, issuedAt: Date.now(), ...more }),
  };
}
