import { describe, expect, test } from "vitest";
import { brokerManifest, triggerManifest } from "../support/mesh.ts";
import { ledger, mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import { type Act, eventOf, type Inbox, type Reply } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

useSharedMesh();

function replyHeaders(name: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    "ce-specversion": "1.0",
    "ce-id": `${name}-reply`,
    "ce-source": "/function",
    "ce-type": `${name}.reply`,
    ...more,
  };
}

/** A broker of its own with a first trigger that answers by script and a second one that wants the reply. */
async function ask(
  name: string,
  script: readonly Act[],
  attributes: Readonly<Record<string, string>> = {},
): Promise<{ first: Inbox; second: Inbox; events: number; delivered: number; dead: number }> {
  const first = subscriber.inbox(`${name}-first`, ...script);
  const second = subscriber.inbox(`${name}-second`);
  await mesh.serve(
    brokerManifest(name),
    triggerManifest(`${name}-first`, {
      broker: name,
      type: name,
      to: first.url,
      delivery: { retry: 1, backoffPolicy: "linear", backoffDelay: "PT0.01S" },
    }),
    triggerManifest(`${name}-second`, { broker: name, type: `${name}.reply`, to: second.url }),
  );
  await ledger.accept({ id: name, type: name, path: `/default/${name}`, attributes });
  return until(
    async () => {
      const { brokers, triggers } = await mesh.status();
      const [one, two] = ["first", "second"].map((which) =>
        triggers.find((trigger) => trigger.name === `${name}-${which}`),
      );
      const broker = brokers.find((each) => each.name === name);
      if (one === undefined || two === undefined || broker === undefined) return false;
      if (one.pending + one.inFlight + two.pending + two.inFlight > 0 || one.delivered + one.dead === 0) {
        return false;
      }
      return { first, second, events: broker.events, delivered: one.delivered, dead: one.dead };
    },
    { what: `an outcome of ${name}` },
  );
}

describe("a reply", () => {
  test.concurrent("of 200 in binary mode enters the broker", async () => {
    const { second, events } = await ask("binary", [
      {
        status: 200,
        headers: replyHeaders("binary", { "content-type": "application/json" }),
        body: '{"a":1}',
      },
    ]);
    expect(events).toBe(2);
    expect(second.accepted()).toEqual(["binary-reply"]);
    const [received] = second.received;
    expect(received && eventOf(received)).toMatchObject({
      specversion: "1.0",
      id: "binary-reply",
      source: "/function",
      type: "binary.reply",
      data: { a: 1 },
    });
  });

  test.concurrent("says what caused it", async () => {
    const { second } = await ask("caused", [{ headers: replyHeaders("caused") }], {
      correlationid: "case-1",
    });
    expect(second.received[0]?.headers).toMatchObject({
      "ce-correlationid": "case-1",
      "ce-causationid": "caused",
    });
  });

  test.concurrent("of 200 in structured mode enters the broker", async () => {
    const event = { specversion: "1.0", id: "s", source: "/f", type: "structured.reply", data: "text" };
    const { second } = await ask("structured", [
      {
        headers: { "content-type": "application/cloudevents+json; charset=utf-8" },
        body: JSON.stringify(event),
      },
    ]);
    expect(second.accepted()).toEqual(["s"]);
  });

  test.concurrent("of version 0.3 stays one of version 0.3", async () => {
    const { second } = await ask("old", [{ headers: replyHeaders("old", { "ce-specversion": "0.3" }) }]);
    expect(second.received[0]?.headers["ce-specversion"]).toBe("0.3");
  });

  test.concurrent("after a failed attempt enters the broker once", async () => {
    const { second, events, first } = await ask("retried", [503, { headers: replyHeaders("retried") }]);
    expect(first.received).toHaveLength(2);
    expect(events).toBe(2);
    expect(second.accepted()).toEqual(["retried-reply"]);
  });

  test.concurrent("nobody wants is counted as unmatched", async () => {
    await ask("unwanted", [{ headers: replyHeaders("unwanted", { "ce-type": "nobody.wants.this" }) }]);
    const { brokers } = await mesh.status();
    expect(brokers.find(({ name }) => name === "unwanted")).toMatchObject({ events: 2, unmatched: 1 });
  });
});

