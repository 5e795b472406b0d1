/**
 * Twenty defects known from a comparable broker, each absent here. Those that other tests prove in full:
 *
 * | Defect | Proven absent by |
 * |---|---|
 * | losing a 4xx before the last attempt | retry-policy: status, "%i is dead at once" (one attempt, then a dead letter) |
 * | ignoring 404/409 retries | retry-policy: status, "%i is retried until the retries are used up" |
 * | ack after a failed dead-letter POST | dead-letter-sink: "that fails its retries leaves a dead letter with both kinds of attempts" |
 * | missing error attributes | dead-letter-sink: "gets the event with destination, status and the body in base64" |
 * | no loop guard | reply: loop guard, "a reply without hops left is a dead letter that names the chain" |
 * | broker-level delivery ignored | retry-policy: inheritance, "a trigger without delivery has its broker's" |
 * | `retry` without backoff fields crashing | retry-policy: back-off, "default waits before the first retry too" |
 * | one in flight per trigger | in-flight: "leaves nine triggers undisturbed …", "refills a window at each completion …" |
 * | batch pull latency on an idle trigger | in-flight: "delivers to an idle trigger without waiting for any timer" |
 * | fetch loop dead after a long outage | outage: "a NATS server that freezes for long is noticed …" |
 * | unbounded stream | stream-full: "a full stream refuses new events …", "… makes room for new events …" |
 * | redelivery while a slow attempt still runs | in-flight: "says that an attempt still runs …", "… makes no second attempt …" |
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { gate } from "../support/gate.ts";
import { Ledger } from "../support/ledger.ts";
import { startLoad } from "../support/load.ts";
import {
  brokerManifest,
  type Manifest,
  serviceRef,
  startTestMesh,
  type TestMesh,
  triggerManifest,
} from "../support/mesh.ts";
import { openStreams, type Streams } from "../support/streams.ts";
import { type Inbox, type Script, type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

let mesh: TestMesh;
let subscriber: Subscriber;
let ledger: Ledger;
let streams: Streams;
let coldSink: Inbox;
let narrow: Inbox;

/** How many of the narrow function's requests there are now, and were at most. */
const inNarrow = { now: 0, most: 0 };

beforeAll(async () => {
  subscriber = await startSubscriber();
  coldSink = subscriber.inbox("cold-sink");
  narrow = subscriber.inbox("narrow", countingAtOnce);
  mesh = await startTestMesh({
    flags: ["--idle-window", "6s"],
    functions: {
      "cold-sink.ts": `await new Promise((resolve) => setTimeout(resolve, ${coldMs}));
        export default ({ id, knativeerrorcode }) =>
          fetch("${coldSink.url}", { method: "POST", headers: { "ce-id": id, "ce-type": knativeerrorcode } });`,
      "narrow.ts": `export default ({ id, type }) =>
          fetch("${narrow.url}", { method: "POST", headers: { "ce-id": id, "ce-type": type } });`,
    },
    manifests: { "narrow.yaml": JSON.stringify(oneAtATime("narrow")) },
  });
  ledger = new Ledger(mesh);
  streams = await openStreams(mesh);
});
afterAll(async () => {
  await streams?.close();
  await mesh?.close();
  await subscriber?.close();
});

/** Longer than the comparable broker waits for a sink. */
const coldMs = 1500;
const often = { retry: 100, backoffPolicy: "linear", backoffDelay: "PT0.05S" };

const countingAtOnce: Script = async () => {
  inNarrow.most = Math.max(inNarrow.most, ++inNarrow.now);
  await new Promise((resolve) => setTimeout(resolve, 5));
  inNarrow.now--;
  return 204;
};

function oneAtATime(name: string): object {
  return {
    apiVersion: "serving.knative.dev/v1",
    kind: "Service",
    metadata: { name },
    spec: {
      template: {
        metadata: { annotations: { "autoscaling.knative.dev/max-scale": "1" } },
        spec: { containerConcurrency: 1, containers: [{ image: "weft.dev/function" }] },
      },
    },
  };
}

