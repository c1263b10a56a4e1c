/**
 * One app as this isolate sees it: catalogue columns, the promoted model, and how fresh both are. Bounded requests take what is
 * there and let it be renewed in the background, at most once a second; strict ones wait for the primary database. All of it may
 * vanish with the isolate, and a later request builds it again from R2 and D1.
 */
import { waitUntil } from "cloudflare:workers";
import { describeError, log } from "../http/log.ts";
import { ProblemError } from "../http/problem.ts";
import { MODEL_BUDGET_BYTES } from "../domain/artefact/memory.ts";
import { ModelCache, type Lease } from "../inference/budget.ts";
import { findApp, type AppRow } from "../store/apps.ts";
import { isInCanary } from "../domain/experiments/canary.ts";
import { canaryModel, type FirstLook, firstLook, type ModelAtOnce, servingModel } from "../store/models.ts";
import { readCatalogue, refreshCatalogue } from "../store/snapshots.ts";
import { forgetRows } from "./hydration.ts";
import { loadAppModel, type AppModel } from "./served-model.ts";
import type { CatalogueColumns } from "../domain/catalogue/columns.ts";

/** How old a view may be before a bounded request has it renewed: with one look a second a takedown is seen within two. */
const RENEW_MS = 1000;
/** After a model failed to load, requests fall back for this long before the next attempt. */
const RETRY_MODEL_MS = 5000;
/** Where the runtime alone may answer: a request with less time than this does not wait for its start, which blocks the isolate. */
const RUNTIME_START_MS = 1500;
/** After an answer is made, before what holds the thread begins: until then it is on its way. */
const ANSWER_FIRST_MS = 20;
/** While requests are under way the runtime's start is put off so many times, 20 ms each, and no longer. */
const MAX_DELAYS = 50;
/** Catalogues of apps that were used last. */
const MAX_VIEWS = 32;

let openViews = 0; // requests that are being answered
let isRuntimeStarting = false; // one start at a time, on the only thread

const models = new ModelCache<AppModel>(MODEL_BUDGET_BYTES, (error) => {
  log("warn", "model_release_failed", { error: describeError(error) });
});

/** What a request works with. `release` it once, when the answer is made. */
export interface OpenView {
  readonly row: AppRow;
  readonly columns: CatalogueColumns;
  /** Whether rows are read from the primary database too. */
  readonly isStrict: boolean;
  readonly model: AppModel | null;
  /** Why there is no model. */
  readonly modelAbsence: string | null;
  release(): void;
}

export interface OpenOptions {
  /** Wait for the primary database, and see every write before this request. Undefined: as the app is set. */
  readonly strict: boolean | undefined;
  readonly now: number;
  /** Whose list it is: decides whether a model on trial makes it. Undefined: nobody's. */
  readonly userId?: string | undefined;
  /** False: the request has no time left for a model. */
  readonly withModel: boolean;
  /** What was read of the app for this very request, where it was. */
  readonly look?: FirstLook | undefined;
  /** Time that the request has; undefined: as long as it takes. */
  readonly patienceMs?: number | undefined;
}

/** How an isolate that knows nothing of the app yet begins. */
type ColdStart = Pick<OpenOptions, "withModel" | "look">;

class AppView {
  readonly #app: number;
  #row: AppRow | undefined;
  #columns: CatalogueColumns | undefined;
  /** Key of the model that answers; stays the old one until its successor is loaded. */
  #modelKey: string | undefined;
  /** Key of the model on trial. */
  #canaryKey: string | undefined;
  /** When a model last failed to load, by its key. */
  readonly #failedAt = new Map<string, number>();
  #renewedAt = Number.NEGATIVE_INFINITY;
  #renewing: Promise<void> | undefined;

  constructor(app: number) {
    this.#app = app;
  }

  async open(env: Env, options: OpenOptions): Promise<OpenView> {
    openViews += 1;
    try {
      return await this.#open(env, options);
    } catch (error) {
      openViews -= 1;
      throw error;
    }
  }

