/**
 * D1: catalogue and control plane. Every table begins with the app (an integer that never leaves the Worker), because a row
 * belongs to exactly one app. Times are milliseconds since 1970; money is integer minor units; JSON is text.
 */
import { sql } from "drizzle-orm";
import { blob, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";

export const apps = sqliteTable(
  "apps",
  {
    app: integer("app").primaryKey({ autoIncrement: true }), // u32 in tokens and object names
    id: text("id").notNull(), // public: app_...
    name: text("name").notNull(),
    cell: text("cell").notNull().default("DB"), // which database holds the app's rows
    createdAt: integer("created_at").notNull(),
    consistency: text("consistency", { enum: ["bounded", "strict"] })
      .notNull()
      .default("bounded"),
    development: integer("development").notNull().default(0), // webhooks may go to http and to the developer's own network
    logShards: integer("log_shards").notNull().default(1), // fixed when the app is made
    epoch: integer("epoch").notNull().default(1), // of item numbers; grows when D1 was restored to an earlier minute
    revision: integer("revision").notNull().default(0), // of the catalogue: + 1 a write
    nextNumber: integer("next_number").notNull().default(1), // item numbers are never reused
    snapshotKey: text("snapshot_key"), // R2 (MODELS) object, named by its content
    snapshotRevision: integer("snapshot_revision").notNull().default(0),
    unsnapshottedRows: integer("unsnapshotted_rows").notNull().default(0), // item rows written since that snapshot
    servingModel: integer("serving_model"), // models.model of the promoted one
    servingVersion: integer("serving_version").notNull().default(0), // + 1 a promotion
    canaryModel: integer("canary_model"), // models.model of the one that a share of users sees
    canaryShare: integer("canary_share").notNull().default(0), // of 10,000 users
    canarySince: integer("canary_since"),
    deletedAt: integer("deleted_at"), // whoever looks the app up finds it no more; its row goes after everything else
    deletionTickAt: integer("deletion_tick_at"), // when deletion last worked on it: the cron wakes one that stands still
  },
  (table) => [
    uniqueIndex("apps_by_id").on(table.id),
    index("apps_deleted")
      .on(table.deletionTickAt)
      .where(sql`${table.deletedAt} IS NOT NULL`),
  ],
);

export const apiKeys = sqliteTable(
  "api_keys",
  {
    id: text("id").primaryKey(), // the key id inside ew_sk_<id>_<secret>
    app: integer("app").notNull(),
    kind: text("kind", { enum: ["secret", "publishable"] }).notNull(),
    hash: text("hash").notNull(), // sha256 of the whole key, hex
    scopes: text("scopes").notNull().default("[]"), // JSON; [] = every scope of its kind
    origins: text("origins").notNull().default("[]"), // JSON; browsers that may use a publishable key
    createdAt: integer("created_at").notNull(),
    revokedAt: integer("revoked_at"),
  },
  (table) => [index("api_keys_by_app").on(table.app)],
);

/** Keys that sign user tokens (HS256), encrypted under WORKER_SECRET (AES-GCM), two live at once. */
export const tokenSecrets = sqliteTable(
  "token_secrets",
  {
    app: integer("app").notNull(),
    kid: text("kid").notNull(),
    ciphertext: text("ciphertext").notNull(), // base64url of iv | ciphertext
    createdAt: integer("created_at").notNull(),
    revokedAt: integer("revoked_at"),
  },
  (table) => [primaryKey({ columns: [table.app, table.kid] })],
);

export const items = sqliteTable(
  "items",
  {
    app: integer("app").notNull(),
    number: integer("number").notNull(), // u32, never changes, never reused
    id: text("id").notNull(),
    title: text("title").notNull(),
    text: text("text").notNull().default(""),
    creator: text("creator").notNull().default(""),
    origin: text("origin", { enum: ["human", "machine", "mixed", "unknown"] })
      .notNull()
      .default("unknown"),
    createdAt: integer("created_at").notNull(),
    priceMinor: integer("price_minor"),
    currency: text("currency"),
    attributes: text("attributes").notNull().default("{}"), // JSON object: string, number, boolean or array of strings
    available: integer("available").notNull().default(1),
    hidden: integer("hidden").notNull().default(0),
    deleted: integer("deleted").notNull().default(0), // a tombstone keeps the number
    revision: integer("revision").notNull(), // the catalogue revision that wrote it
    updatedAt: integer("updated_at").notNull(), // grows strictly with every write of the app, so that it can be paged by
  },
  (table) => [
    primaryKey({ columns: [table.app, table.number] }),
    uniqueIndex("items_by_id").on(table.app, table.id),
    index("items_by_revision").on(table.app, table.revision, table.number),
    index("items_by_update").on(table.app, table.updatedAt, table.number),
  ],
);

/**
 * Codes and vectors of items that are newer than a model, made by the model's own tokenizer graph. Keyed by model. The row of
 * number 0 is no item: its revision counts the writes, its vector is how far in the catalogue coding has come.
 */
export const itemCodes = sqliteTable(
  "item_codes",
  {
    app: integer("app").notNull(),
    model: integer("model").notNull(),
    number: integer("number").notNull(),
    revision: integer("revision").notNull(), // of the codes: + 1 a write of codes of this app and model
    codes: blob("codes", { mode: "buffer" }).notNull(), // u8 a level
    vector: blob("vector", { mode: "buffer" }).notNull(), // float32 scale, then int8 x dim; of number 0 the cursor
  },
  (table) => [
    primaryKey({ columns: [table.app, table.model, table.number] }),
    index("item_codes_by_revision").on(table.app, table.model, table.revision),
  ],
);

export const models = sqliteTable(
  "models",
  {
    app: integer("app").notNull(),
    model: integer("model").notNull(), // u32 in recommendation tokens, counted per app from 1
    id: text("id").notNull(), // the caller's id in PUT /v1/models/{id}/files
    modelVersion: text("model_version"), // m_... from the manifest
    manifest: text("manifest"), // JSON; null while only files have come
    status: text("status", { enum: ["uploading", "registered", "serving", "retired"] }).notNull(),
    rowsKey: text("rows_key"), // R2: Uint32Array row -> item number (0: dead row)
    liveRows: integer("live_rows"),
    createdAt: integer("created_at").notNull(),
    registeredAt: integer("registered_at"),
    promotedAt: integer("promoted_at"),
    withdrawnAt: integer("withdrawn_at"), // rolled back: not what a later roll-back goes back to
  },
  (table) => [primaryKey({ columns: [table.app, table.model] }), uniqueIndex("models_by_id").on(table.app, table.id)],
);

export const modelFiles = sqliteTable(
  "model_files",
  {
    app: integer("app").notNull(),
    model: integer("model").notNull(),
    path: text("path").notNull(),
    bytes: integer("bytes").notNull(),
    sha256: text("sha256").notNull(), // the R2 key is files/<sha256>, shared by models of one app
  },
  (table) => [primaryKey({ columns: [table.app, table.model, table.path] })],
);

/** Written in the effect's own batch; scoped so that a replay never shows another caller's answer. */
export const idempotencyKeys = sqliteTable(
  "idempotency_keys",
  {
    scope: text("scope").notNull(), // sha256(app, credential, user, method, route)
    key: text("key").notNull(),
    bodyHash: text("body_hash").notNull(),
    leaseUntil: integer("lease_until"), // in flight until then; null when answered
    status: integer("status"),
    response: text("response"),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.scope, table.key] }), index("idempotency_by_age").on(table.createdAt)],
);

