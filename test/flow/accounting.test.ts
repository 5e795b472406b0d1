/**
 * What happens around a delivery while it runs, and where every event is afterwards: delivered, a dead letter,
 * with the sink, still owed, refused, or gone with what its owner deleted.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { gate } from "../support/gate.ts";
import { Ledger } from "../support/ledger.ts";
import {
  brokerManifest,
  type Manifest,
  startTestMesh,
  type TestMesh,
  triggerManifest,
} from "../support/mesh.ts";
import { openStreams, type Streams } from "../support/streams.ts";
import { type Inbox, type Reply, type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

let mesh: TestMesh;
let subscriber: Subscriber;
let streams: Streams;

beforeAll(async () => {
  subscriber = await startSubscriber();
  mesh = await startTestMesh({ flags: ["--drain", "2s", "--warm-pool", "0"] });
  streams = await openStreams(mesh);
});
afterAll(async () => {
  await streams?.close();
  await mesh?.close();
  await subscriber?.close();
});

const often = { retry: 100, backoffPolicy: "linear", backoffDelay: "PT0.05S" };

/** Sends `count` events of the type and broker `name` at once; resolves to their ids when all are accepted. */
async function send(ledger: Ledger, name: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, n) => `${name}-${n}`);
  await Promise.all(ids.map((id) => ledger.accept({ id, type: name, path: `/default/${name}` })));
  return ids;
}

/** Objects in a manifest of their own, served; removing the manifest deletes them. */
async function serveFromFile(file: string, ...objects: readonly Manifest[]): Promise<void> {
  await mesh.writeManifest(file, objects.map((object) => JSON.stringify(object)).join("\n---\n"));
  await until(
    async () => {
      const { triggers, brokers } = await mesh.status();
      return objects.every(({ kind, metadata: { name } }) =>
        kind === "Broker"
          ? brokers.some((broker) => broker.name === name)
          : triggers.some((trigger) => trigger.name === name && trigger.ready),
      );
    },
    { what: `${file} is served` },
  );
}

async function brokerIsGone(name: string): Promise<void> {
  await until(
    async () =>
      (await mesh.status()).brokers.every((broker) => broker.name !== name) &&
      (await streams.of(name)).length === 0,
    { what: `broker ${name} and its streams are gone` },
  );
}

function sorted(ids: Iterable<string>): string[] {
  return [...ids].sort();
}

function replyTo(id: string, type: string): Reply {
  return {
    status: 200,
    headers: { "ce-specversion": "1.0", "ce-id": `${id}-reply`, "ce-source": "/function", "ce-type": type },
  };
}

test.concurrent("dead-letter sink down, then up: it gets every letter once, and none is in the list", async () => {
  const name = "sink-down";
  const ledger = new Ledger(mesh);
  const failing = subscriber.inbox(name, 422);
  const before = await startSubscriber();
  const { url } = before.inbox(name);
  await before.close();
  await mesh.serve(
    brokerManifest(name),
    triggerManifest(name, {
      broker: name,
      to: failing.url,
      delivery: { ...often, deadLetterSink: { uri: url } },
    }),
  );
  const ids = await send(ledger, name, 20);
  await until(() => failing.received.length === ids.length, { what: "each event failed" });
  expect(await mesh.trigger(name)).toMatchObject({ delivered: 0, dead: 0 });
  await ledger.balance({ trigger: name, type: name, inbox: failing });

  const after = await startSubscriber({ port: Number(new URL(url).port) });
  try {
    const sink = after.inbox(name);
    await ledger.settle({ trigger: name, type: name, inbox: sink });
    expect(sorted(sink.accepted())).toEqual(sorted(ids));
    expect(await mesh.trigger(name)).toMatchObject({ delivered: 0, dead: ids.length });
    expect(await mesh.deadLetters({ trigger: name })).toEqual([]);
    expect(failing.received).toHaveLength(ids.length);
  } finally {
    await after.close();
  }
});

test.concurrent("dead-letter broker gone mid-flight: every letter is in the list", async () => {
  const [name, graveyard] = ["graveless", "graveyard"];
  const ledger = new Ledger(mesh);
  const held = gate();
  const failing = subscriber.inbox(name, () => held.pass(422));
  await serveFromFile("graveyard.yaml", brokerManifest(graveyard));
  const ref = { apiVersion: "eventing.knative.dev/v1", kind: "Broker", name: graveyard };
  await mesh.serve(
    brokerManifest(name),
    triggerManifest(name, {
      broker: name,
      to: failing.url,
      delivery: { ...often, retry: 1, deadLetterSink: { ref } },
    }),
  );
  const ids = await send(ledger, name, 10);
  await until(() => held.waiting === ids.length, { what: "an attempt at each" });
  await mesh.removeManifest("graveyard.yaml");
  await brokerIsGone(graveyard);
  held.open();
  await ledger.settle({ trigger: name, type: name, inbox: failing });
  expect(sorted((await mesh.deadLetters({ trigger: name })).map(({ event }) => event.id))).toEqual(
    sorted(ids),
  );
});

