import { describe, expect, test, vi } from "vitest";
import type { Attributes, Event } from "../../../src/mesh/event/event.ts";
import type { BrokerRoute, TriggerRoute } from "../../../src/mesh/routes/route.ts";
import { RouteTable } from "../../../src/mesh/routes/table.ts";

const broker: BrokerRoute = {
  namespace: "default",
  name: "orders",
  uid: "b",
  hopsMax: 64,
  journal: "all",
} as BrokerRoute;

function trigger(name: string, wanted: Partial<TriggerRoute> = {}): TriggerRoute {
  return {
    namespace: "default",
    name,
    uid: name,
    broker: "orders",
    filters: [{ exact: { type: name } }],
    dataFilter: undefined,
    subscriber: undefined,
    deadLetterSink: undefined,
    policy: {
      retryMax: 0,
      backoffPolicy: "linear",
      backoffDelayMs: 0,
      timeoutMs: 1,
      retryAfterMaxMs: 0,
      format: undefined,
    },
    concurrency: 1,
    paused: false,
    ...wanted,
  } as TriggerRoute;
}

function event(type: string, data?: unknown): Event {
  const attributes = { specversion: "1.0", id: "1", source: "/s", type, datacontenttype: "application/json" };
  return {
    attributes: attributes as unknown as Attributes,
    data: data === undefined ? undefined : Buffer.from(JSON.stringify(data)),
  };
}

describe("RouteTable", () => {
  test("isWanted knows the triggers of the broker asked, and of no other", () => {
    const table = new RouteTable();
    table.set({ brokers: [broker, { ...broker, name: "other" }], triggers: [trigger("a")] });
    expect(table.isWanted("default/orders", event("a"))).toBe(true);
    expect(table.isWanted("default/orders", event("b"))).toBe(false);
    expect(table.isWanted("default/other", event("a"))).toBe(false);
    expect(table.isWanted("default/missing", event("a"))).toBe(false);
  });

  test("isWanted follows a changed filter at once", () => {
    const table = new RouteTable();
    table.set({ brokers: [broker], triggers: [trigger("a")] });
    expect(table.isWanted("default/orders", event("z"))).toBe(false);
    table.set({ brokers: [broker], triggers: [trigger("a", { filters: [{ exact: { type: "z" } }] })] });
    expect(table.isWanted("default/orders", event("z"))).toBe(true);
    expect(table.isWanted("default/orders", event("a"))).toBe(false);
  });

  test.each([
    ["matches", { total: 101 }, true],
    ["does not match", { total: 99 }, false],
    ["has no such member", {}, false],
    ["is not there", undefined, false],
  ])("isWanted asks the data filter when the data %s", (_what, data, wanted) => {
    const table = new RouteTable();
    table.set({ brokers: [broker], triggers: [trigger("a", { dataFilter: "data.total > 100" })] });
    expect(table.isWanted("default/orders", event("a", data))).toBe(wanted);
  });

  test("set tells its listeners until they are closed", () => {
    const table = new RouteTable();
    const listener = vi.fn();
    const subscription = table.onChange(listener);
    table.set({ brokers: [], triggers: [] });
    subscription.close();
    table.set({ brokers: [], triggers: [] });
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
