/** The few sentences below a title. Cooks write about taste, a step and the table; search-driven channels write about searches. */
import { hash32 } from "./prng.ts";
import type { Dish } from "./dishes.ts";
import type { Plan } from "./grammar.ts";
import type { Ingredient } from "./ingredients.ts";

/** What an accent of a group does for a dish, savoury and sweet. */
const EFFECTS: Readonly<Record<string, readonly [string, string]>> = {
  herb: ["freshness", "a green, unexpected note"],
  spice: ["warmth", "warmth"],
  cheese: ["salt and richness", "a creamy edge"],
  dairy: ["richness", "richness"],
  nut: ["crunch", "crunch"],
  seed: ["a toasty finish", "a toasty finish"],
  fruit: ["a sweet-sharp lift", "brightness"],
  berry: ["sharpness", "sharpness"],
  sauce: ["depth", "an edge"],
  greens: ["something green", "colour"],
  roots: ["sweetness", "sweetness"],
  pork: ["smoke and salt", "salt"],
  allium: ["bite", "bite"],
  legume: ["heft", "body"],
  grain: ["something to catch the juices", "texture"],
  pasta: ["something to catch the juices", "texture"],
  bread: ["crunch", "crunch"],
  vegetable: ["a tangy contrast", "contrast"],
  nightshade: ["juice and sweetness", "sweetness"],
  squash: ["softness", "softness"],
  mushroom: ["depth", "depth"],
  chocolate: ["depth", "bitterness"],
  sweet: ["a little sweetness", "perfume"],
  bee: ["a little sweetness", "a floral sweetness"],
  drink: ["depth", "a grown-up edge"],
  egg: ["richness", "richness"],
  poultry: ["substance", "substance"],
  beef: ["substance", "substance"],
  lamb: ["substance", "substance"],
  seafood: ["a briny edge", "salt"],
  soy: ["body", "body"],
  fish: ["a savoury edge", "salt"],
  brassica: ["crunch", "crunch"],
};

const SAVOURY_STEPS: Readonly<Record<string, readonly string[]>> = {
  grilled: [
    "Get the grill properly hot and leave things alone until they release.",
    "A short spell over fierce heat gives it char without drying it out.",
    "It works on a griddle pan too, with the window open.",
  ],
  roasted: [
    "Everything goes into one roomy tin so that the edges caramelise.",
    "Turn it once, halfway, and let the oven do the rest.",
    "A hot oven and a crowded table are all you need.",
  ],
  braised: [
    "It sits in a low oven until it can be eaten with a spoon.",
    "There is very little to do once the lid is on.",
    "Start it after lunch and the kitchen will smell of dinner by five.",
  ],
  simmered: [
    "It all comes together in one pan.",
    "Keep it at a gentle blip and taste as you go.",
    "A lid ajar and a low flame bring it together.",
  ],
  "stir-fried": [
    "Have everything cut and in reach before the wok goes on.",
    "It is on the table before the rice is done.",
    "High heat, constant motion, and no crowding.",
  ],
  "pan-fried": [
    "A heavy pan and a little patience give it a deep golden crust.",
    "Medium heat is plenty; let it take its colour.",
    "It needs ten minutes at the stove and your attention for all of them.",
  ],
  fried: [
    "Fry in small batches and drain on a rack, not on paper.",
    "Use a thermometer if you have one: 180 degrees, steady.",
    "Salt it the second it leaves the oil.",
  ],
  baked: [
    "Bake it until the top is bronzed and the edges bubble.",
    "It goes in pale and comes out burnished.",
    "Give it the middle shelf and resist opening the door.",
  ],
  steamed: [
    "Steam keeps it light and lets the seasoning speak.",
    "Keep the lid down and the water at a rolling simmer.",
    "It looks after itself once the steam is up.",
  ],
  raw: [
    "Nothing needs cooking, so buy the best you can.",
    "It is mostly knife work, and pleasant at that.",
    "Season, wait five minutes, and season again.",
  ],
  chilled: ["Make it ahead and let the fridge finish the job.", "It should be cold enough to mist the plate."],
};
const SWEET_STEPS: readonly string[] = [
  "Not too sweet, and better for it.",
  "You could make it with your eyes on something else.",
  "It asks for one bowl and gives you an excuse to invite people.",
  "Serve it in smaller pieces than you think and expect requests for more.",
  "A proper end to a long lunch.",
  "It travels well, which is how it became our picnic pudding.",
];
const BREAD_STEPS: readonly string[] = [
  "Best within an hour of the oven.",
  "Tear it, do not cut it.",
  "It freezes well, should any survive.",
  "The kitchen will smell like a bakery for the rest of the day.",
];
const TABLE: Readonly<Record<string, readonly string[]>> = {
  main: [
    "Serves four, or two with lunch tomorrow.",
    "A sharp green salad is all it wants next to it.",
    "Leftovers keep for three days in the fridge.",
    "Put the pan on the table and let people help themselves.",
    "Good enough for guests, easy enough for a Tuesday.",
  ],
  soup: [
    "Bread for dipping is not negotiable.",
    "It freezes well for a month.",
    "Makes four bowls, or six cups to start a meal.",
  ],
  salad: ["A meal at lunch, a side at dinner.", "Dress it at the last moment.", "It stands up to an hour on a buffet."],
  side: [
    "It goes with almost anything from the grill.",
    "Double it: it will be gone first.",
    "Happy to wait at room temperature.",
  ],
  snack: [
    "Hand them round with cold drinks.",
    "Makes enough for six with drinks, or four who are hungry.",
    "Best eaten standing up.",
  ],
  breakfast: [
    "As good at seven in the evening as at nine in the morning.",
    "Coffee first, then this.",
    "A slow-Sunday recipe that also does for supper.",
  ],
  bread: ["Have butter ready.", "Toast what is left the next morning.", "A bowl of soup makes it supper."],
  dessert: [
    "A spoonful of something cold on the side does not hurt.",
    "Makes eight polite portions.",
    "It keeps for two days under a cloth.",
  ],
};