  async #open(env: Env, options: OpenOptions): Promise<OpenView> {
    const { now } = options;
    if (options.strict ?? this.#row?.consistency === "strict") {
      // one that is under way may have read before the write that this request must see
      await this.#renewing?.catch(() => undefined);
      await this.#renew(env, now);
    } else if (this.#columns === undefined) {
      await (this.#renewing ?? this.#renew(env, now, { withModel: canLoad(env, options), look: options.look }));
    } else if (now - this.#renewedAt >= RENEW_MS && this.#renewing === undefined) {
      waitUntil(
        this.#renew(env, now).catch((error: unknown) => {
          log("warn", "renewal_failed", { app: this.#app, error: describeError(error) });
        }),
      );
    }
    const { lease, absence } = await this.#lease(env, options);
    return {
      row: this.#row!,
      columns: this.#columns!,
      isStrict: options.strict ?? this.#row!.consistency === "strict",
      model: lease?.value ?? null,
      modelAbsence: absence,
      release: () => {
        openViews -= 1;
        if (lease !== undefined) this.#giveBack(lease);
      },
    };
  }

  /** Ends a request's use of a model; where the typed engine made the answer, ONNX Runtime starts behind it. */
  #giveBack(lease: Lease<AppModel>): void {
    if (!lease.value.wantsRuntime || isRuntimeStarting) return lease.release();
    isRuntimeStarting = true;
    waitUntil(this.#startRuntime(lease));
  }

