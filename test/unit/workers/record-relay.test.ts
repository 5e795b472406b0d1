import { expect, test } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import type { JournalRecord } from "../../../src/mesh/journal/record.ts";
import type { FromWorker } from "../../../src/mesh/workers/messages.ts";
import { RecordRelay } from "../../../src/mesh/workers/record-relay.ts";

function record(id: number): JournalRecord {
  const at = "2026-01-01T00:00:00.000Z";
  return { kind: "unmatched", broker: "default/default", id: `${id}`, type: "t", source: "/s", at };
}

function toldIn(message: FromWorker | undefined) {
  return message?.kind === "records" ? { told: message.records.length, missed: message.missed } : undefined;
}

test("RecordRelay flush waits for the message under way and tells the rest at once", async () => {
  const clock = new FakeClock();
  const sent: FromWorker[] = [];
  const relay = new RecordRelay({
    clock,
    send: async (message) => {
      sent.push(message);
    },
  });
  relay.add(record(1));
  await clock.advance(50);
  relay.add(record(2));
  relay.add(record(3));
  await relay.flush();
  expect(sent.map(toldIn)).toEqual([
    { told: 1, missed: 0 },
    { told: 2, missed: 0 },
  ]);
  await clock.advance(1000);
  expect(sent.length).toBe(2);
});

test("RecordRelay tells what a person could read and counts the rest, one message at a time", async () => {
  const clock = new FakeClock();
  const sent: FromWorker[] = [];
  let accept = () => {};
  const relay = new RecordRelay({
    clock,
    send: (message) => {
      sent.push(message);
      return new Promise((resolve) => {
        accept = resolve;
      });
    },
  });
  for (let id = 0; id < 120; id++) relay.add(record(id));
  await clock.advance(50);
  expect(sent.map(toldIn)).toEqual([{ told: 50, missed: 70 }]);
  for (let id = 0; id < 60; id++) relay.add(record(id));
  await clock.advance(1000);
  expect(sent.length).toBe(1);
  accept();
  await clock.advance(0);
  await clock.advance(50);
  expect(sent.slice(1).map(toldIn)).toEqual([{ told: 50, missed: 10 }]);
});
