/** The Open Bandit sample logs (ZOZO; Saito et al. 2020): recommendations of a fashion shop with their true propensities. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { DEFAULT_DATA } from "../../../cli/settings.ts";
import { ImpressionLog } from "../../../functions/domain/evaluation/impression-log.ts";
import { evaluatePolicy } from "../../../functions/domain/evaluation/off-policy.ts";
import { OPEN, valuesOf, vectors } from "./vectors.ts";

const PACK = path.join(DEFAULT_DATA, "open-bandit-sample.tar.xz");
const READ_LIMIT_BYTES = 16 * 2 ** 20;

/** Bytes of a log in the pack; the vectors name it by its path in the source repository, `obd/...`. */
function read(file: string): Buffer {
  const member = file.replace(/^obd/, "open-bandit-sample");
  return execFileSync("tar", ["-xJOf", PACK, member], { maxBuffer: READ_LIMIT_BYTES });
}

/** Columns 2 to 5 are item, position, click, propensity. The log names no users: each impression counts as one. */
function parse(file: Buffer) {
  const [header, ...lines] = file.toString("utf8").trimEnd().split("\n");
  expect(header!.split(",").slice(2, 6)).toEqual(["item_id", "position", "click", "propensity_score"]);
  const column = (at: number) => Float64Array.from(lines, (line) => Number(line.split(",", at + 1)[at]));
  const columns = { position: column(3), reward: column(4), propensity: column(5) };
  return { ...columns, cluster: lines.map((_, row) => `${row}`), items: column(2) };
}

function isServed<T extends { file: string }>(log: T): log is Extract<T, { expected: object }> {
  return "expected" in log;
}

describe.skipIf(!existsSync(PACK))("the Open Bandit logs (skipped where shared/data lacks the pack)", () => {
  it.each(vectors.logs)("$file is the file of the vectors", (log) => {
    const bytes = read(log.file);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(log.sha256);
    expect(bytes.length).toBe(log.bytes);
    const { items, position, reward, propensity } = parse(bytes);
    expect(reward).toHaveLength(log.rows);
    expect(new Set(items).size).toBe(log.actions);
    expect(new Set(position).size).toBe(log.positions);
    expect(reward.reduce((sum, click) => sum + click, 0)).toBe(log.clicks);
    expect(Math.min(...propensity)).toBe(log.propensity_min);
    expect(Math.max(...propensity)).toBe(log.propensity_max);
  });

  const uniformOn = (file: string, actions: number, meanClick: number) => {
    const { cluster, position, reward, propensity } = parse(read(file));
    const constant = (value: number) => new Float64Array(reward.length).fill(value);
    const log = new ImpressionLog({ cluster, position, reward, propensity, predicted: constant(meanClick) });
    return { log, target: { probability: constant(1 / actions), baseline: constant(meanClick) } };
  };

  it.each(vectors.logs.filter(isServed))("$file: estimates of the uniform policy", (log) => {
    const { log: impressions, target } = uniformOn(log.file, log.actions, log.mean_click);
    const evaluation = evaluatePolicy(impressions, target, { thresholds: OPEN, resamples: 10 });
    const values = valuesOf(evaluation);
    const { weights } = evaluation;
    const { expected } = log;
    expect(values["ips"]).toBeCloseTo(expected.ipw, 11);
    expect(values["snips"]).toBeCloseTo(expected.snipw, 11);
    expect(values["clipped-ips"]).toBeCloseTo(expected.ipw_clip_10, 11);
    expect(values["dm"]).toBeCloseTo(expected.dm, 11);
    expect(values["dr"]).toBeCloseTo(expected.dr, 11);
    expect(values["sndr"]).toBeCloseTo(expected.sndr, 11);
    expect(values["switch-dr"]).toBeCloseTo(expected.switch_dr_tau_10, 11);
    expect(values["dr-os"]).toBeCloseTo(expected.dr_os_lambda_10, 11);
    expect(weights.meanWeight).toBeCloseTo(expected.mean_weight, 10);
    expect(weights.effectiveSampleSize).toBeCloseTo(expected.ess, 9);
    expect(weights.maxWeight).toBeCloseTo(expected.max_weight, 9);
    expect(impressions.under(target).w.filter((w) => w > 10)).toHaveLength(expected.weights_above_10);
    expect(evaluatePolicy(impressions, target).kind).toBe(log.serve ? "estimated" : "refused");
  });

  it("the women log gets no estimate: ESS 2.08", () => {
    const { log, target } = uniformOn("obd/bts/women/women.csv", 46, 0.0046);
    const evaluation = evaluatePolicy(log, target);
    expect(evaluation).toMatchObject({
      kind: "refused",
      reason: "ESS 2.08 is under 100; mean weight 3.13 is over 2; ESS by user 2.08 is under 20",
    });
    expect(JSON.stringify(evaluation)).not.toMatch(/estimate|interval|"value"/);
  });

  it("the men log's intervals hold what the uniform policy really earned, unless they lean on the prediction", () => {
    const men = vectors.logs.filter(isServed).find(({ serve }) => serve)!;
    const { log, target } = uniformOn(men.file, men.actions, men.mean_click);
    const evaluation = evaluatePolicy(log, target);
    if (evaluation.kind === "refused") throw new Error(evaluation.reason);
    const holding = evaluation.estimates.filter(
      ({ interval: [low, high] }) => low < men.on_policy_truth.value && high > men.on_policy_truth.value,
    );
    const names = holding.map(({ estimator }) => estimator.name);
    // the constant prediction is what the logging policy earned, half as much again; dm and dr-os stay near it
    expect(names).toEqual(["ips", "snips", "clipped-ips", "dr", "sndr", "switch-dr"]);
    for (const { value, interval } of holding) {
      expect(interval[0]).toBeLessThan(value);
      expect(interval[1]).toBeGreaterThan(value);
    }
  });

  it.each(vectors.logs.filter((log) => !isServed(log)))("$file: on its own policy all agree", (log) => {
    const { log: impressions, target } = uniformOn(log.file, log.actions, log.mean_click);
    const values = valuesOf(evaluatePolicy(impressions, target, { resamples: 10 }));
    expect(Object.keys(values)).toHaveLength(8);
    for (const value of Object.values(values)) expect(value).toBeCloseTo(log.mean_click, 12);
  });
});
