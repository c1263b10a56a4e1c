/** Every bound of the interface, in one table: routes check against it, and the OpenAPI document and /docs print it. */

const MIB = 2 ** 20;

export const LIMITS = {
  bodyBytes: { value: MIB, unit: "bytes", about: "a request body, also after inflating gzip" },
  modelFileBytes: { value: 25 * MIB, unit: "bytes", about: "one file of a model" },
  jsonDepth: { value: 64, unit: "levels", about: "nesting of a JSON body" },
  idCharacters: { value: 256, unit: "characters", about: "an id of an item or a user" },
  textCharacters: { value: 2000, unit: "characters", about: "free text" },
  events: { value: 1000, unit: "events", about: "one POST /v1/events" },
  backfillUsers: { value: 40, unit: "users", about: "one backfill in POST /v1/events" },
  historyItems: { value: 200, unit: "entries", about: "history in a request, and kept for a user" },
  results: { value: 100, unit: "items", about: "one list of recommendations, and itemIds of POST /v1/rank" },
  excludedItems: { value: 1000, unit: "ids", about: "exclude of a list" },
  seedItems: { value: 20, unit: "ids", about: "context.seedItemIds, and itemIds of POST /v1/similar" },
  pins: { value: 20, unit: "items", about: "pin of a list" },
  shelves: { value: 20, unit: "lists", about: "one batch of recommendations" },
  batchItems: { value: 1000, unit: "items", about: "one POST /v1/items/batch" },
  idsPerQuery: { value: 100, unit: "ids", about: "GET /v1/items?ids=" },
  warnings: { value: 20, unit: "entries", about: "warnings in an answer" },
  errors: { value: 20, unit: "entries", about: "errors in a problem" },
  requestsPerMinute: {
    value: 600,
    unit: "requests",
    about: "one user or installation, at each location; secret keys are exempt",
  },
  apiKeys: { value: 20, unit: "keys", about: "live API keys of an app" },
  webhookEndpoints: { value: 20, unit: "endpoints", about: "webhook endpoints of an app" },
  userTokenSecrets: { value: 2, unit: "secrets", about: "live user token secrets of an app" },
} as const satisfies Record<string, { value: number; unit: string; about: string }>;

export type LimitName = keyof typeof LIMITS;

/** The number of a bound. */
export function limit(name: LimitName): number {
  return LIMITS[name].value;
}
