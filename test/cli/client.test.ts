import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ApiError, Client } from "../../cli/client.ts";

let server: Server | undefined;
afterEach(() => server?.close());

/** A server that gives these answers one after another, and how often it was asked. */
async function answering(...answers: [status: number, body: unknown, headers?: Record<string, string>][]) {
  const asked: (string | undefined)[] = [];
  server = createServer((request, response) => {
    const [status, body, headers] = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push(request.headers.authorization);
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { asked, client: new Client({ url, key: "ew_sk_very_secret", retries: 3, firstPauseMs: 1 }) };
}

const busy = { code: "unavailable", detail: "busy", retryable: true };

describe("a request", () => {
  it("is tried again after 429, 503 and answers that are no problem document, and then succeeds", async () => {
    const { client, asked } = await answering(
      [429, { code: "rate_limited" }],
      [503, busy],
      [502, "gateway"],
      [200, { ok: true }],
    );
    expect(await client.request("GET", "/v1/items/a")).toEqual({ ok: true });
    expect(asked).toHaveLength(4);
  });

  it("is not tried again when that can't help, and says why in the server's words", async () => {
    const errors = [{ pointer: "/title", detail: "needed" }];
    const { client, asked } = await answering([
      400,
      { code: "invalid_request", detail: "does not fit", retryable: false, errors },
    ]);
    const failure = await client.request("PUT", "/v1/items/a", { json: {} }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApiError);
    expect((failure as Error).message).toBe("PUT /v1/items/a: 400 invalid_request: does not fit\n  /title: needed");
    expect(asked).toHaveLength(1);
  });

  it("gives up after its retries, without a word of the key", async () => {
    const { client, asked } = await answering([503, busy]);
    const failure = (await client.request("GET", "/").catch((error: unknown) => error)) as Error;
    expect(asked).toEqual(Array.from({ length: 4 }, () => "Bearer ew_sk_very_secret"));
    expect(`${failure.message} ${JSON.stringify(failure)} ${String(failure.stack)}`).not.toContain("secret");
  });

  it("names the address when nothing answers there", async () => {
    const { client } = await answering([200, {}]);
    server!.close();
    await once(server!, "close");
    await expect(client.request("GET", "/healthz")).rejects.toThrow(
      /GET \/healthz: nothing answers at http:\/\/127\.0\.0\.1:\d+ \(ECONNREFUSED\)/,
    );
  });

  it("finds nothing where the server says 404", async () => {
    const { client } = await answering([404, { code: "not_found", retryable: false }]);
    expect(await client.find("/v1/imports/x")).toBeUndefined();
  });
});
