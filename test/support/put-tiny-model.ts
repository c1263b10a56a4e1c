/** Brings a tiny artefact into an app the way a trainer would: items first, then files and the manifest over HTTP. */
import { env } from "cloudflare:workers";
import type { Manifest } from "../../functions/domain/artefact/manifest.ts";
import { putItems } from "../../functions/store/items.ts";
import { findAppById } from "../../functions/store/apps.ts";
import { call, makeApp, type TestApp } from "../http/caller.ts";
import { item } from "../store/new-app.ts";
import { type TinyName, tinyArtefact } from "./tiny-artefact.ts";

export interface ModelApp extends TestApp {
  readonly app: number;
}

/** An app with the first `items` of the artefact's 40 items, `item-0` and so on, and their numbers from 1. */
export async function appWithItems(items = 40): Promise<ModelApp> {
  const made = await makeApp();
  const { app } = (await findAppById(env, made.id))!;
  const rows = Array.from({ length: items }, (_, row) => item(`item-${row}`));
  await putItems(env, app, rows, Date.now());
  return { ...made, app };
}

export async function putFiles(app: TestApp, id: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const [path, body] of files) {
    const response = await call(`/v1/models/${id}/files/${path}`, { method: "PUT", key: app.secret, body });
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    await response.body?.cancel();
  }
}

export async function register(app: TestApp, id: string, manifest: Manifest): Promise<Response> {
  return call("/v1/models", { key: app.secret, body: { id, manifest } });
}

/** A registered model. */
export async function registerTiny(app: TestApp, id: string, name: TinyName = "two-levels"): Promise<Manifest> {
  const { manifest, files } = tinyArtefact(name);
  await putFiles(app, id, files);
  const response = await register(app, id, manifest);
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
  return manifest;
}
