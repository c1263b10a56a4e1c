/** The hono app: middleware and routes, nothing else. The order of middleware is the order of the request. */
import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { authenticate } from "./http/auth.ts";
import { cors } from "./http/cors.ts";
import { methodNotAllowedResponse, onError, onNotFound } from "./http/errors.ts";
import { gate } from "./http/rate-limit.ts";
import { bodyBound, frame, secure } from "./http/request.ts";
import { appsRoutes } from "./routes/apps.ts";
import { docsRoutes } from "./routes/docs.ts";
import { eventsRoutes } from "./routes/events.ts";
import { healthRoutes } from "./routes/health.ts";
import { homeRoutesOver } from "./routes/home.ts";
import { importsRoutes } from "./routes/imports.ts";
import { itemsRoutes } from "./routes/items.ts";
import { logExportRoutes } from "./routes/log-export.ts";
import { modelsRoutes } from "./routes/models.ts";
import { recommendationsRoutes } from "./routes/recommendations.ts";
import { retrainWebhookRoutes } from "./routes/retrain-webhook.ts";
import { trainingJobsRoutes } from "./routes/training-jobs.ts";
import { usersRoutes } from "./routes/users.ts";
import { webhookEndpointsRoutes } from "./routes/webhook-endpoints.ts";
import { homeData } from "./serving/home-data.ts";
import type { Bindings } from "./http/context.ts";

export const app = new Hono<Bindings>();

app.use(frame, secure, cors);
app.use(methodNotAllowed({ app, onMethodNotAllowed: (c, methods) => methodNotAllowedResponse(c, methods) }));
app.use(bodyBound);
app.route("/v1", retrainWebhookRoutes); // before the keys: its signature says who calls
app.use("/v1/*", authenticate, gate);
for (const path of ["/", "/docs", "/openapi.json", "/readyz"]) app.use(path, gate);

for (const routes of [
  recommendationsRoutes,
  eventsRoutes,
  usersRoutes,
  itemsRoutes,
  importsRoutes,
  modelsRoutes,
  trainingJobsRoutes,
  logExportRoutes,
  webhookEndpointsRoutes,
  appsRoutes,
])
  app.route("/v1", routes);
app.route("/", healthRoutes);
app.route("/", docsRoutes);
app.route(
  "/",
  homeRoutesOver((c) => homeData(c.env, c.get("clock").now(), c.get("requestId"))),
);

app.onError(onError);
app.notFound(onNotFound);
