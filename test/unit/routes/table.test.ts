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
  test("wantedBy names the triggers that want an event, also those that look into its data", () => {
    const table = new RouteTable();
    const triggers = [
      trigger("a"),
      trigger("b"),
      trigger("big", { filters: [], dataFilter: "data.n > 5" }),
      trigger("elsewhere", { broker: "other", filters: [] }),
    ];
    table.set({ brokers: [broker], triggers });
    const names = (one: Event) => table.wantedBy("default/orders", one).map(({ name }) => name);
    expect(names(event("a", { n: 6 }))).toEqual(["a", "big"]);
    expect(names(event("b", { n: 1 }))).toEqual(["b"]);
    expect(names(event("c", { n: 1 }))).toEqual([]);
    expect(table.wantedBy("default/none", event("a"))).toEqual([]);
  });

  test("requestReply finds the trigger that serves one, until it goes", () => {
    const table = new RouteTable();
    const requestReply = {
      name: "rr",
      correlationAttribute: "correlationid",
      replyAttribute: "replyid",
      prefix: "rr:",
      timeoutMs: 1000,
    };
    const serving = trigger("rr-reply", { requestReply });
    table.set({ brokers: [broker], triggers: [trigger("a"), serving] });
    expect(table.requestReply("default/rr")).toBe(serving);
    expect(table.requestReply("default/a")).toBeUndefined();
    table.set({ brokers: [broker], triggers: [] });
    expect(table.requestReply("default/rr")).toBeUndefined();
  });

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