/** The one row that survives an erased user: the object's name (an HMAC), never the user id. */
export const erasures = sqliteTable(
  "erasures",
  {
    app: integer("app").notNull(),
    object: text("object").notNull(),
    subject: text("subject").notNull(), // hex; the log refuses it
    requestedAt: integer("requested_at").notNull(),
    objectDoneAt: integer("object_done_at"),
    logDoneAt: integer("log_done_at"),
  },
  (table) => [
    primaryKey({ columns: [table.app, table.object, table.requestedAt] }),
    index("erasures_open").on(table.logDoneAt),
  ],
);

/** The trainer reads only what this lists. */
export const logSegments = sqliteTable(
  "log_segments",
  {
    app: integer("app").notNull(),
    key: text("key").notNull(),
    sha256: text("sha256").notNull(),
    bytes: integer("bytes").notNull(),
    records: integer("records").notNull(),
    firstReceivedAt: integer("first_received_at").notNull(),
    lastReceivedAt: integer("last_received_at").notNull(),
    generation: integer("generation").notNull().default(1),
  },
  (table) => [
    primaryKey({ columns: [table.app, table.key] }),
    index("log_segments_by_time").on(table.app, table.lastReceivedAt),
  ],
);

/** Which subjects a sealed segment holds, so that an erasure knows what to rewrite. */
export const segmentSubjects = sqliteTable(
  "segment_subjects",
  { app: integer("app").notNull(), subject: text("subject").notNull(), key: text("key").notNull() },
  (table) => [primaryKey({ columns: [table.app, table.subject, table.key] })],
);

