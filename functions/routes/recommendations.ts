/** `POST /v1/recommendations`, `/similar`, `/rank`: one request, one list, nothing written. */
import { Hono } from "hono";
import { requireKind, resolveUser } from "../http/auth.ts";
import { parseBody } from "../http/body.ts";
import { checkFilterSize } from "../http/filter-size.ts";
import { describe } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { recommendForApp, type ListResult } from "../serving/recommend-for-app.ts";
import { similarForApp } from "../serving/similar-for-app.ts";
import {
  RankRequest,
  RecommendationAnswer,
  RecommendationRequest,
  SimilarRequest,
  type Answer,
} from "./recommendation-schemas.ts";
import type { Context } from "hono";
import type { Bindings } from "../http/context.ts";
import type { Shown } from "../domain/recommendation/recommend.ts";
import type { HydratedItem } from "../store/items.ts";

/** A list is worth showing again for five minutes, and better than nothing for a day. */
const CACHE = { freshSeconds: 300, staleSeconds: 86_400 };

export const recommendationsRoutes = new Hono<Bindings>();

recommendationsRoutes.post("/recommendations", requireKind("secret", "publishable"), async (c) => {
  await checkFilterSize(c);
  const body = await parseBody(c, RecommendationRequest);
  const userId = resolveUser(c, body.userId);
  if (userId === undefined && body.history === undefined && body.context?.seedItemIds === undefined) {
    throw new ProblemError("invalid_request", "A list is for a user, or for a history in the request", {
      errors: [
        {
          pointer: "/userId",
          code: "missing",
          detail: "give userId (secret key), X-User-Token, history or context.seedItemIds",
        },
      ],
    });
  }
  const requestId = body.requestId ?? c.get("requestId");
  const query = {
    app: c.get("credential").app,
    userId,
    requestId,
    count: body.count,
    filter: body.filter,
    exclude: body.exclude,
    history: body.history,
    seeds: body.context?.seedItemIds,
    pins: body.pin,
    repeat: body.repeat,
    exploration: body.exploration,
    consistency: body.consistency,
    cursor: body.cursor,
    now: c.get("clock").now(),
    look: c.get("firstLook"),
  };
  const result = await recommendForApp(c.env, query, body.timeoutMs);
  return c.json(answerOf(c, result, { requestId, fields: body.fields, explain: body.explain }));
});

recommendationsRoutes.post("/similar", requireKind("secret", "publishable"), async (c) => {
  await checkFilterSize(c);
  const body = await parseBody(c, SimilarRequest);
  const requestId = body.requestId ?? c.get("requestId");
  const result = await similarForApp(c.env, {
    app: c.get("credential").app,
    userId: resolveUser(c, body.userId),
    requestId,
    itemIds: body.itemIds,
    count: body.count,
    filter: body.filter,
    exclude: body.exclude,
    consistency: body.consistency,
    now: c.get("clock").now(),
    look: c.get("firstLook"),
  });
  return c.json(answerOf(c, result, { requestId, fields: body.fields, explain: false }));
});

recommendationsRoutes.post("/rank", requireKind("secret", "publishable"), async (c) => {
  await checkFilterSize(c);
  const body = await parseBody(c, RankRequest);
  const requestId = body.requestId ?? c.get("requestId");
  const result = await recommendForApp(c.env, {
    app: c.get("credential").app,
    userId: resolveUser(c, body.userId),
    requestId,
    only: body.itemIds,
    count: Math.min(body.count ?? body.itemIds.length, body.itemIds.length),
    filter: body.filter,
    exclude: body.exclude,
    history: body.history,
    repeat: { policy: "allow" },
    exploration: 0,
    consistency: body.consistency,
    now: c.get("clock").now(),
    look: c.get("firstLook"),
  });
  return c.json(answerOf(c, result, { requestId, fields: body.fields, explain: body.explain }));
});

/** The answer on the wire. Probabilities go to secret keys and to `explain`. */
function answerOf(
  c: Context<Bindings>,
  result: ListResult,
  options: { readonly requestId: string; readonly fields: readonly string[] | undefined; readonly explain: boolean },
): Answer {
  const { list } = result;
  if (result.engine !== null) c.header("x-inference-engine", result.engine);
  const withProbabilities = options.explain || c.get("credential").kind === "secret";
  return {
    recommendationId: result.recommendationId,
    requestId: options.requestId,
    source: list.source,
    degradedReason: list.degradedReason,
    scoring: list.scoring,
    modelVersion: result.modelVersion,
    cache: CACHE,
    items: list.shown.map((shown, position) => ({
      itemId: shown.item.id,
      position,
      score: shown.score,
      ...(withProbabilities ? { logProbability: shown.logProbability, propensity: shown.propensity } : {}),
      slot: shown.slot,
      item: fieldsOf(shown.item, options.fields),
      reasons: reasonsOf(shown, result.ids),
    })),
    nextCursor: result.nextCursor,
    ignored: [...result.ignored],
    warnings: [...c.get("warnings")],
  };
}

function reasonsOf(shown: Shown<HydratedItem>, ids: ReadonlyMap<number, string>): Answer["items"][number]["reasons"] {
  return shown.reasons.map(({ code, item, contribution, text }) => ({
    code,
    itemId: item === null ? null : (ids.get(item) ?? null),
    contribution,
    text,
  }));
}

/** An item's own fields and its attributes side by side; `fields` picks, an absent field is left out. */
function fieldsOf(item: HydratedItem, fields: readonly string[] | undefined): Record<string, unknown> {
  const price =
    item.priceMinor === null || item.currency === null
      ? undefined
      : { amountMinor: item.priceMinor, currency: item.currency };
  const all: Record<string, unknown> = {
    ...item.attributes,
    title: item.title,
    ...(item.creator === "" ? {} : { creator: item.creator }),
    origin: item.origin,
    createdAt: new Date(item.createdAt).toISOString(),
    ...(price === undefined ? {} : { price }),
  };
  if (fields === undefined) return all;
  if (fields.includes("text")) all["text"] = item.text;
  return Object.fromEntries(fields.filter((field) => Object.hasOwn(all, field)).map((field) => [field, all[field]]));
}

const COMMON = {
  tag: "Recommendations",
  auth: ["secret", "publishable"],
  userToken: "optional",
  scope: "recommend",
} as const;

describe({
  ...COMMON,
  method: "post",
  path: "/v1/recommendations",
  summary: "What to show this user next",
  description:
    "A user (userId with a secret key, or X-User-Token), a history in the request, or both, merged by eventId. Filters, exclusions " +
    "and takedowns hold in every answer, fallbacks included, and the list is full whenever that many legal items exist.",
  request: RecommendationRequest,
  response: RecommendationAnswer,
  errors: ["cursor_expired"],
  example: { userId: "u_42", count: 5, explain: true },
});

describe({
  ...COMMON,
  method: "post",
  path: "/v1/similar",
  summary: "Items near to given items",
  description: "By the cosine of the promoted model's item vectors; the given items themselves are left out.",
  request: SimilarRequest,
  response: RecommendationAnswer,
  example: { itemIds: ["r_0001"], count: 5 },
});

describe({
  ...COMMON,
  method: "post",
  path: "/v1/rank",
  summary: "The caller's own list in the order this user would like",
  description:
    "Every known, showable item of itemIds comes back, scored exactly; logProbability sums to 1 over the list.",
  request: RankRequest,
  response: RecommendationAnswer,
  example: { userId: "u_42", itemIds: ["r_0001", "r_0002", "r_0003"] },
});
