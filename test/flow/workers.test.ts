/** `--workers 3`: one mesh whose ingress and dispatch run in three processes that share the port and the consumers. */
import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { Agent, type IncomingHttpHeaders, request } from "node:http";
import { promisify } from "node:util";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { gate } from "../support/gate.ts";
import { binary, Ledger, type Sent } from "../support/ledger.ts";
import { startLoad } from "../support/load.ts";
import {
  brokerManifest,
  startTestMesh,
  stillRunning,
  type TestMesh,
  triggerManifest,
} from "../support/mesh.ts";
import { startTestNats } from "../support/nats.ts";
import { mesh, subscriber, useSharedMesh } from "../support/shared-mesh.ts";
import type { Inbox, Script } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

const count = 3;
const often = { retry: 100, backoffPolicy: "linear", backoffDelay: "PT0.05S" };

const answering = triggerManifest("answering", { type: "question", to: "answer" });

useSharedMesh({
  flags: ["--workers", `${count}`],
  functions: {
    "answer.ts": `export default { reply: "answered", handle: ({ id }) => ({ of: id }) };`,
    "echo.ts": `export default {
      fetch: async (request) =>
        Response.json({ headers: Object.fromEntries(request.headers), body: await request.text() }),
    };`,
  },
  // There from the start, so that every process has its route once the mesh is ready.
  manifests: { "answering.yaml": JSON.stringify(answering) },
});

interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Asked {
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: Agent | false;
  readonly path?: string;
  readonly body?: string | undefined;
  /** Of the shared mesh when absent. */
  readonly eventsUrl?: string;
}

/** One request on a connection of its own, which so goes to the process whose turn it is. */
function onOwnConnection(asked: Omit<Asked, "agent">): Promise<Answered> {
  return send({ ...asked, agent: false });
}