/**
 * A wish for a new model and what becomes of it. A trainer elsewhere leases the job; what it reports is kept here, so that the next
 * one can go on. Its Workflow instance has the same id; this row is what people ask for, and what decides.
 */
export const trainingJobs = sqliteTable(
  "training_jobs",
  {
    app: integer("app").notNull(),
    id: text("id").notNull(), // job_...
    status: text("status", {
      enum: [
        "queued",
        "claimed",
        "running",
        "evaluating",
        "gated",
        "canary",
        "promoted",
        "rejected",
        "failed",
        "cancelled",
      ],
    }).notNull(),
    requests: text("requests").notNull(), // JSON: who asked, why and when, the first ones
    requestCount: integer("request_count").notNull().default(1),
    attempts: integer("attempts").notNull().default(0), // leases taken
    trainer: text("trainer"), // name that the leaseholder gave itself
    leaseHash: text("lease_hash"), // sha256 of the lease's token, hex
    leaseUntil: integer("lease_until"),
    progress: text("progress"), // JSON: stage, step, loss as last reported
    checkpoint: text("checkpoint"), // JSON: stage, step and files, for whoever goes on
    modelId: text("model_id"), // models.id of what was trained
    canary: text("canary"), // JSON: share and days, where the model is first shown to some
    report: text("report"), // JSON: what the trainer says of its model
    decision: text("decision"), // JSON: what the gate found
    failure: text("failure"),
    cancelRequestedAt: integer("cancel_requested_at"),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
    finishedAt: integer("finished_at"),
  },
  (table) => [
    primaryKey({ columns: [table.app, table.id] }),
    uniqueIndex("training_jobs_queued")
      .on(table.app)
      .where(sql`${table.status} = 'queued'`), // one waits at a time: further wishes are merged into it
    index("training_jobs_by_time").on(table.app, table.createdAt, table.id),
    index("training_jobs_open")
      .on(table.updatedAt)
      .where(sql`${table.finishedAt} IS NULL`),
  ],
);

/** Every state that a job has been in. */
export const trainingJobChanges = sqliteTable(
  "training_job_changes",
  {
    app: integer("app").notNull(),
    job: text("job").notNull(),
    number: integer("number").notNull(), // 1, 2, ..
    status: text("status").notNull(),
    at: integer("at").notNull(),
    note: text("note"),
  },
  (table) => [primaryKey({ columns: [table.app, table.job, table.number] })],
);

/** When an app wants a new model without being asked. */
export const trainingPolicies = sqliteTable("training_policies", {
  app: integer("app").primaryKey(),
  everyHours: integer("every_hours"), // null: not by time
  afterEvents: integer("after_events"), // null: not by what was logged since
  canary: text("canary"), // JSON: for the jobs it asks for
  updatedAt: integer("updated_at").notNull(),
});

