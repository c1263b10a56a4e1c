/** The HTTP interface as the command line calls it: JSON in and out, retries where they can help, keys only in headers. */
import pRetry, { AbortError } from "p-retry";

/** How often a request is tried again; with the pauses below that spans about a minute. */
const RETRIES = 7;
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 20_000;
const TIMEOUT_MS = 60_000;

export interface ProblemBody {
  readonly code: string;
  readonly detail: string;
  readonly retryable: boolean;
  readonly errors: readonly { readonly pointer: string; readonly detail: string }[];
}

/** A refusal of the server. The message is its own words, with each fault of the input. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;

  constructor(status: number, problem: Partial<ProblemBody>, request: string) {
    const faults = (problem.errors ?? []).map(({ pointer, detail }) => `\n  ${pointer || "/"}: ${detail}`).join("");
    super(`${request}: ${status} ${problem.code ?? ""}: ${problem.detail ?? "no detail"}${faults}`);
    this.status = status;
    this.code = problem.code ?? "";
  }
}

export interface RequestOptions {
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
  /** For one attempt. Default 60 s. */
  readonly timeoutMs?: number;
}

export interface ClientOptions {
  readonly url: string;
  readonly key: string;
  readonly retries?: number;
  readonly firstPauseMs?: number;
}

export class Client {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#options.url;
  }

  /** The parsed body of a 2xx answer. @throws ApiError for others; Error where nothing answers after all retries */
  async request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    return pRetry(() => this.#attempt<T>(method, path, options), {
      retries: this.#options.retries ?? RETRIES,
      minTimeout: this.#options.firstPauseMs ?? FIRST_PAUSE_MS,
      maxTimeout: LONGEST_PAUSE_MS,
      randomize: true,
    });
  }

  /** As `request`; undefined where the server says 404. */
  async find<T>(path: string): Promise<T | undefined> {
    try {
      return await this.request<T>("GET", path);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  async #attempt<T>(method: string, path: string, { json, bytes, headers, timeoutMs }: RequestOptions): Promise<T> {
    const request = `${method} ${path}`;
    const body = json === undefined ? bytes : JSON.stringify(json);
    let response: Response;
    try {
      response = await fetch(new URL(path, this.#options.url), {
        method,
        headers: {
          authorization: `Bearer ${this.#options.key}`,
          ...(body === undefined
            ? {}
            : { "content-type": json === undefined ? "application/octet-stream" : "application/json" }),
          ...headers,
        },
        signal: AbortSignal.timeout(timeoutMs ?? TIMEOUT_MS),
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      // p-retry gives up at a TypeError that it does not know as a network error; here each of them is one
      throw new Error(`${request}: nothing answers at ${this.#options.url} (${causeOf(error)})`, { cause: error });
    }
    const text = await response.text();
    const parsed = parse(text);
    if (response.ok) return parsed as T;
    const problem = (typeof parsed === "object" && parsed !== null ? parsed : {}) as Partial<ProblemBody>;
    const error = new ApiError(response.status, problem, request);
    const mayHelp = problem.retryable ?? (response.status === 429 || response.status >= 500);
    if (!mayHelp) throw new AbortError(error);
    const seconds = Number(response.headers.get("retry-after") ?? 0);
    if (seconds > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(seconds, 60) * 1000));
    throw error;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error && "code" in cause) return String(cause.code);
  return error.message;
}