/** Applies a changed trigger and waits until the control plane says that it is in effect. */
async function change(trigger: Manifest): Promise<void> {
  await mesh.apply(trigger);
  await until(
    async () => {
      const found = (await mesh.objects("triggers")).get(trigger.metadata.name);
      return found?.status?.observedGeneration === found?.metadata.generation;
    },
    { what: `${trigger.metadata.name} is what it was changed to` },
  );
}

test.concurrent("ack after a failed reply", async () => {
  const broker = "closed";
  const answer = gate();
  const reply: Script = ({ id }) =>
    answer.pass({
      headers: {
        "ce-specversion": "1.0",
        "ce-id": `${id}-reply`,
        "ce-source": "/function",
        "ce-type": "closed.reply",
      },
    }) as Promise<{ headers: Record<string, string> }>;
  const [patient, hasty] = [subscriber.inbox("patient", reply), subscriber.inbox("hasty", reply)];
  const replies = subscriber.inbox("closed-replies");
  const path = `/default/${broker}`;
  await mesh.serve(
    brokerManifest(broker),
    triggerManifest("patient", { broker, type: "patient", to: patient.url, delivery: often }),
    triggerManifest("hasty", { broker, type: "hasty", to: hasty.url, delivery: { ...often, retry: 1 } }),
    triggerManifest("closed-replies", { broker, type: "closed.reply", to: replies.url }),
  );
  for (const id of ["patient", "hasty"]) await ledger.accept({ id, type: id, path });
  await until(() => answer.waiting === 2, { what: "both attempts run" });
  await streams.limit(broker, 2);
  answer.open();

  const letter = await mesh.deadLetter("hasty");
  expect(letter.event.id).toBe("hasty");
  expect(letter.attempts.map(({ status }) => status)).toEqual([200, 200]);
  for (const { error } of letter.attempts) expect(error).toMatch(/^ReplyNotStored: ./);
  await until(() => patient.received.length >= 3, { what: "the subscriber is called again" });
  expect(await mesh.trigger("patient")).toMatchObject({ delivered: 0, dead: 0 });

  await streams.limit(broker, -1);
  await until(async () => (await mesh.trigger("patient")).delivered === 1, { what: "the reply is stored" });
  await until(() => replies.accepted().length > 0, { what: "the reply is delivered" });
  await ledger.settle({ trigger: "patient", type: "patient", inbox: patient });
  await ledger.balance({ trigger: "hasty", type: "hasty", inbox: hasty });
  const { brokers } = await mesh.status();
  expect(brokers.find(({ name }) => name === broker)?.events).toBe(3);
  expect(replies.accepted()).toEqual(["patient-reply"]);
});

test.concurrent("id-only dedupe across sources", async () => {
  const inbox = subscriber.inbox("sources");
  await mesh.serve(triggerManifest("sources", { type: "sources", to: inbox.url }));
  const sources = ["/a", "/b", "/a/b", "urn:a"];
  for (const source of [...sources, ...sources]) await ledger.accept({ id: "same", type: "sources", source });
  const batch = ["/a", "/batch-1", "/batch-2"].map((source) => ({
    specversion: "1.0",
    id: "same",
    type: "sources",
    source,
  }));
  const answer = await mesh.post({
    headers: { "content-type": "application/cloudevents-batch+json" },
    body: JSON.stringify(batch),
  });
  expect(answer.status).toBe(202);
  await ledger.settle({ trigger: "sources", type: "sources", inbox });
  expect(inbox.received.map(({ headers }) => headers["ce-source"]).sort()).toEqual(
    [...sources, "/batch-1", "/batch-2"].sort(),
  );
});

