import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FakeClock, systemClock } from "../../../src/mesh/clock.ts";
import { Counters } from "../../../src/mesh/journal/counters.ts";
import { Publisher } from "../../../src/mesh/stream/publish.ts";
import { ensureCounterStream } from "../../../src/mesh/stream/stream.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";

let nats: TestNats;
beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats.close());

async function startCounters(clock = systemClock) {
  const { nc } = await nats.connect("counters");
  const jsm = await jetstreamManager(nc);
  await ensureCounterStream(jsm, 1);
  const publisher = new Publisher(nc, clock);
  return { counters: new Counters({ publisher, jsm, clock: systemClock }), publisher };
}

test("counters add up, over processes and turns", async () => {
  const [one, other] = [await startCounters(), await startCounters()];
  for (let i = 0; i < 30; i++) {
    one.counters.add(`t${i}`, "delivered", i);
    other.counters.add(`t${i}`, "delivered");
  }
  await other.counters.close();
  const uids = Array.from({ length: 30 }, (_, i) => `t${i}`);
  const totals = await one.counters.read(uids, ["delivered", "dead"]);
  expect(uids.map((uid) => totals.of(uid, "delivered"))).toEqual(uids.map((_, i) => i + 1));
  expect(totals.of("t1", "dead")).toBe(0);
  await one.counters.close();
});

test("an increment whose acknowledgement comes too late counts once, and those after it too", async () => {
  const clock = new FakeClock();
  const { counters, publisher } = await startCounters(clock);
  const pid = nats.server.pidNow() ?? Number.NaN;
  process.kill(pid, "SIGSTOP");
  counters.add("late", "delivered", 3);
  const flushing = counters.flush();
  // The sweep of the publisher gives the increment up; it is on its way all the same.
  await clock.advance(6000);
  await flushing;
  counters.add("late", "delivered", 4);
  process.kill(pid, "SIGCONT");
  expect((await counters.read(["late"], ["delivered"])).of("late", "delivered")).toBe(7);
  await counters.close();
  await publisher.close();
});