/** Secrets that verify incoming webhooks or sign outgoing ones, encrypted as token secrets are; two live at once for an owner. */
export const webhookSecrets = sqliteTable(
  "webhook_secrets",
  {
    app: integer("app").notNull(),
    owner: text("owner").notNull(), // standard or github: incoming, by scheme; otherwise the id of an endpoint
    id: text("id").notNull(),
    ciphertext: text("ciphertext").notNull(), // base64url of iv | ciphertext
    createdAt: integer("created_at").notNull(),
    revokedAt: integer("revoked_at"),
  },
  (table) => [primaryKey({ columns: [table.app, table.owner, table.id] })],
);

/** Ids of webhooks that came in, so that none is taken twice. Kept longer than a signature can be good. */
export const receivedWebhooks = sqliteTable(
  "received_webhooks",
  {
    app: integer("app").notNull(),
    scheme: text("scheme", { enum: ["standard", "github"] }).notNull(),
    id: text("id").notNull(),
    job: text("job").notNull(), // what it was answered with
    receivedAt: integer("received_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.app, table.scheme, table.id] }),
    index("received_webhooks_by_age").on(table.receivedAt),
  ],
);

/** Where an app wants to hear of what happens. */
export const webhookEndpoints = sqliteTable(
  "webhook_endpoints",
  {
    app: integer("app").notNull(),
    id: text("id").notNull(), // we_...
    url: text("url").notNull(),
    types: text("types").notNull(), // JSON; [] = all
    status: text("status", { enum: ["enabled", "disabled"] }).notNull(),
    disabledReason: text("disabled_reason"),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.app, table.id] })],
);

/** Something that happened, written in the batch of what made it happen. */
export const webhookMessages = sqliteTable(
  "webhook_messages",
  {
    app: integer("app").notNull(),
    id: text("id").notNull(), // msg_..., the webhook-id of every attempt
    type: text("type").notNull(),
    payload: text("payload").notNull(), // the body that is signed and sent
    createdAt: integer("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.app, table.id] }), index("webhook_messages_by_age").on(table.createdAt)],
);

/** A message on its way to an endpoint. */
export const webhookDeliveries = sqliteTable(
  "webhook_deliveries",
  {
    app: integer("app").notNull(),
    message: text("message").notNull(),
    endpoint: text("endpoint").notNull(),
    status: text("status", { enum: ["pending", "delivered", "dead", "cancelled"] }).notNull(),
    attempts: integer("attempts").notNull().default(0),
    dueAt: integer("due_at"), // when to try next; null once it is over
    leaseUntil: integer("lease_until"), // an attempt is under way until then
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.app, table.message, table.endpoint] }),
    index("webhook_deliveries_due")
      .on(table.dueAt)
      .where(sql`${table.status} = 'pending'`),
    index("webhook_deliveries_by_endpoint").on(table.app, table.endpoint, table.updatedAt),
  ],
);

/** The delivery log: one row an attempt. */
export const webhookAttempts = sqliteTable(
  "webhook_attempts",
  {
    app: integer("app").notNull(),
    message: text("message").notNull(),
    endpoint: text("endpoint").notNull(),
    attempt: integer("attempt").notNull(), // 1, 2, ..
    at: integer("at").notNull(),
    outcome: text("outcome").notNull(), // delivered, retry, dead, disabled
    status: integer("status"), // of HTTP; null where none came
    error: text("error"),
    durationMs: integer("duration_ms").notNull(),
  },
  (table) => [primaryKey({ columns: [table.app, table.message, table.endpoint, table.attempt] })],
);

/** Lets an import resume, and refuses a finished file. */
export const importLedger = sqliteTable(
  "import_ledger",
  {
    app: integer("app").notNull(),
    file: text("file").notNull(), // sha256 of the file's bytes and the kind of rows
    kind: text("kind", { enum: ["items", "events", "lists"] }).notNull(),
    nextRow: integer("next_row").notNull().default(0),
    rejected: integer("rejected").notNull().default(0),
    finishedAt: integer("finished_at"),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.app, table.file] })],
);

/** `excluded.<column>` of an upsert. */
export const excluded = (column: string) => sql.raw(`excluded.${column}`);