describe("no reply", () => {
  const event = (name: string): Reply => ({ headers: replyHeaders(name) });
  test.concurrent.each<[string, (name: string) => Reply]>([
    ["a 202 with an event", (name) => ({ ...event(name), status: 202 })],
    ["a 201 with an event", (name) => ({ ...event(name), status: 201 })],
    [
      "a 200 with a body that is no event",
      () => ({ headers: { "content-type": "text/html" }, body: "<p>ok" }),
    ],
    [
      "a 200 with JSON that is no event",
      () => ({ headers: { "content-type": "application/json" }, body: "{}" }),
    ],
    ["an empty 200", () => ({ status: 200 })],
    ["a 204", () => ({ status: 204 })],
  ])("is %s, which is delivered all the same", async (what, reply) => {
    const name = what.replaceAll(" ", "-").toLowerCase();
    const { first, second, events, delivered, dead } = await ask(name, [reply(name)]);
    expect({ attempts: first.received.length, events, delivered, dead }).toEqual({
      attempts: 1,
      events: 1,
      delivered: 1,
      dead: 0,
    });
    expect(second.received).toEqual([]);
  });

  test.concurrent("is told when a body was ignored", async () => {
    await ask("ignored-body", [{ headers: { "content-type": "text/plain" }, body: "thanks" }]);
    await until(() => /delivered .*ignored-body-first .*the body is no CloudEvent/.test(mesh.output), {
      what: "the delivery and its note in the output",
    });
  });
});

describe("a malformed reply", () => {
  const structured = { "content-type": "application/cloudevents+json" };
  test.concurrent.each<[string, Reply]>([
    ["structured JSON that cannot be parsed", { headers: structured, body: "{" }],
    [
      "a structured event without a type",
      { headers: structured, body: '{"specversion":"1.0","id":"1","source":"/f"}' },
    ],
    [
      "a binary event without an id",
      { headers: { "ce-specversion": "1.0", "ce-type": "t", "ce-source": "/f" } },
    ],
    ["an event of an unknown version", { headers: replyHeaders("unknown", { "ce-specversion": "19.0" }) }],
    ["a batch", { headers: { "content-type": "application/cloudevents-batch+json" }, body: "[]" }],
  ])("(%s) is a failed attempt, retried and then dead", async (what, reply) => {
    const name = what.replaceAll(" ", "-").toLowerCase();
    const { first, second, events, dead } = await ask(name, [reply]);
    expect({ attempts: first.received.length, events, dead }).toEqual({ attempts: 2, events: 1, dead: 1 });
    expect(second.received).toEqual([]);
    const letter = await mesh.deadLetter(`${name}-first`);
    expect(letter.event.id).toBe(name);
    for (const attempt of letter.attempts) {
      expect(attempt.status).toBe(200);
      expect(attempt.error).toMatch(/^ReplyInvalid: ./);
    }
    expect(letter.attempts).toHaveLength(2);
  });
});

