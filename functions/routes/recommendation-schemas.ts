/** The bodies of recommendations, similar and rank, and the answer they share. */
import * as z from "zod";
import { limit } from "../http/limits.ts";
import type { Predicate } from "../domain/catalogue/predicate.ts";

const ItemId = z.string().min(1).max(256);
const Time = z.iso.datetime({ offset: true });
const Scalar = z.union([z.string().max(256), z.number(), z.boolean()]);

const Comparison = z.strictObject({
  field: z.string().min(1).max(64),
  op: z.enum(["eq", "ne", "in", "lt", "lte", "gt", "gte", "contains", "containsAny", "containsAll", "exists"]),
  value: z.union([Scalar, z.array(Scalar).min(1).max(256)]).optional(),
});

/** `and`, `or`, `not` over `{ field, op, value }`; depth and size are bounded where it is compiled. */
export const Filter: z.ZodType<Predicate> = z
  .lazy(() =>
    z.union([
      Comparison,
      z.strictObject({ and: z.array(Filter).min(1).max(32) }),
      z.strictObject({ or: z.array(Filter).min(1).max(32) }),
      z.strictObject({ not: Filter }),
    ]),
  )
  .meta({ id: "Filter" }) as z.ZodType<Predicate>;

const HistoryEntry = z.strictObject({
  eventId: z.string().min(1).max(128).optional(),
  itemId: ItemId,
  type: z.string().min(1).max(64).default("view"),
  occurredAt: Time.optional(),
});

const Repeat = z.strictObject({
  policy: z.enum(["allow", "exclude"]),
  types: z.array(z.string().min(1).max(64)).min(1).max(32).optional(),
  minDays: z.number().min(0).max(3650).optional(),
});

const Shared = {
  requestId: z.string().min(1).max(128).optional(),
  userId: z.string().min(1).max(256).optional(),
  count: z.int().min(1).max(limit("results")).default(20),
  filter: Filter.optional(),
  exclude: z.array(ItemId).max(limit("excludedItems")).optional(),
  consistency: z.enum(["bounded", "strict"]).optional(),
  fields: z.array(z.string().min(1).max(64)).max(64).optional(),
};

export const RecommendationRequest = z
  .strictObject({
    ...Shared,
    sessionId: z.string().min(1).max(128).optional(),
    cursor: z.string().min(1).max(8192).nullish(),
    timeoutMs: z.int().min(10).max(10_000).optional(),
    history: z.array(HistoryEntry).max(limit("historyItems")).optional(),
    context: z
      .strictObject({
        surface: z.string().max(128).optional(),
        locale: z.string().max(35).optional(),
        timeZone: z.string().max(64).optional(),
        localTime: Time.optional(),
        seedItemIds: z.array(ItemId).max(limit("seedItems")).optional(),
      })
      .optional(),
    pin: z
      .array(
        z.strictObject({
          itemId: ItemId,
          position: z
            .int()
            .min(0)
            .max(limit("results") - 1),
        }),
      )
      .max(limit("pins"))
      .optional(),
    repeat: Repeat.optional(),
    exploration: z.number().min(0).max(1).default(0),
    explain: z.boolean().default(false),
  })
  .meta({ id: "RecommendationRequest" });

export const SimilarRequest = z
  .strictObject({ ...Shared, itemIds: z.array(ItemId).min(1).max(limit("seedItems")) })
  .meta({ id: "SimilarRequest" });

export const RankRequest = z
  .strictObject({
    ...Shared,
    count: z.int().min(1).max(limit("results")).optional(),
    itemIds: z.array(ItemId).min(1).max(limit("results")),
    history: z.array(HistoryEntry).max(limit("historyItems")).optional(),
    explain: z.boolean().default(false),
  })
  .meta({ id: "RankRequest" });

const Reason = z.object({
  code: z
    .string()
    .meta({ description: "because_you_<type>, again, trending, popular, new, similar_to, pinned; open to new codes" }),
  itemId: z.string().nullable(),
  contribution: z.number().nullable(),
  text: z.string(),
});

const Recommendation = z.object({
  itemId: z.string(),
  position: z.int(),
  score: z.number(),
  logProbability: z.number().nullable().optional(),
  propensity: z.number().optional(),
  slot: z.enum(["ranked", "explored", "pinned"]),
  item: z.record(z.string(), z.unknown()),
  reasons: z.array(Reason),
});

export const RecommendationAnswer = z
  .object({
    recommendationId: z.string(),
    requestId: z.string(),
    source: z.enum(["model", "session", "trending", "default"]),
    degradedReason: z.string().nullable(),
    scoring: z.enum(["beam", "exact"]).nullable(),
    modelVersion: z.string().nullable(),
    cache: z.object({ freshSeconds: z.int(), staleSeconds: z.int() }),
    items: z.array(Recommendation),
    nextCursor: z.string().nullable(),
    ignored: z.array(z.object({ pointer: z.string(), code: z.string() })),
    warnings: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })),
  })
  .meta({ id: "Recommendations" });

export type Answer = z.infer<typeof RecommendationAnswer>;
