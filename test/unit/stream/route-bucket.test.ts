import type { KV } from "@nats-io/kv";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/mesh/clock.ts";
import { CloseStack } from "../../../src/mesh/lifecycle.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import type { BrokerRoute, Routes, TriggerRoute } from "../../../src/mesh/routes/route.ts";
import { openRouteBucket } from "../../../src/mesh/stream/route-bucket.ts";
import { RouteFollower } from "../../../src/mesh/stream/route-follower.ts";
import { RouteWriter } from "../../../src/mesh/stream/route-writer.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";
import { until } from "../../support/until.ts";

let nats: TestNats;
let kv: KV;
let started: CloseStack;

beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats.close());
beforeEach(async () => {
  started = new CloseStack();
  kv = await openRouteBucket((await nats.connect()).nc, { replicas: 1 });
  started.defer("bucket", async () => void (await kv.destroy()));
});
afterEach(() => started.close());

function broker(name: string, hopsMax = 64): BrokerRoute {
  return { namespace: "default", name, uid: `uid-${name}`, hopsMax, journal: "all" };
}

function trigger(name: string, brokerName: string): TriggerRoute {
  return {
    namespace: "default",
    name,
    uid: `uid-${name}`,
    broker: brokerName,
    filters: [{ exact: { type: name } }],
    dataFilter: undefined,
    subscriber: { kind: "url", uri: "http://example.com" },
    deadLetterSink: undefined,
    policy: {
      retryMax: 1,
      backoffPolicy: "linear",
      backoffDelayMs: 1,
      timeoutMs: 1,
      retryAfterMaxMs: 0,
      format: undefined,
    },
    concurrency: 1,
    paused: false,
  };
}

function writer(mayWrite = () => true): RouteWriter {
  return started.use("writer", new RouteWriter({ kv, clock: systemClock, log: silentLog, mayWrite }));
}

function follower() {
  const sets: Routes[] = [];
  const options = {
    kv,
    clock: systemClock,
    log: silentLog,
    onRoutes: (routes: Routes) => void sets.push(routes),
  };
  const following = started.use("follower", new RouteFollower(options));
  const names = () => {
    const last = sets.at(-1);
    return last === undefined
      ? undefined
      : [...last.brokers, ...last.triggers].map(({ name }) => name).sort();
  };
  return { following, sets, names };
}

const both = { brokers: [broker("b")], triggers: [trigger("t", "b")] };

test("RouteFollower hands on nothing until the set is complete, then every change", async () => {
  const { following, sets, names } = follower();
  const writing = writer();
  writing.set({ brokers: [broker("b")], triggers: [] });
  await writing.settled();
  await until(() => following.revision >= writing.revision);
  expect(following.isComplete).toBe(false);
  expect(sets).toEqual([]);
  await writing.complete(both);
  await until(() => names()?.join() === "b");
  expect(following.isComplete).toBe(true);
  writing.set(both);
  await until(() => names()?.join() === "b,t");
  writing.set({ ...both, triggers: [] });
  await until(() => names()?.join() === "b");
});

test("RouteFollower keeps the objects of routes that did not change, also when it starts to watch again", async () => {
  const { following, sets } = follower();
  const writing = writer();
  writing.set(both);
  await writing.complete(both);
  await until(() => sets.at(-1)?.triggers.length === 1);
  const before = sets.at(-1)?.triggers[0];
  following.restart();
  writing.set({ ...both, brokers: [broker("b", 5)] });
  await until(() => sets.at(-1)?.brokers[0]?.hopsMax === 5);
  expect(sets.at(-1)?.triggers[0]).toBe(before);
});

test("RouteFollower notices what was deleted while it was away", async () => {
  const { following, names } = follower();
  const writing = writer();
  writing.set(both);
  await writing.complete(both);
  await until(() => names()?.join() === "b,t");
  following.restart();
  writing.set({ brokers: [], triggers: [] });
  await until(() => names()?.length === 0);
});

test("RouteFollower ignores what is no route and serves the rest", async () => {
  const { names } = follower();
  const writing = writer();
  await kv.put("t.default.broken", "{}");
  writing.set(both);
  await writing.complete({ ...both, triggers: [...both.triggers, { namespace: "default", name: "broken" }] });
  await until(() => names()?.join() === "b,t");
});

test("RouteWriter that takes over keeps what it has not come to, until its object is known to be gone", async () => {
  const { names } = follower();
  const first = writer();
  const all = { brokers: [broker("b"), broker("gone")], triggers: [trigger("t", "b"), trigger("slow", "b")] };
  first.set(all);
  await first.complete(all);
  await until(() => names()?.join() === "b,gone,slow,t");
  await first.close();
  const second = writer();
  second.set({ brokers: [broker("b")], triggers: [] });
  await second.settled();
  expect(names()?.join()).toBe("b,gone,slow,t");
  await second.complete({ brokers: [broker("b")], triggers: all.triggers });
  await until(() => names()?.join() === "b,slow,t");
});

test("RouteWriter writes nothing once it may not, and is overruled by who may", async () => {
  const { sets } = follower();
  let may = true;
  const replaced = writer(() => may);
  replaced.set({ brokers: [broker("b", 1)], triggers: [] });
  await replaced.complete(both);
  may = false;
  replaced.set({ brokers: [broker("b", 2)], triggers: [] });
  await expect(replaced.settledWithin(10)).rejects.toThrow("the routes are not written");
  const successor = writer();
  successor.set({ brokers: [broker("b", 3)], triggers: [] });
  await successor.settled();
  await until(() => sets.at(-1)?.brokers[0]?.hopsMax === 3);
  may = true;
  replaced.set({ brokers: [broker("b", 4)], triggers: [] });
  await replaced.settled();
  // Its compare-and-swap fails once, then it knows better and may.
  await until(() => sets.at(-1)?.brokers[0]?.hopsMax === 4);
});

test("RouteWriter writes again a route that was deleted before", async () => {
  const { names } = follower();
  const writing = writer();
  writing.set(both);
  await writing.complete(both);
  writing.set({ ...both, triggers: [] });
  await until(() => names()?.join() === "b");
  writing.set(both);
  await until(() => names()?.join() === "b,t");
});
