/**
 * What a run's artefacts answer through the Worker's own decoding: ranks of all test cases and calibration of the probabilities.
 * Both are kept in the run's folder under a name that covers artefact, cases and decoding code, so that runs add up.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import * as z from "zod";
import { calibrationFigures, type CalibrationFigures, type Distribution, fitTemperature } from "./calibration.ts";
import { round } from "./bench.ts";
import { COUNT, decodeCases, decodingKey, openArtefact, rankCases } from "./decoding.ts";
import { type Case, everyNth, kept, type Ranking, rankingOf, readCases } from "./run-folder.ts";
import { folderSource } from "./model-files.ts";

const QUICK_CASES = 1000;
const CALIBRATION_CASES = 4000;
/** Candidates whose probabilities are looked at: those shown, and enough beside them to know what a temperature does to the sum. */
const PROBABILITIES = 200;

const Ranks = z.array(z.int()).readonly();
const RanksOfVariants = z.record(z.string(), z.object({ masked: Ranks, unmasked: Ranks }));
const ServedFile = z.object({ modelVersion: z.string(), ranks: RanksOfVariants });

/** One training of a data set: its folder, its test cases and what its artefacts say of themselves. */
export interface Run {
  readonly seed: number;
  readonly folder: string;
  readonly dataset: string;
  readonly split: string;
  readonly cases: readonly Case[];
  readonly int8: Awaited<ReturnType<typeof folderSource>>["manifest"];
  readonly fp32: Awaited<ReturnType<typeof folderSource>>["manifest"];
  /** The ranking that choices and intervals look at. */
  readonly ranking: Ranking;
}

export async function openRun(folder: string, seed: number): Promise<Run> {
  const { dataset, split, users } = readCases(folder, "test")!;
  const { manifest: int8 } = await folderSource(path.join(folder, "artefact-int8"));
  const { manifest: fp32 } = await folderSource(path.join(folder, "artefact-fp32"));
  return { seed, folder, dataset, split, cases: users, int8, fp32, ranking: rankingOf(int8) };
}

/** The cases of a quick run: every n-th, about a thousand. */
export function quickPart<Value>(values: readonly Value[]): Value[] {
  return everyNth(values, QUICK_CASES);
}

/** Ranks of all test cases by variant; of every n-th case, and not kept, where it must be quick. */
export async function servedRanks(run: Run, quick: boolean): Promise<z.output<typeof RanksOfVariants>> {
  const decoded = async (cases: readonly Case[]) => {
    const full = await openArtefact(path.join(run.folder, "artefact-fp32"));
    const ofFull = await rankCases(full, cases, { "generator-fp32": {} });
    await full.dispose();
    const served = await openArtefact(path.join(run.folder, "artefact-int8"));
    const ofServed = await rankCases(served, cases, {
      "generator-int8": {},
      "generator-alone": { alpha: 1 },
      "exact-scan-int8": { alpha: 0, exactBelow: Infinity },
    });
    await served.dispose();
    return { modelVersion: run.int8.modelVersion, ranks: { ...ofFull, ...ofServed } };
  };
  const file = path.join(run.folder, `served-${decodingKey([run.int8, run.fp32], run.cases)}.json`);
  if (!quick) return (await kept(file, ServedFile, () => decoded(run.cases))).ranks;
  return (await decoded(quickPart(run.cases))).ranks;
}

const Bins = z.array(z.object({ forecasts: z.int(), probability: z.number(), share: z.number() })).readonly();
const CalibrationRow = z.object({
  cases: z.int(),
  nll: z.number(),
  ece: z.number(),
  expected: z.number(),
  happened: z.int(),
  reliability: Bins,
}) satisfies z.ZodType<CalibrationFigures>;
const Split = z.object({ before: CalibrationRow, after: CalibrationRow });
const Fitted = z.object({ temperature: z.number(), validation: Split, test: Split });
const Calibration = z.object({
  /** exp(logProbability) of the generator, alpha 1, against what came next, over all legal items. */
  alone: Fitted,
  /** softmax(score) over the candidates of a request, where what came next is among them: what an exploring request draws from. */
  fused: Fitted,
});
export type Calibration = z.infer<typeof Calibration>;

function fitted(validation: readonly Distribution[], test: readonly Distribution[]): z.output<typeof Fitted> {
  const temperature = round(fitTemperature(validation), 3);
  const at = (given: readonly Distribution[]) => ({
    before: calibrationFigures(given, 1, COUNT),
    after: calibrationFigures(given, temperature, COUNT),
  });
  return { temperature, validation: at(validation), test: at(test) };
}

/** Calibration on every n-th case, about 4,000 of each split; the temperatures are fitted on validation alone. */
export async function calibrationOf(run: Run): Promise<Calibration> {
  const validation = everyNth(readCases(run.folder, "validation")!.users, CALIBRATION_CASES);
  const test = everyNth(run.cases, CALIBRATION_CASES);
  const code = ["calibration.ts", "ranking-served.ts"].map((file) =>
    readFileSync(path.join(import.meta.dirname, file), "utf8"),
  );
  const key = decodingKey([run.int8], [...validation, ...test], ...code);
  return kept(path.join(run.folder, `calibration-${key}.json`), Calibration, async () => {
    const model = await openArtefact(path.join(run.folder, "artefact-int8"));
    const answers = async (cases: readonly Case[]) => {
      const found = { alone: [] as Distribution[], fused: [] as Distribution[] };
      const variants = { alone: { alpha: 1, count: PROBABILITIES }, fused: {} };
      await decodeCases(model, cases, variants, [run.ranking], ({ variant, candidates, rank, legal }) => {
        const { logProbability, score, places } = candidates;
        if (variant === "alone")
          found.alone.push({ logits: logProbability, target: rank, others: legal - places.length });
        else if (rank >= 0) found.fused.push({ logits: score, target: rank, others: 0 });
      });
      return found;
    };
    const [known, asked] = [await answers(validation), await answers(test)];
    await model.dispose();
    return { alone: fitted(known.alone, asked.alone), fused: fitted(known.fused, asked.fused) };
  });
}
