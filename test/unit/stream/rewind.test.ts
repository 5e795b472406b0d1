import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { attributesOf } from "../../../src/mesh/event/attributes.ts";
import { consumerInfo, ensureTriggerConsumers } from "../../../src/mesh/stream/consumer.ts";
import { EventStore } from "../../../src/mesh/stream/event-store.ts";
import { sequenceAt } from "../../../src/mesh/stream/position.ts";
import { Publisher } from "../../../src/mesh/stream/publish.ts";
import { ensureBrokerStreams } from "../../../src/mesh/stream/stream.ts";
import { consumerName, eventStream } from "../../../src/mesh/stream/subjects.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";

const broker = { namespace: "default", name: "b" };
const stream = eventStream(broker);
let nats: TestNats;
let jsm: JetStreamManager;
let publisher: Publisher;

beforeAll(async () => {
  nats = await startTestNats();
  const { nc } = await nats.connect();
  jsm = await jetstreamManager(nc);
  publisher = new Publisher(nc, systemClock);
  const limits = { replicas: 1, eventAgeMs: 3_600_000, dedupeMs: 1000, journalAgeMs: 3_600_000 };
  await ensureBrokerStreams(jsm, broker, { ...limits, journalBytesMax: 1_000_000 });
  const store = new EventStore({ publisher, clock: systemClock });
  for (let i = 1; i <= 10; i++) {
    const attributes = attributesOf({ specversion: "1.0", id: `${i}`, source: "/s", type: "t" });
    await store.store(broker, { attributes, data: undefined });
  }
});
afterAll(async () => {
  await publisher?.close();
  await nats?.close();
});

const first = { kind: "first" } as const;
const rewind = (sequence: number, at = `2026-01-31T12:00:0${sequence % 10}Z`) => ({ sequence, at });

async function ensure(triggerUid: string, more: Partial<Parameters<typeof ensureTriggerConsumers>[1]>) {
  await ensureTriggerConsumers(jsm, {
    ...{ broker, triggerUid, filters: [], start: undefined, rewind: undefined },
    ...more,
  });
}

/** Acks the next `count` events of the trigger. */
async function settle(triggerUid: string, count: number): Promise<void> {
  const consumer = await jsm.jetstream().consumers.get(stream, consumerName(triggerUid));
  for (let i = 0; i < count; i++) expect(await (await consumer.next({ expires: 5000 }))?.ackAck()).toBe(true);
}

async function owed(triggerUid: string): Promise<number> {
  const info = await consumerInfo(jsm, stream, triggerUid);
  return (info?.num_pending ?? 0) + (info?.num_ack_pending ?? 0);
}

test.each([
  [undefined, 0],
  [{ kind: "new" } as const, 0],
  [first, 10],
  [{ kind: "sequence", sequence: 8 } as const, 3],
  [{ kind: "time", atMs: 0 } as const, 10],
  [{ kind: "time", atMs: Date.UTC(2262, 0, 1) } as const, 0],
])("ensureTriggerConsumers begins a new trigger at %j", async (start, expected) => {
  const uid = `start-${JSON.stringify(start ?? "unsaid").replace(/\W/g, "")}`;
  await ensure(uid, { start });
  expect(await owed(uid)).toBe(expected);
  await ensure(uid, { start: first });
  expect(await owed(uid)).toBe(expected);
});

test("ensureTriggerConsumers rewinds once for each time it is asked", async () => {
  await ensure("again", { start: first });
  await settle("again", 10);
  expect(await owed("again")).toBe(0);
  await ensure("again", { rewind: rewind(4) });
  expect(await owed("again")).toBe(7);
  await settle("again", 7);
  await ensure("again", { rewind: rewind(4) });
  expect(await owed("again")).toBe(0);
  await ensure("again", { rewind: rewind(4, "2026-01-31T12:30:00Z") });
  expect(await owed("again")).toBe(7);
});

test("ensureTriggerConsumers never skips, by a rewind, what is owed", async () => {
  await ensure("owing", { start: first });
  await settle("owing", 2);
  await ensure("owing", { rewind: rewind(9) });
  expect(await owed("owing")).toBe(8);
});

test("ensureTriggerConsumers finishes a rewind that was cut short between the two consumers", async () => {
  await ensure("cut", { start: first });
  await settle("cut", 10);
  await jsm.consumers.delete(stream, consumerName("cut"));
  await ensure("cut", { rewind: rewind(6) });
  expect(await owed("cut")).toBe(5);
  await settle("cut", 5);
  await ensure("cut", { rewind: rewind(6) });
  expect(await owed("cut")).toBe(0);
});

test.each([
  [first, 1],
  [{ kind: "new" } as const, 11],
  [{ kind: "sequence", sequence: 4 } as const, 4],
  [{ kind: "sequence", sequence: 400 } as const, 11],
  [{ kind: "time", atMs: 0 } as const, 1],
  [{ kind: "time", atMs: Date.UTC(2262, 0, 1) } as const, 11],
])("sequenceAt of %j is %i", async (point, expected) => {
  expect(await sequenceAt(jsm, stream, point)).toBe(expected);
});
