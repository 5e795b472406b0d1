import { describe, expect, test } from "vitest";
import { z } from "zod";
import { binary } from "../support/ledger.ts";
import { type Answer, brokerManifest, triggerManifest } from "../support/mesh.ts";
import { mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import type { Inbox } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

useSharedMesh();

/** A broker with one trigger for everything. */
async function serve(name: string, annotations: Readonly<Record<string, string>> = {}): Promise<Inbox> {
  const inbox = subscriber.inbox(name);
  await mesh.serve(
    brokerManifest(name, { annotations }),
    triggerManifest(name, { broker: name, to: inbox.url }),
  );
  return inbox;
}

function send(broker: string, id: string, attributes: Readonly<Record<string, string>>): Promise<Answer> {
  return mesh.post({ path: `/default/${broker}`, ...binary({ id, type: "delayed", attributes }) });
}

async function delayedAt(broker: string): Promise<number> {
  const response = await fetch(`${mesh.controlUrl}/weft/v1/status`);
  const { brokers } = z
    .object({ brokers: z.array(z.object({ name: z.string(), delayed: z.int() })) })
    .parse(await response.json());
  return brokers.find(({ name }) => name === broker)?.delayed ?? -1;
}

const soon = (ms: number) => new Date(Date.now() + ms).toISOString();

describe("a delayed event", () => {
  test("waits until deliverat, then is delivered once as it was sent", async () => {
    const inbox = await serve("at");
    const deliverat = soon(1500);
    expect((await send("at", "first", { deliverat })).status).toBe(202);
    expect((await send("at", "first", { deliverat })).status).toBe(202);
    expect(await delayedAt("at")).toBe(1);
    expect(inbox.received).toEqual([]);
    await until(() => inbox.received.length > 0, { what: "the delayed event" });
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(deliverat));
    expect(inbox.received[0]?.headers["ce-deliverat"]).toBe(deliverat);
    await until(async () => (await delayedAt("at")) === 0, { what: "nothing waits any more" });
    expect((await send("at", "first", { deliverat })).status).toBe(202);
    expect((await send("at", "marker", {})).status).toBe(202);
    await until(() => inbox.of("marker").length > 0, { what: "the marker" });
    expect(inbox.of("first")).toHaveLength(1);
  });

  test("waits for weftdelay, while one that is due goes straight in", async () => {
    const inbox = await serve("for");
    expect((await send("for", "later", { weftdelay: "PT1S" })).status).toBe(202);
    expect((await send("for", "past", { deliverat: "2020-01-01T00:00:00Z" })).status).toBe(202);
    expect((await send("for", "none", { weftdelay: "PT0S" })).status).toBe(202);
    await until(() => inbox.received.length === 3, { what: "all three" });
    expect(inbox.received.at(-1)?.id).toBe("later");
  });

  test.each([
    ["deliverat", { deliverat: "tomorrow" }],
    ["deliverat", { deliverat: "9999-01-01T00:00:00Z" }],
    ["weftdelay", { weftdelay: "5s" }],
    ["weftdelay", { weftdelay: "-PT5S" }],
    ["weftdelay", { weftdelay: "PT5S", deliverat: "2020-01-01T00:00:00Z" }],
  ])("is refused by name of its unreadable %s %j", async (field, attributes) => {
    const answer = await mesh.post(binary({ id: "bad", type: "t", attributes }));
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.body)).toMatchObject({ code: "EVENT_INVALID", field });
  });

  test("in a batch waits, and the others are delivered at once", async () => {
    const inbox = await serve("batch");
    const event = (id: string, more: object = {}) => ({
      specversion: "1.0",
      id,
      source: "/test",
      type: "t",
      ...more,
    });
    const body = JSON.stringify([
      event("a", { weftdelay: "PT1S" }),
      event("b"),
      event("c", { weftdelay: "PT1S" }),
      event("a", { weftdelay: "PT1S" }),
    ]);
    const headers = { "content-type": "application/cloudevents-batch+json" };
    const batch = { path: "/default/batch", headers, body };
    expect((await mesh.post(batch)).status).toBe(202);
    expect((await mesh.post(batch)).status).toBe(202);
    await until(() => inbox.received.length === 3, { what: "all three" });
    expect(inbox.received.map(({ id }) => id).sort()).toEqual(["a", "b", "c"]);
    expect(inbox.received[0]?.id).toBe("b");
  });

  test("of a broker without deduplication comes as often as it was sent", async () => {
    const inbox = await serve("twice", { "weft.dev/dedupe": "off" });
    for (const attributes of [{ weftdelay: "PT0.5S" }, { weftdelay: "PT0.5S" }, {}, {}]) {
      expect((await send("twice", "same", attributes)).status).toBe(202);
    }
    await until(() => inbox.received.length === 4, { what: "all four" });
  });

  test("that expired while it waited is never delivered", async () => {
    const inbox = await serve("expired");
    await send("expired", "stale", { weftdelay: "PT0.6S", expirytime: soon(100) });
    await until(
      async () => (await mesh.status()).brokers.some((b) => b.name === "expired" && b.events === 1),
      {
        what: "the event entered",
      },
    );
    await send("expired", "fresh", {});
    await until(async () => inbox.of("fresh").length === 1 && (await mesh.trigger("expired")).pending === 0, {
      what: "the fresh event",
    });
    expect(inbox.of("stale")).toEqual([]);
    expect(await mesh.trigger("expired")).toMatchObject({ delivered: 1, dead: 0 });
    await until(
      async () => {
        const response = await fetch(`${mesh.controlUrl}/weft/v1/why/stale?broker=expired`);
        return (await response.text()).includes('"now":"expired"');
      },
      { what: "it is on record as expired" },
    );
  });
});

test("the window in which an event is a duplicate is the broker's own", async () => {
  const inbox = await serve("short", { "weft.dev/dedupe": "PT0.1S" });
  await until(
    async () => {
      expect((await send("short", "same", {})).status).toBe(202);
      return inbox.of("same").length === 2;
    },
    { what: "the second copy, after the window" },
  );
});

test("events that wait survive kill -9 of everything and enter when it is back", async () => {
  const inbox = await serve("survivor");
  const pids = await mesh.descendants();
  for (let i = 0; i < 50; i++) {
    expect((await send("survivor", `event-${i}`, { weftdelay: i < 25 ? "PT0.1S" : "PT3S" })).status).toBe(
      202,
    );
  }
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await mesh.kill9();
  await mesh.start();
  await until(() => new Set(inbox.accepted()).size === 50, { what: "all events" });
  await until(async () => (await delayedAt("survivor")) === 0, { what: "nothing waits any more" });
});
