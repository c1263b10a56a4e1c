/** What follows from an attempt: the specification's table, Retry-After in its forms, and bounds that hold for any draw. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseHttpDate, retryAfterSeconds } from "../../../functions/domain/webhooks/retry-after.ts";
import {
  JITTER,
  MAX_WAIT_SECONDS,
  RETRY_SCHEDULE_SECONDS,
  judgeAttempt,
  type AttemptOutcome,
} from "../../../functions/domain/webhooks/retry.ts";

const NOW = Date.UTC(2026, 10, 24, 12);
const answered = (status: number, retryAfter: string | null = null): AttemptOutcome => ({
  kind: "answered",
  status,
  retryAfter,
});
const judge = (attempts: number, outcome: AttemptOutcome, random = 0) =>
  judgeAttempt(attempts, outcome, { nowMs: NOW, random });

describe("an attempt", () => {
  it("follows the specification's schedule: ten attempts in 75 h 35 min 5 s, then none", () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((attempts) => judge(attempts, answered(500)));
    const seconds = waits.map((verdict) => (verdict.kind === "retry" ? verdict.waitMs / 1000 : Number.NaN));
    expect(seconds).toEqual([5, 5 * 60, 30 * 60, ...[2, 5, 10, 14, 20, 24].map((hours) => hours * 3600)]);
    expect(seconds.reduce((sum, each) => sum + each)).toBe((75 * 60 + 35) * 60 + 5);
    expect(judge(10, answered(500))).toEqual({ kind: "dead", shouldThrottle: false });
    expect(judge(11, answered(503))).toEqual({ kind: "dead", shouldThrottle: true });
  });

  it("is a success from 200 to 299 and nowhere else", () => {
    for (let status = 100; status <= 599; status++) {
      const expected = status >= 200 && status <= 299 ? "delivered" : status === 410 ? "endpoint-gone" : "retry";
      expect(judge(1, answered(status)).kind, String(status)).toBe(expected);
    }
    expect(judge(10, answered(204)).kind).toBe("delivered");
    expect(judge(10, answered(410)).kind).toBe("endpoint-gone");
  });

  it("slows an endpoint down that says it is overloaded", () => {
    const throttling = [400, 401, 404, 408, 429, 500, 501, 502, 503, 504].filter((status) => {
      const verdict = judge(1, answered(status));
      return verdict.kind === "retry" && verdict.shouldThrottle;
    });
    expect(throttling).toEqual([429, 502, 503, 504]);
  });

  it.each(["network", "timeout", "target-refused", "target-unresolved"] as const)(
    "is tried again after: %s",
    (fault) => {
      expect(judge(1, { kind: "unanswered", fault })).toEqual({ kind: "retry", waitMs: 5000, shouldThrottle: false });
      expect(judge(10, { kind: "unanswered", fault }).kind).toBe("dead");
    },
  );

  it("waits as long as it was asked to, but not more than a day, and never less than its own step", () => {
    const waitOf = (attempts: number, retryAfter: string) => {
      const verdict = judge(attempts, answered(429, retryAfter));
      return verdict.kind === "retry" ? verdict.waitMs / 1000 : Number.NaN;
    };
    expect(waitOf(1, "120")).toBe(120);
    expect(waitOf(2, "120")).toBe(300);
    expect(waitOf(1, "Tue, 24 Nov 2026 12:10:00 GMT")).toBe(600);
    expect(waitOf(1, "Tue, 24 Nov 2026 11:00:00 GMT")).toBe(5);
    expect(waitOf(1, "99999999999999999999")).toBe(MAX_WAIT_SECONDS);
    expect(waitOf(1, "Fri, 24 Nov 2226 12:10:00 GMT")).toBe(MAX_WAIT_SECONDS);
    expect(waitOf(1, "soon")).toBe(5);
    expect(waitOf(1, "-5")).toBe(5);
  });

  it("is spread by jitter within its bounds, for any draw", () => {
    const draws = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), draws, fc.nat({ max: 200_000 }), (attempts, random, asked) => {
        const step = RETRY_SCHEDULE_SECONDS[attempts]!;
        const plain = judge(attempts, answered(500), random);
        const told = judge(attempts, answered(503, String(asked)), random);
        if (plain.kind !== "retry" || told.kind !== "retry") throw new Error("must retry");
        expect(plain.waitMs).toBeGreaterThanOrEqual(step * (1 - JITTER) * 1000);
        expect(plain.waitMs).toBeLessThanOrEqual(step * 1000);
        expect(told.waitMs).toBeGreaterThanOrEqual(Math.min(asked, MAX_WAIT_SECONDS) * 1000);
        expect(told.waitMs).toBeLessThanOrEqual(MAX_WAIT_SECONDS * 1000);
        expect(Number.isInteger(plain.waitMs) && Number.isInteger(told.waitMs)).toBe(true);
      }),
    );
    expect(judge(1, answered(500), 0.5)).toMatchObject({ waitMs: 4500 });
  });

  it("takes another schedule, and refuses draws and counts out of bounds", () => {
    const options = { nowMs: NOW, random: 0, scheduleSeconds: [0, 1] };
    expect(judgeAttempt(1, answered(500), options)).toMatchObject({ kind: "retry", waitMs: 1000 });
    expect(judgeAttempt(2, answered(500), options).kind).toBe("dead");
    for (const random of [-0.1, 1, Number.NaN]) expect(() => judge(1, answered(500), random)).toThrow(RangeError);
    for (const attempts of [0, 1.5, Number.NaN]) expect(() => judge(attempts, answered(500))).toThrow(RangeError);
  });
});

describe("an HTTP-date", () => {
  it("reads the three forms of RFC 9110, section 5.6.7", () => {
    const expected = Date.UTC(1994, 10, 6, 8, 49, 37);
    for (const text of [
      "Sun, 06 Nov 1994 08:49:37 GMT",
      "Sunday, 06-Nov-94 08:49:37 GMT",
      "Sun Nov  6 08:49:37 1994",
    ]) {
      expect(parseHttpDate(text, NOW), text).toBe(expected);
    }
  });

  it("takes a two-digit year for the one that is at most 50 years ahead", () => {
    const yearOf = (digits: string) =>
      new Date(parseHttpDate(`Sunday, 06-Nov-${digits} 08:49:37 GMT`, NOW)!).getUTCFullYear();
    expect(["26", "76", "77", "99", "00"].map(yearOf)).toEqual([2026, 2076, 1977, 1999, 2000]);
  });

  it("is what toUTCString writes", () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), max: new Date("9999-12-31"), noInvalidDate: true }), (date) => {
        const seconds = Math.floor(date.getTime() / 1000);
        expect(parseHttpDate(date.toUTCString(), NOW)).toBe(seconds * 1000);
      }),
    );
  });

  it.each([
    "2026-11-24T12:00:00Z",
    "Tue, 24 Nov 2026 12:00:00 UTC",
    "Tue, 24 nov 2026 12:00:00 GMT",
    "Tue, 31 Feb 2026 12:00:00 GMT",
    "Tue, 24 Nov 2026 24:00:00 GMT",
    "Tue, 00 Nov 2026 12:00:00 GMT",
    "1.5",
    "120, 60",
    "+5",
    "",
  ])("is not %j", (text) => {
    expect(retryAfterSeconds(text, NOW)).toBeUndefined();
  });

  it("leaves a missing header undefined and the past at 0", () => {
    expect(retryAfterSeconds(null, NOW)).toBeUndefined();
    expect(retryAfterSeconds(" 7 ", NOW)).toBe(7);
    expect(retryAfterSeconds(new Date(NOW - 5000).toUTCString(), NOW)).toBe(0);
    expect(retryAfterSeconds(new Date(NOW).toUTCString(), NOW - 500)).toBe(1);
  });
});
