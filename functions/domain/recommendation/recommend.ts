/**
 * One list of recommendations, from a history to shown items: what may be shown, what the model writes, what the last gate
 * lets through, in which order it is drawn, and why. Pure: everything that reads or waits comes in as a port.
 */
import { explore } from "../generation/exploration.ts";
import { nearestHistory } from "../generation/explain.ts";
import { generate } from "../generation/generate.ts";
import { mergeEngagements } from "../history/engagements.ts";
import { isPositive } from "../history/events.ts";
import { fallbackList } from "./fallback.ts";
import { excludedByHistory } from "./repeat.ts";
import type { GenerativeModel, LegalPlaces } from "../generation/types.ts";
import type { ActedItem, HistoryEvent, Slot } from "../history/events.ts";
import type { Weighted } from "./fallback.ts";
import type { RepeatRule } from "./repeat.ts";

/** Candidates from which an exploring request draws (formats: at most 50, unless more are asked for). */
export const EXPLORED_CANDIDATES = 50;
/** Candidates beyond `count`, so that one that falls at the last gate is replaced without a second decoding. */
const SPARE_CANDIDATES = 8;
/** Decodings of one request: the last gate can only drop what the catalogue's copy did not know yet. */
const MAX_ROUNDS = 3;

/** What a shown item needs to be; the store's row has more. */
export interface ShowableItem {
  readonly number: number;
  readonly title: string;
  readonly available: boolean;
  readonly hidden: boolean;
  readonly deleted: boolean;
}

/** A model as it is served to one app. */
export interface ServedModel extends GenerativeModel {
  readonly modelVersion: string;
  /** Share of events whose item the user had met before: decides whether items may come back by default. */
  readonly repeatShare: number;
}

export interface RecommendPorts<Item extends ShowableItem> {
  readonly model: ServedModel | null;
  /** Why there is no model, for `degradedReason`. */
  readonly modelAbsence: string | null;
  /** Showable places of `model` that satisfy the request's filter and whose numbers are not excluded. */
  legalPlaces(excluded: ReadonlySet<number>): LegalPlaces;
  /** The same rule for one item number. */
  isLegal(number: number): boolean;
  /** All item numbers, newest first. */
  newest(): Iterable<number>;
  /** Showable items that `model` has no codes for yet, newest first: all it can't write. */
  uncoded(): Iterable<number>;
  popularity(): Promise<{ readonly popular: Weighted; readonly trending: Weighted }>;
  /** Rows of the last gate; unknown numbers are absent. */
  hydrate(numbers: readonly number[]): Promise<ReadonlyMap<number, Item>>;
  readonly now: number;
}

export interface RecommendRequest {
  readonly history: readonly HistoryEvent[];
  /** What the user did, further back than `history`: decides what may come back. */
  readonly acted: readonly ActedItem[];
  readonly count: number;
  /** Item numbers that may not be shown: the request's own, and those of earlier pages. */
  readonly exclude: ReadonlySet<number>;
  readonly repeat: RepeatRule | undefined;
  readonly pins: readonly { readonly number: number; readonly position: number }[];
  readonly exploration: number;
  /** Seeds exploration: the same seed draws the same list. */
  readonly seed: string;
}

export interface Reason {
  readonly code: string;
  /** Item number the reason points to, or null. */
  readonly item: number | null;
  readonly contribution: number | null;
  readonly text: string;
}

export interface Shown<Item> {
  readonly item: Item;
  readonly score: number;
  readonly logProbability: number | null;
  readonly propensity: number;
  /** First-draw weight in (0, 1]; 1 where the order was not drawn. */
  readonly w: number;
  readonly slot: Slot;
  readonly reasons: readonly Reason[];
}

export interface RecommendationList<Item> {
  readonly source: "model" | "trending" | "default";
  readonly degradedReason: string | null;
  readonly scoring: "beam" | "exact" | null;
  readonly shown: readonly Shown<Item>[];
  /** Whether further legal items exist beyond this list. */
  readonly hasMore: boolean;
}

interface Candidate<Item> {
  readonly item: Item;
  readonly score: number;
  readonly logProbability: number | null;
  readonly reason: Reason;
}

/** A map and no object: types are the caller's words, `constructor` among them. */
const VERBS: ReadonlyMap<string, string> = new Map([
  ["view", "viewed"],
  ["click", "looked at"],
  ["like", "liked"],
  ["save", "saved"],
  ["purchase", "bought"],
  ["cook", "cooked"],
  ["rating", "rated"],
  ["review", "reviewed"],
]);

/** Items come back by default where a data set's users do repeat themselves (formats: over .05 of events). */
const REPEATS_FROM_SHARE = 0.05;