test.concurrent("last-attempt crash losing the event", async () => {
  const own = await startTestMesh({ flags: ["--warm-pool", "0"] });
  try {
    const books = new Ledger(own);
    const recovering = subscriber.inbox("recovering", 503, "hang", 204);
    const failing = subscriber.inbox("failing", 503, "hang", { status: 503, body: "in the end" });
    const only = subscriber.inbox("only", "hang", 204);
    const inboxes = { recovering, failing, only };
    const delivery = { retry: 1, backoffPolicy: "linear", backoffDelay: "PT0.01S" };
    await own.serve(
      triggerManifest("recovering", { type: "recovering", to: recovering.url, delivery }),
      triggerManifest("failing", { type: "failing", to: failing.url, delivery }),
      triggerManifest("only", { type: "only", to: only.url, delivery: {} }),
    );
    for (const id of Object.keys(inboxes)) await books.accept({ id, type: id });
    await until(() => recovering.received.length + failing.received.length + only.received.length === 5, {
      what: "the last attempt at each runs",
    });
    await own.kill9();
    await own.start();
    for (const [name, inbox] of Object.entries(inboxes)) {
      await books.settle({ trigger: name, type: name, inbox });
    }
    expect(recovering.accepted()).toEqual(["recovering"]);
    expect(only.accepted()).toEqual(["only"]);
    const letter = await own.deadLetter("failing");
    expect(letter.attempts.map(({ status, body }) => [status, body])).toEqual([
      [503, ""],
      [503, "in the end"],
    ]);
    expect(await own.deadLetters()).toHaveLength(1);
  } finally {
    await own.close();
  }
}, 60_000);

test.concurrent("stream names colliding", async () => {
  const places = [
    { namespace: "a", name: "b-c" },
    { namespace: "a-b", name: "c" },
    { namespace: "default", name: "a-b-c" },
    { namespace: "default", name: "a.b-c" },
  ];
  const path = ({ namespace, name }: { namespace: string; name: string }) => `/${namespace}/${name}`;
  const inboxes = places.map((place) => subscriber.inbox(`collision${path(place)}`));
  await mesh.apply(
    ...places.flatMap(({ namespace, name }, i) => {
      const broker = brokerManifest(name);
      const trigger = triggerManifest("all", { broker: name, to: inboxes[i]?.url ?? "" });
      // Triggers of one namespace need names of their own.
      const metadata = { namespace, name: `all-of-${name}` };
      return [
        { ...broker, metadata: { ...broker.metadata, namespace } },
        { ...trigger, metadata },
      ];
    }),
  );
  await until(
    async () =>
      (await mesh.status()).triggers.filter(({ name, ready }) => name.startsWith("all-of-") && ready)
        .length === places.length,
    { what: "all are served" },
  );
  for (const place of places) await ledger.accept({ id: path(place), type: "collision", path: path(place) });
  await until(() => inboxes.every((inbox) => inbox.received.length > 0), { what: "an event at each" });
  expect(inboxes.map((inbox) => inbox.accepted())).toEqual(places.map((place) => [path(place)]));
  // What could not be told from `a-b` in a stream's name is no name of a broker.
  const { rejected } = await mesh.applyText(JSON.stringify(brokerManifest("a_b")));
  expect(rejected).toMatchObject([{ kind: "Broker", name: "a_b" }]);
});

test.concurrent("overwriting the producer's traceparent", async () => {
  const trace = {
    "ce-traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "ce-tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
  };
  const sink = subscriber.inbox("traced-sink");
  const failing = subscriber.inbox("traced", 503, 422);
  await mesh.serve(
    triggerManifest("traced", {
      type: "traced",
      to: failing.url,
      delivery: { ...often, deadLetterSink: { uri: sink.url } },
    }),
  );
  const answer = await mesh.post({
    headers: {
      "ce-specversion": "1.0",
      "ce-id": "traced",
      "ce-source": "/test",
      "ce-type": "traced",
      ...trace,
      // Of the request, not of the event.
      traceparent: "00-11111111111111111111111111111111-2222222222222222-00",
      tracestate: "other=1",
    },
  });
  expect(answer.status).toBe(202);
  await until(() => sink.received.length > 0, { what: "the dead letter" });
  expect(failing.received).toHaveLength(2);
  for (const { headers } of [...failing.received, ...sink.received]) expect(headers).toMatchObject(trace);
});

