/**
 * Gives items that are newer than a model (or were written again) their codes and vectors, by the model's own text and
 * tokenizer graphs. Rows of the artefact keep what training gave them. Running it twice, or twice at once, changes nothing.
 */
import "../inference/worker-runtime.ts";
import { itemText } from "../domain/artefact/item-text.ts";
import { describeError, log } from "../http/log.ts";
import { ModelCache, type Weighed } from "../inference/budget.ts";
import { codedItems, loadTextCoder, type TextCoder } from "../inference/text-coder.ts";
import { artefactSource } from "../store/artefacts.ts";
import { hydrate } from "../store/items.ts";
import {
  codingCursor,
  type ItemCursor,
  modelsToCode,
  readRows,
  type RegisteredModel,
  saveItemCodes,
  writtenSince,
} from "../store/models.ts";

/** Text sides of models, apart from what serves: coding runs beside requests and must not push their models out. */
const BUDGET_BYTES = 24 * 1024 * 1024;
/** Items looked at in a step: most of them are rows of the artefact after an import, and cost one look each. */
const PAGE = 2000;
/** Items whose texts are coded between two writes. */
const CHUNK = 96;

export interface CodingResult {
  readonly coded: number;
  /** Items that are known to be left; 0 when all are coded. */
  readonly pending: number;
}

/** A model's text side and which item numbers are rows of its artefact. */
class Coder implements Weighed {
  readonly text: TextCoder;
  readonly #trained: Uint8Array; // a bit a number

  constructor(text: TextCoder, rows: Uint32Array) {
    this.text = text;
    let last = 0;
    for (const number of rows) last = Math.max(last, number);
    this.#trained = new Uint8Array((last >>> 3) + 1);
    for (const number of rows) this.#trained[number >>> 3]! |= 1 << (number & 7);
  }

  isTrained(number: number): boolean {
    return ((this.#trained[number >>> 3] ?? 0) & (1 << (number & 7))) !== 0;
  }

  get bytes(): number {
    return this.text.bytes + this.#trained.byteLength;
  }

  dispose(): Promise<void> {
    return this.text.dispose();
  }
}

const coders = new ModelCache<Coder>(BUDGET_BYTES); // may vanish with the isolate

async function loadCoder(env: Env, model: RegisteredModel): Promise<Coder> {
  const rows = await readRows(env, model);
  return new Coder(await loadTextCoder(artefactSource(env, model.app, model.manifest)), rows);
}

/** Codes and saves the live items among `numbers`; gives how many. */
async function codeNumbers(
  env: Env,
  model: RegisteredModel,
  coder: Coder,
  numbers: readonly number[],
  upTo: ItemCursor,
): Promise<number> {
  const found = (await hydrate(env.DB, model.app, numbers)).filter((item) => !item.deleted);
  const encoded = await coder.text.encode(found.map(itemText));
  const items = codedItems(
    encoded,
    found.map((item) => item.number),
    model.manifest,
  );
  const saved = items.map((item, row) => ({ ...item, revision: found[row]!.revision }));
  await saveItemCodes(env.DB, model.app, model.model, saved, upTo);
  return saved.length;
}

/** Codes at most `limit` items of one model, whatever its status, in the order of their writing. */
export async function codeItemsOf(env: Env, model: RegisteredModel, limit: number): Promise<CodingResult> {
  const key = `${model.app}/${model.model}/${model.rowsKey}`;
  const { app } = model;
  let coded = 0;
  let cursor = await codingCursor(env.DB, app, model.model);
  let page = await writtenSince(env.DB, app, cursor, PAGE);
  if (page.length === 0) return { coded, pending: 0 };
  const lease = await coders.acquire(key, () => loadCoder(env, model));
  try {
    const coder = lease.value;
    for (; page.length > 0; page = await writtenSince(env.DB, app, cursor, PAGE)) {
      const wanting = page.filter((item) => item.deleted === 0 && !coder.isTrained(item.number));
      const now = wanting.slice(0, limit - coded);
      for (let from = 0; from < now.length; from += CHUNK) {
        const chunk = now.slice(from, from + CHUNK);
        cursor = chunk.at(-1)!;
        coded += await codeNumbers(
          env,
          model,
          coder,
          chunk.map((item) => item.number),
          cursor,
        );
      }
      if (now.length < wanting.length) return { coded, pending: wanting.length - now.length };
      cursor = page.at(-1)!;
      await saveItemCodes(env.DB, app, model.model, [], cursor);
      if (page.length < PAGE) break;
    }
    return { coded, pending: 0 };
  } finally {
    lease.release();
  }
}

/**
 * Codes at most `limit` items for each model that serves or may serve next. Called after a write of few items before it is
 * answered, from the queue for many, and by the cron for whatever was missed.
 *
 * @throws ArtefactError when a file of the serving model is damaged; what the runtime and the stores throw for it.
 */
export async function codeItems(env: Env, app: number, options: { readonly limit: number }): Promise<CodingResult> {
  if (!(options.limit >= 1)) throw new RangeError(`limit must be at least 1, got ${options.limit}`);
  let coded = 0;
  let pending = 0;
  for (const model of await modelsToCode(env, app)) {
    try {
      const result = await codeItemsOf(env, model, options.limit);
      coded += result.coded;
      pending += result.pending;
    } catch (error) {
      if (model.status === "serving") throw error;
      // it may never serve: its promotion names the fault, and the model that serves must not wait for it
      log("warn", "coding_failed", { job: "code-items", app, model: model.modelVersion, error: describeError(error) });
    }
  }
  return { coded, pending };
}
