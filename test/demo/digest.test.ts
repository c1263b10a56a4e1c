/** The whole world as files: pinned by a digest, equal for equal seeds, and movable to today. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { offsetToYesterday, shiftToYesterday } from "../../demo/calendar.ts";
import { WORLD_DIGEST, makeWorld } from "../../demo/world.ts";
import { worldDigest, writeWorld } from "../../demo/write-world.ts";

const folder = mkdtempSync(path.join(tmpdir(), "larder-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the written world", () => {
  it("has the pinned digest at default seed and size", { timeout: 120_000 }, () => {
    const files = writeWorld(makeWorld(), path.join(folder, "default"));
    expect(worldDigest(files)).toBe(WORLD_DIGEST);
    const truth = JSON.parse(readFileSync(path.join(folder, "default/truth.json"), "utf8"));
    expect(truth.users.rows.length).toBe(3000);
    expect(truth.hidden.items.length).toBe(2400);
    expect(truth.nearDuplicates.length).toBeGreaterThan(120);
    expect(Object.keys(truth.complements).length).toBeGreaterThan(800);
    expect(Object.keys(truth.dialogues).length).toBe(1000);
  });

  it("is the same for the same seed and another for another, at any scale", { timeout: 60_000 }, () => {
    const digest = (seed: number, name: string): string =>
      worldDigest(writeWorld(makeWorld({ seed, scale: 0.1 }), path.join(folder, name)));
    expect(digest(5, "a")).toBe(digest(5, "b"));
    expect(digest(6, "c")).not.toBe(digest(5, "a"));
  });

  it("refuses a scale that makes no world", () => {
    expect(() => makeWorld({ scale: 0 })).toThrow(RangeError);
    expect(() => makeWorld({ scale: Number.NaN })).toThrow(RangeError);
  });
});

describe("moving the world's days", () => {
  it("puts the last day on yesterday and keeps the clock", () => {
    const now = Date.parse("2026-11-24T09:30:00Z");
    const rows = [
      { id: "e", occurredAt: "2026-04-30T18:15:02Z" },
      { id: "f", occurredAt: "2026-01-01T07:00:00Z" },
    ];
    const moved = shiftToYesterday(rows, now);
    expect(moved[0]).toEqual({ id: "e", occurredAt: "2026-11-23T18:15:02Z" });
    expect(moved[1]!.occurredAt).toBe("2026-07-27T07:00:00Z");
    expect(offsetToYesterday(now) % 86_400_000).toBe(0);
  });
});
