import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { parseKey } from "../../functions/domain/identity/keys.ts";
import { forgetKey } from "../../functions/http/auth.ts";
import { firstLook, firstLookOfKey } from "../../functions/store/models.ts";
import { call, json, operator } from "../http/caller.ts";
import { appWithItems, registerTiny } from "../support/put-tiny-model.ts";

describe("an isolate that knows nothing of an app", () => {
  const keyId = (key: string) => parseKey(key)!.id;

  test("reads key, app and promoted model in one round trip, those of the key's own app alone", async () => {
    const [app, other] = [await appWithItems(40), await appWithItems(40)];
    await registerTiny(app, "m1");
    await call("/v1/models/m1/promote", { method: "POST", key: app.secret });
    const { key, look } = await firstLookOfKey(env, keyId(app.secret));
    expect(key).toMatchObject({ kind: "secret", app: app.app, appId: app.id });
    const byApp = await firstLook(env, app.app);
    expect([look.row, await look.model()]).toEqual([byApp.row, await byApp.model()]);
    expect(look.row).toMatchObject({ app: app.app, id: app.id });
    expect(await look.model()).toMatchObject({ registered: { app: app.app, id: "m1" }, codes: { isWhole: true } });

    const without = await firstLookOfKey(env, keyId(other.secret));
    expect([without.key?.app, without.look.row?.app, await without.look.model()]).toEqual([
      other.app,
      other.app,
      undefined,
    ]);
    const unknown = await firstLookOfKey(env, "nobody");
    expect([unknown.key, unknown.look.row, await unknown.look.model()]).toEqual([undefined, undefined, undefined]);
  });

  test("asks for the model of its first list together with the key", async () => {
    const app = await appWithItems(40);
    await registerTiny(app, "m1");
    await call("/v1/models/m1/promote", { method: "POST", key: app.secret });
    // a key that this isolate has not met
    const minted = await call(`/v1/apps/${app.id}/keys`, { key: operator, body: { kind: "secret" } });
    const { key } = await json<{ key: string }>(minted);
    const asked: string[] = [];
    const DB = new Proxy(env.DB, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (name === "prepare") asked.push(String(args[0]));
          return (value as (...all: unknown[]) => unknown).apply(target, args);
        };
      },
    });
    const wrong = key.slice(0, -1) + (key.endsWith("a") ? "b" : "a");
    expect((await call("/v1/recommendations", { key: wrong, body: { userId: "u" } })).status).toBe(401);
    forgetKey(keyId(key));
    const list = await call("/v1/recommendations", { key, env: { DB }, body: { userId: "u", count: 3 } });
    expect([list.status, (await json<{ items: unknown[] }>(list)).items.length]).toEqual([200, 3]);
    const models = asked.filter((sql) => sql.includes("apps.serving_model"));
    expect(models.map((sql) => sql.includes("FROM api_keys"))).toEqual([true]);
  });
});
