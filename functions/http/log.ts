/**
 * The only way to a log: one JSON line, only fields named here. No bodies, query parameters, header values or user ids; a path is
 * logged as its pattern. Messages of errors may quote input, so only those that can't are let through.
 */

export interface LogFields {
  readonly requestId?: string;
  readonly method?: string;
  readonly route?: string; // pattern, for example /v1/items/:id
  readonly status?: number;
  readonly code?: string;
  readonly app?: number;
  readonly keyId?: string;
  readonly job?: string;
  readonly count?: number;
  readonly durationMs?: number;
  readonly model?: string;
  readonly error?: { readonly name: string; readonly message?: string; readonly frames: readonly string[] };
}

const ALLOWED = {
  requestId: true,
  method: true,
  route: true,
  status: true,
  code: true,
  app: true,
  keyId: true,
  job: true,
  count: true,
  durationMs: true,
  model: true,
  error: true,
} as const satisfies Record<keyof LogFields, true>;

export function log(level: "info" | "warn" | "error", event: string, fields: LogFields = {}): void {
  const line: Record<string, unknown> = { level, event };
  for (const name of Object.keys(ALLOWED) as (keyof LogFields)[]) {
    if (fields[name] !== undefined) line[name] = fields[name];
  }
  // eslint-disable-next-line no-console -- the one place that writes to the log
  console[level](JSON.stringify(line));
}

/** Name, place and, where it can't hold input, message of an error and its cause. */
export function describeError(error: unknown): NonNullable<LogFields["error"]> {
  if (!(error instanceof Error)) return { name: typeof error, frames: [] };
  const source = error.cause instanceof Error ? error.cause : error; // drizzle wraps, and prints parameters in its own message
  const isSafe =
    source instanceof TypeError || source instanceof ReferenceError || source.message.startsWith("D1_ERROR");
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return {
    name: source === error ? error.name : `${error.name} <- ${source.name}`,
    ...(isSafe ? { message: source.message.slice(0, 300) } : {}),
    frames: frames.slice(0, 6).map((line) => line.trim()),
  };
}
