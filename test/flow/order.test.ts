import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DataPlane, startDataPlane, type TestDispatcher } from "../support/data-plane.ts";
import { startTestMesh } from "../support/mesh.ts";
import { type Inbox, type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

/** Short, so that a fail-over takes seconds. */
const ackWaitMs = 1500;
const leaseTtlMs = 1500;

/** Stores `count` events of a type, spread over keys; ids are `<key>-<n>`, n counting per key. */
async function storeKeyed(
  plane: DataPlane,
  type: string,
  { count, keys }: { count: number; keys: string[] },
) {
  for (let i = 0; i < count; i++) {
    const key = keys[i % keys.length] ?? "";
    await plane.store({ id: `${key}-${Math.floor(i / keys.length)}`, type, partitionkey: key });
  }
}

/** Per key, the numbers of the events as they were first accepted. */
function acceptedByKey(inbox: Inbox): Map<string, number[]> {
  const byKey = new Map<string, number[]>();
  for (const id of new Set(inbox.accepted())) {
    const [key = "", n] = id.split("-");
    byKey.set(key, [...(byKey.get(key) ?? []), Number(n)]);
  }
  return byKey;
}

function inOrder(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

describe("an ordered trigger", () => {
  let plane: DataPlane;
  let subscriber: Subscriber;
  let dispatcher: TestDispatcher;
  beforeAll(async () => {
    plane = await startDataPlane({ ackWaitMs, leaseTtlMs });
    subscriber = await startSubscriber();
    dispatcher = await plane.dispatcher();
  });
  afterAll(async () => {
    await plane.close();
    await subscriber.close();
  });

  test("delivers each key in order, keys side by side, and a failing key blocks only itself", async () => {
    // Key a is held up until everything of key b is through.
    const isHeldUp = (id: string): boolean => id === "a-1" && !inbox.accepted().includes("b-19");
    const inbox: Inbox = subscriber.inbox("keys", ({ id }) => (isHeldUp(id) ? 500 : 204));
    const subscriberTarget = { kind: "url", uri: inbox.url } as const;
    await plane.trigger("keys", { subscriber: subscriberTarget, order: "key" });
    await storeKeyed(plane, "keys", { count: 60, keys: ["a", "b", "c"] });
    await until(() => inbox.accepted().length === 60);
    for (const [, numbers] of acceptedByKey(inbox)) expect(numbers).toEqual(inOrder(20));
    const at = (id: string) => inbox.of(id).at(-1)?.at ?? 0;
    expect(at("b-19")).toBeLessThan(at("a-1"));
    expect(at("a-1")).toBeLessThan(at("a-2"));
  });

  test("keeps order when far more waits for a failing key than is kept in hand", async () => {
    let failing = true;
    const inbox = subscriber.inbox("deep", ({ id }) => (failing && id === "a-0" ? 503 : 204));
    const trigger = await plane.trigger("deep", {
      subscriber: { kind: "url", uri: inbox.url },
      order: "key",
      concurrency: 8,
      policy: {
        retryMax: 1000,
        backoffPolicy: "linear",
        backoffDelayMs: 10,
        timeoutMs: 60_000,
        retryAfterMaxMs: 0,
        format: undefined,
      },
    });
    await storeKeyed(plane, "deep", { count: 400, keys: ["a"] });
    await plane.store({ id: "z-0", type: "deep", partitionkey: "z" });
    await until(() => inbox.accepted().includes("z-0"), { what: "another key behind 400 waiting events" });
    expect(inbox.accepted()).toEqual(["z-0"]);
    failing = false;
    await until(() => inbox.accepted().length === 401);
    expect(acceptedByKey(inbox).get("a")).toEqual(inOrder(400));
    await until(async () => (await plane.owed(trigger)) === 0);
  });

  test("goes on when what its key waits for was deleted from the stream", async () => {
    const inbox = subscriber.inbox("gone", ({ id }) => (id === "a-0" ? 503 : 204));
    await plane.trigger("gone", {
      subscriber: { kind: "url", uri: inbox.url },
      order: "key",
      policy: {
        retryMax: 10,
        backoffPolicy: "linear",
        backoffDelayMs: 2000,
        timeoutMs: 60_000,
        retryAfterMaxMs: 0,
        format: undefined,
      },
    });
    await storeKeyed(plane, "gone", { count: 1, keys: ["a"] });
    await until(() => inbox.received.length === 1);
    await plane.purge("gone");
    await plane.store({ id: "a-1", type: "gone", partitionkey: "a" });
    await until(() => inbox.accepted().includes("a-1"), { deadlineMs: 25_000 });
    expect(dispatcher.inFlight("gone-uid")).toBe(0);
  });
});

describe("an ordered trigger with two dispatchers", () => {
  let plane: DataPlane;
  let subscriber: Subscriber;
  beforeAll(async () => {
    plane = await startDataPlane({ ackWaitMs, leaseTtlMs });
    subscriber = await startSubscriber();
  });
  afterAll(async () => {
    await plane.close();
    await subscriber.close();
  });

  test.each(["kill", "close"] as const)("keeps its order when the active one ends (%s)", async (how) => {
    const type = `order-${how}`;
    let slow = true;
    const running = new Map<string, number>();
    let overlaps = 0;
    const inbox = subscriber.inbox(type, async ({ id, attempt }) => {
      const key = id.split("-")[0] ?? "";
      if ((running.get(key) ?? 0) > 0 && !slow) overlaps++;
      running.set(key, (running.get(key) ?? 0) + 1);
      // One key fails at first, so that its later events are given back and out of sequence at the fail-over.
      const fails = (id === "a-1" || id === "a-4") && attempt < 3;
      await new Promise((resolve) => setImmediate(resolve));
      running.set(key, (running.get(key) ?? 0) - 1);
      return fails ? 500 : { status: 204, delayMs: slow ? 30 : 0 };
    });
    const trigger = await plane.trigger(type, {
      subscriber: { kind: "url", uri: inbox.url },
      order: "key",
      concurrency: 4,
    });
    const first = await plane.dispatcher();
    const keys = ["a", "b", "c", "d", "e"];
    await storeKeyed(plane, type, { count: 150, keys });
    await until(() => inbox.accepted().length > 20, { what: "the first dispatcher delivers" });
    const second = await plane.dispatcher();
    await first[how]();
    slow = false;
    await until(() => new Set(inbox.accepted()).size === 150, { deadlineMs: 25_000 });
    for (const [key, numbers] of acceptedByKey(inbox)) {
      expect({ key, numbers }).toEqual({ key, numbers: inOrder(30) });
    }
    expect(overlaps).toBe(0);
    await until(async () => (await plane.owed(trigger)) === 0);
    await second.close();
  });

  test("has one active dispatcher at a time, an unordered one has both", async () => {
    const inbox = subscriber.inbox("shared", "hang");
    const ordered = await plane.trigger("ordered", {
      subscriber: { kind: "url", uri: inbox.url },
      order: "key",
      concurrency: 10,
    });
    const unordered = await plane.trigger("unordered", {
      subscriber: { kind: "url", uri: inbox.url },
      concurrency: 10,
    });
    const both = [await plane.dispatcher(), await plane.dispatcher()];
    for (let i = 0; i < 20; i++) {
      for (const type of ["ordered", "unordered"]) {
        await plane.store({ id: `${type}-${i}`, type, partitionkey: `${i}` });
      }
    }
    const inFlight = ({ uid }: { uid: string }) =>
      both.map((each) => each.inFlight(uid)).sort((a, b) => a - b);
    await until(() => inFlight(unordered).join() === "10,10" && inFlight(ordered).join() === "0,10");
    expect(inFlight(ordered)).toEqual([0, 10]);
    for (const each of both) await each.kill();
  });
});

test("an ordered trigger keeps its order through kill -9 of the mesh, new events among it", async () => {
  const mesh = await startTestMesh();
  const subscriber = await startSubscriber();
  try {
    const inbox = subscriber.inbox("mesh", ({ id, attempt }) =>
      id === "a-3" && attempt < 4 ? 500 : { status: 204, delayMs: 5 },
    );
    await mesh.serve({
      apiVersion: "eventing.knative.dev/v1",
      kind: "Trigger",
      metadata: { name: "ordered", annotations: { "weft.dev/order": "key" } },
      spec: {
        broker: "default",
        subscriber: { uri: inbox.url },
        delivery: { retry: 10, backoffPolicy: "linear", backoffDelay: "PT1S" },
      },
    });
    const send = async (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        for (const key of ["a", "b"]) {
          const { status } = await mesh.post({
            headers: {
              "ce-specversion": "1.0",
              "ce-type": "t",
              "ce-source": "/s",
              "ce-id": `${key}-${n}`,
              "ce-partitionkey": key,
            },
          });
          expect(status).toBe(202);
        }
      }
    };
    await send(0, 20);
    await until(() => inbox.of("a-3").length > 0 && inbox.accepted().includes("b-19"));
    await mesh.kill9();
    await mesh.start();
    await send(20, 40);
    await until(() => new Set(inbox.accepted()).size === 80, { deadlineMs: 40_000 });
    const byKey = acceptedByKey(inbox);
    expect(byKey.get("a")).toEqual(inOrder(40));
    expect(byKey.get("b")).toEqual(inOrder(40));
  } finally {
    await mesh.close();
    await subscriber.close();
  }
}, 60_000);
