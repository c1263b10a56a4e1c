/**
 * The planted model of the coaching dialogues: a client's state is stage x engagement x hidden type; a coach's action moves stage and
 * engagement by tables that depend on the type; the client's talk and action are drawn from the new state. All rows sum to 1.
 */

export const STAGES = ["precontemplation", "contemplation", "preparation"] as const;
export const ENGAGEMENTS = ["low", "middle", "high"] as const;
/** averse: advice pushes them away; driven: the right topic moves them; ready: nearly anything helps. */
export const CLIENT_TYPES = ["averse", "driven", "ready"] as const;
export const ACTIONS = [
  "openQuestion",
  "closedQuestion",
  "simpleReflection",
  "complexReflection",
  "affirm",
  "inform",
  "advise",
  "summarise",
] as const;
export const TALK_TYPES = ["change", "neutral", "sustain"] as const;
export const CLIENT_ACTIONS = [
  "deny",
  "downplay",
  "blame",
  "inform",
  "engage",
  "hesitate",
  "doubt",
  "acknowledge",
  "accept",
  "reject",
  "plan",
  "terminate",
] as const;

export const TYPE_CHANCES = [0.4, 0.35, 0.25] as const;
export const START_ENGAGEMENT = [0.35, 0.45, 0.2] as const;
export const START_STAGE = [0.75, 0.2, 0.05] as const;

/** Chance that the stage advances by one after an action at middle engagement: [type][action] for the first and the second step. */
const ADVANCE: readonly (readonly (readonly [number, number])[])[] = [
  // the open question is a probe: it moves nobody, but the answer tells the type
  [
    [0, 0],
    [0.05, 0.04],
    [0.1, 0.06],
    [0.2, 0.14],
    [0.12, 0.1],
    [0.03, 0.03],
    [0.01, 0.01],
    [0.12, 0.12],
  ],
  [
    [0, 0],
    [0.12, 0.08],
    [0.06, 0.04],
    [0.14, 0.1],
    [0.06, 0.05],
    [0.2, 0.16],
    [0.1, 0.1],
    [0.08, 0.08],
  ],
  [
    [0, 0],
    [0.1, 0.1],
    [0.08, 0.08],
    [0.14, 0.12],
    [0.14, 0.12],
    [0.18, 0.18],
    [0.24, 0.26],
    [0.14, 0.2],
  ],
];
/** Change of the chance that engagement falls and rises: [type][action]. */
const ENGAGE: readonly (readonly (readonly [number, number])[])[] = [
  [
    [0.03, 0.15],
    [0.1, 0.04],
    [0.04, 0.16],
    [0.04, 0.24],
    [0.03, 0.22],
    [0.22, 0.03],
    [0.4, 0.01],
    [0.06, 0.1],
  ],
  [
    [0.05, 0.12],
    [0.1, 0.08],
    [0.1, 0.06],
    [0.06, 0.14],
    [0.1, 0.06],
    [0.04, 0.22],
    [0.14, 0.1],
    [0.08, 0.06],
  ],
  [
    [0.06, 0.08],
    [0.06, 0.08],
    [0.06, 0.08],
    [0.04, 0.12],
    [0.03, 0.14],
    [0.05, 0.14],
    [0.05, 0.16],
    [0.04, 0.12],
  ],
];

/** P(stage', engagement' | stage, engagement, type, action) as a 9-vector over stage' x engagement'. Stages never go back. */
export function transition(type: number, action: number, stage: number, engagement: number): Float64Array {
  const next = new Float64Array(9);
  const [first, second] = ADVANCE[type]![action]!;
  const step = [first, second, 0][stage]! * [0.5, 1, 1.4][engagement]!;
  const [fall, rise] = ENGAGE[type]![action]!;
  for (const [stageNext, stageChance] of [
    [stage, 1 - step],
    [Math.min(2, stage + 1), step],
  ] as const) {
    for (const [move, chance] of [
      [-1, fall],
      [0, 1 - fall - rise],
      [1, rise],
    ] as const) {
      const engagementNext = Math.max(0, Math.min(2, engagement + move));
      next[stageNext * 3 + engagementNext]! += stageChance * chance;
    }
  }
  return next;
}

const TALK: readonly (readonly [number, number, number])[] = [
  [0.03, 0.69, 0.28],
  [0.36, 0.44, 0.2],
  [0.62, 0.36, 0.02],
];
/** By type, how an answer to the open question leans away from neutral talk: the probe's information. */
const PROBE: readonly (readonly [number, number, number])[] = [
  [0.1, 0.3, 0.6],
  [0.2, 0.7, 0.1],
  [0.6, 0.3, 0.1],
];

/** P(talk type | stage, engagement, type, action): stage sets it, low engagement adds sustain talk, a probe shows the type. */
export function talkChances(type: number, action: number, stage: number, engagement: number): Float64Array {
  const base = TALK[stage]!;
  const shift = [0.12, 0, -0.06][engagement]!;
  const mixed = base.map((chance, talk) => (action === 0 ? 0.5 * chance + 0.5 * PROBE[type]![talk]! : chance));
  mixed[2] = Math.max(0.01, mixed[2]! + shift);
  mixed[1] = Math.max(0.01, mixed[1]! - shift);
  const total = mixed.reduce((left, right) => left + right, 0);
  return Float64Array.from(mixed, (chance) => chance / total);
}

/** P(client action | stage, talk type); the last action ends the dialogue and is drawn apart. */
const CLIENT: Readonly<Record<string, readonly number[]>> = {
  "0 0": [0, 2, 1, 20, 40, 15, 5, 12, 5, 0, 0, 0],
  "0 1": [8, 16, 8, 40, 16, 8, 4, 0, 0, 0, 0, 0],
  "0 2": [28, 28, 22, 6, 2, 4, 4, 0, 0, 6, 0, 0],
  "1 0": [0, 0, 0, 14, 22, 8, 4, 34, 14, 0, 4, 0],
  "1 1": [1, 4, 3, 26, 14, 28, 16, 8, 0, 0, 0, 0],
  "1 2": [4, 8, 10, 4, 0, 24, 34, 0, 0, 16, 0, 0],
  "2 0": [0, 0, 0, 6, 10, 2, 2, 14, 28, 0, 38, 0],
  "2 1": [0, 0, 0, 26, 20, 8, 6, 16, 12, 4, 8, 0],
  "2 2": [0, 4, 4, 4, 0, 24, 30, 0, 0, 34, 0, 0],
};

export function clientActionChances(stage: number, talk: number): Float64Array {
  const row = CLIENT[`${stage} ${talk}`]!;
  const total = row.reduce((left, right) => left + right, 0);
  return Float64Array.from(row, (chance) => chance / total);
}

/** Chance that a turn is the last: plans made, or patience lost. */
export function endChance(stage: number, engagement: number, turn: number): number {
  if (turn >= 19) return 1;
  if (stage === 2) return turn < 4 ? 0.05 : 0.22;
  return engagement === 0 && turn >= 5 ? 0.12 : 0.015;
}
