/** Who uploads: people with one to three home kitchens, and machine channels that cover everything. Counts are planted exactly. */
import { CUISINES } from "./dishes.ts";
import { CHANNEL_FIRST, CHANNEL_SECOND, CHANNEL_THIRD, KITCHENS, PEOPLE } from "./names.ts";
import { Random } from "./prng.ts";

export interface Creator {
  readonly index: number;
  readonly name: string;
  readonly isMachine: boolean;
  /** Chance of each cuisine for an upload. */
  readonly cuisineWeights: Float32Array;
  readonly uploads: number;
  /** Day of the first upload; negative before the world's first day. */
  readonly firstDay: number;
  /** Share of uploads that vary an earlier one of the same creator. */
  readonly duplicateShare: number;
}

/** Share of creators with more than 10 uploads. */
export const VOLUME_SHARE = { human: 0.31, machine: 0.5 } as const;
const HUMAN_ITEM_SHARE = 0.62;

/** @param scale 1: 160 people, 60 channels and 2,400 uploads. */
export function makeCreators(seed: number, scale: number, recipes: number): Creator[] {
  const random = new Random(seed, "creators");
  const people = Math.max(4, Math.round(160 * scale));
  const channels = Math.max(2, Math.round(60 * scale));
  const humanUploads = uploadCounts(random, people, Math.round(recipes * HUMAN_ITEM_SHARE), VOLUME_SHARE.human);
  const machineUploads = uploadCounts(
    random,
    channels,
    recipes - Math.round(recipes * HUMAN_ITEM_SHARE),
    VOLUME_SHARE.machine,
  );
  const taken = new Set<string>();
  const creators: Creator[] = [];
  for (let place = 0; place < people; place += 1) {
    const home = random.below(CUISINES.length);
    const weights = new Float32Array(CUISINES.length).fill(0.004);
    weights[home] = 1;
    for (let more = random.below(3); more > 0; more -= 1) weights[random.below(CUISINES.length)]! += 0.35;
    const uploads = humanUploads[place]!;
    creators.push({
      index: creators.length,
      name: personName(random, CUISINES[home]!.name, taken),
      isMachine: false,
      cuisineWeights: weights,
      uploads,
      firstDay: random.between(-420, uploads > 10 ? -60 : 70),
      duplicateShare: uploads > 10 && random.chance(0.25) ? 0.1 : 0,
    });
  }
  for (let place = 0; place < channels; place += 1) {
    const weights = new Float32Array(CUISINES.length);
    for (let cuisine = 0; cuisine < weights.length; cuisine += 1) weights[cuisine] = 0.1 + random.next();
    const uploads = machineUploads[place]!;
    creators.push({
      index: creators.length,
      name: channelName(random, taken),
      isMachine: true,
      cuisineWeights: weights,
      uploads,
      firstDay: random.between(-200, uploads > 10 ? 20 : 80),
      duplicateShare: uploads > 10 ? 0.15 + 0.25 * random.next() : 0,
    });
  }
  return creators;
}

/** `count` numbers of uploads that sum to `total`, of which exactly the given share is over 10; the rest is long-tailed. */
function uploadCounts(random: Random, count: number, total: number, volumeShare: number): number[] {
  const volume = Math.max(1, Math.round(count * volumeShare));
  const counts: number[] = [];
  for (let place = 0; place < count; place += 1) {
    counts.push(
      place < volume ? 11 + Math.floor(random.exponential(12)) : 1 + Math.floor(10 * random.next() * random.next()),
    );
  }
  const least = 11 * volume + counts.slice(volume).reduce((left, right) => left + right, 0);
  if (total < least) throw new RangeError(`${total} uploads are too few for ${count} creators, who need ${least}`);
  for (let sum = counts.reduce((left, right) => left + right, 0); sum !== total;) {
    const place = random.below(volume);
    const step = Math.sign(total - sum);
    if (step < 0 && counts[place]! <= 11) continue;
    counts[place]! += step;
    sum += step;
  }
  return random.shuffle(counts);
}

function personName(random: Random, cuisine: string, taken: Set<string>): string {
  const [firsts, lasts] = PEOPLE[cuisine]!;
  for (let attempt = 0; ; attempt += 1) {
    const first = random.pick(firsts.split(","));
    const last = random.pick(lasts.split(","));
    let name = `${first} ${last}`;
    if (random.chance(0.14)) name = random.pick(KITCHENS).replace("{F}", first).replace("{L}", last);
    if (attempt > 20)
      name = `${first} ${"ABCDEFGHJKLMNPRSTVWZ".charAt(random.below(20))}. ${random.pick(random.pick(Object.values(PEOPLE))[1].split(","))}`;
    if (taken.has(name)) continue;
    taken.add(name);
    return name;
  }
}

function channelName(random: Random, taken: Set<string>): string {
  for (let attempt = 0; ; attempt += 1) {
    const [first, second] = [random.pick(CHANNEL_FIRST), random.pick(CHANNEL_SECOND)];
    const third = random.pick(CHANNEL_THIRD);
    const number = attempt > 40 ? ` ${random.between(2, 99)}` : "";
    const name =
      (random.chance(0.4) ? `${first}${second}` : `${first} ${second}`) +
      (third === first ? "" : ` ${third}`).trimEnd() +
      number;
    if (taken.has(name)) continue;
    taken.add(name);
    return name;
  }
}
