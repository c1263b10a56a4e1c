/** The typed engine in workerd where ONNX Runtime does not start: the Worker of this project has none. */
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { useRuntimeModule } from "../../functions/inference/runtime.ts";
import { promoteModel } from "../../functions/store/models.ts";
import { call } from "../http/caller.ts";
import { appWithItems, registerTiny } from "../support/put-tiny-model.ts";

it("goes on answering by the typed engine, and the log says why", async () => {
  useRuntimeModule(() => Promise.reject(new TypeError("no such module")));
  const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const app = await appWithItems(40);
  await registerTiny(app, "m1");
  await promoteModel(env.DB, app.app, 1, Date.now()); // the route would hold both engines to the parity vectors
  const ask = async () => {
    const body = { history: [{ itemId: "item-3" }], count: 10, consistency: "bounded" };
    const response = await call("/v1/recommendations", {
      key: app.secret,
      body,
      env: { INFERENCE_ENGINE: "auto" },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("x-inference-engine")).toBe("typed");
    return (await response.json<{ source: string; items: unknown[] }>()).items;
  };
  const first = await ask();
  expect(first).toHaveLength(10);
  const lines = () => warned.mock.calls.map(([line]) => JSON.parse(String(line)) as { event: string; app: number });
  await vi.waitFor(() => expect(lines()).toContainEqual(expect.objectContaining({ event: "runtime_not_started" })), {
    timeout: 5000,
  });
  expect(await ask()).toEqual(first);
  expect(lines().filter(({ event }) => event === "runtime_not_started")).toHaveLength(1); // one attempt
});
