/** Paid accounts: six campaigns that each push a few recipes of one machine channel in bursts, under some cover traffic. */
import { DAYS, DAY_SECONDS } from "./calendar.ts";
import { Random } from "./prng.ts";
import { CAMPAIGNS } from "./users.ts";
import type { Interaction } from "./behaviour.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Setting } from "./outcome.ts";
import type { User } from "./users.ts";

export interface Campaign {
  readonly creator: number;
  readonly items: readonly number[];
  /** First day of the burst; it runs for twelve days. */
  readonly day: number;
}

/** The planted campaigns; the last one begins in the held-out period. */
export function makeCampaigns(seed: number, catalogue: Catalogue): Campaign[] {
  const random = new Random(seed, "campaigns");
  const channels = catalogue.creators.filter((creator) => creator.isMachine && creator.uploads > 10);
  const byCreator = new Map<number, number[]>();
  for (let item = 0; item < catalogue.count; item += 1) {
    const creator = catalogue.creator[item]!;
    if (catalogue.creators[creator]!.isMachine) byCreator.set(creator, [...(byCreator.get(creator) ?? []), item]);
  }
  return Array.from({ length: CAMPAIGNS }, (_, index) => {
    const day = index === CAMPAIGNS - 1 ? 107 : 15 + 16 * index;
    const channel = random.pick(channels);
    const open = (byCreator.get(channel.index) ?? []).filter((item) => catalogue.created[item]! < day * DAY_SECONDS);
    return { creator: channel.index, items: random.shuffle(open).slice(0, 4), day };
  });
}

export function campaignVisits(seed: number, setting: Setting, user: User): Interaction[] {
  const campaign = setting.campaigns[user.campaign]!;
  const random = new Random(seed, `shilling ${user.index}`);
  const interactions: Interaction[] = [];
  let session = 0;
  for (let day = random.below(12); day < DAYS; day += 1) {
    const inBurst = day >= campaign.day && day < campaign.day + 12;
    if (!random.chance(inBurst ? 0.6 : 0.05)) continue;
    let clock = day * DAY_SECONDS + random.between(1, 22) * 3600 + random.below(3600);
    const cover = Array.from({ length: random.between(1, 3) }, () => random.below(setting.catalogue.count));
    const visits = random.shuffle([
      ...(inBurst ? campaign.items : []),
      ...cover.filter((item) => setting.catalogue.created[item]! <= clock),
    ]);
    for (const item of visits) {
      const isPushed = campaign.items.includes(item) && inBurst;
      const shared = { item, session, surface: "search", list: -1, position: -1, propensity: 0 };
      const value = random.between(8, isPushed ? 11 : 40);
      interactions.push({ ...shared, type: "view", seconds: clock, value });
      clock += value + random.between(1, 6);
      if (isPushed && random.chance(0.6)) interactions.push({ ...shared, type: "save", seconds: clock, value: null });
      clock += random.between(1, 6);
      if (isPushed && random.chance(0.25)) interactions.push({ ...shared, type: "cook", seconds: clock, value: null });
      clock += random.between(1, 6);
    }
    session += 1;
  }
  return interactions;
}
