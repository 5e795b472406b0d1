import { Kvm } from "@nats-io/kv";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Clock, FakeClock, systemClock } from "../../src/mesh/clock.ts";
import type { Closeable } from "../../src/mesh/lifecycle.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { BROKER } from "../../src/mesh/resources/kinds.ts";
import { openNatsKvStore } from "../../src/mesh/store/natskv.ts";
import type { WatchEvent } from "../../src/mesh/store/store.ts";
import { startTestNats, type TestNats } from "../support/nats.ts";
import { until } from "../support/until.ts";
import { makeObject, storeContract } from "./store-contract.ts";

let nats: TestNats;
let buckets = 0;

beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats.close());

/** A fresh bucket, and as many stores on it as wanted, each with its own connection. */
function makeBucket(clock: Clock = systemClock) {
  const bucket = `b${++buckets}`;
  const opened: Closeable[] = [];
  const open = async () => {
    const connection = await nats.connect();
    const store = await openNatsKvStore({ connection: connection.nc, bucket, clock, log: silentLog });
    opened.push(connection, store);
    return store;
  };
  const openKv = async () => {
    const connection = await nats.connect();
    opened.push(connection);
    return new Kvm(connection.nc).open(bucket);
  };
  const close = async () => {
    for (const each of opened.toReversed()) await each.close();
  };
  return { open, openKv, close };
}

storeContract("the NATS KV store", { isShared: true }, async () => {
  const { open, close } = makeBucket();
  return { store: await open(), openAgain: open, close };
});

describe("openNatsKvStore", () => {
  test("ignores values that are no objects", async () => {
    const { open, openKv, close } = makeBucket();
    const store = await open();
    const kv = await openKv();
    await kv.put("eventing=2Eknative=2Edev.brokers.default.junk", "not json");
    await store.create(BROKER, makeObject(BROKER, "b"));
    const again = await open();
    expect(again.list(BROKER).items.map(({ metadata }) => metadata.name)).toEqual(["b"]);
    await close();
  });

  test("turns old tombstones into markers that stand in nobody's way", async () => {
    const clock = new FakeClock(Date.now());
    const { open, openKv, close } = makeBucket(clock);
    const store = await open();
    await store.create(BROKER, makeObject(BROKER, "b"));
    await store.delete(BROKER, { namespace: "default", name: "b" });
    const kv = await openKv();
    const key = "eventing=2Eknative=2Edev.brokers.default.b";
    expect((await kv.get(key))?.operation).toBe("PUT");
    await clock.advance(180_000);
    await until(async () => (await kv.get(key))?.operation === "PURGE", { what: "the tombstone is purged" });
    const again = await open();
    expect(again.list(BROKER).items).toEqual([]);
    for (const each of [store, again]) {
      await each.create(BROKER, makeObject(BROKER, "b"));
      await each.delete(BROKER, { namespace: "default", name: "b" });
    }
    await close();
  });

  test("deletes what outlived its owner while nothing was running", async () => {
    const { open, close } = makeBucket();
    const ownerReferences = [{ apiVersion: "v1", kind: "Service", name: "gone", uid: "gone" }];
    const store = await open();
    await store.create(
      BROKER,
      makeObject(BROKER, "orphan", { metadata: { name: "orphan", namespace: "default", ownerReferences } }),
    );
    expect((await open()).list(BROKER).items).toEqual([]);
    await close();
  });

  test("goes on after the server was killed and restarted", async () => {
    const { open, close } = makeBucket();
    const [store, other] = [await open(), await open()];
    const made = await store.create(BROKER, makeObject(BROKER, "b"));
    const seen: WatchEvent[] = [];
    other.watch({ kind: BROKER, resourceVersion: made.metadata.resourceVersion }, (event) =>
      seen.push(event),
    );
    await nats.restart();
    await until(
      () => store.update(BROKER, makeObject(BROKER, "b", { spec: { step: 1 } })).catch(() => undefined),
      { what: "a write after the restart" },
    );
    await until(() => seen.length > 0, { what: "the other store sees it" });
    expect(seen.map(({ object }) => object.spec)).toEqual([{ step: 1 }]);
    expect(other.get(BROKER, { namespace: "default", name: "b" })?.metadata.uid).toBe(made.metadata.uid);
    await close();
  });
});