describe("loop guard", () => {
  test.concurrent("a reply without hops left is a dead letter that names the chain", async () => {
    const inbox = subscriber.inbox("loop", ({ attempt, id }) => ({
      headers: {
        "ce-specversion": "1.0",
        "ce-id": `${id}+`,
        "ce-source": "/f",
        "ce-type": "loop",
        x: `${attempt}`,
      },
    }));
    await mesh.serve(
      brokerManifest("looping", { annotations: { "weft.dev/max-hops": "3" } }),
      triggerManifest("loop", { broker: "looping", type: "loop", to: inbox.url }),
    );
    await ledger.accept({ id: "round", type: "loop", path: "/default/looping" });
    const letter = await mesh.deadLetter("loop");
    expect(inbox.received.map(({ id }) => id)).toEqual(["round", "round+", "round++"]);
    expect(letter.reason).toBe("LoopDetected");
    expect(letter.event.id).toBe("round++");
    expect(letter.attempts).toHaveLength(1);
    expect(letter.attempts[0]?.error).toContain("loop (round++) → default/loop → loop (round+++)");
  });

  test.concurrent("hops are hidden from subscribers, and a function cannot raise them", async () => {
    const inbox = subscriber.inbox("cheat", ({ id }) => ({
      headers: {
        "ce-specversion": "1.0",
        "ce-id": `${id}+`,
        "ce-source": "/f",
        "ce-type": "cheat",
        "ce-knativebrokerttl": "200",
      },
    }));
    await mesh.serve(
      brokerManifest("cheated", { annotations: { "weft.dev/max-hops": "2" } }),
      triggerManifest("cheat", { broker: "cheated", to: inbox.url }),
    );
    await ledger.accept({ id: "c", type: "cheat", path: "/default/cheated" });
    await mesh.deadLetter("cheat");
    expect(inbox.received.map(({ id }) => id)).toEqual(["c", "c+"]);
    for (const { headers } of inbox.received) expect(headers).not.toHaveProperty("ce-knativebrokerttl");
  });

  test.concurrent("a producer's event with no hops left is refused", async () => {
    const answer = await ledger.send({ id: "spent", type: "t", attributes: { knativebrokerttl: "1" } });
    expect(answer?.status).toBe(400);
    expect(JSON.parse(answer?.body ?? "")).toMatchObject({ code: "EVENT_LOOP", field: "knativebrokerttl" });
  });
});

describe("a delivery", () => {
  test.concurrent("carries Prefer, Kn-Namespace and what travels beside the event, and nothing else of the request", async () => {
    const inbox = subscriber.inbox("headers");
    await mesh.serve(triggerManifest("headers", { type: "headers", to: inbox.url }));
    const answer = await mesh.post({
      headers: {
        "ce-specversion": "1.0",
        "ce-id": "headers",
        "ce-source": "/t",
        "ce-type": "headers",
        "x-request-id": "r-1",
        "x-b3-traceid": "b3",
        "knative-custom": "k",
        authorization: "Bearer secret",
        cookie: "a=b",
        "kn-custom": "no",
        "nats-expected-stream": "evil",
        prefer: "handling=lenient",
      },
    });
    expect(answer.status).toBe(202);
    const [received] = await until(() => inbox.received.length > 0 && inbox.received);
    expect(received?.headers).toMatchObject({
      prefer: "reply",
      "kn-namespace": "default",
      "x-request-id": "r-1",
      "x-b3-traceid": "b3",
      "knative-custom": "k",
    });
    for (const name of ["authorization", "cookie", "kn-custom", "nats-expected-stream"]) {
      expect(received?.headers).not.toHaveProperty(name);
    }
  });

  test.concurrent("is structured with format json", async () => {
    const inbox = subscriber.inbox("format-json");
    await mesh.serve(
      triggerManifest("format-json", { type: "format-json", to: inbox.url, delivery: { format: "json" } }),
    );
    await ledger.accept({ id: "fj", type: "format-json", data: { n: 1 }, attributes: { myext: "e" } });
    const [received] = await until(() => inbox.received.length > 0 && inbox.received);
    expect(received?.headers["content-type"]).toMatch(/^application\/cloudevents\+json/);
    expect(received?.headers).not.toHaveProperty("ce-id");
    expect(JSON.parse(received?.body.toString() ?? "")).toEqual({
      specversion: "1.0",
      id: "fj",
      source: "/test",
      type: "format-json",
      myext: "e",
      datacontenttype: "application/json",
      data: { n: 1 },
    });
  });

  test.concurrent("is binary however the producer sent it", async () => {
    const inbox = subscriber.inbox("format-binary");
    await mesh.serve(triggerManifest("format-binary", { type: "format-binary", to: inbox.url }));
    const event = { specversion: "1.0", id: "fb", source: "/t", type: "format-binary", data: { n: 1 } };
    const answer = await mesh.post({
      headers: { "content-type": "application/cloudevents+json" },
      body: JSON.stringify(event),
    });
    expect(answer.status).toBe(202);
    const [received] = await until(() => inbox.received.length > 0 && inbox.received);
    expect(received?.headers).toMatchObject({ "ce-id": "fb", "content-type": "application/json" });
    expect(received?.body.toString()).toBe('{"n":1}');
  });
});