/** Makes the list. Always full while legal items exist, whatever happens to the model. */
export async function recommend<Item extends ShowableItem>(
  ports: RecommendPorts<Item>,
  request: RecommendRequest,
): Promise<RecommendationList<Item>> {
  const rule: RepeatRule = request.repeat ?? {
    policy: ports.model !== null && ports.model.repeatShare > REPEATS_FROM_SHARE ? "allow" : "exclude",
  };
  const excluded = excludedByHistory([...request.acted, ...request.history], rule, isPositive, ports.now);
  for (const number of request.exclude) excluded.add(number);

  const pinned = await pinnedItems(ports, request, excluded);
  for (const pin of pinned) excluded.add(pin.item.number);

  const input = ports.model === null ? [] : modelInput(ports.model, request.history);
  const wanted = request.count - pinned.length;
  const generated =
    ports.model === null || input.length === 0 || wanted <= 0
      ? null
      : await decoded(ports, ports.model, input, { ...request, count: wanted }, excluded);
  const candidates = generated?.candidates ?? [];
  const modelShare = candidates.length;
  let source: RecommendationList<Item>["source"] = "model";
  let hasMore = candidates.length > wanted || (generated?.hasMore ?? false);
  if (candidates.length < wanted) {
    // after a model only items without codes can be missing, and those are few: nothing is scanned
    const rest = await fallback(ports, generated === null ? ports.newest() : ports.uncoded(), {
      count: wanted - candidates.length,
      excluded,
      taken: candidates,
    });
    candidates.push(...rest.candidates);
    hasMore = rest.hasMore;
    if (modelShare === 0) source = rest.source;
  }
  const drawn = draw(candidates, modelShare, { ...request, count: wanted }, ports.model?.scoring.temperature ?? 1);
  const shown = withPins(drawn, pinned, request.count);
  return {
    source,
    degradedReason:
      source === "model" ? null : (ports.modelAbsence ?? (input.length === 0 ? "no_history" : "no_candidates")),
    scoring: source === "model" ? (generated?.scoring ?? null) : null,
    shown,
    hasMore,
  };
}

/** An event that the model reads, with the place of its item. */
interface InputEvent {
  readonly event: HistoryEvent;
  readonly place: number;
}

/** The newest engagements with items that the model has codes for, oldest first, at most `historyLength`. */
function modelInput(model: ServedModel, history: readonly HistoryEvent[]): InputEvent[] {
  const input: InputEvent[] = [];
  for (const event of mergeEngagements(history).reverse()) {
    if (input.length === model.historyLength) break;
    const place = event.item === null ? -1 : model.order.placeOf(event.item);
    if (place >= 0) input.push({ event, place });
  }
  return input.reverse();
}

async function decoded<Item extends ShowableItem>(
  ports: RecommendPorts<Item>,
  model: ServedModel,
  input: readonly InputEvent[],
  request: RecommendRequest,
  excluded: Set<number>,
): Promise<{ candidates: Candidate<Item>[]; scoring: "beam" | "exact"; hasMore: boolean }> {
  const { dim } = model.vectors;
  const vectors = new Float32Array(input.length * dim);
  for (const [at, { place }] of input.entries()) model.vectors.read(place, vectors, at * dim);
  const pool =
    request.exploration > 0 ? Math.max(EXPLORED_CANDIDATES, request.count) : request.count + SPARE_CANDIDATES;

  for (let round = 1; ; round += 1) {
    const legal = ports.legalPlaces(excluded);
    const found = await generate(model, { vectors, length: input.length }, legal, { count: pool });
    const nearest = nearestHistory(model.vectors, found.places, vectors, input.length);
    const numbers = Array.from(found.places, (place) => model.order.numbers[place]!);
    const sources = Array.from(nearest.index, (index) => input[index]?.event);
    const rows = await ports.hydrate([...new Set([...numbers, ...sources.flatMap((event) => event?.item ?? [])])]);
    const candidates: Candidate<Item>[] = [];
    let dropped = 0;
    for (const [at, number] of numbers.entries()) {
      const item = rows.get(number);
      if (!isShowable(item)) {
        dropped += 1;
        excluded.add(number); // it stays away in the next round and in the fallback
        continue;
      }
      const { logProbability, score } = found;
      const reason = becauseOf(number, sources[at], rows, nearest.contribution[at]!);
      candidates.push({ item, score: score[at]!, logProbability: logProbability[at]!, reason });
    }
    const hasEnough = candidates.length >= Math.min(request.count, legal.total - dropped);
    if (hasEnough || round === MAX_ROUNDS) return { candidates, scoring: found.scoring, hasMore: legal.total > pool };
  }
}

function isShowable<Item extends ShowableItem>(item: Item | undefined): item is Item {
  return item !== undefined && item.available && !item.hidden && !item.deleted;
}

function becauseOf<Item extends ShowableItem>(
  number: number,
  event: HistoryEvent | undefined,
  rows: ReadonlyMap<number, Item>,
  contribution: number,
): Reason {
  const title = event?.item == null ? undefined : rows.get(event.item)?.title;
  if (event === undefined || title === undefined || title === "") {
    return {
      code: "because_of_history",
      item: event?.item ?? null,
      contribution,
      text: "Because of what you did lately",
    };
  }
  const verb = VERBS.get(event.type);
  if (event.item === number) {
    return { code: "again", item: number, contribution, text: `You ${verb ?? "met"} this before` };
  }
  const text = verb === undefined ? `Because of ${title}` : `Because you ${verb} ${title}`;
  return {
    code: verb === undefined ? "because_of_history" : `because_you_${verb.replaceAll(" ", "_")}`,
    item: event.item,
    contribution,
    text,
  };
}

