/** Four test projects: inside workerd, the few files that infer there, end to end from Node, and plain Node. */
import path from "node:path";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const WORKER = "test/{routes,store,objects,jobs,http,contract,serving}/**/*.test.ts";
const INFERS = "test/**/*.onnx.test.ts";
const E2E = "test/e2e/**/*.test.ts";

export default defineConfig(async () => {
  const migrations = await readD1Migrations(path.join(import.meta.dirname, "migrations"));
  const worker = () =>
    cloudflareTest({
      wrangler: { configPath: "./wrangler.toml" },
      miniflare: {
        bindings: {
          TEST_MIGRATIONS: migrations,
          TEST_CLOCK_OFFSET_MS: "0",
          OPERATOR_KEY: "ew_op_test.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH",
          WORKER_SECRET: "test-worker-secret-of-at-least-32-characters",
        },
      },
    });
  const setupFiles = ["./test/apply-migrations.ts"];
  const emptyWasm = path.join(import.meta.dirname, "test/support/empty.wasm");
  return {
    test: {
      projects: [
        {
          plugins: [worker()],
          // the 14 MB runtime costs 5 s a file; a file that infers ends in .onnx.test.ts
          resolve: { alias: { "onnxruntime-web/ort-wasm-simd-threaded.wasm": emptyWasm } },
          test: { name: "worker", setupFiles, include: [WORKER], exclude: [INFERS], testTimeout: 20_000 },
        },
        {
          plugins: [worker()],
          test: { name: "onnx", setupFiles, include: [INFERS], exclude: [E2E], testTimeout: 60_000 },
        },
        { test: { name: "e2e", include: [E2E], testTimeout: 180_000, hookTimeout: 120_000, fileParallelism: false } },
        { test: { name: "node", include: ["test/**/*.test.ts"], exclude: [WORKER, INFERS, E2E], testTimeout: 30_000 } },
      ],
    },
  };
});
