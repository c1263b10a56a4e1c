/** Lists written by a model, inside workerd, through the real runtime: what the model's answers promise over HTTP. */
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { decodeToken } from "../../functions/domain/history/recommendation-token.ts";
import { wOf } from "../../functions/domain/generation/exploration.ts";
import { appTokenKey } from "../../functions/store/subjects.ts";
import { call } from "../http/caller.ts";
import { appWithItems, registerTiny, type ModelApp } from "../support/put-tiny-model.ts";

interface Shown {
  itemId: string;
  score: number;
  logProbability: number | null;
  propensity: number;
  slot: string;
  reasons: { code: string; itemId: string | null; contribution: number | null; text: string }[];
}
interface List {
  recommendationId: string;
  source: string;
  scoring: string | null;
  degradedReason: string | null;
  modelVersion: string | null;
  items: Shown[];
  nextCursor: string | null;
}

let shop: ModelApp;
let modelVersion: string;

async function recommend(
  body: object,
  path = "/v1/recommendations",
  options: { offsetMs?: number } = {},
): Promise<List> {
  const response = await call(path, { key: shop.secret, body, ...options });
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  return response.json<List>();
}

const idsOf = (list: List): string[] => list.items.map(({ itemId }) => itemId);
const history = [{ itemId: "item-3" }, { itemId: "item-11", type: "cook" }];

beforeAll(async () => {
  shop = await appWithItems(40);
  modelVersion = (await registerTiny(shop, "m1")).modelVersion;
  const promoted = await call("/v1/models/m1/promote", { method: "POST", key: shop.secret });
  if (promoted.status !== 200) throw new Error(await promoted.text());
});

describe("a list by the model", () => {
  it("names its model, orders by score and gives log-probabilities that sum to one over all legal items", async () => {
    const list = await recommend({ history, count: 38, exclude: [], repeat: { policy: "exclude" } });
    expect(list).toMatchObject({ source: "model", modelVersion, degradedReason: null });
    expect(list.items).toHaveLength(38);
    for (let at = 1; at < 38; at += 1) expect(list.items[at]!.score).toBeLessThanOrEqual(list.items[at - 1]!.score);
    const total = list.items.reduce((sum, { logProbability }) => sum + Math.exp(logProbability!), 0);
    expect(total).toBeCloseTo(1, 4);
  });

  it("takes any word as the type of an event, names of object members among them", async () => {
    for (const type of ["constructor", "toString", "__proto__", "brewed"]) {
      const { source, items } = await recommend({ history: [{ itemId: "item-3", type }], count: 38 });
      expect([type, source]).toEqual([type, "model"]);
      expect(items.flatMap(({ reasons }) => reasons.map(({ code }) => code))).toContain("because_of_history");
      expect(items.map(({ reasons }) => reasons[0]!.text)).toContain("Because of Title of item-3");
    }
  });

  it("is the same list for the same request, and another one for another history", async () => {
    const [a, b] = [await recommend({ history, count: 10 }), await recommend({ history, count: 10 })];
    expect(a.items).toEqual(b.items);
    const other = await recommend({ history: [{ itemId: "item-30" }], count: 10 });
    expect(idsOf(other)).not.toEqual(idsOf(a));
  });

  it("gives for every item the nearest history item, in words", async () => {
    const list = await recommend({ history, count: 10, explain: true });
    const reasons = list.items.flatMap((item) => item.reasons);
    expect(
      reasons.some(
        ({ code, itemId, text }) =>
          code === "because_you_cooked" && itemId === "item-11" && text === "Because you cooked Title of item-11",
      ),
    ).toBe(true);
    for (const { itemId } of reasons) expect([null, "item-3", "item-11"]).toContain(itemId);
  });

  it("reads view, save and cook of one sitting as one token, as the model learned to", async () => {
    const sitting = ["view", "save", "cook"].map((type) => ({ itemId: "item-11", type }));
    const one = await recommend({ history: [{ itemId: "item-3" }, { itemId: "item-11", type: "cook" }], count: 10 });
    const three = await recommend({ history: [{ itemId: "item-3" }, ...sitting], count: 10 });
    expect(three.items).toEqual(one.items);
  });

  it("answers from the counters when the history says nothing to the model", async () => {
    expect(await recommend({ userId: "nobody" })).toMatchObject({
      source: "default",
      degradedReason: "no_history",
      modelVersion: null,
    });
  });

  it("ranks a caller's own list exactly, with probabilities over that list alone", async () => {
    const itemIds = ["item-1", "item-2", "item-3", "item-4"];
    const list = await recommend({ history, itemIds }, "/v1/rank");
    expect(idsOf(list).toSorted()).toEqual(itemIds);
    expect(list.scoring).toBe("exact");
    expect(list.items.reduce((sum, { logProbability }) => sum + Math.exp(logProbability!), 0)).toBeCloseTo(1, 5);
  });

  it("finds neighbours and leaves the given item out", async () => {
    const list = await recommend({ itemIds: ["item-7"], count: 5 }, "/v1/similar");
    expect(list.items).toHaveLength(5);
    expect(idsOf(list)).not.toContain("item-7");
    expect(list.items[0]!.reasons[0]).toMatchObject({ code: "similar_to", itemId: "item-7" });
  });

  it("pages through everything once", async () => {
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const list: List = await recommend({ history, count: 15, cursor, repeat: { policy: "exclude" } });
      seen.push(...idsOf(list));
      cursor = list.nextCursor;
    } while (cursor !== null && seen.length < 100);
    expect(seen).toHaveLength(38);
    expect(new Set(seen).size).toBe(38);
  });
});

