import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judge, MOST_LOSS } from "../../../functions/domain/jobs/gate.ts";
import {
  isFinal,
  JOB_STATUSES,
  type JobState,
  LEASE_MS,
  MAX_ATTEMPTS,
  nextStep,
  TRANSITIONS,
} from "../../../functions/domain/jobs/job.ts";
import { dueRequest } from "../../../functions/domain/jobs/policy.ts";
import { isInCanary, judgeCanary, LOOK_MS, SHARES } from "../../../functions/domain/experiments/canary.ts";
import { NO_USERS } from "../../../functions/domain/experiments/sequential.ts";
import { DAY_MS } from "../../../functions/domain/history/event-time.ts";

const NOW = 1_700_000_000_000;
const job = (more: Partial<JobState>): JobState => ({
  status: "queued",
  attempts: 1,
  leaseUntil: null,
  cancelRequestedAt: null,
  canary: null,
  ...more,
});

describe("a job", () => {
  it("waits while its lease is good, goes back when it ends, and fails after the fifth", () => {
    const held = job({ status: "running", leaseUntil: NOW + LEASE_MS });
    expect(nextStep(held, NOW)).toEqual({ kind: "wait", untilMs: NOW + LEASE_MS });
    expect(nextStep(held, NOW + LEASE_MS)).toEqual({ kind: "requeue" });
    const last = { ...held, attempts: MAX_ATTEMPTS };
    expect(nextStep(last, NOW + LEASE_MS)).toEqual({ kind: "fail", reason: "5 trainers fell silent" });
  });

  it("is cancelled at once where nobody holds it", () => {
    const asked = { cancelRequestedAt: NOW } as const;
    expect(nextStep(job(asked), NOW)).toEqual({ kind: "cancel" });
    expect(nextStep(job({ ...asked, status: "canary" }), NOW)).toEqual({ kind: "cancel" });
    expect(nextStep(job({ ...asked, status: "running", leaseUntil: NOW + 1 }), NOW)).toMatchObject({ kind: "wait" });
    expect(nextStep(job({ ...asked, status: "promoted" }), NOW)).toEqual({ kind: "finished" });
  });

  it("is shown to some first only where that was asked for", () => {
    expect(nextStep(job({ status: "gated" }), NOW)).toEqual({ kind: "promote" });
    const canary = { share: 0.1, days: 1 };
    expect(nextStep(job({ status: "gated", canary }), NOW)).toEqual({ kind: "start-canary" });
  });

  it("has an end that every state leads to, and nothing after it", () => {
    const reaches = (status: JobState["status"], seen = new Set<string>()): boolean =>
      isFinal(status) ||
      (!seen.has(status) && TRANSITIONS[status].some((next) => reaches(next, new Set([...seen, status]))));
    for (const status of JOB_STATUSES) expect([status, reaches(status)]).toEqual([status, true]);
    expect(JOB_STATUSES.filter(isFinal)).toEqual(["promoted", "rejected", "failed", "cancelled"]);
  });
});

describe("the gate", () => {
  const SERVING = "m_0123456789ab";
  const ndcg10 = (low: number, high: number) => ({ difference: (low + high) / 2, interval: [low, high], users: 500 });
  const evidence = (report: object, serving: string | null = SERVING) => ({
    refusals: [],
    deviation: 1e-6,
    report,
    serving,
  });
  const failed = (report: object, serving: string | null = SERVING) =>
    judge(evidence(report, serving)).checks.filter(({ isPassed }) => !isPassed);

  it("passes a model that is not worse, and one that nothing serves beside", () => {
    expect(judge(evidence({ comparedTo: SERVING, ndcg10: ndcg10(-MOST_LOSS, 0.01) })).isPassed).toBe(true);
    expect(judge(evidence({ comparedTo: null, ndcg10: null }, null)).isPassed).toBe(true);
  });

  it("refuses what may be worse, what was not compared, what was compared with another, and no report", () => {
    expect(failed({ comparedTo: SERVING, ndcg10: ndcg10(-0.0011, 0.01) })).toMatchObject([{ name: "ranking" }]);
    expect(failed({ comparedTo: SERVING, ndcg10: null })).toMatchObject([
      { detail: expect.stringContaining("no paired") },
    ]);
    expect(failed({ comparedTo: null, ndcg10: null })).toMatchObject([{ detail: expect.stringContaining("nothing") }]);
    expect(failed({ comparedTo: "m_other", ndcg10: ndcg10(0, 1) })).toMatchObject([{ name: "ranking" }]);
    expect(failed({})).toMatchObject([{ name: "report" }]);
  });

  it("refuses a slice that is surely worse, and not one that may be", () => {
    const slices = [
      { slice: "tail", ndcg10: ndcg10(-0.03, -0.001) },
      { slice: "new items", ndcg10: ndcg10(-0.03, 0.001) },
    ];
    expect(failed({ comparedTo: SERVING, ndcg10: ndcg10(0, 0.01), slices })).toMatchObject([{ name: "slice tail" }]);
  });

  it("lists the artefact's own faults", () => {
    const decision = judge({ ...evidence({ comparedTo: null, ndcg10: null }, null), refusals: ["codes.bin: sha256"] });
    expect(decision).toMatchObject({
      isPassed: false,
      checks: [{ name: "artefact", detail: "codes.bin: sha256" }, {}],
    });
  });
});

