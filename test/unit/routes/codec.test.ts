import { describe, expect, test } from "vitest";
import { decodeBrokerRoute, decodeTriggerRoute, encodeRoute } from "../../../src/mesh/routes/codec.ts";
import type { BrokerRoute, TriggerRoute } from "../../../src/mesh/routes/route.ts";

const broker: BrokerRoute = {
  namespace: "default",
  name: "orders",
  uid: "b-1",
  hopsMax: 64,
  journal: "all",
  dedupeMs: 0,
};

const trigger: TriggerRoute = {
  namespace: "default",
  name: "price",
  uid: "t-1",
  broker: "orders",
  filters: [{ exact: { type: "t" } }, { any: [{ prefix: { source: "/a" } }, { cesql: "TRUE" }] }],
  dataFilter: "data.total > 10",
  subscriber: { kind: "function", uri: "http://f/", namespace: "default", name: "f", path: "/" },
  deadLetterSink: { kind: "broker", uri: "http://b/", namespace: "default", name: "dead" },
  policy: {
    retryMax: 3,
    backoffPolicy: "linear",
    backoffDelayMs: 200,
    timeoutMs: 1000,
    retryAfterMaxMs: 0,
    format: "json",
  },
  concurrency: 7,
  paused: false,
  order: "key",
  start: { kind: "time", atMs: 5 },
  rewind: { sequence: 9, at: "2026-01-01T00:00:00.000Z" },
};

const bare: TriggerRoute = {
  ...trigger,
  filters: [],
  dataFilter: undefined,
  subscriber: undefined,
  deadLetterSink: undefined,
  policy: { ...trigger.policy, format: undefined },
};

describe("routes as text", () => {
  test("come back as they were", () => {
    expect(decodeBrokerRoute(encodeRoute(broker))).toEqual(broker);
    expect(decodeTriggerRoute(encodeRoute(trigger))).toEqual(trigger);
    expect(decodeTriggerRoute(encodeRoute(bare))).toEqual(bare);
  });

  test("keep what a newer control plane adds", () => {
    expect(decodeTriggerRoute(JSON.stringify({ ...trigger, colour: "red" }))).toMatchObject({
      colour: "red",
    });
  });

  test.each([
    ["no JSON", "{"],
    ["another thing", "[]"],
    ["no window", JSON.stringify({ ...trigger, concurrency: 0 })],
    ["an unknown target", JSON.stringify({ ...trigger, subscriber: { kind: "pigeon" } })],
    ["a filter that is no object", JSON.stringify({ ...trigger, filters: ["all"] })],
  ])("that are %s are refused", (_name, text) => {
    expect(decodeTriggerRoute(text)).toBeUndefined();
    expect(decodeBrokerRoute(text)).toBeUndefined();
  });
});