test.concurrent("a filter change that loses events", async () => {
  let isRefusing = true;
  const inbox = subscriber.inbox("filters", ({ id }) => (isRefusing && id.startsWith("owed") ? 503 : 204));
  const wanting = (...types: readonly string[]) =>
    triggerManifest("filters", {
      filters: [{ any: types.map((type) => ({ exact: { type } })) }],
      to: inbox.url,
      delivery: often,
    });
  const [first, kept, last] = ["filters.first", "filters.kept", "filters.last"] as const;
  await mesh.serve(wanting(first, kept));
  for (let n = 0; n < 5; n++) await ledger.accept({ id: `owed-${n}`, type: kept });
  await until(() => inbox.received.length >= 5, { what: "events are owed" });
  const loads = [first, kept, last].map((type) => startLoad({ type, ledgers: [ledger], producers: 2 }));
  const flows = async (type: string) => {
    const before = inbox.received.filter((each) => each.type === type).length;
    await until(() => inbox.received.filter((each) => each.type === type).length > before + 10, {
      what: `${type} flows`,
    });
  };
  /** These are sent when the change is in effect: each must be delivered. */
  const sure: string[] = [];
  const sendSure = async (type: string) => {
    for (let n = 0; n < 3; n++) {
      const id = `sure-${sure.length}`;
      sure.push(id);
      await ledger.accept({ id, type });
    }
  };
  await flows(first);
  await sendSure(first);
  for (const types of [[kept, last], [kept], [last, kept], [kept], [first, kept], [first, kept, last]]) {
    // What was sent just before the change matched the filter of its time: it is delivered first.
    await until(() => sure.every((id) => inbox.of(id).length > 0), { what: "what is sure" });
    await change(wanting(...types));
    for (const type of types) await sendSure(type);
    await flows(kept);
  }
  isRefusing = false;
  await flows(last);
  await Promise.all(loads.map((load) => load.stop()));
  await ledger.settle({ trigger: "filters", type: kept, inbox });
  const accepted = inbox.accepted();
  expect(accepted).toEqual(expect.arrayContaining(sure));
  expect(accepted).toHaveLength(new Set(accepted).size);
});

test.concurrent("a cold dead-letter sink timing out after 1 s", async () => {
  const slowSink = subscriber.inbox("slow-sink", { status: 204, delayMs: coldMs });
  const failing = subscriber.inbox("to-sinks", 422);
  await until(async () => (await mesh.instances("cold-sink")).length === 0, { what: "the sink is at zero" });
  const once = (name: string, deadLetterSink: object) =>
    triggerManifest(name, { type: "to-sinks", to: failing.url, delivery: { retry: 0, deadLetterSink } });
  await mesh.serve(once("to-slow", { uri: slowSink.url }), once("to-cold", serviceRef("cold-sink")));
  await ledger.accept({ id: "letter", type: "to-sinks" });
  await until(() => slowSink.accepted().length > 0 && coldSink.received.length > 0, { what: "both letters" });
  for (const trigger of ["to-slow", "to-cold"]) {
    await ledger.settle({ trigger, type: "to-sinks", inbox: slowSink });
    expect(await mesh.trigger(trigger)).toMatchObject({ dead: 1, delivered: 0 });
    expect(await mesh.deadLetters({ trigger })).toEqual([]);
  }
  expect(slowSink.received.map(({ id }) => id)).toEqual(["letter"]);
  expect(coldSink.received.map(({ id, type }) => [id, type])).toEqual([["letter", "422"]]);
});

test.concurrent("concurrency ignoring the subscriber's capacity", async () => {
  const events = 50;
  await mesh.serve(triggerManifest("burst", { type: "burst", to: "narrow", delivery: often }));
  await Promise.all(
    Array.from({ length: events }, (_, n) => ledger.accept({ id: `burst-${n}`, type: "burst" })),
  );
  await ledger.settle({ trigger: "burst", type: "burst", inbox: narrow });
  expect(await mesh.trigger("burst")).toMatchObject({ delivered: events, retried: 0, dead: 0 });
  expect(narrow.received).toHaveLength(events);
  expect(inNarrow.most).toBe(1);
});
