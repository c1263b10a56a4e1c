/**
 * Lists by a tiny model while an isolate's code is evaluated, which Workers may do during the TLS handshake. What a first request would
 * wait for has then happened: functions and kernels are compiled and have seen their types, and the collector has moved what start-up
 * left behind. Nothing is read or written, nothing is kept. REHEARSAL = "off" switches it off.
 *
 * The artefact beside this file is that of the trainer's `tiny` configuration, without its text side (`npm run rehearsal`).
 */
import { Manifest } from "../domain/artefact/manifest.ts";
import { CatalogueColumns } from "../domain/catalogue/columns.ts";
import { decodeSnapshot, encodeSnapshot } from "../domain/catalogue/snapshot.ts";
import { mergeHistory } from "../domain/history/merge.ts";
import { recommend, type RecommendationList } from "../domain/recommendation/recommend.ts";
import { describeError, log } from "../http/log.ts";
import { loadModel } from "../inference/load-model.ts";
import { RecommendationRequest } from "../routes/recommendation-schemas.ts";
import { AppModel } from "../serving/served-model.ts";
import codes from "./codes.bin";
import encoder from "./encoder.onnx";
import manifestFile from "./manifest.json" with { type: "json" };
import scales from "./scales.bin";
import step from "./step2.onnx";
import vectors from "./vectors.bin";
import type { HistoryEvent } from "../domain/history/events.ts";
import type { HydratedItem } from "../store/items.ts";

/** After one list everything is compiled somehow, after five the loops over vectors are compiled well. */
const LISTS = 5;

const FILES: Readonly<Record<string, ArrayBuffer>> = {
  "codes.bin": codes,
  "encoder.onnx": encoder,
  "scales.bin": scales,
  "step2.onnx": step,
  "vectors.bin": vectors,
};

/** Rehearses where it is switched on. What fails is logged and harms nobody. */
export async function rehearseAtStart(env: Pick<Env, "REHEARSAL">): Promise<void> {
  if (env.REHEARSAL === "off") return;
  try {
    for (let turn = 0; turn < LISTS; turn += 1) await rehearse();
  } catch (error) {
    log("warn", "rehearsal_failed", { error: describeError(error) });
  }
}

function itemOf(number: number): HydratedItem {
  return {
    number,
    id: `item ${number}`,
    title: `Item ${number}`,
    text: "",
    creator: `creator ${number % 7}`,
    origin: "unknown",
    createdAt: 0,
    priceMinor: 100,
    currency: "EUR",
    attributes: { kind: `kind ${number % 5}` },
    available: true,
    hidden: false,
    deleted: false,
    revision: number,
    updatedAt: 0,
  };
}

/** Loads the tiny model and a made-up catalogue as a request does, and makes one list of 20. */
export async function rehearse(): Promise<RecommendationList<HydratedItem>> {
  const { count } = RecommendationRequest.parse({ userId: "u", count: 20, fields: ["title"] });
  const manifest = Manifest.parse(manifestFile);
  const numbers = Uint32Array.from({ length: manifest.items.count }, (_, row) => row + 1);
  const items = new Map(Array.from(numbers, (number) => [number, itemOf(number)]));
  const written = new CatalogueColumns();
  written.apply([...items.values()]);
  const columns = decodeSnapshot(encodeSnapshot(written));

  const source = { manifest, isIntact: () => true, read: async (path: string) => FILES[path]! };
  const registered = {
    app: 0,
    model: 0,
    id: "rehearsal",
    rowsKey: "",
    status: "registered",
    servingVersion: 0,
  } as const;
  const loaded = await loadModel(source, numbers, [], { engine: "typed" });
  const model = new AppModel(loaded, { ...registered, manifest, modelVersion: manifest.modelVersion }, 0);
  const events = Array.from({ length: manifest.historyLength }, (_, at): HistoryEvent => {
    const item = 1 + ((at * 19) % numbers.length);
    return { eventId: `event ${at}`, item, itemId: null, type: "view", occurredAt: at, value: null };
  });
  try {
    return await recommend(
      {
        model,
        modelAbsence: null,
        legalPlaces: (excluded) => model.legalPlaces(columns, undefined, excluded),
        isLegal: (number) => columns.isShowable(number),
        newest: () => [],
        uncoded: () => model.uncoded(columns),
        popularity: () => Promise.reject(new Error("the model fills the list")),
        hydrate: async (wanted) => new Map(wanted.map((number) => [number, items.get(number)!])),
        now: 0,
      },
      {
        history: mergeHistory(events, []),
        acted: [],
        count,
        exclude: new Set(),
        repeat: { policy: "exclude" },
        pins: [],
        exploration: 0,
        seed: "rehearsal",
      },
    );
  } finally {
    await model.dispose();
  }
}