async function fallback<Item extends ShowableItem>(
  ports: RecommendPorts<Item>,
  newest: Iterable<number>,
  options: {
    readonly count: number;
    readonly excluded: ReadonlySet<number>;
    readonly taken: readonly Candidate<Item>[];
  },
): Promise<{ candidates: Candidate<Item>[]; source: "trending" | "default"; hasMore: boolean }> {
  const { count, excluded, taken } = options;
  const out = new Set(excluded);
  for (const { item } of taken) out.add(item.number);
  const { popular, trending } = await ports.popularity();
  const candidates: Candidate<Item>[] = [];
  let source: "trending" | "default" = "default";
  let hasMore = false;
  for (let round = 1; round <= MAX_ROUNDS && candidates.length < count; round += 1) {
    const list = fallbackList({
      trending,
      popular,
      newest,
      isLegal: (number) => !out.has(number) && ports.isLegal(number),
      count: count - candidates.length + SPARE_CANDIDATES,
    });
    if (round === 1) source = list.source;
    if (list.numbers.length === 0) break;
    const rows = await ports.hydrate(list.numbers);
    for (const [at, number] of list.numbers.entries()) {
      out.add(number);
      const item = rows.get(number);
      if (!isShowable(item)) continue;
      if (candidates.length === count) {
        hasMore = true;
        break;
      }
      const score = list.scores[at]!;
      candidates.push({ item, score, logProbability: null, reason: crowdReason(score) });
    }
  }
  return { candidates, source, hasMore };
}

/** Scores of the fallback say which list an item came from: above 1 trending, above 0 popular, 0 newest. */
function crowdReason(score: number): Reason {
  if (score > 1) return { code: "trending", item: null, contribution: null, text: "Trending now" };
  if (score > 0) return { code: "popular", item: null, contribution: null, text: "Popular here" };
  return { code: "new", item: null, contribution: null, text: "New here" };
}

/** Order and propensities: drawn among the model's candidates when exploring, otherwise as ranked (propensity 1). */
function draw<Item extends ShowableItem>(
  candidates: readonly Candidate<Item>[],
  modelShare: number,
  request: RecommendRequest,
  temperature: number,
): Shown<Item>[] {
  const shown: Shown<Item>[] = [];
  const { count } = request;
  if (request.exploration > 0 && modelShare > 0) {
    const scores = Float64Array.from(candidates.slice(0, modelShare), ({ score }) => score);
    const { exploration, seed } = request;
    const drawn = explore(scores, { exploration, temperature, count: Math.min(count, modelShare), seed });
    for (const [position, index] of drawn.order.entries()) {
      const slot = index < count ? "ranked" : "explored";
      shown.push(shownAs(candidates[index]!, slot, drawn.w[position]!, drawn.propensity[position]!));
    }
  } else {
    for (const candidate of candidates.slice(0, Math.min(modelShare, count)))
      shown.push(shownAs(candidate, "ranked", 1, 1));
  }
  for (const candidate of candidates.slice(modelShare)) {
    if (shown.length < count) shown.push(shownAs(candidate, "ranked", 1, 1));
  }
  return shown;
}

function shownAs<Item>(candidate: Candidate<Item>, slot: Slot, w: number, propensity: number): Shown<Item> {
  const { item, score, logProbability, reason } = candidate;
  return { item, score, logProbability, propensity, w, slot, reasons: [reason] };
}

interface PinnedItem<Item> {
  readonly item: Item;
  readonly position: number;
}

/** Pinned items that may be shown; a pin never overrides a filter, an exclusion or the last gate. */
async function pinnedItems<Item extends ShowableItem>(
  ports: RecommendPorts<Item>,
  request: RecommendRequest,
  excluded: ReadonlySet<number>,
): Promise<PinnedItem<Item>[]> {
  const pins = request.pins.filter(({ number, position }) => {
    return position < request.count && !excluded.has(number) && ports.isLegal(number);
  });
  if (pins.length === 0) return [];
  const rows = await ports.hydrate(pins.map((pin) => pin.number));
  const first = new Map<number, PinnedItem<Item>>();
  for (const { number, position } of pins) {
    const item = rows.get(number);
    if (isShowable(item) && !first.has(number)) first.set(number, { item, position });
  }
  return [...first.values()].sort((a, b) => a.position - b.position).slice(0, request.count);
}

/** Puts pins at their positions; what was ranked keeps its order around them. */
function withPins<Item extends ShowableItem>(
  ranked: readonly Shown<Item>[],
  pins: readonly PinnedItem<Item>[],
  count: number,
): Shown<Item>[] {
  const list = [...ranked];
  for (const { item, position } of pins) {
    const reason: Reason = { code: "pinned", item: null, contribution: null, text: "Picked for this place" };
    const pin: Shown<Item> = {
      item,
      score: 0,
      logProbability: null,
      propensity: 1,
      w: 1,
      slot: "pinned",
      reasons: [reason],
    };
    list.splice(Math.min(position, list.length), 0, pin);
  }
  return list.slice(0, count);
}
