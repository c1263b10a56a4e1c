/** Whether this Worker runs (`/healthz`), and whether what it stands on answers (`/readyz`). Nothing about any app. */
import { Hono } from "hono";
import * as z from "zod";
import { describe } from "../http/openapi.ts";
import type { Bindings } from "../http/context.ts";

const Health = z.object({ status: z.string() }).meta({ id: "Health" });
const Readiness = z
  .object({ status: z.string().meta({ examples: ["ready", "unready"] }), checks: z.record(z.string(), z.boolean()) })
  .meta({ id: "Readiness" });

const CHECK_MS = 2000;

export const healthRoutes = new Hono<Bindings>();

describe({
  method: "get",
  path: "/healthz",
  tag: "Operations",
  summary: "Whether the Worker runs",
  auth: [],
  response: Health,
});
healthRoutes.get("/healthz", (c) => c.json({ status: "ok" }));

describe({
  method: "get",
  path: "/readyz",
  tag: "Operations",
  summary: "Whether database, buckets and secrets are there",
  auth: [],
  response: Readiness,
  also: { 503: { description: "A part is missing; `checks` says which", schema: Readiness } },
});
healthRoutes.get("/readyz", async (c) => {
  const [database, models, log] = await Promise.all([
    answers(c.env.DB.prepare("SELECT app FROM apps LIMIT 1").all()),
    answers(c.env.MODELS.head("readyz")),
    answers(c.env.LOG.head("readyz")),
  ]);
  const secrets = (c.env.WORKER_SECRET?.length ?? 0) >= 32 && (c.env.OPERATOR_KEY?.length ?? 0) >= 40;
  const checks = { database, models, log, secrets };
  const isReady = Object.values(checks).every(Boolean);
  return c.json({ status: isReady ? "ready" : "unready", checks }, isReady ? 200 : 503);
});

/** True when the part answers within two seconds, whatever it answers. */
async function answers(asked: Promise<unknown>): Promise<boolean> {
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), CHECK_MS));
  return Promise.race([
    asked.then(
      () => true,
      () => false,
    ),
    late,
  ]);
}