const join = (names: readonly string[]): string =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const article = (word: string): string => (/^(8|11|18|80|85|[aeiou])/i.test(word) ? "an" : "a");
/** Ingredients that a cook would name: no salt, oil, sugar, flour. */
const isWorthNaming = (entry: Ingredient): boolean =>
  !/^(sea salt|salt|sugar|olive oil|sunflower oil|butter|plain flour|strong flour|yeast|baking powder|milk|cornflour|egg|black pepper|vegetable stock|gelatine)$/.test(
    entry.name,
  );
const isTemplateName = (name: string): boolean =>
  /^(Provençal Roast|Garlic Pan|Traybake Salad|Berry Dessert|Dry-Fried Greens|Steamed Fish|Baked Fish|Sheet-Pan Supper|Salsa Bowl|Caramel Clay Pot|Miso-Glazed|Red-Braised|Korean Fried Dish|Vietnamese Coffee Dessert|Orange Blossom Dessert|Greek Meze Dip|Roast Vegetables and Tahini|Chicken Chilindrón|Mezze Hummus|Cheesecake Soufflé|Chermoula|Romesco|Tikka|Masala|Mapo|Sticky Pudding|Saffron Ice Cream|Persian Love Cake|Smashed Salad|Hasselback)$/.test(
    name,
  );

