/** Request/reply with several ingress and dispatch processes, each with a connection of its own, some of them killed. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { TriggerRoute } from "../../src/mesh/routes/route.ts";
import { type DataPlane, startDataPlane, type TestDispatcher } from "../support/data-plane.ts";
import { startTestIngress, type TestIngress } from "../support/ingress.ts";
import { type Script, type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

let plane: DataPlane;
let subscriber: Subscriber;
const open: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  subscriber = await startSubscriber();
  // Short, so that what a killed dispatcher had in hand comes back within a test.
  plane = await startDataPlane({ ackWaitMs: 1500 });
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});
afterAll(async () => {
  await plane?.close();
  await subscriber?.close();
});

async function ingress(options: { requestsMax?: number } = {}): Promise<TestIngress> {
  const started = await startTestIngress(plane, options);
  open.push(started);
  return started;
}

async function dispatcher(): Promise<TestDispatcher> {
  const started = await plane.dispatcher();
  open.push(started);
  return started;
}

/** A trigger for the type of its own name. */
async function serve(name: string, script: Script, wishes: Partial<TriggerRoute> = {}) {
  const inbox = subscriber.inbox(name, script);
  await plane.trigger(name, { subscriber: { kind: "url", uri: inbox.url }, ...wishes });
  return inbox;
}

function replying(type: string, delayMs = 0): Script {
  return ({ id, attempt }) => ({
    status: 200,
    delayMs,
    headers: { "ce-specversion": "1.0", "ce-id": `re-${id}`, "ce-source": "/test", "ce-type": type },
    body: `attempt ${attempt}`,
  });
}

interface Asked {
  readonly wait?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

function ask({ url }: TestIngress, type: string, id: string, asked: Asked = {}): Promise<Response> {
  const { wait = 20, headers = {}, signal } = asked;
  return fetch(`${url}/default/default`, {
    method: "POST",
    headers: {
      "ce-specversion": "1.0",
      "ce-id": id,
      "ce-source": `/test/${type}`,
      "ce-type": type,
      prefer: `wait=${wait}`,
      ...headers,
    },
    ...(signal === undefined ? {} : { signal }),
  });
}

const replyId = (response: Response) => response.headers.get("ce-id");

test("a thousand requests through two ingresses and two dispatchers each get their own reply", async () => {
  await serve("many", replying("many.done"));
  const ingresses = [await ingress(), await ingress()] as const;
  await dispatcher();
  await dispatcher();
  const asked = Array.from({ length: 1000 }, async (_, i) => {
    const response = await ask(ingresses[i % 2 === 0 ? 0 : 1], "many", `many-${i}`);
    await response.arrayBuffer();
    return [response.status, replyId(response)];
  });
  expect(await Promise.all(asked)).toEqual(asked.map((_, i) => [200, `re-many-${i}`]));
  expect(ingresses.map((each) => each.waiting())).toEqual([0, 0]);
});

test("a request through three hops gets the reply of the last one, whoever dispatches", async () => {
  await serve("first", replying("second"));
  await serve("second", replying("third"));
  await serve("third", replying("last"));
  const own = await ingress();
  await dispatcher();
  await dispatcher();
  const response = await ask(own, "first", "chain", { headers: { "weft-reply-type": "last" } });
  expect([response.status, replyId(response)]).toEqual([200, "re-re-re-chain"]);
  expect(response.headers.get("ce-correlationid")).toBe("chain");
  expect(response.headers.get("ce-causationid")).toBe("re-re-chain");
});

test("a second waiter, also in another ingress, gets the same reply as the first", async () => {
  const inbox = await serve("twice", replying("twice.done", 300));
  const [one, other] = [await ingress(), await ingress()];
  await dispatcher();
  const first = ask(one, "twice", "same");
  await until(() => one.waiting() === 1 && inbox.received.length === 1, { what: "the first one waits" });
  const [a, b] = await Promise.all([first, ask(other, "twice", "same")]);
  const late = await ask(other, "twice", "same");
  for (const response of [a, b, late]) {
    expect([response.status, replyId(response), await response.text()]).toEqual([
      200,
      "re-same",
      "attempt 1",
    ]);
  }
  expect(inbox.received).toHaveLength(1);
});

test("a caller that hangs up leaves nothing behind, and its event is delivered", async () => {
  const inbox = await serve("gone", replying("gone.done", 200));
  const own = await ingress();
  const hangUp = new AbortController();
  const asked = ask(own, "gone", "hung-up", { signal: hangUp.signal }).catch(() => "left");
  await until(() => own.waiting() === 1, { what: "it waits" });
  hangUp.abort();
  expect(await asked).toBe("left");
  await until(() => own.waiting() === 0, { what: "nothing waits" });
  await dispatcher();
  await until(() => inbox.accepted().length === 1, { what: "the delivery" });
});

test("more requests than may wait are refused before their event is stored", async () => {
  const inbox = await serve("bounded", replying("bounded.done"));
  const own = await ingress({ requestsMax: 1 });
  const first = ask(own, "bounded", "in");
  await until(() => own.waiting() === 1, { what: "one waits" });
  const refused = await ask(own, "bounded", "out");
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await refused.json()).toMatchObject({ code: "OVERLOADED" });
  await dispatcher();
  expect((await first).status).toBe(200);
  expect(inbox.received.map(({ id }) => id)).toEqual(["in"]);
});

