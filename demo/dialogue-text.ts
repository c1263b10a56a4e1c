/** What coach and client say. A client's sentence shows talk type and action, not stage, engagement or type by name. */

export interface Goal {
  readonly id: string;
  /** "to <do> ..." */
  readonly doing: string;
  readonly obstacle: string;
  readonly reason: string;
  readonly step: string;
  readonly fact: string;
}

export const GOALS: readonly Goal[] = [
  {
    id: "cookMore",
    doing: "cook at home more often",
    obstacle: "I get home at seven",
    reason: "takeaway costs me a fortune",
    step: "cook twice next week, Tuesday and Sunday",
    fact: "most weeknight recipes here take under 35 minutes",
  },
  {
    id: "lessMeat",
    doing: "eat less meat",
    obstacle: "my family expects it on the table",
    reason: "my doctor mentioned my cholesterol",
    step: "make two dinners with lentils",
    fact: "a dal has about as much protein as the mince it replaces",
  },
  {
    id: "lessWaste",
    doing: "throw away less food",
    obstacle: "I never know what is in the fridge",
    reason: "the bin is full every Friday",
    step: "plan three dinners before I shop",
    fact: "soups and frittatas use up nearly everything",
  },
  {
    id: "moreVegetables",
    doing: "eat more vegetables",
    obstacle: "the children pick them out",
    reason: "I feel slow in the afternoon",
    step: "put one tray of roast vegetables on the table",
    fact: "roasting makes most vegetables sweeter",
  },
  {
    id: "lessSalt",
    doing: "use less salt",
    obstacle: "everything tastes flat without it",
    reason: "my blood pressure is up",
    step: "season with lemon and herbs first",
    fact: "acid and toasted spices make food taste saltier than it is",
  },
  {
    id: "breakfast",
    doing: "have a proper breakfast",
    obstacle: "I am never hungry that early",
    reason: "I snack all morning",
    step: "soak oats on Sunday evening",
    fact: "overnight oats wait in the fridge for three days",
  },
  {
    id: "guests",
    doing: "have friends round for dinner",
    obstacle: "my kitchen is tiny",
    reason: "we used to do it all the time",
    step: "invite two people for a one-pot supper",
    fact: "a braise can be finished the day before",
  },
  {
    id: "baking",
    doing: "bake my own bread",
    obstacle: "my last loaf was a brick",
    reason: "I miss the smell of it",
    step: "try a focaccia on Saturday",
    fact: "a wet dough needs no kneading at all",
  },
];

/** Coach, by action; {doing}, {step} and {fact} come from the goal and turn from "my" to "your". */
export const COACH: Readonly<Record<string, readonly string[]>> = {
  openQuestion: [
    "What would it mean to you to {doing}?",
    "How do you feel about dinner at the moment?",
    "What makes this come up now?",
    "Tell me about a meal that went well.",
  ],
  closedQuestion: [
    "Have you tried to {doing} before?",
    "Do you plan your meals at all?",
    "Is there one evening that is easier?",
    "Did you cook this week?",
  ],
  simpleReflection: [
    "So evenings are tight.",
    "You are saying it is not that simple.",
    "It has been on your mind.",
    "You have tried, and it was hard.",
  ],
  complexReflection: [
    "Part of you wants to {doing}, and part of you is tired of being told to.",
    "It sounds as if the food is only half of it; you miss the calm.",
    "You would like it to be your own idea.",
    "You care about this more than you let on.",
  ],
  affirm: [
    "You noticed that yourself, which is worth a lot.",
    "That took some honesty.",
    "You have kept going despite a full week.",
    "You know your kitchen better than anyone.",
  ],
  inform: [
    "If it helps: {fact}.",
    "Something others found useful: {fact}.",
    "May I add a fact? {fact}.",
    "For what it is worth, {fact}.",
  ],
  advise: ["You could {step}.", "I would {step}.", "Why not {step}?", "My advice: {step}."],
  summarise: [
    "Let me see if I have it: you would like to {doing}, and something keeps getting in the way.",
    "So far: you have your reasons, and you have your evenings.",
    "To sum up, you see why, and the how is open.",
    "We have talked about what stands in the way and what you would gain.",
  ],
};

/** Client, by action and talk type. */
export const CLIENT_SAYS: Readonly<Record<string, readonly string[]>> = {
  deny: [
    "There is nothing wrong with how I eat.",
    "I don't see a problem, honestly.",
    "I am fine as it is.",
    "That is not me.",
  ],
  downplay: [
    "It is not that bad.",
    "Everybody does that now and then.",
    "It is only a few evenings.",
    "I wouldn't make a big thing of it.",
  ],
  blame: [
    "With my hours nobody could.",
    "It is really down to the shop near us.",
    "If the others helped, maybe.",
    "The recipes always leave something out.",
  ],
  inform: [
    "Last night it was toast again.",
    "We are four at the table, most days.",
    "I shop on Saturdays.",
    "{obstacle}, that is how it is.",
    "I have one good pan.",
  ],
  engage: [
    "What do other people do?",
    "Could you say more about that?",
    "I have been thinking about it too.",
    "That is a good question, actually.",
  ],
  hesitate: [
    "I don't know. Perhaps later.",
    "Maybe when things are calmer.",
    "I would have to think about it.",
    "Part of me would, part of me is tired.",
  ],
  doubt: [
    "I am not sure I'd keep it up.",
    "It never lasted before.",
    "Would that even make a difference?",
    "{obstacle}, so I doubt it.",
  ],
  acknowledge: [
    "You are right, {reason}.",
    "I suppose I do want to {doing}.",
    "It does bother me, if I am honest.",
    "Yes. {reason}.",
  ],
  accept: ["That could work for me.", "All right, I can try that.", "Yes, I would like that.", "That sounds doable."],
  reject: ["No, not for me.", "I tried that, no thanks.", "I'd rather not.", "That will not happen in my house."],
  plan: [
    "I will {step}.",
    "Next week I want to {step}.",
    "First I'll clear a shelf, then {step}.",
    "Let me write that down: {step}.",
  ],
  terminate: [
    "I have to go now. Thanks.",
    "Let us leave it there.",
    "That's enough for today.",
    "Thank you, that helped. Bye.",
  ],
};
