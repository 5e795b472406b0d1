/** Request/reply as users meet it: curl with `Prefer: wait`, `weft request`, `ctx.request`, `nats request`. */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection, headers as natsHeaders } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { binary } from "../support/ledger.ts";
import {
  type Answer,
  brokerManifest,
  startTestMesh,
  type TestMesh,
  triggerManifest,
} from "../support/mesh.ts";
import { type Act, type Script, type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

const functionTrigger = (name: string, type: string) =>
  JSON.stringify(triggerManifest(name, { type, to: name, delivery: { retry: 0 } }));

let mesh: TestMesh;
let subscriber: Subscriber;
let nc: NatsConnection;

beforeAll(async () => {
  subscriber = await startSubscriber();
  mesh = await startTestMesh({
    functions: {
      "double.ts": `export default { reply: "doubled", handle: ({ data }) => ({ n: data.n * 2 }) };`,
      "add.ts": `export default { reply: "added", handle: ({ data }) => ({ n: data.n + 1 }) };`,
      "finish.ts": `export default { reply: "finished", handle: ({ data }) => "n is " + data.n };`,
      "refuse.ts": `import { NonRetryable } from "weft";
        export default () => { throw new NonRetryable("out of stock"); };`,
      "ask.ts": `export default {
        reply: "asked",
        async handle({ data }, ctx) {
          try {
            return { got: (await ctx.request({ type: data.ask, data }, { timeoutMs: data.timeoutMs })).data };
          } catch ({ name, code, status, reply }) {
            return { name, code, status, reply };
          }
        },
      };`,
    },
    manifests: {
      "triggers.yaml": [
        functionTrigger("double", "number"),
        functionTrigger("add", "doubled"),
        functionTrigger("finish", "added"),
        functionTrigger("refuse", "order"),
        functionTrigger("ask", "question"),
      ].join("\n---\n"),
    },
    flags: ["--idle-window", "6s"],
  });
  const url = new URL(await mesh.natsUrl());
  nc = await connect({ servers: url.host, token: url.username });
});
afterAll(async () => {
  await nc?.close();
  await mesh?.close();
  await subscriber?.close();
});

interface Asked {
  readonly data?: unknown;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function ask(type: string, id: string, { data, path, headers = {} }: Asked = {}): Promise<Answer> {
  const event = binary({ id, type, source: `/test/${type}`, data });
  return mesh.post({
    ...event,
    ...(path === undefined ? {} : { path }),
    headers: { ...event.headers, prefer: "wait=20", ...headers },
  });
}

/** A broker of its own with one trigger for everything. */
async function serve(name: string, act: Act, delivery: object = { retry: 0 }): Promise<string> {
  const inbox = subscriber.inbox(name, act);
  await mesh.serve(brokerManifest(name), triggerManifest(name, { broker: name, to: inbox.url, delivery }));
  return `/default/${name}`;
}

const problemOf = ({ body }: Answer) => z.record(z.string(), z.unknown()).parse(JSON.parse(body));

describe("Prefer: wait", () => {
  test("brings the reply of a sleeping function, in binary mode", async () => {
    await until(async () => (await mesh.instances("double")).length === 0, {
      deadlineMs: 20_000,
      what: "it sleeps",
    });
    const answer = await ask("number", "one", { data: { n: 1 } });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toEqual({ n: 2 });
    expect(answer.headers.get("ce-type")).toBe("doubled");
    expect(answer.headers.get("ce-correlationid")).toBe("one");
    expect(answer.headers.get("ce-causationid")).toBe("one");
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("preference-applied")).toBe("wait=20");
    expect(answer.headers.get("ce-knativebrokerttl")).toBeNull();
  });

  test("brings it in structured mode when Accept asks for that", async () => {
    const answer = await ask("number", "two", {
      data: { n: 2 },
      headers: { accept: "application/cloudevents+json" },
    });
    expect(answer.headers.get("content-type")).toBe("application/cloudevents+json");
    expect(JSON.parse(answer.body)).toMatchObject({ type: "doubled", correlationid: "two", data: { n: 4 } });
  });

  test("with Weft-Reply-Type waits for the end of a pipeline", async () => {
    const answer = await ask("number", "three", {
      data: { n: 3 },
      headers: { "weft-reply-type": "finished" },
    });
    expect([answer.status, answer.headers.get("ce-type"), answer.body]).toEqual([200, "finished", "n is 7"]);
    expect(answer.headers.get("ce-correlationid")).toBe("three");
  });

  test.each(["reply", "wait=soon", "respond-async"])("that is %s changes nothing", async (prefer) => {
    const answer = await ask("number", `plain-${prefer}`, { data: { n: 1 }, headers: { prefer } });
    expect([answer.status, answer.body, answer.headers.get("preference-applied")]).toEqual([202, "", null]);
  });

  test("is not applied to a batch", async () => {
    const event = { specversion: "1.0", id: "batched", source: "/test", type: "number", data: { n: 1 } };
    const answer = await mesh.post({
      headers: { "content-type": "application/cloudevents-batch+json", prefer: "wait=20" },
      body: JSON.stringify([event]),
    });
    expect([answer.status, answer.headers.get("preference-applied")]).toEqual([202, null]);
  });

  test("answers a thrown NonRetryable at once with its reason and the dead letter", async () => {
    const answer = await ask("order", "sold-out");
    const letter = await mesh.deadLetter("refuse");
    expect(answer.status).toBe(502);
    expect(problemOf(answer)).toMatchObject({
      code: "REPLY_DEAD",
      status: 502,
      reason: "NotRetryable",
      trigger: "default/refuse",
      deadLetter: letter.id,
      event: { id: "sold-out", type: "order" },
      lastAttempt: { error: "Http422", status: 422, message: "Reject: out of stock" },
    });
  });

  test("finds the reply of a redriven dead letter where the 502 said", async () => {
    const path = await serve("mended", 400);
    const answer = await ask("t", "mended", { path });
    expect(answer.status).toBe(502);
    const letter = await mesh.deadLetter("mended");
    const mended = subscriber.inbox("mended-now", {
      status: 200,
      headers: { "ce-specversion": "1.0", "ce-id": "re", "ce-source": "/test", "ce-type": "late" },
    });
    await mesh.serve(triggerManifest("mended", { broker: "mended", to: mended.url }));
    await mesh.redrive(letter.id);
    const reply = `${problemOf(answer).reply}`;
    const fetched = await until(
      async () => {
        const each = await mesh.post({ method: "GET", path: reply });
        return each.status === 200 && each;
      },
      { what: "the reply" },
    );
    expect(fetched.headers.get("ce-id")).toBe("re");
  });

  test("answers at once when nobody wants the event, which is kept as unmatched", async () => {
    const path = "/default/nobody";
    await mesh.serve(brokerManifest("nobody"));
    const answer = await ask("unwanted", "lonely", { path });
    expect([answer.status, problemOf(answer).code]).toEqual([404, "NO_RESPONDER"]);
    const { brokers } = await mesh.status();
    expect(brokers.find(({ name }) => name === "nobody")).toMatchObject({ events: 1, unmatched: 1 });
  });

  test("names who holds the event, and its last attempt, when the time is over", async () => {
    const path = await serve("slow", 503, { retry: 5, backoffDelay: "PT30S" });
    const answer = await ask("t", "held", { path, headers: { prefer: "wait=1" } });
    expect([answer.status, answer.headers.get("preference-applied")]).toEqual([504, "wait=1"]);
    expect(problemOf(answer)).toMatchObject({
      code: "REPLY_TIMEOUT",
      reply: answer.headers.get("location"),
      triggers: [{ trigger: "default/slow", lastAttempt: { attempt: 1, error: "Http503", status: 503 } }],
    });
    expect(await mesh.trigger("slow")).toMatchObject({ pending: 1, dead: 0 });
  });

  test("refuses a reply larger than an event may be", async () => {
    const path = await serve("huge", {
      status: 200,
      headers: { "ce-specversion": "1.0", "ce-id": "re", "ce-source": "/test", "ce-type": "huge" },
      body: Buffer.alloc(9 * 1024 * 1024),
    });
    const answer = await ask("t", "big", { path });
    expect(answer.status).toBe(502);
    expect(problemOf(answer)).toMatchObject({ code: "REPLY_DEAD", lastAttempt: { error: "ReplyInvalid" } });
  });

  test("cannot be used for an event that was stored without waiting", async () => {
    expect((await ask("number", "before", { data: { n: 1 }, headers: { prefer: "" } })).status).toBe(202);
    const answer = await ask("number", "before", { data: { n: 1 } });
    expect([answer.status, problemOf(answer).code]).toEqual([409, "REQUEST_CONFLICT"]);
  });

  test("takes no token from a client", async () => {
    const path = await serve("hostile", 204);
    const token = "A".repeat(44);
    const hostile = {
      "weft-request": token,
      "weft-answer": "dead",
      "nats-msg-id": "mine",
      "weft-trigger": "x",
    };
    const heard: string[] = [];
    nc.subscribe("_INBOX.>", { callback: (_, { subject }) => void heard.push(subject) });
    await ask("t", "plain", { path, headers: { ...hostile, prefer: "" } });
    await ask("t", "asking", { path, headers: { ...hostile, prefer: "wait=0" } });
    const jsm = await jetstreamManager(nc);
    const namesOf = async (seq: number) => {
      const message = await jsm.streams.getMessage("weft-ev-default_hostile", { seq });
      return Object.fromEntries([...(message?.header ?? [])].filter(([name]) => /^weft-|^nats-/i.test(name)));
    };
    expect(await namesOf(1)).toEqual({ "Nats-Msg-Id": ["e:/test/t plain"] });
    const second = await namesOf(2);
    expect(Object.keys(second).sort()).toEqual(["Nats-Msg-Id", "weft-request"]);
    expect(second["weft-request"]).not.toEqual([token]);
    expect(heard.filter((subject) => subject.includes("AAAA"))).toEqual([]);
  });

  test.each([
    ["GET", "A".repeat(44), 404],
    ["GET", "no-token", 404],
    ["GET", "", 404],
    ["POST", "A".repeat(44), 405],
  ])("%s of the reply %j is %i", async (method, token, status) => {
    expect((await mesh.post({ method, path: `/weft/v1/replies/${token}` })).status).toBe(status);
  });
});

describe("ctx.request", () => {
  test("resolves to the reply of another function", async () => {
    const answer = await ask("question", "q1", { data: { ask: "number", n: 5 } });
    expect(JSON.parse(answer.body)).toEqual({ got: { n: 10 } });
  });

  test("rejects with what the mesh says", async () => {
    const answer = await ask("question", "q2", { data: { ask: "order" } });
    expect(JSON.parse(answer.body)).toEqual({
      name: "RequestError",
      code: "REPLY_DEAD",
      status: 502,
      reply: expect.any(String),
    });
    const unwanted = await ask("question", "q3", { data: { ask: "unwanted" } });
    expect(JSON.parse(unwanted.body)).toEqual({ name: "RequestError", code: "NO_RESPONDER", status: 404 });
  });
});

describe("weft request", () => {
  test("prints the reply's data", async () => {
    const done = await mesh.weft("request", "number", "-d", '{"n": 21}', "--wait", "20s");
    expect([done.code, JSON.parse(done.stdout), done.stderr]).toEqual([0, { n: 42 }, ""]);
  });

  test("waits for a type, and prints the event with --json", async () => {
    const done = await mesh.weft("request", "number", "-d", '{"n": 1}', "--reply-type", "finished", "--json");
    expect([done.code, JSON.parse(done.stdout)]).toMatchObject([0, { type: "finished", data: "n is 3" }]);
  });

  test("fails with the reason when none comes", async () => {
    const done = await mesh.weft("request", "unwanted");
    expect([done.code, done.stdout]).toEqual([1, ""]);
    expect(done.stderr).toContain("No trigger wants the event");
  });

  test("is used wrongly with a wait that is no duration", async () => {
    expect((await mesh.weft("request", "number", "--wait", "soon")).code).toBe(2);
  });
});

describe("a NATS client", () => {
  const requestOptions = { timeout: 20_000 };
  const event = (id: string, type: string, data?: unknown) => ({
    specversion: "1.0",
    id,
    source: "/nats",
    type,
    ...(data === undefined ? {} : { data }),
  });

  function inBinary(id: string, type: string, more: Readonly<Record<string, string>> = {}) {
    const headers = natsHeaders();
    const all = { "ce-specversion": "1.0", "ce-id": id, "ce-source": "/nats", "ce-type": type, ...more };
    for (const [name, value] of Object.entries(all)) headers.set(name, value);
    return headers;
  }

  test("gets the reply to a structured request, in binary mode", async () => {
    const payload = JSON.stringify(event("s1", "number", { n: 4 }));
    const reply = await nc.request("weft.rq.default.default.number", payload, requestOptions);
    expect(reply.json()).toEqual({ n: 8 });
    expect(reply.headers?.get("ce-type")).toBe("doubled");
    expect(reply.headers?.get("ce-correlationid")).toBe("s1");
  });

  test("gets the reply to a binary request, in structured mode and of the type it asks for", async () => {
    const headers = inBinary("b1", "number", {
      "Content-Type": "application/json",
      Accept: "application/cloudevents+json",
      "Weft-Reply-Type": "added",
    });
    const reply = await nc.request("weft.rq.default.default.number", '{"n":4}', {
      ...requestOptions,
      headers,
    });
    expect(reply.json()).toMatchObject({ type: "added", data: { n: 9 } });
  });

  test.each([
    ["a broker that is not there", "weft.rq.default.none.t", "t", 404, "BROKER_NOT_FOUND"],
    ["another type than the subject's", "weft.rq.default.default.t", "number", 400, "REQUEST_INVALID"],
    ["no broker", "weft.rq.t", "t", 400, "PATH_INVALID"],
    ["nobody who wants it", "weft.rq.default.default.unwanted", "unwanted", 404, "NO_RESPONDER"],
    ["a dead letter", "weft.rq.default.default.order", "order", 502, "REPLY_DEAD"],
    ["no reply in time", "weft.rq.default.slow.t", "t", 504, "REPLY_TIMEOUT"],
  ])("is told of %s as a NATS service tells errors", async (what, subject, type, status, code) => {
    const headers = inBinary(what, type, { Prefer: "wait=1" });
    const answer = await nc.request(subject, "", { ...requestOptions, headers });
    expect(answer.headers?.get("Nats-Service-Error-Code")).toBe(`${status}`);
    expect(answer.headers?.get("Nats-Service-Error")).toMatch(new RegExp(`^${code}: `));
    expect(answer.json()).toMatchObject({ code, status });
  });

  test("is told when what it sends is no event", async () => {
    const answer = await nc.request("weft.rq.default.default.t", "hello", requestOptions);
    expect(answer.headers?.get("Nats-Service-Error-Code")).toBe("400");
  });
});

describe("a RequestReply", () => {
  const manifest = (name: string, spec: object) => ({
    apiVersion: "eventing.knative.dev/v1alpha1",
    kind: "RequestReply",
    metadata: { name },
    spec: { brokerRef: { apiVersion: "eventing.knative.dev/v1", kind: "Broker", name: "rr" }, ...spec },
  });

  /** Answers an event of type `ask` as Knative's contract says: `replyid` is what `correlationid` was. */
  const echo =
    (delayMs: number): Script =>
    ({ id, headers }) => ({
      status: 200,
      delayMs,
      headers: {
        "ce-specversion": "1.0",
        "ce-id": `re-${id}`,
        "ce-source": "/test",
        "ce-type": "answer",
        "ce-replyid": `${headers["ce-correlationid"]}`,
      },
      body: `to ${id}`,
    });

  beforeAll(async () => {
    const asked = subscriber.inbox("rr-asked", echo(0));
    const late = subscriber.inbox("rr-late", echo(1500));
    await mesh.serve(
      brokerManifest("rr"),
      triggerManifest("rr-asked", { broker: "rr", type: "ask", to: asked.url }),
      triggerManifest("rr-late", { broker: "rr", type: "ask.late", to: late.url }),
    );
    await mesh.apply(manifest("one", {}), manifest("other", { timeout: "PT1S" }));
    const isReady = ({
      status,
    }: {
      status?: { conditions?: { type: string; status: string }[] | undefined } | undefined;
    }) => status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
    await until(async () => [...(await mesh.objects("requestreplies")).values()].every(isReady), {
      what: "both are ready",
    });
  });

  test("brings the event that carries the reply attribute, to each request its own", async () => {
    const ids = Array.from({ length: 20 }, (_, i) => `rr-${i}`);
    const answers = await Promise.all(
      ids.map((id, i) => ask("ask", id, { path: `/request-reply/default/${i % 2 === 0 ? "one" : "other"}` })),
    );
    expect(answers.map(({ status, body }) => [status, body])).toEqual(ids.map((id) => [200, `to ${id}`]));
    expect(answers[0]?.headers.get("ce-replyid")).toMatch(/^one:[A-Za-z0-9_-]+$/);
    expect(await mesh.deadLetters({ broker: "rr" })).toEqual([]);
  });

  test("answers 504 after its own timeout, and leads to the reply", async () => {
    const answer = await ask("ask.late", "late", { path: "/request-reply/default/other" });
    expect([answer.status, problemOf(answer).code]).toEqual([504, "REPLY_TIMEOUT"]);
    const fetched = await mesh.post({
      method: "GET",
      path: `${answer.headers.get("location")}`,
      headers: { prefer: "wait=20" },
    });
    expect([fetched.status, fetched.body]).toEqual([200, "to late"]);
  });

  test.each(["none", "one:forged", `one:${"A".repeat(96)}`])(
    "takes no reply with the value %s",
    async (replyid) => {
      const answer = await mesh.post({
        path: "/request-reply/default/one/reply",
        ...binary({ id: "forged", type: "answer", attributes: { replyid } }),
      });
      expect([answer.status, problemOf(answer).field]).toEqual([400, "replyid"]);
    },
  );

  test.each([
    ["POST", "/request-reply/default/missing", 404],
    ["GET", "/request-reply/default/one", 405],
    ["OPTIONS", "/request-reply/default/one", 200],
  ])("%s %s is %i", async (method, path, status) => {
    const { headers } = binary({ id: "x", type: "ask" });
    expect((await mesh.post({ method, path, headers })).status).toBe(status);
  });
});
