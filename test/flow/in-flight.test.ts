import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/mesh/clock.ts";
import { type DataPlane, startDataPlane, type TestDispatcher } from "../support/data-plane.ts";
import { gate } from "../support/gate.ts";
import { type Inbox, type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

const ackWaitMs = 1500;

function at({ url: uri }: Inbox) {
  return { kind: "url", uri } as const;
}

function policy(wishes: { backoffDelayMs: number; retryMax?: number }) {
  return {
    retryMax: 10,
    backoffPolicy: "linear",
    timeoutMs: 60_000,
    retryAfterMaxMs: 3_600_000,
    format: undefined,
    ...wishes,
  } as const;
}

async function storeMany(
  plane: DataPlane,
  type: string,
  { count, data }: { count: number; data?: Uint8Array },
) {
  const events = Array.from({ length: count }, (_, i) => ({ id: `${type}-${i}`, type }));
  await Promise.all(
    events.map((event) => plane.store({ ...event, ...(data === undefined ? {} : { data }) })),
  );
}

describe("a dispatcher", () => {
  let plane: DataPlane;
  let subscriber: Subscriber;
  let dispatcher: TestDispatcher;
  beforeAll(async () => {
    plane = await startDataPlane({ ackWaitMs });
    subscriber = await startSubscriber();
    dispatcher = await plane.dispatcher();
  });
  afterAll(async () => {
    await plane.close();
    await subscriber.close();
  });

  test("delivers the next good event past a thousand in a long back-off", async () => {
    const inbox = subscriber.inbox("poison", ({ id }) => (id === "good" ? 204 : 500));
    const trigger = await plane.trigger("poison", {
      subscriber: at(inbox),
      policy: policy({ backoffDelayMs: 3_600_000 }),
    });
    await storeMany(plane, "poison", { count: 1000 });
    await until(() => inbox.received.length === 1000 && dispatcher.inFlight(trigger.uid) === 0);
    await plane.store({ id: "good", type: "poison" });
    await until(() => inbox.accepted().includes("good"));
    expect(inbox.received.length).toBe(1001);
  });

  test("leaves nine triggers undisturbed by a tenth whose subscriber takes its time", async () => {
    const slow = gate();
    const slowInbox = subscriber.inbox("slow", () => slow.pass(204));
    const slowTrigger = await plane.trigger("slow", { subscriber: at(slowInbox) });
    await storeMany(plane, "slow", { count: 300 });
    await until(() => slow.waiting === slowTrigger.concurrency, {
      what: "the slow trigger's window is full",
    });
    const quick: Inbox[] = [];
    for (let i = 0; i < 9; i++) {
      const inbox = subscriber.inbox(`quick${i}`);
      await plane.trigger(`quick${i}`, { subscriber: at(inbox) });
      quick.push(inbox);
    }
    await Promise.all(quick.map((_, i) => storeMany(plane, `quick${i}`, { count: 100 })));
    await until(() => quick.every((inbox) => inbox.accepted().length === 100));
    expect(slowInbox.accepted()).toEqual([]);
    slow.open();
    await until(() => slowInbox.accepted().length === 300);
  });

  test("refills a window at each completion, not when a batch is through", async () => {
    const first = gate();
    const inbox = subscriber.inbox("refill", ({ id }) => (id === "refill-0" ? first.pass(204) : 204));
    const trigger = await plane.trigger("refill", { subscriber: at(inbox), concurrency: 2 });
    await storeMany(plane, "refill", { count: 200 });
    await until(() => inbox.accepted().length === 199);
    expect(dispatcher.inFlight(trigger.uid)).toBe(1);
    first.open();
    await until(() => inbox.accepted().length === 200);
  });

  test("delivers to an idle trigger without waiting for any timer", async () => {
    const inbox = subscriber.inbox("idle");
    await plane.trigger("idle", { subscriber: at(inbox) });
    const took: number[] = [];
    for (let i = 0; i < 21; i++) {
      const startedMs = systemClock.monotonic();
      await plane.store({ id: `idle-${i}`, type: "idle" });
      await until(() => inbox.received.length > i);
      took.push((inbox.received[i]?.at ?? 0) - startedMs);
    }
    took.sort((a, b) => a - b);
    // The shortest timer of a pull is 250 ms.
    expect(took[10]).toBeLessThan(100);
  });

  test("says that an attempt still runs, so that it is not delivered again", async () => {
    const long = gate();
    const inbox = subscriber.inbox("long", () => long.pass(204));
    const trigger = await plane.trigger("long", { subscriber: at(inbox) });
    const beat = await plane.trigger("beat", {
      subscriber: at(subscriber.inbox("beat", 500)),
      policy: policy({ backoffDelayMs: ackWaitMs * 3 }),
    });
    await plane.store({ id: "long", type: "long" });
    await until(() => long.waiting === 1);
    // The other trigger's retry comes when several ack waits are over.
    await plane.store({ id: "beat", type: "beat" });
    await until(async () => (await plane.deliveries(beat)) > 1);
    expect(inbox.received.length).toBe(1);
    expect(await plane.deliveries(trigger)).toBe(1);
    long.open();
    await until(async () => (await plane.owed(trigger)) === 0);
    expect(inbox.received.length).toBe(1);
  });

  test("halves a window when the subscriber says it is too much, and opens it again", async () => {
    const busy = gate();
    const calm = gate();
    let refused = 0;
    const inbox = subscriber.inbox("busy", async ({ attempt }) => {
      if (attempt > 1) return calm.pass(204);
      const act = await busy.pass(503);
      refused++;
      return act;
    });
    const trigger = await plane.trigger("busy", {
      subscriber: at(inbox),
      concurrency: 8,
      policy: policy({ backoffDelayMs: 10 }),
    });
    await storeMany(plane, "busy", { count: 8 });
    await until(() => busy.waiting === 8);
    busy.open();
    await until(() => refused === 8 && calm.waiting === 4, { what: "half of them are tried again" });
    expect(dispatcher.inFlight(trigger.uid)).toBe(4);
    calm.open();
    await until(() => inbox.accepted().length === 8);
    inbox.follow(204);
    const more = Array.from({ length: 100 }, (_, i) => plane.store({ id: `more-${i}`, type: "busy" }));
    await Promise.all(more);
    await until(() => inbox.accepted().length === 108);
    const full = gate();
    inbox.follow(() => full.pass(204));
    await Promise.all(Array.from({ length: 8 }, (_, i) => plane.store({ id: `full-${i}`, type: "busy" })));
    await until(() => full.waiting === 8, { what: "the whole window is open again" });
    full.open();
    await until(async () => (await plane.owed(trigger)) === 0);
  });
});

test("a dispatcher makes no second attempt at what is delivered again while the first still runs", async () => {
  const plane = await startDataPlane({ ackWaitMs });
  const subscriber = await startSubscriber();
  try {
    const long = gate();
    const inbox = subscriber.inbox("again", () => long.pass(204));
    const trigger = await plane.trigger("again", { subscriber: at(inbox) });
    const dispatcher = await plane.dispatcher({ isSilent: true });
    await plane.store({ id: "again", type: "again" });
    await until(() => long.waiting === 1);
    await until(async () => (await plane.deliveries(trigger)) > 2, { what: "it is delivered again twice" });
    expect(inbox.received.length).toBe(1);
    long.open();
    await until(async () => (await plane.owed(trigger)) === 0);
    expect(inbox.received.length).toBe(1);
    await dispatcher.close();
  } finally {
    await plane.close();
    await subscriber.close();
  }
});

test("a dispatcher keeps what it has in hand under its cap, and shares that between triggers", async () => {
  const inHandBytesMax = 1024 * 1024;
  const data = new Uint8Array(100 * 1024);
  const plane = await startDataPlane({ ackWaitMs });
  const subscriber = await startSubscriber();
  try {
    const held = gate();
    const greedy = subscriber.inbox("greedy", () => held.pass(204));
    const late = subscriber.inbox("late", () => held.pass(204));
    const greedyTrigger = await plane.trigger("greedy", { subscriber: at(greedy) });
    const lateTrigger = await plane.trigger("late", { subscriber: at(late) });
    const dispatcher = await plane.dispatcher({ inHandBytesMax });
    let most = 0;
    const look = () => {
      most = Math.max(most, dispatcher.bytesInHand());
      return most;
    };
    await storeMany(plane, "greedy", { count: 40, data });
    await until(() => look() > inHandBytesMax / 2 && dispatcher.inFlight(greedyTrigger.uid) >= 5);
    await storeMany(plane, "late", { count: 40, data });
    await until(() => look() > 0 && held.waiting >= 9);
    held.open();
    await until(() => look() > 0 && greedy.accepted().length === 40 && late.accepted().length === 40);
    await until(async () => (await plane.owed(greedyTrigger)) + (await plane.owed(lateTrigger)) === 0);
    expect(most).toBeLessThanOrEqual(inHandBytesMax);
    expect(dispatcher.bytesInHand()).toBe(0);
  } finally {
    await plane.close();
    await subscriber.close();
  }
});
