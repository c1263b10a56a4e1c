CREATE TABLE `api_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`app` integer NOT NULL,
	`kind` text NOT NULL,
	`hash` text NOT NULL,
	`scopes` text DEFAULT '[]' NOT NULL,
	`origins` text DEFAULT '[]' NOT NULL,
	`created_at` integer NOT NULL,
	`revoked_at` integer
);
--> statement-breakpoint
CREATE INDEX `api_keys_by_app` ON `api_keys` (`app`);--> statement-breakpoint
CREATE TABLE `apps` (
	`app` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`cell` text DEFAULT 'DB' NOT NULL,
	`created_at` integer NOT NULL,
	`consistency` text DEFAULT 'bounded' NOT NULL,
	`log_shards` integer DEFAULT 1 NOT NULL,
	`epoch` integer DEFAULT 1 NOT NULL,
	`revision` integer DEFAULT 0 NOT NULL,
	`next_number` integer DEFAULT 1 NOT NULL,
	`snapshot_key` text,
	`snapshot_revision` integer DEFAULT 0 NOT NULL,
	`unsnapshotted_rows` integer DEFAULT 0 NOT NULL,
	`serving_model` integer,
	`serving_version` integer DEFAULT 0 NOT NULL,
	`deleted_at` integer,
	`deletion_tick_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `apps_by_id` ON `apps` (`id`);--> statement-breakpoint
CREATE INDEX `apps_deleted` ON `apps` (`deletion_tick_at`) WHERE "apps"."deleted_at" IS NOT NULL;--> statement-breakpoint
CREATE TABLE `erasures` (
	`app` integer NOT NULL,
	`object` text NOT NULL,
	`subject` text NOT NULL,
	`requested_at` integer NOT NULL,
	`object_done_at` integer,
	`log_done_at` integer,
	PRIMARY KEY(`app`, `object`, `requested_at`)
);
--> statement-breakpoint
CREATE INDEX `erasures_open` ON `erasures` (`log_done_at`);--> statement-breakpoint
CREATE TABLE `idempotency_keys` (
	`scope` text NOT NULL,
	`key` text NOT NULL,
	`body_hash` text NOT NULL,
	`lease_until` integer,
	`status` integer,
	`response` text,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`scope`, `key`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_by_age` ON `idempotency_keys` (`created_at`);--> statement-breakpoint
CREATE TABLE `import_ledger` (
	`app` integer NOT NULL,
	`file` text NOT NULL,
	`kind` text NOT NULL,
	`next_row` integer DEFAULT 0 NOT NULL,
	`rejected` integer DEFAULT 0 NOT NULL,
	`finished_at` integer,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`app`, `file`)
);
--> statement-breakpoint
CREATE TABLE `item_codes` (
	`app` integer NOT NULL,
	`model` integer NOT NULL,
	`number` integer NOT NULL,
	`revision` integer NOT NULL,
	`codes` blob NOT NULL,
	`vector` blob NOT NULL,
	PRIMARY KEY(`app`, `model`, `number`)
);
--> statement-breakpoint
CREATE INDEX `item_codes_by_revision` ON `item_codes` (`app`,`model`,`revision`);--> statement-breakpoint
CREATE TABLE `items` (
	`app` integer NOT NULL,
	`number` integer NOT NULL,
	`id` text NOT NULL,
	`title` text NOT NULL,
	`text` text DEFAULT '' NOT NULL,
	`creator` text DEFAULT '' NOT NULL,
	`origin` text DEFAULT 'unknown' NOT NULL,
	`created_at` integer NOT NULL,
	`price_minor` integer,
	`currency` text,
	`attributes` text DEFAULT '{}' NOT NULL,
	`available` integer DEFAULT 1 NOT NULL,
	`hidden` integer DEFAULT 0 NOT NULL,
	`deleted` integer DEFAULT 0 NOT NULL,
	`revision` integer NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`app`, `number`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `items_by_id` ON `items` (`app`,`id`);--> statement-breakpoint
CREATE INDEX `items_by_revision` ON `items` (`app`,`revision`,`number`);--> statement-breakpoint
CREATE INDEX `items_by_update` ON `items` (`app`,`updated_at`,`number`);--> statement-breakpoint
CREATE TABLE `log_segments` (
	`app` integer NOT NULL,
	`key` text NOT NULL,
	`sha256` text NOT NULL,
	`bytes` integer NOT NULL,
	`records` integer NOT NULL,
	`first_received_at` integer NOT NULL,
	`last_received_at` integer NOT NULL,
	`generation` integer DEFAULT 1 NOT NULL,
	PRIMARY KEY(`app`, `key`)
);
--> statement-breakpoint
CREATE INDEX `log_segments_by_time` ON `log_segments` (`app`,`last_received_at`);--> statement-breakpoint
CREATE TABLE `model_files` (
	`app` integer NOT NULL,
	`model` integer NOT NULL,
	`path` text NOT NULL,
	`bytes` integer NOT NULL,
	`sha256` text NOT NULL,
	PRIMARY KEY(`app`, `model`, `path`)
);
--> statement-breakpoint
CREATE TABLE `models` (
	`app` integer NOT NULL,
	`model` integer NOT NULL,
	`id` text NOT NULL,
	`model_version` text,
	`manifest` text,
	`status` text NOT NULL,
	`rows_key` text,
	`live_rows` integer,
	`created_at` integer NOT NULL,
	`registered_at` integer,
	`promoted_at` integer,
	PRIMARY KEY(`app`, `model`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `models_by_id` ON `models` (`app`,`id`);--> statement-breakpoint
CREATE TABLE `segment_subjects` (
	`app` integer NOT NULL,
	`subject` text NOT NULL,
	`key` text NOT NULL,
	PRIMARY KEY(`app`, `subject`, `key`)
);
--> statement-breakpoint
CREATE TABLE `token_secrets` (
	`app` integer NOT NULL,
	`kid` text NOT NULL,
	`ciphertext` text NOT NULL,
	`created_at` integer NOT NULL,
	`revoked_at` integer,
	PRIMARY KEY(`app`, `kid`)
);
