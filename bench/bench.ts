/**
 * What every benchmark shares: arguments, the machine's description, medians and bootstrap intervals, a table on standard error, and
 * the result as one JSON object, last on standard output and in bench/results/<name>.json (<name>-<dataset>.json where one was chosen).
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { seededRandom } from "../functions/domain/generation/random.ts";

export interface BenchArguments {
  /** A minute or less; figures are marked. */
  readonly quick: boolean;
  readonly dataset: string | undefined;
  readonly seeds: readonly number[];
  /** Whether the results file is written. */
  readonly write: boolean;
  /** Folder of the results file, in place of bench/results. */
  readonly out?: string | undefined;
  /** What a benchmark takes beside these. */
  readonly more: Readonly<Record<string, string | boolean | undefined>>;
}

/** `[low, high]` at 95 %. */
export type Interval = readonly [low: number, high: number];

/**
 * --quick, --dataset NAME, --seeds 0,1,2, --no-write and --out FOLDER. An unknown argument ends the process with 2.
 * @param defaults what a benchmark uses where nothing is said
 * @param more arguments of this benchmark alone
 */
export function benchArguments(
  defaults: { dataset?: string; seeds?: readonly number[] } = {},
  more: Readonly<Record<string, "string" | "boolean">> = {},
): BenchArguments {
  try {
    const { values } = parseArgs({
      options: {
        ...Object.fromEntries(Object.entries(more).map(([name, type]) => [name, { type }])),
        quick: { type: "boolean", default: false },
        dataset: { type: "string" },
        seeds: { type: "string" },
        write: { type: "boolean", default: true },
        out: { type: "string" },
      },
      allowNegative: true,
    });
    const { quick, dataset, seeds: given, write, out, ...rest } = values;
    const seeds = given?.split(",").map(Number) ?? defaults.seeds ?? [];
    if (!seeds.every((seed) => Number.isInteger(seed)))
      throw new TypeError(`--seeds takes whole numbers, got ${given}`);
    return { quick, dataset: dataset ?? defaults.dataset, seeds, write, out, more: rest };
  } catch (error) {
    return leave(error instanceof Error ? error.message : String(error));
  }
}

/** Ends the process with 2: the benchmark cannot run here (an argument, a data set or an artefact is missing). */
export function leave(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(2);
}

/**
 * One run of a benchmark. `finish` prints the table and the JSON object and writes the results file.
 * `fields` come after the common ones: bench, commit, machine, startedAt, durationSeconds, command, seeds, quick.
 */
export function startBench(
  bench: string,
  args: BenchArguments,
): { finish(fields: Readonly<Record<string, unknown>>, table: Table): void } {
  const startedAt = new Date();
  return {
    finish(fields, table) {
      const result = {
        bench,
        commit: commit(),
        machine: machine(),
        startedAt: startedAt.toISOString(),
        durationSeconds: round((Date.now() - startedAt.getTime()) / 1000, 1),
        command: ["node", path.relative(process.cwd(), process.argv[1] ?? ""), ...process.argv.slice(2)].join(" "),
        seeds: args.seeds,
        ...(args.quick ? { quick: true } : {}),
        ...fields,
      };
      process.stderr.write(`${formatTable(table)}\n`);
      if (args.write) {
        const folder = args.out ?? path.join(import.meta.dirname, "results");
        mkdirSync(folder, { recursive: true });
        const name = args.dataset === undefined ? bench : `${bench}-${args.dataset}`;
        writeFileSync(path.join(folder, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
      }
      process.stdout.write(`${JSON.stringify(result)}\n`);
    },
  };
}

/** Column headings and cells. Numbers are aligned to the right. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
}

export function formatTable({ title, columns, rows }: Table): string {
  const cells = [columns, ...rows.map((row) => row.map((cell) => (cell === null ? "-" : String(cell))))];
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => row[at]!.length)));
  const isText = columns.map((_, at) => rows.some((row) => typeof row[at] === "string"));
  const lines = cells.map((row) =>
    row
      .map((cell, at) => (isText[at] ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join("  ")
      .trimEnd(),
  );
  return [title, lines[0], widths.map((width) => "-".repeat(width)).join("  "), ...lines.slice(1)].join("\n");
}

/** Cores and model of this machine, and the runtime the figures come from. */
export function machine(): { readonly cores: number; readonly cpu: string; readonly node: string } {
  return { cores: os.availableParallelism(), cpu: os.cpus()[0]?.model.trim() ?? "unknown", node: process.version };
}

/** The checked-out commit, "-dirty" where tracked files differ from it; "none" outside a repository or before the first. */
function commit(): string {
  const git = (...args: readonly string[]): string =>
    execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") === "" ? "" : "-dirty");
  } catch {
    return "none";
  }
}

/** Value below which a share of the values lies, interpolated between neighbours. @throws RangeError when there is none */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError("a percentile of nothing");
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at % 1);
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A number as it is reported. */
export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Milliseconds of each of `times` runs, after `warmUp` runs that do not count. */
export async function timed(
  run: () => unknown,
  { times, warmUp }: { times: number; warmUp: number },
): Promise<number[]> {
  for (let at = 0; at < warmUp; at += 1) await run();
  const elapsed: number[] = [];
  for (let at = 0; at < times; at += 1) {
    const start = performance.now();
    await run();
    elapsed.push(performance.now() - start);
  }
  return elapsed;
}

/** Resamples drawn for an interval. */
const RESAMPLES = 2000;

/** The mean over users and its percentile bootstrap interval (Efron 1979): users are drawn with replacement. */
export function bootstrapMean(values: readonly number[], seed = "bootstrap"): { mean: number; interval: Interval } {
  const random = seededRandom(seed);
  const means = Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (let at = 0; at < values.length; at += 1) sum += values[Math.floor(random() * values.length)]!;
    return sum / values.length;
  });
  return { mean: mean(values), interval: [percentile(means, 0.025), percentile(means, 0.975)] };
}

/** The median and its percentile bootstrap interval: values are drawn with replacement. */
export function bootstrapMedian(
  values: readonly number[],
  seed = "bootstrap",
): { readonly value: number; readonly interval: Interval } {
  const random = seededRandom(seed);
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)]!)),
  );
  return { value: median(values), interval: [percentile(medians, 0.025), percentile(medians, 0.975)] };
}
