/** One user's object in workerd: what is accepted once, kept in order, delivered once, resolved later and erased for good. */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { UserState } from "../../functions/objects/user-state.ts";
import { putItems } from "../../functions/store/items.ts";
import { logStub } from "../../functions/store/subjects.ts";
import { shownList } from "../domain/history/samples.ts";
import { item, newApp } from "../store/new-app.ts";
import {
  DAY,
  MINUTE,
  NOW,
  event,
  newUser,
  openRecords,
  recordInput,
  sealedOf,
  storedText,
  withFailures,
} from "./objects.ts";

const statuses = (result: { outcomes: readonly { status: string }[] }) => result.outcomes.map(({ status }) => status);

describe("reading", () => {
  it("of an unknown user stores nothing", async () => {
    const { stub } = await newUser(await newApp());
    expect(await stub.recall()).toMatchObject({ exists: false, erased: false, subject: "", events: [] });
    expect(await stub.profile()).toBeUndefined();
    expect(await stub.patchProfile({ consent: { training: false } })).toMatchObject({ kind: "unknown-user" });
    await stub.tend(NOW);
    expect(await storedText(stub)).toBe("{}");
  });
});

describe("recording", () => {
  it("accepts an id once, within a call and over calls", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    const first = event({ eventId: "same" });
    expect(statuses(await stub.record(recordInput(app, object, [first, first, event()])))).toEqual([
      "accepted",
      "duplicate",
      "accepted",
    ]);
    expect(statuses(await stub.record(recordInput(app, object, [first])))).toEqual(["duplicate"]);
    expect((await stub.recall()).events).toHaveLength(2);
  });

  it("keeps the newest 200 in order of time, whatever order they come in", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    const order = Array.from({ length: 230 }, (_, i) => (i * 71) % 230);
    for (let at = 0; at < order.length; at += 46)
      await stub.record(
        recordInput(
          app,
          object,
          order
            .slice(at, at + 46)
            .map((n) => event({ eventId: `n${n}`, item: n + 1, occurredAt: NOW - (230 - n) * MINUTE })),
        ),
      );
    const { events, acted } = await stub.recall();
    expect(events.map(({ eventId }) => eventId)).toEqual(Array.from({ length: 200 }, (_, i) => `n${i + 30}`));
    expect(acted).toHaveLength(230); // what was acted on reaches further back than the history
  });

  it("lets skips and impressions never push out what the user liked", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event({ eventId: "liked", type: "like", occurredAt: NOW - DAY })]));
    const noise = Array.from({ length: 400 }, (_, i) =>
      event({ type: i % 2 === 0 ? "skip" : "impression", item: 10 + i }),
    );
    await stub.record(recordInput(app, object, noise));
    const { events } = await stub.recall();
    expect(events[0]!.eventId).toBe("liked");
    expect(events).toHaveLength(51);
  });

  it("remembers hidden items beyond the history", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event({ type: "hide", item: 77, occurredAt: NOW - 20 * DAY })]));
    await stub.record(
      recordInput(
        app,
        object,
        Array.from({ length: 250 }, (_, i) => event({ item: 100 + i })),
      ),
    );
    const { events, acted } = await stub.recall();
    expect(events.some(({ type }) => type === "hide")).toBe(false);
    expect(acted.filter(({ type }) => type === "hide")).toEqual([
      { item: 77, type: "hide", occurredAt: NOW - 20 * DAY },
    ]);
  });

  it("knows an id for 30 days, and longer while its event is in the history", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    const kept = event({ eventId: "kept" });
    const passing = event({ eventId: "passing", type: "impression" });
    await stub.record(recordInput(app, object, [kept, passing]));
    const later = (days: number) => ({ receivedAt: NOW + days * DAY, occurredAt: NOW + days * DAY });
    const again = (days: number) =>
      recordInput(
        app,
        object,
        [
          { ...kept, ...later(days) },
          { ...passing, ...later(days) },
        ],
        { now: NOW + days * DAY },
      );
    expect(statuses(await stub.record(again(29)))).toEqual(["duplicate", "duplicate"]);
    await stub.record(recordInput(app, object, [event(later(31))], { now: NOW + 31 * DAY }));
    expect(statuses(await stub.record(again(31)))).toEqual(["duplicate", "accepted"]);
  });

  it("gives each user another random subject", async () => {
    const app = await newApp();
    const [one, two] = [await newUser(app), await newUser(app)];
    for (const { stub, object } of [one, two]) await stub.record(recordInput(app, object, [event()]));
    const subjects = [(await one.stub.recall()).subject, (await two.stub.recall()).subject];
    for (const subject of subjects) expect(subject).toMatch(/^[0-9a-f]{32}$/);
    expect(subjects[0]).not.toBe(subjects[1]);
  });
});