describe("a policy", () => {
  const HOUR_MS = 3_600_000;
  const since = { policyAt: NOW, lastJobAt: null, records: 0, isOpen: false };
  const both = { everyHours: 24, afterEvents: 1000 };

  it("asks after its hours, counted from the last job or from when it was written", () => {
    expect(dueRequest(both, since, NOW + 24 * HOUR_MS - 1)).toBeNull();
    expect(dueRequest(both, since, NOW + 24 * HOUR_MS)).toMatchObject({ source: "schedule", reason: "every 24 hours" });
    const later = { ...since, lastJobAt: NOW + HOUR_MS };
    expect(dueRequest(both, later, NOW + 24 * HOUR_MS)).toBeNull();
    expect(dueRequest(both, { ...since, lastJobAt: NOW - 100 * HOUR_MS }, NOW + HOUR_MS)).toBeNull();
  });

  it("asks after its events, and not while a job is open or where it is switched off", () => {
    const enough = { ...since, records: 1000 };
    expect(dueRequest(both, enough, NOW)).toMatchObject({ source: "events" });
    expect(dueRequest(both, { ...enough, records: 999 }, NOW)).toBeNull();
    expect(dueRequest(both, { ...enough, isOpen: true }, NOW + 99 * HOUR_MS)).toBeNull();
    expect(dueRequest({ everyHours: null, afterEvents: null }, enough, NOW + 99 * HOUR_MS)).toBeNull();
  });
});

describe("a canary", () => {
  it("is seen by about its share of users, always the same ones, and by others for another model", () => {
    const users = Array.from({ length: 4000 }, (_, at) => `user ${at}`);
    const chosen = (model: number, share: number) => users.filter((user) => isInCanary(user, model, share));
    const tenth = chosen(3, SHARES / 10);
    expect(tenth.length / users.length).toBeGreaterThan(0.08);
    expect(tenth.length / users.length).toBeLessThan(0.12);
    expect(chosen(3, SHARES / 10)).toEqual(tenth);
    const both = chosen(4, SHARES / 10).filter((user) => tenth.includes(user));
    expect(both.length).toBeLessThan(tenth.length / 4);
    expect(chosen(3, 0)).toEqual([]);
    // a larger share keeps those who saw it before
    const larger = new Set(chosen(3, SHARES / 5));
    expect(tenth.filter((user) => !larger.has(user))).toEqual([]);
  });

  it("is looked at again in five minutes, or at its end if that is sooner", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.02, max: 30, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (days, part) => {
          const now = NOW + Math.floor(part * days * DAY_MS * 0.999);
          const verdict = judgeCanary({ canary: NO_USERS, serving: NO_USERS }, NOW, days, now);
          expect(verdict).toMatchObject({ kind: "go-on", untilMs: Math.min(now + LOOK_MS, NOW + days * DAY_MS) });
        },
      ),
    );
    const over = judgeCanary({ canary: NO_USERS, serving: NO_USERS }, NOW, 1, NOW + DAY_MS);
    expect(over).toMatchObject({ kind: "passed", seen: { kind: "too-few" } });
  });
});
