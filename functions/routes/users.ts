/** What is stored of a user, what the user decides, and erasure. Unknown users are a 404 to read and a 202 to erase. */
import { Hono } from "hono";
import * as z from "zod";
import { requireKind, resolvePathUser } from "../http/auth.ts";
import { parseBody } from "../http/body.ts";
import type { Bindings } from "../http/context.ts";
import { idempotent } from "../http/idempotency.ts";
import { describe, WarningSchema } from "../http/openapi.ts";
import { ProblemError } from "../http/problem.ts";
import { eraseUser } from "../jobs/erase-user.ts";
import { PROFILE_ATTRIBUTES } from "../domain/history/preferences.ts";
import type { PatchOutcome, UserProfile } from "../objects/user-state.ts";
import { hydrate } from "../store/items.ts";
import { userStub } from "../store/subjects.ts";

const Topic = z.string().min(1).max(64);
const Controls = {
  lessMachineMade: z.boolean().describe("Show fewer items whose origin is machine"),
  moreTopics: z.array(Topic).max(50),
  lessTopics: z.array(Topic).max(50),
};
const Consent = {
  personalization: z.boolean().describe("False: recommendations do not use the history"),
  training: z.boolean().describe("False: log records say so and models are not trained on them"),
  generatedText: z.boolean().describe("False: no generated text about or for the user"),
  policyVersion: z.string().max(64).nullable(),
};
const Scalar = z.union([z.string().max(256), z.number(), z.boolean()]);

const UserPatch = z
  .strictObject({
    attributes: z
      .record(z.string().min(1).max(64), Scalar.nullable())
      .refine((record) => Object.keys(record).length <= 64, "at most 64 attributes at once")
      .optional()
      .describe("Merged into what is stored; null takes an attribute away"),
    controls: z.strictObject(Controls).partial().optional(),
    consent: z.strictObject(Consent).partial().optional(),
  })
  .meta({ id: "UserPatch" });

const UserAnswer = z
  .object({
    id: z.string(),
    createdAt: z.iso.datetime(),
    lastEventAt: z.iso.datetime().nullable(),
    attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    controls: z.object(Controls),
    consent: z.object(Consent),
    history: z
      .array(
        z.object({
          eventId: z.string(),
          itemId: z.string().nullable(),
          title: z.string().nullable().describe("Null while the catalogue does not have the item"),
          type: z.string(),
          occurredAt: z.iso.datetime(),
          value: z.number().nullable(),
          text: z.string().optional(),
        }),
      )
      .describe("Newest first, at most 200; impressions are not part of it"),
    hiddenItemIds: z.array(z.string()),
    warnings: z.array(WarningSchema),
  })
  .meta({ id: "User" });

const ErasureAnswer = z
  .object({
    servingErasedAt: z.iso.datetime().describe("From then on nothing that is served knows the user"),
    logsErasedBy: z.iso.datetime(),
    modelsForgetBy: z.iso.datetime(),
    copies: z.array(z.object({ copy: z.string(), goneBy: z.iso.datetime(), note: z.string() })),
  })
  .meta({ id: "Erasure" });

const ROUTE = {
  path: "/v1/users/{id}",
  tag: "Users",
  auth: ["secret", "publishable"],
  userToken: "optional",
  scope: "users",
  params: { id: "A user id, or `me`: the user of X-User-Token" },
} as const;

describe({
  ...ROUTE,
  method: "get",
  summary: "Read what is stored of a user",
  response: UserAnswer,
  errors: ["not_found"],
});
describe({
  ...ROUTE,
  method: "patch",
  summary: "Change attributes, controls or consent",
  description: "What is not named stays. A user begins with the first event; before that this is a 404.",
  request: UserPatch,
  response: UserAnswer,
  errors: ["not_found"],
  example: { consent: { training: false }, controls: { lessMachineMade: true } },
});
describe({
  ...ROUTE,
  method: "delete",
  idempotent: true,
  summary: "Erase a user",
  description:
    "The user's object keeps a tombstone and nothing else: later events of this user id are rejected with the code `erased`," +
    " for good. A person who comes back gets a new user id. The answer names every copy and its last date; an unknown user is" +
    " answered the same way and nothing is stored.",
  response: ErasureAnswer,
  status: 202,
});

const unknownUser = () => new ProblemError("not_found", "There is no such user in this app");

export const usersRoutes = new Hono<Bindings>()
  .use("/users/*", requireKind("secret", "publishable"))

  .get("/users/:id", async (c) => {
    const userId = resolvePathUser(c, c.req.param("id"));
    const { app } = c.get("credential");
    const profile = (await (await userStub(c.env, app, userId)).profile()) as UserProfile | undefined;
    if (profile === undefined) throw unknownUser();
    return c.json({ ...(await userJson(c.env, app, userId, profile)), warnings: c.get("warnings") });
  })

  .patch("/users/:id", async (c) => {
    const userId = resolvePathUser(c, c.req.param("id"));
    const patch = await parseBody(c, UserPatch);
    const { app } = c.get("credential");
    const stub = await userStub(c.env, app, userId);
    const outcome: PatchOutcome = await stub.patchProfile(patch);
    if (outcome.kind === "unknown-user") throw unknownUser();
    if (outcome.kind === "too-many-attributes") {
      const detail = `the profile would hold ${outcome.count} attributes, at most ${PROFILE_ATTRIBUTES} are allowed`;
      const errors = [{ pointer: "/attributes", code: "too_many", detail }];
      throw new ProblemError("invalid_request", "The profile would grow too large", { errors });
    }
    const profile = (await stub.profile()) as UserProfile | undefined;
    if (profile === undefined) throw unknownUser();
    return c.json({ ...(await userJson(c.env, app, userId, profile)), warnings: c.get("warnings") });
  })

  .delete("/users/:id", idempotent, async (c) => {
    const userId = resolvePathUser(c, c.req.param("id"));
    const later = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
    const erased = await eraseUser(c.env, c.get("credential").app, userId, { now: c.get("clock").now(), later });
    return c.json(erased satisfies z.output<typeof ErasureAnswer>, 202);
  });

const iso = (at: number): string => new Date(at).toISOString();

async function userJson(
  env: Env,
  app: number,
  userId: string,
  profile: UserProfile,
): Promise<Omit<z.output<typeof UserAnswer>, "warnings">> {
  const hidden = profile.acted.filter(({ type }) => type === "hide").map(({ item }) => item);
  const numbers = new Set([...profile.events.flatMap(({ item }) => item ?? []), ...hidden]);
  const items = new Map((await hydrate(env.DB, app, [...numbers])).map((item) => [item.number, item]));
  const newestFirst = profile.events.toReversed();
  return {
    id: userId,
    createdAt: iso(profile.createdAt),
    lastEventAt: newestFirst[0] === undefined ? null : iso(newestFirst[0].occurredAt),
    attributes: { ...profile.attributes },
    controls: {
      ...profile.controls,
      moreTopics: [...profile.controls.moreTopics],
      lessTopics: [...profile.controls.lessTopics],
    },
    consent: { ...profile.consent },
    history: newestFirst.map((event) => {
      const item = event.item === null ? undefined : items.get(event.item);
      const text = profile.texts.get(event.eventId);
      return {
        eventId: event.eventId,
        itemId: item?.id ?? event.itemId,
        title: item?.title ?? null,
        type: event.type,
        occurredAt: iso(event.occurredAt),
        value: event.value,
        ...(text === undefined ? {} : { text }),
      };
    }),
    hiddenItemIds: hidden.flatMap((item) => items.get(item)?.id ?? []),
  };
}
