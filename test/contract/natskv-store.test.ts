import { Kvm } from "@nats-io/kv";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeClock, systemClock } from "../../src/mesh/clock.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { BROKER } from "../../src/mesh/resources/kinds.ts";
import { openNatsKvStore } from "../../src/mesh/store/natskv.ts";
import type { Store, WatchEvent } from "../../src/mesh/store/store.ts";
import { startTestNats } from "../support/nats.ts";
import { until } from "../support/until.ts";
import { makeObject, storeContract } from "./store-contract.ts";

let nats: Awaited<ReturnType<typeof startTestNats>>;
let buckets = 0;

beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats.close());

/** A fresh bucket, and as many stores on it as wanted, each with its own connection. */
async function makeBucket(clock = systemClock) {
  const bucket = `b${++buckets}`;
  const connections: NatsConnection[] = [];
  const stores: Store[] = [];
  const open = async () => {
    const connection = await connect({ servers: nats.url, waitOnFirstConnect: true, reconnectTimeWait: 20 });
    connections.push(connection);
    const store = await openNatsKvStore({ connection, bucket, clock, log: silentLog });
    stores.push(store);
    return store;
  };
  const close = async () => {
    for (const store of stores) await store.close();
    for (const connection of connections) await connection.close();
  };
  return { bucket, open, close, connections };
}

storeContract("the NATS KV store", async () => {
  const { open, close } = await makeBucket();
  return { store: await open(), openAgain: open, close };
});

describe("openNatsKvStore", () => {
  test("ignores values that are no objects", async () => {
    const { bucket, open, close, connections } = await makeBucket();
    const store = await open();
    const [connection] = connections;
    const kv = await new Kvm(connection as NatsConnection).open(bucket);
    await kv.put("eventing=2Eknative=2Edev.brokers.default.junk", "not json");
    await store.create(BROKER, makeObject(BROKER, "b"));
    const again = await open();
    expect(again.list(BROKER).items.map(({ metadata }) => metadata.name)).toEqual(["b"]);
    await close();
  });

  test("turns old tombstones into markers that stand in nobody's way", async () => {
    const clock = new FakeClock(Date.now());
    const { bucket, open, close, connections } = await makeBucket(clock);
    const store = await open();
    await store.create(BROKER, makeObject(BROKER, "b"));
    await store.delete(BROKER, { namespace: "default", name: "b" });
    const [connection] = connections;
    const kv = await new Kvm(connection as NatsConnection).open(bucket);
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
    const { open, close } = await makeBucket();
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
    const { open, close } = await makeBucket();
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
