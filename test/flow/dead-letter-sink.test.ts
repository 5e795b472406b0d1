import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import type { Sent } from "../support/ledger.ts";
import { brokerManifest, triggerManifest } from "../support/mesh.ts";
import { ledger, mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import { type Act, eventOf, type Inbox, type Received } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

useSharedMesh();

interface Case {
  readonly script?: readonly Act[];
  /** Instead of a scripted subscriber. */
  readonly to?: string;
  readonly sink?: readonly Act[];
  readonly delivery?: object;
  readonly broker?: string;
  readonly event?: Partial<Sent>;
}

/** Sends an event to a subscriber that fails, and waits until the trigger owes nothing any more. */
async function fail(
  name: string,
  { script = [422], to, sink = [204], delivery, broker = "default", event }: Case,
): Promise<{
  inbox: Inbox;
  sink: Inbox;
  first: Received;
}> {
  const inbox = subscriber.inbox(name, ...script);
  const sinkInbox = subscriber.inbox(`${name}-sink`, ...sink);
  await mesh.serve(
    triggerManifest(name, {
      broker,
      type: name,
      to: to ?? inbox.url,
      delivery: { ...delivery, deadLetterSink: { uri: sinkInbox.url } },
    }),
  );
  await ledger.accept({ id: name, type: name, path: `/default/${broker}`, ...event });
  await until(
    async () => {
      const { pending, inFlight, dead } = await mesh.trigger(name);
      return pending + inFlight === 0 && dead === 1;
    },
    { what: `an outcome at ${name}` },
  );
  const [first] = sinkInbox.received;
  if (first === undefined) throw new Error("nothing reached the sink");
  return { inbox, sink: sinkInbox, first };
}

const soon = { retry: 1, backoffPolicy: "linear", backoffDelay: "PT0.01S" };
const base64 = (text: string) => Buffer.from(text).toString("base64");

test.concurrent("deadLetterSink gets the event with destination, status and the body in base64", async () => {
  const body = '{ "message": "catastrophic failure" }';
  const { inbox, sink, first } = await fail("with-body", {
    script: [{ status: 422, body }],
    event: { data: { order: 7 }, source: "/shop", attributes: { subject: "s", myext: "kept" } },
  });
  expect(sink.received).toHaveLength(1);
  expect(first.headers).toMatchObject({
    "ce-id": "with-body",
    "ce-source": "/shop",
    "ce-subject": "s",
    "ce-myext": "kept",
    "ce-knativeerrordest": inbox.url,
    "ce-knativeerrorcode": "422",
    "ce-knativeerrordata": base64(body),
    "content-type": "application/json",
  });
  expect(eventOf(first).data).toEqual({ order: 7 });
  expect(await mesh.deadLetters({ trigger: "with-body" })).toEqual([]);
});

test.concurrent("deadLetterSink gets an empty knativeerrordata when the answer had no body", async () => {
  const { first } = await fail("without-body", { script: [422] });
  expect(first.headers["ce-knativeerrordata"]).toBe("");
  expect(first.headers["ce-knativeerrorcode"]).toBe("422");
});

test.concurrent("deadLetterSink gets at most 1024 characters of knativeerrordata", async () => {
  const { first } = await fail("long-body", { script: [{ status: 400, body: "x".repeat(5000) }] });
  expect(first.headers["ce-knativeerrordata"]).toBe(base64("x".repeat(768)));
});

test.concurrent.each([
  ["a closed port", "http://127.0.0.1:1"],
  ["a host without an address", "http://fake.svc.cluster.invalid"],
])("deadLetterSink gets 500, the reason and the destination letter by letter for %s", async (what, to) => {
  const { first } = await fail(what.replaceAll(" ", "-"), { to });
  expect(first.headers["ce-knativeerrordest"]).toBe(to);
  expect(first.headers["ce-knativeerrorcode"]).toBe("500");
  const data = Buffer.from(`${first.headers["ce-knativeerrordata"]}`, "base64").toString();
  expect(data).toMatch(/^dispatch error: ./);
});

test.concurrent("deadLetterSink gets what a subscriber with a scheme that is not HTTP cannot", async () => {
  const { first } = await fail("bad-uri", { to: "bad://uri" });
  expect(first.id).toBe("bad-uri");
});

test.concurrent("deadLetterSink gets 500 after a timeout", async () => {
  const { first } = await fail("timed-out", { script: ["hang"], delivery: { timeout: "PT0.1S" } });
  expect(first.headers["ce-knativeerrorcode"]).toBe("500");
});

test.concurrent("deadLetterSink gets the last of several failures", async () => {
  const { first } = await fail("last-failure", {
    script: [
      { status: 500, body: "first" },
      { status: 503, body: "second" },
    ],
    delivery: soon,
  });
  expect(first.headers["ce-knativeerrorcode"]).toBe("503");
  expect(first.headers["ce-knativeerrordata"]).toBe(base64("second"));
});

test.concurrent("deadLetterSink gets the first failure of an event that failed elsewhere before", async () => {
  const { first } = await fail("failed-before", {
    event: { attributes: { knativeerrordest: "http://elsewhere", knativeerrorcode: "418" } },
  });
  expect(first.headers).toMatchObject({
    "ce-knativeerrordest": "http://elsewhere",
    "ce-knativeerrorcode": "418",
    "ce-knativeerrordata": "",
  });
});

test.concurrent("deadLetterSink is called without Prefer, with Kn-Namespace, in binary mode", async () => {
  const { inbox, first } = await fail("sink-headers", { delivery: { format: "json" } });
  expect(inbox.received[0]?.headers["content-type"]).toMatch(/^application\/cloudevents\+json/);
  expect(first.headers.prefer).toBeUndefined();
  expect(first.headers["kn-namespace"]).toBe("default");
  expect(first.headers["ce-id"]).toBe("sink-headers");
});

test.concurrent("deadLetterSink that fails at first gets it by the same policy", async () => {
  const { inbox, sink } = await fail("flaky-sink", { script: [500], sink: [503, 204], delivery: soon });
  expect(inbox.received).toHaveLength(2);
  expect(sink.accepted()).toEqual(["flaky-sink"]);
  expect(await mesh.deadLetters({ trigger: "flaky-sink" })).toEqual([]);
});

test.concurrent("deadLetterSink that fails its retries leaves a dead letter with both kinds of attempts", async () => {
  const { inbox, sink } = await fail("failing-sink", {
    script: [{ status: 500, body: "subscriber" }],
    sink: [{ status: 503, body: "sink" }],
    delivery: soon,
  });
  expect([inbox.received.length, sink.received.length]).toEqual([2, 2]);
  const letter = await mesh.deadLetter("failing-sink");
  expect(letter.reason).toBe("RetriesExhausted");
  expect(letter.attempts.map(({ status, body }) => [status, body])).toEqual([
    [500, "subscriber"],
    [500, "subscriber"],
  ]);
  expect(letter.sinkAttempts.map(({ status, body }) => [status, body])).toEqual([
    [503, "sink"],
    [503, "sink"],
  ]);
  expect(letter.event).not.toHaveProperty("knativeerrorcode");
});

test.concurrent("deadLetterSink that refuses is not asked again", async () => {
  const { sink } = await fail("refusing-sink", { sink: [400], delivery: soon });
  expect(sink.received).toHaveLength(1);
  const letter = await mesh.deadLetter("refusing-sink");
  expect(letter.reason).toBe("NotRetryable");
  expect(letter.sinkAttempts.map(({ status }) => status)).toEqual([400]);
});

test.concurrent("deadLetterSink is asked again although it hung", async () => {
  const { sink } = await fail("hanging-sink", {
    sink: ["hang", 204],
    delivery: { ...soon, timeout: "PT1S" },
  });
  expect(sink.received).toHaveLength(2);
});

test.concurrent("deadLetterSink answers no replies", async () => {
  const headers = { "ce-specversion": "1.0", "ce-id": "x", "ce-source": "/sink", "ce-type": "sink.reply" };
  const replies = subscriber.inbox("sink-replies");
  await mesh.serve(
    brokerManifest("sink-replies"),
    triggerManifest("sink-replies", { broker: "sink-replies", type: "sink.reply", to: replies.url }),
  );
  await fail("replying-sink", { sink: [{ status: 200, headers }], broker: "sink-replies" });
  const { brokers } = await mesh.status();
  expect(brokers.find(({ name }) => name === "sink-replies")?.events).toBe(1);
  expect(replies.received).toEqual([]);
});

test.concurrent("deadLetterSink may be another broker", async () => {
  const inbox = subscriber.inbox("collected");
  await mesh.serve(
    { apiVersion: "eventing.knative.dev/v1", kind: "Broker", metadata: { name: "graveyard" }, spec: {} },
    triggerManifest("collected", { broker: "graveyard", to: inbox.url }),
  );
  const ref = { apiVersion: "eventing.knative.dev/v1", kind: "Broker", name: "graveyard" };
  const failing = subscriber.inbox("to-broker", { status: 422, body: "no" });
  await mesh.serve(
    triggerManifest("to-broker", {
      type: "to-broker",
      to: failing.url,
      delivery: { deadLetterSink: { ref } },
    }),
  );
  await ledger.accept({ id: "to-broker", type: "to-broker" });
  const [received] = await until(() => inbox.received.length > 0 && inbox.received);
  expect(received?.headers).toMatchObject({
    "ce-id": "to-broker",
    "ce-knativeerrordest": failing.url,
    "ce-knativeerrorcode": "422",
    "ce-knativeerrordata": base64("no"),
  });
});

test.concurrent("a dead letter without a sink is listed with the event as it was", async () => {
  const inbox = subscriber.inbox("no-sink", { status: 422, body: "größer" });
  await mesh.serve(triggerManifest("no-sink", { type: "no-sink", to: inbox.url, delivery: {} }));
  await ledger.accept({
    id: "no-sink",
    type: "no-sink",
    data: { deep: [1, "ü"] },
    attributes: { myext: "1" },
  });
  const letter = await mesh.deadLetter("no-sink");
  expect(letter).toMatchObject({
    namespace: "default",
    broker: "default",
    trigger: "no-sink",
    sinkAttempts: [],
  });
  expect(letter.event).toEqual({
    specversion: "1.0",
    id: "no-sink",
    source: "/test",
    type: "no-sink",
    myext: "1",
    datacontenttype: "application/json",
    data: { deep: [1, "ü"] },
  });
  expect(letter.attempts).toHaveLength(1);
  expect(letter.attempts[0]).toMatchObject({ status: 422, body: "größer" });
});

test.concurrent("what is no event goes into the dead-letter list once a failing sink has used up its retries", async () => {
  const sink = subscriber.inbox("invalid-sink", 503);
  await mesh.serve(
    triggerManifest("invalid", {
      type: "invalid",
      to: subscriber.inbox("invalid").url,
      delivery: { ...soon, deadLetterSink: { uri: sink.url } },
    }),
  );
  const { username: token, host } = new URL(await mesh.natsUrl());
  const nc = await connect({ servers: host, token });
  nc.publish("weft.ev.default.default.invalid", "garbage");
  await nc.flush();
  await nc.close();
  const [letter] = await until(async () => {
    const letters = await mesh.deadLetters({ trigger: "invalid" });
    return letters.length > 0 && letters;
  });
  expect(letter).toMatchObject({ reason: "EventInvalid", sinkAttempts: [{ status: 503 }, { status: 503 }] });
  expect(sink.received).toHaveLength(2);
});