describe("lists that events bring back", () => {
  it("are logged once, however many events bring the token, and tied to each of them", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    const lists = [shownList()];
    await stub.record(
      recordInput(app, object, [event({ type: "impression", list: 0 }), event({ type: "click", list: 0 })], { lists }),
    );
    await stub.record(recordInput(app, object, [event({ type: "purchase", list: 0 })], { lists }));
    await stub.tend(NOW);
    const records = await openRecords(app);
    expect(records.filter(({ kind }) => kind === "list")).toHaveLength(1);
    expect(records.filter(({ kind }) => kind === "event").map(({ listId }) => listId)).toEqual(
      Array(3).fill(lists[0]!.id),
    );
    expect(records[0]).toMatchObject({ kind: "list", modelVersion: "m_1", items: lists[0]!.items });
  });

  it("of another subject are left out: the event is accepted with list_ignored", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    const lists = [shownList({ subject: "ff".repeat(16) })];
    const { outcomes } = await stub.record(recordInput(app, object, [event({ list: 0 })], { lists }));
    expect(outcomes).toEqual([{ status: "accepted", code: "list_ignored" }]);
    await stub.tend(NOW);
    expect(await openRecords(app)).toMatchObject([{ kind: "event", listId: null, modelVersion: null }]);
  });

  it("of this subject are taken", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event()]));
    const lists = [shownList({ id: "own-list", subject: (await stub.recall()).subject })];
    const { outcomes } = await stub.record(recordInput(app, object, [event({ list: 0 })], { lists }));
    expect(outcomes).toEqual([{ status: "accepted", code: null }]);
  });
});

describe("delivery", () => {
  it("goes by the alarm from acceptance to a sealed segment, its manifest and the counters", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event({ item: 5 }), event({ item: 5, type: "save" })]));
    await runDurableObjectAlarm(stub); // runs it at once, unless it has just run by itself
    const shard = logStub(env, app, 0);
    await vi.waitFor(
      async () => expect(await shard.totals([5])).toEqual([{ item: 5, views: 1, positives: 2, impressions: 0 }]),
      5000,
    );
    expect(await sealedOf(app)).toEqual([]);
    await shard.tend(NOW + 6 * MINUTE);
    const sealed = await sealedOf(app);
    expect(sealed).toHaveLength(1);
    expect(sealed[0]!.key).toBe(`log/app=${app}/day=2026-11-24/shard=000/00000001.ndjson.gz`);
    expect(sealed[0]!.records.map(({ item: number, type }) => [number, type])).toEqual([
      [5, "view"],
      [5, "save"],
    ]);
    expect(sealed[0]!.manifest).toMatchObject({ records: 2, generation: 1 });
    const { subject } = await stub.recall();
    expect(sealed[0]!.records.every((record) => record.subject === subject)).toBe(true);
    expect(await openRecords(app)).toEqual([]);
  });

  it("starts by itself within seconds of acceptance", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event({ item: 6 })]));
    await vi.waitFor(async () => expect(await logStub(env, app, 0).totals([6])).toHaveLength(1), {
      timeout: 5000,
      interval: 100,
    });
  });

  it.each(["before", "after"] as const)(
    "counts once when the process dies %s the log has taken a chunk",
    async (when) => {
      const app = await newApp();
      const { stub, object } = await newUser(app);
      await stub.record(recordInput(app, object, [event({ item: 9 })]));
      await withFailures<UserState>(stub, { binding: "APP_LOG", method: "take", when }, async (instance, sql) => {
        await instance.tend(NOW);
        await instance.tend(NOW);
        expect(sql.exec("SELECT seq FROM outbox").toArray()).toHaveLength(1);
      });
      await stub.tend(NOW);
      expect(await logStub(env, app, 0).totals([9])).toEqual([{ item: 9, views: 1, positives: 1, impressions: 0 }]);
      expect(await openRecords(app)).toHaveLength(1);
      expect(JSON.parse(await storedText(stub))).toMatchObject({ outbox: [] });
    },
  );

  it("splits a large call into several chunks that all arrive", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    const items = Array.from({ length: 100 }, (_, position) => ({
      item: position + 1,
      position,
      slot: "ranked" as const,
      w: 1,
    }));
    const lists = Array.from({ length: 120 }, (_, i) => shownList({ id: `list-${i}`, items }));
    const events = lists.map((_, i) => event({ type: "impression", item: 1, list: i }));
    await stub.record(recordInput(app, object, events, { lists }));
    await stub.tend(NOW);
    expect(await openRecords(app)).toHaveLength(240);
  });
});

