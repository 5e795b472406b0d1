import { once } from "node:events";
import { connect } from "node:net";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect as connectNats } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import { eventStream } from "../../src/mesh/stream/subjects.ts";
import { binary } from "../support/ledger.ts";
import { type Answer, brokerManifest, triggerManifest } from "../support/mesh.ts";
import { ledger, mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import { eventOf } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

useSharedMesh();

const good = binary({ id: "good", type: "t" }).headers;
const structured = { "content-type": "application/cloudevents+json" };
const batched = { "content-type": "application/cloudevents-batch+json" };

function without(name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(good).filter(([each]) => each !== name));
}

function json(
  event: object,
  headers: Record<string, string> = structured,
): { headers: Record<string, string>; body: string } {
  return { headers, body: JSON.stringify(event) };
}

function problemOf(answer: Answer): Record<string, unknown> {
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  return JSON.parse(answer.body);
}

/** Events in the stream of a broker now. */
async function stored(broker: string): Promise<number | undefined> {
  const { brokers } = await mesh.status();
  return brokers.find(({ name }) => name === broker)?.events;
}

describe("method and path", () => {
  test.each(["GET", "PUT", "DELETE", "PATCH", "HEAD"])("%s is answered 405 with Allow", async (method) => {
    const answer = await mesh.post({ method, headers: good });
    expect(answer.status).toBe(405);
    expect(answer.headers.get("allow")).toBe("POST, OPTIONS");
  });

  test.each(["/default/default", "/", "/no/such/broker"])("OPTIONS %s grants any webhook", async (path) => {
    const answer = await mesh.post({
      method: "OPTIONS",
      path,
      headers: { "webhook-request-origin": "example.com" },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("allow")).toBe("POST, OPTIONS");
    expect(answer.headers.get("webhook-allowed-origin")).toBe("*");
    expect(answer.headers.get("webhook-allowed-rate")).toBe("*");
  });

  test.each([
    ["/", 404, "NOT_FOUND"],
    ["/default", 400, "PATH_INVALID"],
    ["/default/default/more", 400, "PATH_INVALID"],
    ["//default", 400, "PATH_INVALID"],
    ["/default/none", 404, "BROKER_NOT_FOUND"],
    ["/none/default", 404, "BROKER_NOT_FOUND"],
    ["/default/def%61ult", 404, "BROKER_NOT_FOUND"],
  ])("a good event to %s is answered %i", async (path, status, code) => {
    const answer = await mesh.post({ path, headers: good });
    expect(answer.status).toBe(status);
    expect(answer.headers.get("allow")).toBe("POST, OPTIONS");
    expect(problemOf(answer)).toMatchObject({ code, status });
  });

  test("one trailing slash is allowed", async () => {
    const { status } = await mesh.post({ path: "/default/default/", headers: { ...good, "ce-id": "slash" } });
    expect(status).toBe(202);
  });

  test("a bad event to an unknown broker is answered 400, as the reference broker checks", async () => {
    const answer = await mesh.post({ path: "/default/none", headers: without("ce-id") });
    expect(answer.status).toBe(400);
  });
});

describe("an event that breaks the rules", () => {
  test.each<[string, string, { headers: Record<string, string>; body?: string }]>([
    ["without specversion", "specversion", { headers: without("ce-specversion") }],
    ["without id", "id", { headers: without("ce-id") }],
    ["without source", "source", { headers: without("ce-source") }],
    ["without type", "type", { headers: without("ce-type") }],
    ["with an empty id", "id", { headers: { ...good, "ce-id": "" } }],
    ["with specversion 19.0", "specversion", { headers: { ...good, "ce-specversion": "19.0" } }],
    ["with a time that is none", "time", { headers: { ...good, "ce-time": "yesterday" } }],
    ["with an empty subject", "subject", { headers: { ...good, "ce-subject": "" } }],
    ["with a source that is no URI", "source", { headers: { ...good, "ce-source": "a b" } }],
    ["with a relative dataschema", "dataschema", { headers: { ...good, "ce-dataschema": "/x" } }],
    ["as JSON without id", "id", json({ specversion: "1.0", source: "/s", type: "t" })],
    [
      "as JSON with data twice",
      "data",
      json({ specversion: "1.0", id: "1", source: "/s", type: "t", data: 1, data_base64: "AA==" }),
    ],
  ])("(%s) is answered 400 and named", async (_, field, post) => {
    const answer = await mesh.post(post);
    expect(answer.status).toBe(400);
    expect(problemOf(answer)).toMatchObject({ code: "EVENT_INVALID" });
    expect(answer.body).toContain(field);
  });

  test.each([
    ["JSON that cannot be parsed", structured, "{"],
    ["JSON that is no object", structured, "[]"],
    ["a batch that is no array", batched, "{}"],
  ])("(%s) is answered 400", async (_, headers, body) => {
    const answer = await mesh.post({ headers, body });
    expect(answer.status).toBe(400);
    expect(problemOf(answer).detail).toBeTypeOf("string");
  });

  test("in an unknown format is answered 415", async () => {
    const answer = await mesh.post({
      headers: { "content-type": "application/cloudevents+xml" },
      body: "<e/>",
    });
    expect(answer.status).toBe(415);
    expect(problemOf(answer)).toMatchObject({ code: "FORMAT_UNSUPPORTED" });
  });
});

describe("size", () => {
  const limit = 8 * 1024 * 1024 - 64 * 1024;

  test("an event at the limit is stored and delivered, byte for byte", async () => {
    const inbox = subscriber.inbox("largest");
    await mesh.serve(triggerManifest("largest", { type: "largest", to: inbox.url }));
    const body = new Uint8Array(limit).fill(0xa5);
    const headers = {
      ...binary({ id: "largest", type: "largest" }).headers,
      "content-type": "application/octet-stream",
    };
    expect((await mesh.post({ headers, body })).status).toBe(202);
    const [received] = await until(() => inbox.received.length > 0 && inbox.received);
    expect(received?.body.equals(body)).toBe(true);
  });

  test.each([1, 2 * limit])(
    "an event %i bytes over the limit is answered 413 and the limit named",
    async (over) => {
      const answer = await mesh.post({ headers: good, body: new Uint8Array(limit + over) });
      expect(answer.status).toBe(413);
      expect(problemOf(answer)).toMatchObject({
        code: "EVENT_TOO_LARGE",
        expected: `at most ${limit} bytes`,
      });
    },
  );

  test("an event over the limit is refused without its length announced, and the next one is taken", async () => {
    const { hostname, port } = new URL(mesh.eventsUrl);
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("error", () => {});
    socket.write("POST /default/default HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    const piece = Buffer.alloc(1024 * 1024);
    for (let sent = 0; sent <= limit && answer === ""; sent += piece.length) {
      socket.write(`${piece.length.toString(16)}\r\n`);
      socket.write(piece);
      socket.write("\r\n");
    }
    await until(() => answer.startsWith("HTTP/1.1 413"), { what: "413" });
    socket.destroy();
    expect((await mesh.post({ headers: { ...good, "ce-id": "after-413" } })).status).toBe(202);
  });

  test("attributes over their limit are refused", async () => {
    const answer = await mesh.post({ headers: { ...good, "ce-big": "x".repeat(100_000) } });
    expect([413, 431]).toContain(answer.status);
  });
});

describe("a batch", () => {
  const member = (id: string, more: object = {}) => ({
    specversion: "1.0",
    id,
    source: "/b",
    type: "batch",
    ...more,
  });

  test("is stored as a whole and every event delivered", async () => {
    const inbox = subscriber.inbox("batch");
    await mesh.serve(brokerManifest("batch"), triggerManifest("batch", { broker: "batch", to: inbox.url }));
    const ids = Array.from({ length: 50 }, (_, i) => `m${i}`);
    const answer = await mesh.post({
      path: "/default/batch",
      ...json(
        ids.map((id) => member(id)),
        batched,
      ),
    });
    expect(answer.status).toBe(202);
    await until(() => inbox.received.length === 50, { what: "all of the batch" });
    expect(inbox.accepted().sort()).toEqual(ids.sort());
  });

  test("with one bad event stores none and says which", async () => {
    await mesh.serve(brokerManifest("bad-batch"));
    const events = [member("1"), member("2", { id: "" }), member("3")];
    const answer = await mesh.post({ path: "/default/bad-batch", ...json(events, batched) });
    expect(answer.status).toBe(400);
    expect(problemOf(answer).detail).toContain("[1].id");
    expect(await stored("bad-batch")).toBe(0);
  });

  test("with one event larger than the server takes stores none and is answered 413", async () => {
    await mesh.serve(brokerManifest("large-batch"));
    const large = member("2", { data: "x".repeat(9 * 1024 * 1024) });
    const answer = await mesh.post({
      path: "/default/large-batch",
      ...json([member("1"), large, member("3")], batched),
    });
    expect(answer.status).toBe(413);
    expect(problemOf(answer).code).toBe("EVENT_TOO_LARGE");
    expect(await stored("large-batch")).toBe(0);
  });

  test("that repeats itself and what is stored already stores each event once", async () => {
    await mesh.serve(brokerManifest("repeats"));
    const path = "/default/repeats";
    await ledger.accept({ id: "a", type: "batch", source: "/b", path });
    const events = ["a", "b", "b", "c"].map((id) => member(id));
    for (let i = 0; i < 2; i++)
      expect((await mesh.post({ path, ...json(events, batched) })).status).toBe(202);
    expect(await stored("repeats")).toBe(3);
  });

  test("of nothing is taken", async () => {
    expect((await mesh.post(json([], batched))).status).toBe(202);
  });
});

describe("duplicates", () => {
  test("by source and id are answered 202 and delivered once", async () => {
    const inbox = subscriber.inbox("twice");
    await mesh.serve(triggerManifest("twice", { type: "twice", to: inbox.url }));
    for (let i = 0; i < 3; i++) await ledger.accept({ id: "same", type: "twice" });
    await ledger.accept({ id: "same", type: "twice", source: "/another" });
    await ledger.settle({ trigger: "twice", type: "twice", inbox });
    expect(inbox.received.map(({ headers }) => headers["ce-source"])).toEqual(["/test", "/another"]);
  });

  test("at the same time are answered 202 and delivered once", async () => {
    const inbox = subscriber.inbox("at-once");
    await mesh.serve(triggerManifest("at-once", { type: "at-once", to: inbox.url }));
    await Promise.all(Array.from({ length: 20 }, () => ledger.accept({ id: "race", type: "at-once" })));
    await ledger.settle({ trigger: "at-once", type: "at-once", inbox });
    expect(inbox.accepted()).toEqual(["race"]);
  });
});

describe("what was sent", () => {
  test("passes unchanged, attributes and bytes", async () => {
    const inbox = subscriber.inbox("unchanged");
    await mesh.serve(triggerManifest("unchanged", { type: "unchanged", to: inbox.url }));
    const headers = {
      "ce-specversion": "1.0",
      "ce-id": "unchanged-1",
      "ce-source": "urn:x:1",
      "ce-type": "unchanged",
      "ce-subject": "a/b",
      "ce-time": "2024-02-29T12:00:00.123456789+02:00",
      "ce-dataschema": "http://example.com/schema",
      "ce-count": "007",
      "content-type": 'text/plain; charset="utf-8"',
    };
    const body = Buffer.from("line 1\r\n\u0000 ü", "utf8");
    expect((await mesh.post({ headers, body: new Uint8Array(body) })).status).toBe(202);
    const [received] = await until(() => inbox.received.length > 0 && inbox.received);
    expect(received?.body.equals(body)).toBe(true);
    expect(received?.headers).toMatchObject(headers);
  });

  test("in letters beyond ASCII arrives as JSON, which every CloudEvents library can read", async () => {
    const inbox = subscriber.inbox("letters");
    await mesh.serve(triggerManifest("letters", { type: "letters", to: inbox.url }));
    const headers = { ...binary({ id: "%C3%BC%20%25", type: "letters", data: {} }).headers };
    expect((await mesh.post({ headers, body: '{"n":[1,2]}' })).status).toBe(202);
    const [received] = await until(() => inbox.received.length > 0 && inbox.received);
    expect(received && eventOf(received)).toMatchObject({ id: "ü %", type: "letters", data: { n: [1, 2] } });
  });

  test.each(["0.3", "1.0"])("in version %s arrives in that version", async (specversion) => {
    const name = `version-${specversion.replace(".", "-")}`;
    const inbox = subscriber.inbox(name);
    await mesh.serve(triggerManifest(name, { type: name, to: inbox.url }));
    const headers = { ...binary({ id: name, type: name, data: {} }).headers, "ce-specversion": specversion };
    expect((await mesh.post({ headers, body: "{}" })).status).toBe(202);
    const [received] = await until(() => inbox.received.length > 0 && inbox.received);
    expect(received?.headers["ce-specversion"]).toBe(specversion);
    expect(received && eventOf(received).specversion).toBe(specversion);
  });

  test.each(["application/xml", "application/vnd.apache.thrift.binary", "application/json", "text/x-none"])(
    "with content type %s is taken whatever the body is",
    async (type) => {
      const headers = { ...good, "ce-id": type, "content-type": type };
      expect((await mesh.post({ headers, body: "{}" })).status).toBe(202);
    },
  );

  test("never sets headers NATS would act on", async () => {
    await mesh.serve(brokerManifest("headers"));
    const hostile = {
      "nats-msg-id": "evil",
      "nats-expected-last-sequence": "999",
      "nats-rollup": "all",
      "nats-ttl": "1s",
      "nats-batch-id": "x",
      "ce-nats-rollup": "all",
    };
    const path = "/default/headers";
    await ledger.accept({ id: "before", type: "t", path });
    for (const id of ["one", "two"]) {
      const { status } = await mesh.post({ path, headers: { ...good, "ce-id": id, ...hostile } });
      expect([202, 400]).toContain(status);
    }
    const { "ce-nats-rollup": _, ...requestHeaders } = hostile;
    for (const id of ["three", "four"]) {
      const { status } = await mesh.post({ path, headers: { ...good, "ce-id": id, ...requestHeaders } });
      expect(status).toBe(202);
    }
    const { username: token, host } = new URL(await mesh.natsUrl());
    const nc = await connectNats({ servers: host, token });
    try {
      const jsm = await jetstreamManager(nc);
      const stream = eventStream({ namespace: "default", name: "headers" });
      const { state } = await jsm.streams.info(stream);
      expect(state.messages).toBeGreaterThanOrEqual(3);
      expect(state.first_seq).toBe(1);
      for (let seq = 1; seq <= state.last_seq; seq++) {
        const message = await jsm.streams.getMessage(stream, { seq });
        const names = [...(message?.header ?? [])].map(([name]) => name.toLowerCase());
        expect(names.filter((name) => name.startsWith("nats-"))).toEqual(["nats-msg-id"]);
        expect(message?.header.get("Nats-Msg-Id")).not.toBe("evil");
      }
    } finally {
      await nc.close();
    }
  });

  test("nobody wants is stored, counted and said", async () => {
    await mesh.serve(brokerManifest("lonely"));
    await ledger.accept({ id: "unwanted-1", type: "nobody.wants", path: "/default/lonely" });
    await until(
      () =>
        /unmatched {2}default\/lonely {2}nobody\.wants unwanted-1 {2}no trigger wants it/.test(mesh.output),
      {
        what: "the line in the output",
      },
    );
    const { brokers } = await mesh.status();
    expect(brokers.find(({ name }) => name === "lonely")).toMatchObject({ events: 1, unmatched: 1 });
  });
});
