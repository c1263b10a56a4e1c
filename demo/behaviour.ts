/** One user's 120 days: sessions with free choices, for panel members also with logged lists; views, saves, cooks and skips. */
import { afterView, outcome } from "./outcome.ts";
import { DAYS, DAY_SECONDS, weekday } from "./calendar.ts";
import { chooseNext, met, startWalk } from "./choices.ts";
import { drawSlate, platformSums } from "./exposures.ts";
import { campaignVisits } from "./shilling.ts";
import type { Walk } from "./choices.ts";
import type { Slate } from "./exposures.ts";
import type { Setting } from "./outcome.ts";
import type { User } from "./users.ts";

/**
 * view: the recipe was open for more than 7 s (a valid view; `value` is seconds). skip: it was opened and left within 7 s (`value` is
 * seconds; not positive). save, cook: always after a view of the same recipe, on the same evening.
 */
export interface Interaction {
  readonly item: number;
  readonly type: "view" | "save" | "cook" | "skip";
  /** Since the first midnight. */
  readonly seconds: number;
  readonly value: number | null;
  readonly session: number;
  readonly surface: string;
  /** Number of the user's list, or -1. */
  readonly list: number;
  readonly position: number;
  readonly propensity: number;
}

export interface ShownList extends Slate {
  readonly index: number;
  readonly seconds: number;
  readonly session: number;
  /** What the user had met before, newest first: the oracle's context for this list. */
  readonly recent: readonly number[];
}

export interface Life {
  readonly interactions: Interaction[];
  readonly lists: ShownList[];
}

const WEEK_RHYTHM = [0.86, 0.82, 0.86, 0.92, 1.12, 1.3, 1.2] as const;
const LISTS_A_SESSION = 2.55;

interface Session {
  readonly index: number;
  readonly day: number;
  clock: number;
  /** Cooked at the end of the session, in order. */
  readonly toCook: { item: number; list: number; position: number; propensity: number }[];
}

export function liveLife(seed: number, setting: Setting, user: User): Life {
  if (user.campaign >= 0) return { interactions: campaignVisits(seed, setting, user), lists: [] };
  const walk = startWalk(seed, setting, user);
  const life: Life = { interactions: [], lists: [] };
  const platform = user.isPanel ? platformSums(setting, walk) : null;
  let index = 0;
  for (let day = user.joinDay; day < DAYS; day += 1) {
    const chance = (user.sessions / DAYS) * WEEK_RHYTHM[weekday(day)]!;
    if (!walk.random.chance(Math.min(0.95, chance))) continue;
    const hour =
      user.morning || walk.random.chance(0.15) ? 7 + 4 * walk.random.next() : 16.5 + 4.5 * walk.random.next();
    const session: Session = { index, day, clock: Math.floor(day * DAY_SECONDS + hour * 3600), toCook: [] };
    index += 1;
    if (platform) browseLists(setting, walk, life, session, platform);
    else browseFreely(setting, walk, life, session);
    cook(setting, walk, life, session);
  }
  return life;
}

function browseFreely(setting: Setting, walk: Walk, life: Life, session: Session): void {
  for (let step = 0; step < 12; step += 1) {
    visit(setting, walk, life, session, step === 0);
    if (!walk.random.chance(0.55)) return;
  }
}

function browseLists(setting: Setting, walk: Walk, life: Life, session: Session, platform: Float64Array): void {
  const { random } = walk;
  if (random.chance(0.3)) visit(setting, walk, life, session, true);
  do {
    showList(setting, walk, life, session, platform);
    if (random.chance(0.12)) visit(setting, walk, life, session, false);
  } while (session.clock < (session.day + 1) * DAY_SECONDS - 9000 && random.chance(1 - 1 / LISTS_A_SESSION));
}

function visit(setting: Setting, walk: Walk, life: Life, session: Session, isSessionStart: boolean): void {
  const choice = chooseNext(setting, walk, session.clock, isSessionStart);
  if (!choice) return;
  view(setting, walk, life, session, {
    item: choice.item,
    surface: choice.surface,
    list: -1,
    position: -1,
    propensity: 0,
  });
}

type Shown = Pick<Interaction, "item" | "surface" | "list" | "position" | "propensity">;

/** A valid view and what follows from it. */
function view(setting: Setting, walk: Walk, life: Life, session: Session, shown: Shown): void {
  const { random } = walk;
  const isMachine = setting.catalogue.origin[shown.item] === 1;
  const seconds = 8 + Math.floor(random.exponential(isMachine ? 22 : 42));
  life.interactions.push({ ...shown, type: "view", seconds: session.clock, value: seconds, session: session.index });
  session.clock += seconds + random.between(2, 20);
  met(walk, shown.item);
  const chances = afterView(setting, walk.user, shown.item);
  if (random.chance(chances.save)) {
    life.interactions.push({ ...shown, type: "save", seconds: session.clock, value: null, session: session.index });
    session.clock += random.between(2, 12);
  }
  if (random.chance(chances.cook)) session.toCook.push(shown);
}

function showList(setting: Setting, walk: Walk, life: Life, session: Session, platform: Float64Array): void {
  const { random } = walk;
  const slate = drawSlate(setting, walk, platform, session.clock);
  const index = life.lists.length;
  const recent = walk.recent.slice();
  life.lists.push({ ...slate, index, seconds: session.clock, session: session.index, recent });
  session.clock += random.between(2, 9);
  for (const [position, item] of slate.items.entries()) {
    const chances = outcome(setting, walk.user, item, { position, day: session.day, recent });
    const roll = random.next();
    const shown: Shown = {
      item,
      surface: "home.forYou",
      list: index,
      position,
      propensity: slate.propensities[position]!,
    };
    if (roll < chances.view) {
      view(setting, walk, life, session, shown);
    } else if (roll < chances.view + chances.skip) {
      const value = random.between(1, 6);
      life.interactions.push({ ...shown, type: "skip", seconds: session.clock, value, session: session.index });
      session.clock += value + random.between(1, 6);
    }
  }
}

/** Dinner: half an hour to two and a half hours after the session, unless the world has ended by then. */
function cook(setting: Setting, walk: Walk, life: Life, session: Session): void {
  let clock = session.clock + walk.random.between(1500, 6000);
  for (const shown of session.toCook) {
    if (clock >= DAYS * DAY_SECONDS) return;
    life.interactions.push({
      ...withoutExtras(shown),
      type: "cook",
      seconds: clock,
      value: null,
      session: session.index,
    });
    clock += walk.random.between(60, 900);
    walk.cooked.push(shown.item);
    if (setting.features.isMain[shown.item]) walk.pending = { item: shown.item, day: session.day };
    met(walk, shown.item);
  }
}

function withoutExtras(shown: Session["toCook"][number]): Shown {
  return {
    item: shown.item,
    surface: shown.list < 0 ? "cookbook" : "home.forYou",
    list: shown.list,
    position: shown.position,
    propensity: shown.propensity,
  };
}
