/**
 * Whether a model may be shown to anybody: it is the artefact it says it is, it reproduces the trainer's figures here, and it ranks not
 * worse than what serves now, as a whole and in every slice. What the trainer does not report is no reason to pass.
 */
import * as z from "zod";

/** How far below the serving model the lower end of the NDCG@10 interval may lie. */
export const MOST_LOSS = 0.001;

const Paired = z.object({
  /** Mean difference to the serving model, new minus old. */
  difference: z.number(),
  interval: z.tuple([z.number(), z.number()]),
  users: z.int().min(0),
});

/** The part of a trainer's report that the gate reads. */
export const GateReport = z.object({
  /** Version of the model that was compared with; null where none served. */
  comparedTo: z.string().nullable(),
  ndcg10: Paired.nullable(),
  slices: z
    .array(z.object({ slice: z.string().max(64), ndcg10: Paired }))
    .max(50)
    .default([]),
});

export interface Check {
  readonly name: string;
  readonly isPassed: boolean;
  readonly detail: string;
}

export interface Decision {
  readonly isPassed: boolean;
  readonly checks: readonly Check[];
}

/** What the gate has before it. */
export interface Evidence {
  /** Why the artefact does not check out here; empty where it does. */
  readonly refusals: readonly string[];
  /** Largest relative deviation from the trainer's figures; null where it could not be measured. */
  readonly deviation: number | null;
  readonly report: unknown;
  /** Version that serves now; null: none does. */
  readonly serving: string | null;
}

const signed = (value: number): string => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(4)}`;
const between = ([low, high]: readonly [number, number]): string => `[${signed(low)}, ${signed(high)}]`;

/** Judges a model. Every check is listed, passed or not. */
export function judge({ refusals, deviation, report, serving }: Evidence): Decision {
  const checks: Check[] = [];
  const check = (name: string, isPassed: boolean, detail: string) => void checks.push({ name, isPassed, detail });
  check(
    "artefact",
    refusals.length === 0,
    refusals.length === 0 ? `checks out, within ${deviation} of the trainer's figures` : refusals.join("; "),
  );
  const parsed = GateReport.safeParse(report);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    check("report", false, `the report does not fit: ${issue?.path.join("/")}: ${issue?.message}`);
  } else if (parsed.data.comparedTo !== serving) {
    const against = parsed.data.comparedTo ?? "nothing";
    check("ranking", false, `it was compared with ${against}, and ${serving ?? "nothing"} serves`);
  } else if (parsed.data.comparedTo === null) {
    check("ranking", true, "there was no model to compare with");
  } else if (parsed.data.ndcg10 === null) {
    check("ranking", false, `no paired interval against ${parsed.data.comparedTo}`);
  } else {
    const { difference, interval, users } = parsed.data.ndcg10;
    const detail = `NDCG@10 ${signed(difference)} ${between(interval)}, ${users} users, against ${parsed.data.comparedTo}`;
    check("ranking", interval[0] >= -MOST_LOSS, detail);
    for (const { slice, ndcg10 } of parsed.data.slices) {
      const about = `${slice}: NDCG@10 ${signed(ndcg10.difference)} ${between(ndcg10.interval)}, ${ndcg10.users} users`;
      check(`slice ${slice}`, ndcg10.interval[1] >= 0, about);
    }
  }
  return { isPassed: checks.every((one) => one.isPassed), checks };
}