describe("items that the catalogue does not know yet", () => {
  it("are kept by their string id and resolved by the alarm once they are there", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(
      recordInput(app, object, [event({ eventId: "early", item: null, itemId: "soon", type: "save" })]),
    );
    expect((await stub.recall()).events).toMatchObject([{ item: null, itemId: "soon" }]);
    await stub.tend(NOW + MINUTE);
    expect((await stub.recall()).events).toMatchObject([{ item: null, itemId: "soon" }]);
    const [put] = await putItems(env, app, [item("soon")], NOW);
    await stub.tend(NOW + 10 * MINUTE);
    const { events, acted } = await stub.recall();
    expect(events).toMatchObject([{ eventId: "early", item: put!.number, itemId: null }]);
    expect(acted).toEqual([{ item: put!.number, type: "save", occurredAt: NOW }]);
  });

  it("are told by a route that knows them", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event({ item: null, itemId: "told" })]));
    await stub.resolve(new Map([["told", 12]]));
    expect((await stub.recall()).events).toMatchObject([{ item: 12, itemId: null }]);
  });

  it("are 50 at most, the oldest dropped", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    const events = Array.from({ length: 60 }, (_, i) =>
      event({ item: null, itemId: `unknown-${i}`, occurredAt: NOW - (60 - i) * MINUTE }),
    );
    await stub.record(recordInput(app, object, [event({ item: 3 }), ...events]));
    const kept = (await stub.recall()).events;
    expect(kept.filter((entry) => entry.item === null).map(({ itemId }) => itemId)).toEqual(
      Array.from({ length: 50 }, (_, i) => `unknown-${i + 10}`),
    );
    expect(kept.some((entry) => entry.item === 3)).toBe(true);
  });
});

describe("consent", () => {
  it("is part of what recall gives, and of every log record from then on", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event()]));
    expect(
      await stub.patchProfile({
        consent: { training: false, personalization: false },
        attributes: { region: "north", age: 30 },
      }),
    ).toMatchObject({ kind: "done" });
    expect(await stub.patchProfile({ controls: { lessMachineMade: true }, attributes: { age: null } })).toMatchObject({
      kind: "done",
    });
    const many = Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`a${at}`, at]));
    expect(await stub.patchProfile({ attributes: many })).toMatchObject({ kind: "too-many-attributes" });
    await stub.record(recordInput(app, object, [event()]));
    await stub.tend(NOW);
    expect((await stub.recall()).consent).toEqual({
      personalization: false,
      training: false,
      generatedText: true,
      policyVersion: null,
    });
    expect((await stub.recall()).controls.lessMachineMade).toBe(true);
    expect((await stub.profile())!.attributes).toEqual({ region: "north" });
    expect((await openRecords(app)).map(({ consentTraining }) => consentTraining)).toEqual([1, 0]);
  });
});

describe("erasure of the object", () => {
  it("leaves a tombstone and nothing else, drops what was not delivered, and refuses late events for good", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event({ eventId: "secret-event", text: "a private remark" })]));
    const { subject } = await stub.recall();
    expect(await stub.erase(NOW + MINUTE)).toBe(subject);
    expect(JSON.parse(await storedText(stub))).toEqual({ tombstone: [{ erased_at: NOW + MINUTE }] });
    const late = await stub.record(
      recordInput(app, object, [event({ eventId: "secret-event" }), event({ occurredAt: NOW + DAY })]),
    );
    expect(late.outcomes).toEqual([
      { status: "rejected", code: "erased" },
      { status: "rejected", code: "erased" },
    ]);
    await stub.tend(NOW + DAY);
    expect(await stub.recall()).toMatchObject({ exists: false, erased: true, subject: "", events: [] });
    expect(await stub.patchProfile({ consent: { training: true } })).toMatchObject({ kind: "unknown-user" });
    expect(JSON.parse(await storedText(stub))).toEqual({ tombstone: [{ erased_at: NOW + MINUTE }] });
    expect(await runInDurableObject(stub, (_instance, state) => state.storage.getAlarm())).toBeNull();
  });

  it("can be repeated", async () => {
    const app = await newApp();
    const { stub, object } = await newUser(app);
    await stub.record(recordInput(app, object, [event()]));
    await stub.erase(NOW);
    expect(await stub.erase(NOW + DAY)).toBeUndefined();
    expect(JSON.parse(await storedText(stub))).toEqual({ tombstone: [{ erased_at: NOW }] });
  });
});