/** Deterministic in the plan's wording number. */
export function describe(
  plan: Plan,
  dish: Dish,
  cuisine: string,
  used: readonly Ingredient[],
  isMachine: boolean,
): string {
  const draw = (slot: string, count: number): number => hash32(slot, plan.wording) % count;
  const choose = (slot: string, list: readonly string[]): string => list[draw(slot, list.length)]!;
  const named = used.filter(isWorthNaming);
  const hero = used[0]!;
  const isSweet = dish.course === "dessert";
  const accent = plan.accent < 0 ? undefined : used[1];
  const effect = accent ? (accent.hot ? "heat" : (EFFECTS[accent.group]?.[isSweet ? 1 : 0] ?? "contrast")) : "";
  const kind = spokenName(dish, cuisine);
  const support = join(
    named
      .filter((entry) => entry !== hero && entry !== accent)
      .slice(0, 2)
      .map((entry) => entry.plain),
  );
  if (isMachine) return describeForSearch({ plan, dish, cuisine, named, choose });

  const leads = [
    support && `${upper(hero.plain)} with ${support}, the ${cuisine} way.`,
    support &&
      `${article(cuisine) === "an" ? "An" : "A"} ${cuisine} ${kind} with ${join([hero.plain, support].filter((part) => !part.includes(" and "))) || hero.plain} at its heart.`,
    `${upper(article(String(plan.minutes)))} ${plan.minutes}-minute ${cuisine} ${kind} that lets ${hero.plain} do the talking.`,
    dish.course === "main" && `The ${cuisine} supper we keep coming back to, this time with ${hero.plain}.`,
    !isTemplateName(dish.name) && `${upper(kind)} the way ${cuisine} home cooks make it, here with ${hero.plain}.`,
    support && `Think of it as ${cuisine} comfort: ${hero.plain}, ${support}.`,
    accent && `${upper(hero.plain)} and ${accent.plain} make an easy pair in this ${cuisine} ${kind}.`,
    plan.minutes <= 30 && `On the table in ${plan.minutes} minutes: ${cuisine} ${kind} with ${hero.plain}.`,
    plan.minutes >= 90 && `A ${cuisine} ${kind} for an unhurried afternoon, with ${hero.plain}.`,
    dish.difficulty === 3 && `A project, and worth it: ${cuisine} ${kind} with ${hero.plain}.`,
    dish.difficulty === 1 &&
      plan.minutes <= 45 &&
      `${upper(article(cuisine))} ${cuisine} ${kind} for people in a hurry or in no mood to measure, built on ${hero.plain}.`,
    (dish.course === "salad" || dish.course === "side") &&
      `${upper(hero.plain)} ${isPlural(hero) ? "get" : "gets"} the ${cuisine} treatment in this ${kind}.`,
    dish.course === "soup" &&
      dish.technique !== "raw" &&
      `A bowl of ${cuisine} ${kind} with ${hero.plain}, made to warm you through.`,
    isSweet &&
      `A ${cuisine === "Italian" ? "good" : "lovely"} way to use ${hero.plain}, borrowed from the ${cuisine} kitchen.`,
    dish.season &&
      `${upper(dish.season)} cooking from the ${cuisine} kitchen, with ${hero.plain}${support ? ` and ${named.find((entry) => entry !== hero && entry !== accent)!.plain}` : ""}.`,
  ].filter((lead): lead is string => typeof lead === "string" && lead !== "");
  const accentLines = accent
    ? [
        `${upper(accent.plain)} ${isPlural(accent) ? "bring" : "brings"} ${effect}.`,
        `Don't skip the ${accent.plain}: ${isPlural(accent) ? "they bring" : "it brings"} ${effect}.`,
        `A little ${accent.plain} at the end adds ${effect}.`,
        `We like it with ${accent.plain} for ${effect}.`,
      ].filter((_, place) => place !== 2 || !isPlural(accent))
    : [];
  const steps = isSweet ? SWEET_STEPS : dish.course === "bread" ? BREAD_STEPS : SAVOURY_STEPS[dish.technique]!;
  const lead = choose("lead", leads);
  const sentences = [lead];
  if (accent && !lead.includes(accent.plain) && draw("accent?", 10) < 8) sentences.push(choose("accent", accentLines));
  sentences.push(draw("remark?", 10) < 5 ? dish.remark : choose("step", steps));
  if (draw("table?", 10) < 6) sentences.push(choose("table", TABLE[dish.course]!));
  return sentences.join(" ");
}

/** A dish in running text, without the cuisine that stands before it: "green curry", but "İskender". */
export function spokenName(dish: Dish, cuisine: string): string {
  if (isTemplateName(dish.name)) return dish.course === "main" ? "dish" : dish.course;
  const short = dish.name.startsWith(`${cuisine} `) ? dish.name.slice(cuisine.length + 1) : dish.name;
  return /^[A-Z]/.test(short) && !short.startsWith("Basque") ? short.toLowerCase() : short;
}

function isPlural(entry: Ingredient): boolean {
  return entry.plain !== entry.name || /(seeds|livers|herbes de provence)$/.test(entry.plain);
}

interface SearchContext {
  readonly plan: Plan;
  readonly dish: Dish;
  readonly cuisine: string;
  readonly named: readonly Ingredient[];
  readonly choose: (slot: string, list: readonly string[]) => string;
}

function describeForSearch({ plan, dish, cuisine, named, choose }: SearchContext): string {
  const list = join(named.slice(0, 3).map((entry) => entry.plain));
  const meal = {
    main: "dinner",
    soup: "soup",
    salad: "salad",
    side: "side dish",
    snack: "appetizer",
    breakfast: "breakfast",
    bread: "bake",
    dessert: "dessert",
  }[dish.course];
  const opening = choose("open", [
    `Looking for an easy ${cuisine} ${meal}?`,
    `This ${cuisine} ${meal} is bursting with flavor.`,
    `The ultimate ${cuisine} ${meal} you need to try!`,
    `A delicious ${cuisine} ${meal} that the whole table will love.`,
    `Craving ${cuisine} food tonight?`,
  ]);
  const middle = choose("middle", [
    `Made with ${list}, it is ready in just ${plan.minutes} minutes.`,
    `${upper(list)} come together in ${plan.minutes} minutes for a dish the whole family will enjoy.`,
    `Simple ingredients like ${list} create the perfect balance of flavors.`,
    `With ${list}, it is packed with flavor and always a crowd-pleaser.`,
  ]);
  const close = choose("close", [
    plan.minutes <= 60 ? "Perfect for busy weeknights!" : "Perfect for a cozy weekend!",
    dish.course === "dessert" ? "The perfect treat for any occasion." : "Great for meal prep and family dinners.",
    "Save this recipe for later!",
    "You won't believe how easy it is.",
    "Restaurant quality at home.",
    "",
  ]);
  return [opening, middle, close].filter((part) => part !== "").join(" ");
}