describe("when a process is killed", () => {
  test("in the middle of the attempt, another dispatcher answers", async () => {
    const inbox = await serve("survive", ({ attempt, ...received }) =>
      attempt === 1 ? "hang" : replying("survive.done")({ attempt, ...received }),
    );
    const own = await ingress();
    const doomed = await dispatcher();
    const asked = ask(own, "survive", "event");
    await until(() => inbox.received.length === 1, { what: "the first attempt" });
    await doomed.kill();
    await dispatcher();
    const response = await asked;
    expect([response.status, await response.text()]).toEqual([200, "attempt 2"]);
  });

  test("and nobody dispatches for a while, the 504 leads to the reply", async () => {
    const inbox = await serve("later", ({ attempt, ...received }) =>
      attempt === 1 ? "hang" : replying("later.done")({ attempt, ...received }),
    );
    const own = await ingress();
    const doomed = await dispatcher();
    const asked = ask(own, "later", "event", { wait: 1 });
    await until(() => inbox.received.length === 1, { what: "the first attempt" });
    await doomed.kill();
    const response = await asked;
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({
      code: "REPLY_TIMEOUT",
      triggers: [{ trigger: "default/later", lastAttempt: null }],
    });
    const location = own.url + response.headers.get("location");
    const early = await fetch(location);
    expect([early.status, early.headers.get("location")]).toEqual([504, response.headers.get("location")]);
    await dispatcher();
    const fetched = await fetch(location, { headers: { prefer: "wait=20" } });
    expect([fetched.status, replyId(fetched)]).toEqual([200, "re-event"]);
    const again = await fetch(location);
    expect([again.status, replyId(again)]).toEqual([200, "re-event"]);
  });

  test("that waited, the reply is in the broker, and asking again elsewhere gets it", async () => {
    await serve("orphan", replying("orphan.done"));
    const [doomed, other] = [await ingress(), await ingress()];
    const asked = ask(doomed, "orphan", "event").catch(() => "cut");
    await until(() => doomed.waiting() === 1, { what: "it waits" });
    await doomed.kill();
    expect(await asked).toBe("cut");
    const inbox = await serve("orphan.done", () => 204);
    await dispatcher();
    await until(() => inbox.accepted().includes("re-event"), { what: "the reply in the broker" });
    const response = await ask(other, "orphan", "event");
    expect([response.status, replyId(response)]).toEqual([200, "re-event"]);
  });

  test("in good order while it waits, its callers learn where to fetch the reply", async () => {
    await serve("leaving", replying("leaving.done"));
    const [leaving, other] = [await ingress(), await ingress()];
    const asked = ask(leaving, "leaving", "event");
    await until(() => leaving.waiting() === 1, { what: "it waits" });
    await leaving.close();
    const response = await asked;
    expect(response.status).toBe(504);
    await dispatcher();
    const location = other.url + response.headers.get("location");
    const fetched = await fetch(location, { headers: { prefer: "wait=20" } });
    expect([fetched.status, replyId(fetched)]).toEqual([200, "re-event"]);
  });

  test("namely NATS, a waiting caller still gets its reply", async () => {
    const back = Promise.withResolvers<void>();
    const inbox = await serve("outage", async (received) => {
      await back.promise;
      return replying("outage.done")(received);
    });
    const own = await ingress();
    await dispatcher();
    const asked = ask(own, "outage", "event");
    await until(() => inbox.received.length === 1, { what: "the attempt" });
    await plane.nats.restart();
    back.resolve();
    const response = await asked;
    expect([response.status, replyId(response)]).toEqual([200, "re-event"]);
  });
});
