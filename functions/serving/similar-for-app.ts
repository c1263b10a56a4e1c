/** Items near to given items by the promoted model's item vectors; without a model, what the counters say. */
import { unknownFields } from "../domain/catalogue/predicate.ts";
import { appTokenKey } from "../store/subjects.ts";
import { numbersOf } from "../store/item-numbers.ts";
import { openView } from "./app-view.ts";
import {
  checkFilter,
  strictness,
  portsOf,
  recommendForApp,
  signList,
  type Ignored,
  type ListQuery,
  type ListResult,
} from "./recommend-for-app.ts";
import type { Shown } from "../domain/recommendation/recommend.ts";
import type { HydratedItem } from "../store/items.ts";

export interface SimilarQuery extends Pick<
  ListQuery,
  "app" | "userId" | "requestId" | "count" | "filter" | "exclude" | "consistency" | "now" | "look"
> {
  readonly itemIds: readonly string[];
}

/** Neighbours beyond `count`, for those that fall at the last gate. */
const SPARE = 8;

/** The given items themselves never come back. */
export async function similarForApp(env: Env, query: SimilarQuery): Promise<ListResult> {
  const { app, now, itemIds, count, exclude = [] } = query;
  if (query.filter !== undefined) checkFilter(query.filter);
  const [view, numbers, key] = await Promise.all([
    openView(env, app, {
      strict: strictness(query.consistency),
      now,
      userId: query.userId,
      look: query.look,
      withModel: true,
    }),
    numbersOf(env, app, [...itemIds, ...exclude]),
    appTokenKey(env, app),
  ]);
  try {
    const ignored: Ignored[] = [];
    const known = (ids: readonly string[], name: string): number[] =>
      ids.flatMap((id, at) => {
        const number = numbers.get(id);
        if (number === undefined) ignored.push({ pointer: `/${name}/${at}`, code: "unknown_item" });
        return number ?? [];
      });
    const given = known(itemIds, "itemIds");
    const excluded = new Set([...given, ...known(exclude, "exclude")]);
    const { model } = view;
    const seeds =
      model === null ? [] : given.map((number) => model.order.placeOf(number)).filter((place) => place >= 0);
    if (model === null || seeds.length === 0) {
      const rest = await recommendForApp(env, {
        ...query,
        exclude: [...exclude, ...itemIds],
        exploration: 0,
      });
      const degradedReason = model === null ? view.modelAbsence : "unknown_to_model";
      const ofFilter = rest.ignored.filter(({ pointer }) => pointer.startsWith("/filter"));
      return { ...rest, list: { ...rest.list, degradedReason }, ignored: [...ignored, ...ofFilter], nextCursor: null };
    }
    if (query.filter !== undefined) {
      for (const field of unknownFields(view.columns, query.filter))
        ignored.push({ pointer: `/filter#${field}`, code: "unknown_field" });
    }
    const found = model.similar.nearest(seeds, model.legalPlaces(view.columns, query.filter, excluded), count + SPARE);
    const candidates = Array.from(found.places, (place) => model.order.numbers[place]!);
    const seen = { ids: new Map<number, string>(), isWhole: true };
    const rows = await portsOf(env, view, query, seen).hydrate([...candidates, ...given]);
    const first = given.map((number) => rows.get(number)).find((item) => item !== undefined && item.title !== "");
    const shown: Shown<HydratedItem>[] = [];
    for (const [at, number] of candidates.entries()) {
      const item = rows.get(number);
      if (item === undefined || !item.available || item.hidden || item.deleted || shown.length === count) continue;
      const score = found.cosine[at]!;
      const text = given.length === 1 && first !== undefined ? `Similar to ${first.title}` : "Similar to these";
      const reasons = [{ code: "similar_to", item: given.length === 1 ? given[0]! : null, contribution: score, text }];
      shown.push({ item, score, logProbability: null, propensity: 1, w: 1, slot: "ranked", reasons });
    }
    const degradedReason = seen.isWhole ? null : "catalogue_unavailable";
    const list = { source: "model" as const, degradedReason, scoring: null, shown, hasMore: false };
    const recommendationId = await signList(list, { app, subject: "", model: model.model, now }, key);
    const { modelVersion } = model;
    return { list, recommendationId, nextCursor: null, modelVersion, engine: null, ids: seen.ids, ignored };
  } finally {
    view.release();
  }
}