test.concurrent("trigger deleted mid-delivery: what runs ends, nothing is tried again, the events stay", async () => {
  const name = "trigger-deleted";
  const ledger = new Ledger(mesh);
  const held = gate();
  const doomed = subscriber.inbox(name, () => held.pass(204));
  const other = subscriber.inbox(`${name}-other`);
  await mesh.serve(
    brokerManifest(name),
    triggerManifest(`${name}-other`, { broker: name, to: other.url, delivery: often }),
  );
  const trigger = triggerManifest(name, {
    broker: name,
    to: doomed.url,
    delivery: often,
    annotations: { "weft.dev/concurrency": "5" },
  });
  await serveFromFile(`${name}.yaml`, trigger);
  const ids = await send(ledger, name, 20);
  await until(() => held.waiting === 5, { what: "the window is full" });
  await mesh.removeManifest(`${name}.yaml`);
  await until(async () => (await mesh.status()).triggers.every((each) => each.name !== name), {
    what: "the trigger is gone",
  });
  held.open();
  await until(() => doomed.accepted().length === 5, { what: "the attempts that ran end well" });
  await ledger.settle({ trigger: `${name}-other`, type: name, inbox: other });
  expect(sorted(other.accepted())).toEqual(sorted(ids));

  // What was not delivered is where it was: a trigger that begins there gets all of it.
  const heir = subscriber.inbox(`${name}-heir`);
  await mesh.serve(
    triggerManifest(`${name}-heir`, {
      broker: name,
      to: heir.url,
      annotations: { "weft.dev/start": "first" },
    }),
  );
  await until(() => heir.accepted().length >= ids.length, { what: "the heir has all" });
  await ledger.settle({ trigger: `${name}-heir`, type: name, inbox: heir });
  expect(sorted(heir.accepted())).toEqual(sorted(ids));
  expect(doomed.received).toHaveLength(5);
  expect(await mesh.deadLetters({ broker: name })).toEqual([]);
});

test.concurrent("broker deleted with backlog: its events go with it, those of others do not", async () => {
  const [name, neighbour] = ["broker-deleted", "neighbour"];
  const ledger = new Ledger(mesh);
  const held = gate();
  const doomed = subscriber.inbox(name, () => held.pass(204));
  const other = subscriber.inbox(neighbour, ({ attempt }) => (attempt === 1 ? 500 : held.pass(204)));
  const options = { delivery: often, annotations: { "weft.dev/concurrency": "5" } };
  await mesh.serve(
    brokerManifest(neighbour),
    triggerManifest(neighbour, { broker: neighbour, to: other.url, ...options }),
  );
  await serveFromFile(`${name}.yaml`, brokerManifest(name));
  await mesh.serve(triggerManifest(name, { broker: name, to: doomed.url, ...options }));
  const theirs = await send(ledger, neighbour, 20);
  const ids = await send(ledger, name, 20);
  await until(() => held.waiting === 10, { what: "both windows are full" });
  await mesh.removeManifest(`${name}.yaml`);
  await brokerIsGone(name);
  expect((await ledger.send({ id: "late", type: name, path: `/default/${name}` }))?.status).toBe(404);
  held.open();
  await ledger.settle({ trigger: neighbour, type: neighbour, inbox: other });
  expect(sorted(other.accepted())).toEqual(sorted(theirs));
  await until(() => doomed.accepted().length === 5, { what: "the attempts that ran end well" });

  // One of its name knows nothing of the backlog.
  await serveFromFile(`${name}.yaml`, brokerManifest(name));
  await until(async () => (await mesh.trigger(name)).ready, { what: "the trigger is back" });
  await ledger.accept({ id: "again", type: name, path: `/default/${name}` });
  await until(() => doomed.accepted().includes("again"), { what: "the new broker's event" });
  await until(async () => (await mesh.trigger(name)).pending === 0, { what: "nothing is owed" });
  expect(doomed.received).toHaveLength(6);
  expect([...ids, "again"]).toEqual(expect.arrayContaining(doomed.accepted()));
  expect(await mesh.deadLetters({ broker: name })).toEqual([]);
});

