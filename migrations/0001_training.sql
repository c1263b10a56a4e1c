CREATE TABLE `received_webhooks` (
	`app` integer NOT NULL,
	`scheme` text NOT NULL,
	`id` text NOT NULL,
	`job` text NOT NULL,
	`received_at` integer NOT NULL,
	PRIMARY KEY(`app`, `scheme`, `id`)
);
--> statement-breakpoint
CREATE INDEX `received_webhooks_by_age` ON `received_webhooks` (`received_at`);--> statement-breakpoint
CREATE TABLE `training_job_changes` (
	`app` integer NOT NULL,
	`job` text NOT NULL,
	`number` integer NOT NULL,
	`status` text NOT NULL,
	`at` integer NOT NULL,
	`note` text,
	PRIMARY KEY(`app`, `job`, `number`)
);
--> statement-breakpoint
CREATE TABLE `training_jobs` (
	`app` integer NOT NULL,
	`id` text NOT NULL,
	`status` text NOT NULL,
	`requests` text NOT NULL,
	`request_count` integer DEFAULT 1 NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`trainer` text,
	`lease_hash` text,
	`lease_until` integer,
	`progress` text,
	`checkpoint` text,
	`model_id` text,
	`canary` text,
	`report` text,
	`decision` text,
	`failure` text,
	`cancel_requested_at` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`finished_at` integer,
	PRIMARY KEY(`app`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `training_jobs_queued` ON `training_jobs` (`app`) WHERE "training_jobs"."status" = 'queued';--> statement-breakpoint
CREATE INDEX `training_jobs_by_time` ON `training_jobs` (`app`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `training_jobs_open` ON `training_jobs` (`updated_at`) WHERE "training_jobs"."finished_at" IS NULL;--> statement-breakpoint
CREATE TABLE `training_policies` (
	`app` integer PRIMARY KEY NOT NULL,
	`every_hours` integer,
	`after_events` integer,
	`canary` text,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `webhook_attempts` (
	`app` integer NOT NULL,
	`message` text NOT NULL,
	`endpoint` text NOT NULL,
	`attempt` integer NOT NULL,
	`at` integer NOT NULL,
	`outcome` text NOT NULL,
	`status` integer,
	`error` text,
	`duration_ms` integer NOT NULL,
	PRIMARY KEY(`app`, `message`, `endpoint`, `attempt`)
);
--> statement-breakpoint
CREATE TABLE `webhook_deliveries` (
	`app` integer NOT NULL,
	`message` text NOT NULL,
	`endpoint` text NOT NULL,
	`status` text NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`due_at` integer,
	`lease_until` integer,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`app`, `message`, `endpoint`)
);
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_due` ON `webhook_deliveries` (`due_at`) WHERE "webhook_deliveries"."status" = 'pending';--> statement-breakpoint
CREATE INDEX `webhook_deliveries_by_endpoint` ON `webhook_deliveries` (`app`,`endpoint`,`updated_at`);--> statement-breakpoint
CREATE TABLE `webhook_endpoints` (
	`app` integer NOT NULL,
	`id` text NOT NULL,
	`url` text NOT NULL,
	`types` text NOT NULL,
	`status` text NOT NULL,
	`disabled_reason` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`app`, `id`)
);
--> statement-breakpoint
CREATE TABLE `webhook_messages` (
	`app` integer NOT NULL,
	`id` text NOT NULL,
	`type` text NOT NULL,
	`payload` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`app`, `id`)
);
--> statement-breakpoint
CREATE INDEX `webhook_messages_by_age` ON `webhook_messages` (`created_at`);--> statement-breakpoint
CREATE TABLE `webhook_secrets` (
	`app` integer NOT NULL,
	`owner` text NOT NULL,
	`id` text NOT NULL,
	`ciphertext` text NOT NULL,
	`created_at` integer NOT NULL,
	`revoked_at` integer,
	PRIMARY KEY(`app`, `owner`, `id`)
);
--> statement-breakpoint
ALTER TABLE `apps` ADD `development` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `apps` ADD `canary_model` integer;--> statement-breakpoint
ALTER TABLE `apps` ADD `canary_share` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `apps` ADD `canary_since` integer;--> statement-breakpoint
ALTER TABLE `models` ADD `withdrawn_at` integer;