  async #startRuntime(lease: Lease<AppModel>): Promise<void> {
    try {
      for (let delays = 0; delays === 0 || (isBusy() && delays < MAX_DELAYS); delays += 1) await answersFirst();
      await lease.value.startRuntime();
    } catch (error) {
      const { modelVersion: model } = lease.value;
      log("warn", "runtime_not_started", { app: this.#app, model, error: describeError(error) });
    } finally {
      isRuntimeStarting = false;
      lease.release();
    }
  }

  /** With options a model that is not in memory is loaded beside the catalogue, for the request that waits. */
  #renew(env: Env, now: number, cold?: ColdStart): Promise<void> {
    this.#renewing ??= this.#renewOnce(env, now, cold).finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renewOnce(env: Env, now: number, cold: ColdStart = { withModel: false }): Promise<void> {
    const { row, model } = cold.withModel
      ? (cold.look ?? (await firstLook(env, this.#app)))
      : { row: await findApp(env, this.#app), model: undefined };
    if (row === undefined) throw new ProblemError("not_found", "This app was deleted");
    if (model !== undefined && row.servingModel !== null) void this.#preload(env, row, now, model());
    const isSameNumbering = this.#row?.epoch === row.epoch;
    if (this.#columns === undefined || !isSameNumbering) this.#columns = await readCatalogue(env, this.#app, row);
    else if (row.revision > this.#columns.revision) {
      await refreshCatalogue(env.DB, this.#app, this.#columns, (rows) => forgetRows(this.#app, rows));
    }
    this.#row = row;
    await this.#renewModel(env, row, now);
    await this.#renewCanary(env, row);
    this.#renewedAt = now;
  }

  /** Loads what was promoted before it answers, and brings new codes into what is there. */
  async #renewModel(env: Env, row: AppRow, now: number): Promise<void> {
    if (row.servingModel === null) {
      this.#modelKey = undefined;
      return;
    }
    const key = this.#keyOf(row);
    if (key !== this.#modelKey) {
      if (this.#modelKey === undefined) {
        this.#modelKey = key; // the first request loads it, under its own time limit
        return;
      }
      const lease = await this.#load(env, key, now);
      if (lease === undefined) return; // the previous one keeps answering
      lease.release();
      models.drop(this.#modelKey);
      this.#modelKey = key;
    }
    await this.#renewCodes(env, key);
  }

  /** Forgets a trial that is over. What is on trial now is loaded when the first of its users comes. */
  async #renewCanary(env: Env, row: AppRow): Promise<void> {
    const key = row.canaryModel === null ? undefined : `${this.#app}/${row.canaryModel}/trial/${row.epoch}`;
    if (this.#canaryKey !== undefined && this.#canaryKey !== key) models.drop(this.#canaryKey);
    this.#canaryKey = key;
    if (key !== undefined) await this.#renewCodes(env, key);
  }

  /** Brings codes of newer items into a model that is in memory. */
  async #renewCodes(env: Env, key: string): Promise<void> {
    const lease = models.peek(key);
    if (lease === undefined) return; // not loaded, or pushed out by another app: loading reads all codes
    try {
      const next = await lease.value.withNewCodes(env);
      if (next !== undefined) models.replace(key, next);
    } finally {
      lease.release();
    }
  }

  #keyOf(row: AppRow): string {
    return `${this.#app}/${row.servingModel}/${row.servingVersion}/${row.epoch}`;
  }

  /** The model on trial, for a user who is to see it, once it is in memory: nobody waits for it. */
  #trialLease(env: Env, { now, userId }: OpenOptions): Lease<AppModel> | undefined {
    const [key, row] = [this.#canaryKey, this.#row!];
    if (key === undefined || row.canaryModel === null || userId === undefined) return undefined;
    if (!isInCanary(userId, row.canaryModel, row.canaryShare)) return undefined;
    const ready = models.peek(key);
    if (ready === undefined) waitUntil(this.#loadLater(env, key, now, canaryModel));
    return ready;
  }

  /** Begins to load the model that the request will ask for; what fails is told there. */
  async #preload(env: Env, row: AppRow, now: number, looked: Promise<ModelAtOnce | undefined>): Promise<void> {
    const known = await looked.catch(() => undefined);
    (await this.#load(env, this.#keyOf(row), now, known))?.release();
  }

  async #lease(
    env: Env,
    options: OpenOptions,
  ): Promise<{ lease: Lease<AppModel> | undefined; absence: string | null }> {
    const { now, withModel } = options;
    const key = this.#modelKey;
    if (key === undefined) return { lease: undefined, absence: "no_model" };
    if (!withModel) return { lease: undefined, absence: "timeout" };
    const onTrial = this.#trialLease(env, options);
    if (onTrial !== undefined) return { lease: onTrial, absence: null };
    const ready = models.peek(key);
    if (ready !== undefined) return { lease: ready, absence: null };
    if (!canLoad(env, options)) {
      waitUntil(this.#loadLater(env, key, now));
      return { lease: undefined, absence: "model_loading" };
    }
    const lease = await this.#load(env, key, now);
    return { lease, absence: lease === undefined ? "model_unavailable" : null };
  }

  /** Loads after the answer is on its way: creating sessions holds the thread for some hundred milliseconds. */
  async #loadLater(env: Env, key: string, now: number, find = servingModel): Promise<void> {
    await answersFirst();
    (await this.#load(env, key, now, undefined, find))?.release();
  }

  /** Undefined when the model can't be loaded; the next attempt then waits some seconds. `known`: what was read with the app's row. */
  async #load(
    env: Env,
    key: string,
    now: number,
    known?: ModelAtOnce,
    find = servingModel,
  ): Promise<Lease<AppModel> | undefined> {
    if (now - (this.#failedAt.get(key) ?? Number.NEGATIVE_INFINITY) < RETRY_MODEL_MS) return undefined;
    try {
      const loading = models.acquire(key, async () => {
        const registered = known?.registered ?? (await find(env, this.#app));
        if (registered === undefined) throw new Error("the model is not registered");
        return loadAppModel(env, registered, known?.codes);
      });
      // others may be waiting for this attempt when the request that began it goes away
      waitUntil(
        loading.then(
          () => undefined,
          () => undefined,
        ),
      );
      return await loading;
    } catch (error) {
      this.#failedAt.clear(); // one app has few models: older ones are over
      this.#failedAt.set(key, now);
      log("error", "model_load_failed", { app: this.#app, error: describeError(error) });
      return undefined;
    }
  }
}

const isBusy = () => openViews > 0;
const answersFirst = () => new Promise((resolve) => setTimeout(resolve, ANSWER_FIRST_MS));

/** Whether a request has the time to load a model that is not in memory. With the typed engine that takes milliseconds. */
function canLoad(env: Env, { withModel, patienceMs = Number.POSITIVE_INFINITY }: OpenOptions): boolean {
  return withModel && (env.INFERENCE_ENGINE !== "onnx" || patienceMs >= RUNTIME_START_MS);
}

const views = new Map<number, AppView>(); // least recently used first; may vanish with the isolate

/** The view of an app. @throws what the store throws when nothing is known of the app yet and the database can't be asked */
export async function openView(env: Env, app: number, options: OpenOptions): Promise<OpenView> {
  const view = views.get(app) ?? new AppView(app);
  views.delete(app);
  views.set(app, view);
  const oldest = views.keys().next();
  if (views.size > MAX_VIEWS && !oldest.done) views.delete(oldest.value);
  return view.open(env, options);
}
