/** Sentences that notes are made of: one set for each of the twelve style dimensions, and what can be said of a recipe itself. */

export const STYLE_DIMENSIONS = [
  "length",
  "exclamation",
  "warmth",
  "exactness",
  "firstPerson",
  "price",
  "humour",
  "family",
  "hedging",
  "technique",
  "health",
  "changes",
] as const;
export type StyleDimension = (typeof STYLE_DIMENSIONS)[number];

/** Dimensions that show as sentences of their own; {D} dish, {h} main ingredient, {b} another ingredient. */
export const STYLE_SENTENCES: Readonly<Partial<Record<StyleDimension, readonly string[]>>> = {
  warmth: [
    "What a lovely recipe.",
    "This made a grey evening better.",
    "Thank you for this one.",
    "Pure comfort.",
    "A new favourite in this house.",
    "It tastes like being looked after.",
  ],
  exactness: [
    "It took 10 minutes longer than stated.",
    "I used 250 g of {h} and 2 tablespoons of oil.",
    "Oven at 190, middle shelf, 35 minutes.",
    "Half a teaspoon of salt was right.",
    "It fed three of us with one portion left.",
    "I weighed everything; the ratios are fine.",
  ],
  price: [
    "Cheap to make, too.",
    "The {h} was pricey this week.",
    "Under eight euros for the lot.",
    "Good value if you buy {h} on the market.",
    "Cost more than I expected.",
  ],
  humour: [
    "The smoke alarm approved as well.",
    "I may have eaten the cook's share before dinner.",
    "The dog was more hopeful than helpful.",
    "My knife skills remain a work in progress.",
    "It looked nothing like the picture, and neither do I.",
    "I told guests it was difficult.",
  ],
  family: [
    "The children asked for seconds.",
    "My partner usually avoids {h} but cleared the plate.",
    "Made it for my mother's birthday.",
    "The twins picked out the {b} and ate the rest.",
    "Grandad wants it every Sunday.",
  ],
  hedging: [
    "I might have done something wrong, though.",
    "Perhaps it needs a bit more salt, I am not sure.",
    "It could be just my oven.",
    "Maybe I'd cook it a little less, if anything.",
    "I suppose it depends on the {h}.",
  ],
  technique: [
    "Rest it before cutting, it makes a difference.",
    "Bloom the spices first and deglaze the pan.",
    "A cast-iron pan gives a better crust.",
    "Pat the {h} dry or it steams.",
    "Reduce the liquid by a third before serving.",
    "Keep the heat lower than you think.",
  ],
  health: [
    "Light, but filling.",
    "I cut the fat by half and did not miss it.",
    "Plenty of vegetables, which I was after.",
    "High in protein, good after a run.",
    "A little rich for a weekday.",
  ],
  changes: [
    "I swapped the {b} for what was in the fridge.",
    "Left out the {b}.",
    "Added a squeeze of lemon at the end.",
    "Doubled the {b}, no regrets.",
    "Used frozen {h} and it worked.",
  ],
};

/** What is true of a recipe, said by most who cooked it: three to five per recipe are planted among those that fit its course. */
export const ITEM_REMARKS = [
  "The seasoning of the {D} is spot on",
  "The {D} needs more {b}",
  "The {h} turned out very tender",
  "The sauce was thinner than expected",
  "The {D} is better the next day",
  "The {h} dried out a little",
  "It is quite salty as written",
  "The {b} makes the {D}",
  "The timing in the recipe is off",
  "It comes together faster than you think",
  "The texture of the {D} is wonderful",
  "It was a bit bland for my taste",
  "The portions are generous",
  "The {h} and the {b} go very well together",
  "It smells incredible while it cooks",
  "The steps are easy to follow",
] as const;
/** Remarks that make no sense of a bake, a dessert or a cold dish. */
export const SAVOURY_REMARKS: ReadonlySet<number> = new Set([2, 3, 5, 6]);
/** Whether each remark is praise (1), blame (-1) or neither (0). */
export const REMARK_SIGN = [1, -1, 1, -1, 1, -1, -1, 1, -1, 1, 1, -1, 0, 1, 1, 1] as const;

export const OPENERS_FIRST_PERSON = [
  "I made this on {day}.",
  "I have cooked this twice now.",
  "I tried this {D} last night.",
  "I cooked this for dinner.",
  "My second attempt at this {D}.",
] as const;
export const OPENERS_PLAIN = [
  "Made this on {day}.",
  "Cooked twice now.",
  "This {D}, last night.",
  "Tried for dinner.",
  "Second attempt.",
] as const;