describe("exploration", () => {
  it("draws the same list for the same requestId, others for others, and logs propensities that multiply to the list's", async () => {
    const body = { history, count: 5, exploration: 0.8 };
    const [a, b] = [await recommend({ ...body, requestId: "r-1" }), await recommend({ ...body, requestId: "r-1" })];
    expect(a.items).toEqual(b.items);
    const lists = new Set<string>();
    for (let at = 0; at < 8; at += 1) lists.add(idsOf(await recommend({ ...body, requestId: `r-${at}` })).join());
    expect(lists.size).toBeGreaterThan(4);

    const token = (await decodeToken(a.recommendationId, await appTokenKey(env, shop.app)))!;
    let above = 0;
    for (const [at, item] of a.items.entries()) {
      const w = wOf(token.items[at]!.w);
      expect(item.propensity).toBeCloseTo(w / (1 - above), 2);
      above += w;
    }
    expect(a.items.some(({ slot }) => slot === "explored")).toBe(true);
  });

  it("is off by default: propensity 1, slot ranked", async () => {
    const list = await recommend({ history, count: 5 });
    expect(list.items.every(({ propensity, slot }) => propensity === 1 && slot === "ranked")).toBe(true);
  });
});

describe("items newer than the model", () => {
  it("are written by the model in the next strict request after the PUT, and within two seconds otherwise", async () => {
    const put = await call("/v1/items/brand-new", {
      method: "PUT",
      key: shop.secret,
      body: { title: "Title of item-5" },
    });
    expect(await put.json()).toMatchObject({ pendingCodes: false });
    const strict = await recommend({ history, count: 41, consistency: "strict" });
    const found = strict.items.find(({ itemId }) => itemId === "brand-new");
    expect(found?.logProbability).toBeLessThan(0);

    await call("/v1/items/brand-new-2", { method: "PUT", key: shop.secret, body: { title: "Title of item-6" } });
    const bounded = async () => idsOf(await recommend({ history, count: 42 }, undefined, { offsetMs: 1001 }));
    await expect.poll(bounded, { interval: 50, timeout: 1000 }).toContain("brand-new-2");
  });

  it("disappear when hidden, also from similar and rank", async () => {
    await call("/v1/items/item-9", {
      method: "PUT",
      key: shop.secret,
      body: { title: "Title of item-9", hidden: true },
    });
    const strict = { consistency: "strict" };
    expect(idsOf(await recommend({ history, count: 50, ...strict }))).not.toContain("item-9");
    expect(idsOf(await recommend({ itemIds: ["item-8"], count: 50, ...strict }, "/v1/similar"))).not.toContain(
      "item-9",
    );
    expect(idsOf(await recommend({ history, itemIds: ["item-9", "item-8"], ...strict }, "/v1/rank"))).toEqual([
      "item-8",
    ]);
  });
});

describe("when a part fails", () => {
  it("answers in time from the counters while the runtime alone starts, and by the model a little later", async () => {
    const other = await appWithItems(40);
    await registerTiny(other, "cold");
    await call("/v1/models/cold/promote", { method: "POST", key: other.secret });
    const ask = async () => {
      const response = await call("/v1/recommendations", {
        key: other.secret,
        body: { history, count: 3, timeoutMs: 200 },
        env: { INFERENCE_ENGINE: "onnx" },
      });
      return response.json<List>();
    };
    const first = await ask();
    expect(first).toMatchObject({ source: "default", degradedReason: "model_loading" });
    expect(first.items).toHaveLength(3);
    await expect.poll(async () => (await ask()).source, { interval: 50, timeout: 5000 }).toBe("model");
  });

  it("goes on with what it has when the database can't be asked", async () => {
    await recommend({ history, count: 5 });
    const dead = {
      withSession: () => ({
        prepare: () => {
          throw new Error("D1_ERROR: down");
        },
      }),
      prepare: () => {
        throw new Error("D1_ERROR: down");
      },
    } as unknown as D1Database;
    const response = await call("/v1/recommendations", {
      key: shop.secret,
      body: { history, count: 5 },
      env: { DB: dead },
      offsetMs: 5000,
    });
    const list = await response.json<List>();
    expect(response.status).toBe(200);
    expect(list.source).toBe("model");
    expect(list.items).toHaveLength(5);
  });
});