test.concurrent("reply's broker gone mid-flight: the reply goes nowhere, not even to a new broker of its name", async () => {
  const name = "reply-homeless";
  const ledger = new Ledger(mesh);
  const [early, late] = [gate(), gate()];
  const asked = subscriber.inbox(name, async ({ id }) => {
    await (id === `${name}-0` ? early : late).pass(200);
    return replyTo(id, `${name}.reply`);
  });
  const replies = subscriber.inbox(`${name}-replies`);
  await serveFromFile(`${name}.yaml`, brokerManifest(name));
  await mesh.serve(
    triggerManifest(name, { broker: name, type: name, to: asked.url, delivery: often }),
    triggerManifest(`${name}-replies`, { broker: name, type: `${name}.reply`, to: replies.url }),
  );
  await send(ledger, name, 2);
  await until(() => early.waiting + late.waiting === 2, { what: "both attempts run" });
  await mesh.removeManifest(`${name}.yaml`);
  await brokerIsGone(name);
  early.open();
  await until(() => asked.accepted().length === 1, { what: "a reply while there is no broker" });
  await serveFromFile(`${name}.yaml`, brokerManifest(name));
  await until(async () => (await mesh.trigger(`${name}-replies`)).ready, { what: "the triggers are back" });
  late.open();
  await until(() => asked.received.length === 2 && asked.accepted().length === 2, {
    what: "a reply when there is another broker",
  });
  await ledger.accept({ id: "new", type: name, path: `/default/${name}` });
  await until(() => replies.accepted().includes("new-reply"), { what: "the new broker works" });
  await until(async () => (await mesh.trigger(name)).pending === 0, { what: "nothing is owed" });
  expect(replies.accepted()).toEqual(["new-reply"]);
  expect((await mesh.status()).brokers.find((broker) => broker.name === name)?.events).toBe(2);
  expect(asked.received.map(({ id }) => id).sort()).toEqual(["new", `${name}-0`, `${name}-1`]);
});

test.concurrent("stream full: what does not fit is refused as a whole, what did is delivered, then it goes on", async () => {
  const name = "full";
  const ledger = new Ledger(mesh);
  const held = gate();
  const inbox = subscriber.inbox(name, () => held.pass(204));
  await mesh.serve(
    brokerManifest(name),
    triggerManifest(name, { broker: name, to: inbox.url, delivery: often }),
  );
  await streams.limit(name, 10);
  const ids = Array.from({ length: 15 }, (_, n) => `${name}-${n}`);
  const path = `/default/${name}`;
  const answers = await Promise.all(ids.map((id) => ledger.send({ id, type: name, path })));
  expect(ledger.accepted.size).toBe(10);
  for (const answer of answers.filter((each) => each?.status !== 202)) {
    expect(answer?.status).toBe(503);
    expect(answer?.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(JSON.parse(answer?.body ?? "")).toMatchObject({ code: "STREAM_FULL" });
  }
  const batch = await mesh.post({
    path,
    headers: { "content-type": "application/cloudevents-batch+json" },
    body: JSON.stringify(
      ["batch-1", "batch-2"].map((id) => ({ specversion: "1.0", id, type: name, source: "/test" })),
    ),
  });
  expect(batch.status).toBe(503);
  await ledger.balance({ trigger: name, type: name, inbox });
  held.open();
  await ledger.settle({ trigger: name, type: name, inbox });
  expect(sorted(inbox.accepted())).toEqual(sorted(ledger.accepted.keys()));

  await streams.limit(name, -1);
  // The same ones again: those that were refused left no trace that would make them duplicates.
  for (const id of ids) await ledger.accept({ id, type: name, path });
  await ledger.settle({ trigger: name, type: name, inbox });
  expect(sorted(inbox.accepted())).toEqual(sorted(ids));
});

test.concurrent("trigger's subscriber changed mid-flight: attempts end where they began, the rest goes to the new one", async () => {
  const name = "moved";
  const ledger = new Ledger(mesh);
  const held = gate();
  const failed = `${name}-failed`;
  const old = subscriber.inbox(`${name}-old`, ({ id }) => held.pass(id === failed ? 503 : 204));
  const now = subscriber.inbox(`${name}-now`);
  const to = ({ url }: Inbox) =>
    triggerManifest(name, {
      broker: name,
      to: url,
      delivery: often,
      annotations: { "weft.dev/concurrency": "5" },
    });
  await mesh.serve(brokerManifest(name), to(old));
  await ledger.accept({ id: failed, type: name, path: `/default/${name}` });
  await until(() => held.waiting === 1, { what: "the attempt that is to fail" });
  const ids = [failed, ...(await send(ledger, name, 20))];
  await until(() => held.waiting === 5, { what: "the window is full" });
  await mesh.apply(to(now));
  await until(async () => (await mesh.objects("triggers")).get(name)?.status?.subscriberUri === now.url, {
    what: "the change is in effect",
  });
  held.open();
  const both = { accepted: () => [...old.accepted(), ...now.accepted()] };
  await ledger.settle({ trigger: name, type: name, inbox: both });
  expect(sorted(both.accepted())).toEqual(sorted(ids));
  expect(old.received).toHaveLength(5);
  expect(old.accepted()).toHaveLength(4);
  expect(now.accepted()).toContain(failed);
  expect(await mesh.trigger(name)).toMatchObject({ delivered: ids.length, retried: 1, dead: 0 });
});
