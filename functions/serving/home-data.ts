/**
 * What the home page shows: some users of the demo app with their histories and lists. Only where the local start has bound
 * `DEMO_APP_NAME` and `DEMO_USERS`; a deployed Worker binds neither, so no app's users are ever on a public page.
 */
import { mergeEngagements } from "../domain/history/engagements.ts";
import { recommendForApp } from "./recommend-for-app.ts";
import { hydrateRows } from "./hydration.ts";
import { findAppByName } from "../store/apps.ts";
import { userStub } from "../store/subjects.ts";
import type { HomeData, HomeUser } from "../http/pages/home-page.ts";

const HISTORY_SHOWN = 6;
const RECOMMENDED = 6;

/** Null where there is no demo. */
export async function homeData(env: Env, now: number, requestId: string): Promise<HomeData | null> {
  const name = bound(env, "DEMO_APP_NAME");
  const userIds = bound(env, "DEMO_USERS")?.split(",") ?? [];
  if (name === undefined || userIds.length === 0) return null;
  const row = await findAppByName(env, name);
  if (row === undefined) return null;
  const users = await Promise.all(userIds.map((userId) => homeUser(env, row.app, userId, now, requestId)));
  return {
    appName: row.name,
    modelVersion: users.find((user) => user.modelVersion !== null)?.modelVersion ?? null,
    users: users.map(({ user }) => user).filter((user) => user.history.length > 0),
    links: [],
  };
}

function bound(env: Env, name: string): string | undefined {
  const value = (env as unknown as Record<string, unknown>)[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

async function homeUser(
  env: Env,
  app: number,
  userId: string,
  now: number,
  requestId: string,
): Promise<{ user: HomeUser; modelVersion: string | null }> {
  const stub = await userStub(env, app, userId);
  const { events } = await stub.recall();
  const newest = mergeEngagements(events).toReversed().slice(0, HISTORY_SHOWN);
  const [{ rows }, result] = await Promise.all([
    hydrateRows(
      env,
      app,
      newest.flatMap(({ item }) => item ?? []),
      { strict: false },
    ),
    recommendForApp(env, {
      app,
      userId,
      requestId,
      count: RECOMMENDED,
      exploration: 0,
      repeat: { policy: "exclude" },
      now,
    }),
  ]);
  const history = newest.flatMap(({ item, type, occurredAt }) => {
    const title = item === null ? undefined : rows.get(item)?.title;
    return title === undefined ? [] : [{ title, type, when: new Date(occurredAt).toISOString() }];
  });
  const recommendations = result.list.shown.map(({ item, reasons, logProbability, score }) => {
    const cuisine = item.attributes["cuisine"];
    return {
      title: item.title,
      ...(typeof cuisine === "string" ? { cuisine } : {}),
      reasons: reasons.map(({ text }) => text),
      logProbability: logProbability ?? Number.NEGATIVE_INFINITY,
      score,
    };
  });
  return { user: { id: userId, history, recommendations }, modelVersion: result.modelVersion };
}