function send({
  agent,
  path = "/default/default",
  headers,
  body,
  eventsUrl = mesh.eventsUrl,
}: Asked): Promise<Answered> {
  const { hostname, port } = new URL(eventsUrl);
  return new Promise<Answered>((resolve, reject) => {
    const sent = request({ hostname, port, path, method: "POST", headers, agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode = 0, headers: answered } = response;
        resolve({ status: statusCode, headers: answered, body: Buffer.concat(chunks).toString() });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** Posts on connections of its own, booked like any other. */
class SpreadLedger extends Ledger {
  constructor(to: TestMesh) {
    super({
      trigger: (name) => to.trigger(name),
      deadLetters: (query) => to.deadLetters(query),
      post: async ({ headers = {}, body }) => {
        const {
          status,
          headers: answered,
          body: text,
        } = await onOwnConnection({
          headers,
          body: body?.toString(),
        });
        const flat = Object.entries(answered).map(([name, value]): [string, string] => [name, `${value}`]);
        return { status, headers: new Headers(flat), body: text };
      },
    });
  }
}

let spread: SpreadLedger;
beforeEach(() => {
  spread = new SpreadLedger(mesh);
});

/** Pids of the workers, the first process not included; all are ready. */
async function workers(): Promise<number[]> {
  return until(
    async () => {
      const { workers: all } = await mesh.status();
      const others = all.filter(({ pid, ready }) => ready && pid !== mesh.pid).map(({ pid }) => pid);
      return others.length === count - 1 && others;
    },
    { what: `${count - 1} workers are ready` },
  );
}

/** kill -9, and waits until another one serves in its place. */
async function kill9(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await until(async () => !(await workers()).includes(pid), { what: "another worker is ready" });
}

function events(type: string, many: number): Sent[] {
  return Array.from({ length: many }, (_, n) => ({ id: `${type}-${n}`, type }));
}

/** Answers through the script, and says how many attempts ran at most. */
function peakOf(script: Script): { script: Script; peak: () => number } {
  let running = 0;
  let peak = 0;
  return {
    script: async (received) => {
      peak = Math.max(peak, ++running);
      const act = await script(received);
      running--;
      return act;
    },
    peak: () => peak,
  };
}

test("connections are dealt out evenly to all processes, and all they bring is stored and delivered", async () => {
  const inbox = subscriber.inbox("dealt");
  await mesh.serve(triggerManifest("dealt", { type: "dealt", to: inbox.url }));
  const before = (await mesh.status()).workers;
  await Promise.all(events("dealt", 30).map((event) => spread.accept(event)));
  const after = (await mesh.status()).workers;
  expect(after.map(({ pid, connections }, i) => [pid, connections - (before[i]?.connections ?? 0)])).toEqual(
    before.map(({ pid }) => [pid, 10]),
  );
  await spread.settle({ trigger: "dealt", type: "dealt", inbox });
  expect(inbox.accepted().sort()).toEqual([...spread.accepted.keys()].sort());
});

test("one connection stays with its process from request to request", async () => {
  const connections = async () =>
    (await mesh.status()).workers.reduce((sum, { connections: each }) => sum + each, 0);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const before = await connections();
  for (let n = 0; n < 20; n++) {
    const { headers } = binary({ id: `kept-${n}`, type: "kept" });
    expect((await send({ headers, agent })).status).toBe(202);
  }
  agent.destroy();
  expect(await connections()).toBe(before + 1);
});

test.each([1, 2, 7])("a window of %i is kept by all processes together, and filled", async (window) => {
  const type = `window-${window}`;
  const door = gate();
  const { script, peak } = peakOf(() => door.pass(204));
  const inbox = subscriber.inbox(type, script);
  const annotations = { "weft.dev/concurrency": `${window}` };
  await mesh.serve(triggerManifest(type, { type, to: inbox.url, annotations }));
  await Promise.all(events(type, 40).map((event) => spread.accept(event)));
  await until(() => door.waiting === window, { what: "the window is full" });
  // What the status says of the attempts is the sum over the processes.
  await until(async () => (await mesh.trigger(type)).inFlight === window, { what: "all are counted" });
  expect(await mesh.trigger(type)).toMatchObject({ inFlight: window, pending: 40 - window });
  door.open();
  await spread.settle({ trigger: type, type, inbox });
  expect(inbox.accepted().length).toBe(40);
  expect(peak()).toBe(window);
});

test("functions get their events through every process", async () => {
  await Promise.all(events("question", 12).map((event) => spread.accept(event)));
  await until(async () => (await mesh.trigger("answering")).delivered >= 12, {
    what: "the function has all",
  });
});

test("requests for a function's host name are the same to it through every process", async () => {
  const host = "echo.default.localhost";
  const body = "x".repeat(1_000_000);
  const seen = new Set<string>();
  for (let n = 0; n < 2 * count; n++) {
    const answer = await onOwnConnection({
      path: "/a?b=c",
      headers: { host, "weft-client": "1.2.3.4" },
      body,
    });
    expect(answer.status).toBe(200);
    const { headers, body: echoed } = JSON.parse(answer.body);
    expect(echoed).toBe(body);
    seen.add(JSON.stringify({ ...headers, connection: "" }));
    expect(headers).toMatchObject({ "x-forwarded-for": "127.0.0.1", "x-forwarded-host": host });
    expect(headers).not.toHaveProperty("weft-client");
  }
  expect(seen.size).toBe(1);
});

test("Prefer: wait is answered through every process", async () => {
  for (let n = 0; n < 2 * count; n++) {
    const id = `waiting-${n}`;
    const { headers } = binary({ id, type: "question" });
    const answer = await onOwnConnection({ headers: { ...headers, prefer: "wait=10" } });
    expect({ status: answer.status, type: answer.headers["ce-type"] }).toEqual({
      status: 200,
      type: "answered",
    });
    expect(JSON.parse(answer.body)).toEqual({ of: id });
  }
});

test("a trigger that is ready is served by every process", async () => {
  const inbox = subscriber.inbox("everywhere");
  for (let n = 0; n < 5; n++) {
    const name = `everywhere-${n}`;
    await mesh.serve(brokerManifest(name), triggerManifest(name, { broker: name, to: inbox.url }));
    const answers = Array.from({ length: count }, (_, each) => {
      const { headers } = binary({ id: `${name}-${each}`, type: "everywhere" });
      return onOwnConnection({ headers, path: `/default/${name}` });
    });
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([202, 202, 202]);
  }
});

test("dead letters of every process are there once, and can be redriven", async () => {
  const inbox = subscriber.inbox("dying", 400);
  await mesh.serve(triggerManifest("dying", { type: "dying", to: inbox.url, delivery: { retry: 0 } }));
  await Promise.all(events("dying", 12).map((event) => spread.accept(event)));
  const letters = await until(
    async () => {
      const found = await mesh.deadLetters({ trigger: "dying" });
      return found.length === 12 && found;
    },
    { what: "all are dead" },
  );
  inbox.follow(204);
  for (const { id } of letters) await mesh.redrive(id);
  await until(async () => (await mesh.deadLetters({ trigger: "dying" })).length === 0, {
    what: "none is left",
  });
  expect(inbox.accepted().sort()).toEqual([...spread.accepted.keys()].sort());
});

test("what workers deliver is in the output, one line each", async () => {
  const inbox = subscriber.inbox("printed");
  await mesh.serve(triggerManifest("printed", { type: "printed", to: inbox.url }));
  await Promise.all(events("printed", 12).map((event) => spread.accept(event)));
  const lines = () => mesh.output.split("\n").filter((line) => line.includes("delivered  default/printed"));
  await until(() => lines().length === 12, { what: "twelve lines" });
});

describe("when a worker is killed", () => {
  test("nothing accepted is lost, and another takes its place", async () => {
    const inbox = subscriber.inbox("load", () => ({ status: 204, delayMs: 5 }));
    await mesh.serve(triggerManifest("load", { type: "load", to: inbox.url, delivery: often }));
    const load = startLoad({ type: "load", ledgers: [spread], producers: 6 });
    for (let round = 0; round < 4; round++) {
      const before = load.sent();
      await until(() => load.sent() > before + 50, { what: "load" });
      const [first, second] = await workers();
      await kill9((round % 2 === 0 ? first : second) ?? Number.NaN);
    }
    await load.stop();
    // Whoever had a connection to the killed one had no answer; nobody had a wrong one.
    expect(load.others.filter(({ status }) => status !== undefined)).toEqual([]);
    await spread.settle({ trigger: "load", type: "load", inbox }, { deadlineMs: 60_000 });
    expect(spread.accepted.size).toBeGreaterThan(200);
    expect((await mesh.status()).ready).toBe(true);
  }, 120_000);

  test("an ordered trigger keeps its order, also when it was the active one", async () => {
    const keys = ["a", "b", "c"];
    const perKey = 60;
    const inbox = subscriber.inbox("ordered", ({ id, attempt }) =>
      id === "b-5" && attempt < 3 ? 500 : { status: 204, delayMs: 2 },
    );
    const annotations = { "weft.dev/order": "key" };
    await mesh.serve(
      triggerManifest("ordered", { type: "ordered", to: inbox.url, delivery: often, annotations }),
    );
    const store = async (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        for (const key of keys) {
          const attributes = { partitionkey: key };
          await spread.accept({ id: `${key}-${n}`, type: "ordered", attributes });
        }
      }
    };
    await store(0, 20);
    const owner = await leaseOwner(mesh);
    try {
      await until(async () => (await owner.pid()) === mesh.pid, { what: "the first process is active" });
      // Away for longer than the lease: one of the workers is the active one from then on.
      process.kill(mesh.pid, "SIGSTOP");
      const active = await until(async () => (await owner.pid()) !== mesh.pid && owner.pid(), {
        what: "a worker is active",
        deadlineMs: 30_000,
      });
      process.kill(mesh.pid, "SIGCONT");
      // Once the first process answers it knows that it is not the active one any more: what is stored before that
      // may still go to a pull it made, which no lease takes back.
      expect(await workers()).toContain(active);
      await store(20, 40);
      await kill9(active);
      await store(40, perKey);
    } finally {
      process.kill(mesh.pid, "SIGCONT");
      await owner.close();
    }
    await until(() => new Set(inbox.accepted()).size === keys.length * perKey, { deadlineMs: 60_000 });
    expect(numbersByKey(inbox)).toEqual(
      new Map(keys.map((key) => [key, Array.from({ length: perKey }, (_, n) => n)])),
    );
  }, 120_000);
});

/** Per key, the numbers of the events as they were first accepted. */
function numbersByKey(inbox: Inbox): Map<string, number[]> {
  const byKey = new Map<string, number[]>();
  for (const id of new Set(inbox.accepted())) {
    const [key = "", n] = id.split("-");
    byKey.set(key, [...(byKey.get(key) ?? []), Number(n)]);
  }
  return new Map([...byKey].sort(([a], [b]) => a.localeCompare(b)));
}

/** Who delivers the one ordered trigger there is. */
async function leaseOwner(of: TestMesh) {
  const url = new URL(await of.natsUrl());
  const nc = await connect({ servers: url.host, token: url.username });
  const leases = await new Kvm(nc).open("weft-leases");
  return {
    async pid(): Promise<number> {
      for await (const key of await leases.keys("trigger.>")) {
        const entry = await leases.get(key);
        if (entry?.operation === "PUT") return Number(entry.string().split(" ").at(-1));
      }
      return 0;
    },
    close: () => nc.close(),
  };
}

describe("the end", () => {
  let own: TestMesh;
  beforeAll(async () => {
    own = await startTestMesh({ flags: ["--workers", `${count}`, "--drain", "10s"] });
  });
  afterAll(() => own.close());

  test("drains all processes, also when the signal reaches every one of them", async () => {
    const door = gate();
    const inbox = subscriber.inbox("drained", () => door.pass(204));
    await own.serve(triggerManifest("drained", { type: "drained", to: inbox.url }));
    const sent = new Ledger(own);
    await Promise.all(events("drained", 12).map((event) => sent.accept(event)));
    await until(() => door.waiting === 12, { what: "all attempts run" });
    const children = (await own.status()).workers.filter(({ pid }) => pid !== own.pid);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      for (const { pid } of children) process.kill(pid, signal);
    }
    const stopped = own.stop();
    await until(() => own.output.includes("stopping:"), { what: "it stops" });
    door.open();
    expect(await stopped).toBe(0);
    expect(await stillRunning(children.map(({ pid }) => pid))).toEqual([]);
    expect(own.output.match(/delivered {2}default[/]drained/g)?.length).toBe(12);
    await own.start();
    await sent.settle({ trigger: "drained", type: "drained", inbox });
    // Each attempt was let finish: none was made twice.
    expect(inbox.received.length).toBe(12);
  });

  test("by kill -9 of the first process leaves no process behind", async () => {
    const children = await own.descendants();
    expect(children.length).toBeGreaterThanOrEqual(count - 1);
    await own.kill9();
    await until(async () => (await stillRunning(children)).length === 0, { what: "all have ended" });
  });
});

// Changes a limit of a running process, which only Linux can.
test.runIf(process.platform === "linux")(
  "a worker without file descriptors breaks off the connections it is given, and serves again with some",
  async () => {
    const own = await startTestMesh({ flags: ["--workers", "2"] });
    try {
      const pid = (await own.status()).workers.find((each) => each.pid !== own.pid)?.pid;
      const limitFiles = (limit: string) =>
        promisify(execFile)("prlimit", ["--pid", `${pid}`, `--nofile=${limit}`]);
      const answers = async () => {
        const sent = Array.from({ length: 4 }, async (_, n) => {
          const { headers } = binary({ id: `files-${n}`, type: "files" });
          const { status } = await send({ headers, agent: false, eventsUrl: own.eventsUrl });
          return status;
        });
        return (await Promise.allSettled(sent)).map((each) =>
          each.status === "fulfilled" ? each.value : "broken off",
        );
      };
      await limitFiles("8:");
      expect((await answers()).sort()).toEqual([202, 202, "broken off", "broken off"]);
      await limitFiles("1024:");
      expect(await answers()).toEqual([202, 202, 202, 202]);
    } finally {
      await own.close();
    }
  },
  60_000,
);

test("a mesh with a worker that is stuck is not ready, and says which", async () => {
  const own = await startTestMesh({ flags: ["--workers", "2"] });
  try {
    const pid = (await own.status()).workers.find((each) => each.pid !== own.pid)?.pid ?? Number.NaN;
    const readyz = async () => {
      const response = await fetch(`${own.controlUrl}/readyz`);
      return { status: response.status, body: await response.text() };
    };
    process.kill(pid, "SIGSTOP");
    const refused = await until(
      async () => {
        const answer = await readyz();
        return answer.status === 503 && answer;
      },
      { what: "it is not ready", deadlineMs: 40_000 },
    );
    expect(refused.body).toContain(`worker 1 (pid ${pid}) has not served`);
    process.kill(pid, "SIGCONT");
    await until(async () => (await readyz()).status === 200, { what: "it is ready again" });
  } finally {
    await own.close();
  }
}, 60_000);

test("a stop ends also when a worker has died that had all connections it was ever given", async () => {
  const own = await startTestMesh({ flags: ["--workers", "2"] });
  try {
    const given = async () => (await own.status()).workers.find(({ pid }) => pid !== own.pid);
    await new Ledger(own).accept({ id: "given-1", type: "given" });
    await new Ledger(own).accept({ id: "given-2", type: "given" });
    const first = await given();
    expect(first?.connections).toBe(1);
    process.kill(first?.pid ?? Number.NaN, "SIGKILL");
    await until(async () => (await given())?.pid !== first?.pid, { what: "the worker is gone" });
    expect(await own.stop()).toBe(0);
    expect((await readdir(own.dataDir)).filter((name) => /lock|mesh[.]json/.test(name))).toEqual([]);
  } finally {
    await own.close();
  }
}, 60_000);

test("weft serve has workers of its own, which go on with the routes of whoever leads", async () => {
  const nats = await startTestNats();
  const part = { serve: { natsUrl: nats.url }, flags: ["--workers", "2", "--warm-pool", "0"] };
  const processes: TestMesh[] = [];
  try {
    for (let n = 0; n < 2; n++) processes.push(await startTestMesh(part));
    const [one, two] = processes;
    if (one === undefined || two === undefined) throw new Error("no processes");
    const door = gate();
    const inbox = subscriber.inbox("served", () => door.pass(204));
    const annotations = { "weft.dev/concurrency": "4" };
    await one.serve(triggerManifest("served", { type: "served", to: inbox.url, annotations }));
    const sent = new Ledger(two);
    await Promise.all(events("served", 20).map((event) => sent.accept(event)));
    // Each of the two has its window, divided among its workers.
    await until(() => door.waiting === 8, { what: "both windows are full" });
    await until(async () => (await two.trigger("served")).inFlight === 8, { what: "all are counted" });
    door.open();
    await sent.settle({ trigger: "served", type: "served", inbox });
    await one.stop();
    await sent.accept({ id: "served-last", type: "served" });
    await until(() => inbox.accepted().includes("served-last"), { what: "the other one goes on" });
  } finally {
    await Promise.all(processes.map((each) => each.close()));
    await nats.close();
  }
}, 60_000);

test("every process names the trigger that holds a full stream now, also when it was another one before", async () => {
  const own = await startTestMesh({ flags: ["--workers", "2", "--stream-bytes-max", "2MB"] });
  try {
    const to = subscriber.inbox("full", 204).url;
    const held = (name: string) =>
      triggerManifest(name, { to, type: "full", annotations: { "weft.dev/paused": "true" } });
    const data = "x".repeat(100_000);
    let n = 0;
    const post = async () => {
      const { headers } = binary({ id: `full-${n++}`, type: "full" });
      const sent = { headers, agent: false, eventsUrl: own.eventsUrl, body: data } as const;
      const { status, body } = await send(sent);
      return status === 202 ? "taken" : (/trigger (\S+) has yet/.exec(body)?.[1] ?? body);
    };
    // One each, for connections go to the processes in turn.
    const both = async () => [await post(), await post()];
    await own.serve(held("early"));
    await both();
    await own.serve(held("late"));
    await until(async () => `${await both()}` === "default/early,default/early", { what: "it is full" });
    await own.apply(triggerManifest("early", { to, type: "full" }));
    await until(async () => `${await both()}` === "default/late,default/late", {
      what: "the other trigger is named",
    });
  } finally {
    await own.close();
  }
}, 60_000);

test("a worker serves no route of an earlier run that is gone", async () => {
  const inbox = subscriber.inbox("gone");
  const own = await startTestMesh({ flags: ["--workers", "2"] });
  try {
    await own.writeManifest("gone.yaml", JSON.stringify(triggerManifest("gone", { to: inbox.url })));
    await until(async () => (await own.trigger("gone")).ready, { what: "it is served" });
    const routes = async () => {
      const url = new URL(await own.natsUrl());
      const nc = await connect({ servers: url.host, token: url.username });
      const keys: string[] = [];
      for await (const key of await (await new Kvm(nc).open("weft-routes")).keys("t.>")) keys.push(key);
      await nc.close();
      return keys;
    };
    expect(await routes()).toEqual(["t.default.gone"]);
    await own.kill9();
    await own.removeManifest("gone.yaml");
    await own.start();
    expect((await own.status()).triggers).toEqual([]);
    expect(await routes()).toEqual([]);
  } finally {
    await own.close();
  }
}, 60_000);
