import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ledger } from "../support/ledger.ts";
import { startTestMesh, stillRunning, type TestMesh, triggerManifest } from "../support/mesh.ts";
import { type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

let mesh: TestMesh;
let subscriber: Subscriber;
let ledger: Ledger;

beforeEach(async () => {
  subscriber = await startSubscriber();
  mesh = await startTestMesh({ flags: ["--drain", "2s"] });
  ledger = new Ledger(mesh);
});
afterEach(async () => {
  await mesh?.close();
  await subscriber?.close();
});

const often = { retry: 100, backoffPolicy: "linear", backoffDelay: "PT0.05S" };

/** Producers that keep sending, each event again until it is accepted, until `stop` is called. */
function startLoad(type: string, { producers = 4 }: { producers?: number } = {}) {
  let stopped = false;
  let sent = 0;
  const others: { status: number | undefined; retryAfter: string | null | undefined }[] = [];
  const produce = async (producer: number) => {
    for (let n = 0; !stopped; n++) {
      const id = `${type}-${producer}-${n}`;
      await until(
        async () => {
          const answer = await ledger.send({ id, type, data: { n } });
          if (answer?.status === 202) return true;
          others.push({ status: answer?.status, retryAfter: answer?.headers.get("retry-after") });
          return stopped;
        },
        { deadlineMs: 60_000, what: `${id} is accepted` },
      );
      sent++;
    }
  };
  const done = Promise.all(Array.from({ length: producers }, (_, i) => produce(i)));
  return {
    /** Answers that were no 202. */
    others,
    sent: () => sent,
    async stop(): Promise<void> {
      stopped = true;
      await done;
    },
  };
}

test("Ctrl-C stops everything that was started, and what is undelivered goes on with the next start", async () => {
  const slow = subscriber.inbox("slow", { status: 204, delayMs: 700 });
  const failing = subscriber.inbox("failing", 503);
  const hanging = subscriber.inbox("hanging", "hang");
  await mesh.writeFunction("sleeper.ts", "export default () => undefined;\n");
  await mesh.serve(
    triggerManifest("slow", { type: "slow", to: slow.url }),
    triggerManifest("failing", {
      type: "failing",
      to: failing.url,
      delivery: { retry: 3, backoffPolicy: "linear", backoffDelay: "PT0.5S" },
    }),
    triggerManifest("hanging", { type: "hanging", to: hanging.url, delivery: { retry: 0 } }),
    triggerManifest("sleeper", { type: "sleeper", to: "sleeper" }),
  );
  await ledger.accept({ id: "to-sleeper", type: "sleeper" });
  await until(async () => (await mesh.trigger("sleeper")).delivered === 1, { what: "the function ran" });
  for (const type of ["slow", "failing", "hanging"]) await ledger.accept({ id: type, type });
  await until(() => slow.received.length + hanging.received.length === 2 && failing.received.length >= 1, {
    what: "an attempt at each",
  });
  const children = await mesh.descendants();
  expect(children.length).toBeGreaterThanOrEqual(2);

  expect(await mesh.stop()).toBe(0);
  expect(await stillRunning(children)).toEqual([]);
  expect(existsSync(join(mesh.dataDir, "mesh.json"))).toBe(false);
  expect(slow.accepted()).toEqual(["slow"]);

  hanging.follow(204);
  await mesh.start();
  for (const [trigger, inbox] of Object.entries({ slow, hanging })) {
    await ledger.settle({ trigger, type: trigger, inbox });
    expect(inbox.accepted()).toEqual([trigger]);
  }
  // Attempts before and after the stop add up.
  const letter = await mesh.deadLetter("failing");
  expect(letter.attempts.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
  expect(failing.received).toHaveLength(4);
  expect(await mesh.deadLetters({ trigger: "hanging" })).toEqual([]);
});

test("kill -9 of weft under load loses nothing and leaves nobody behind", async () => {
  let toggle = 0;
  const inbox = subscriber.inbox("load", () => (++toggle % 5 === 0 ? 503 : 204));
  const reply = subscriber.inbox("reply");
  await mesh.writeFunction(
    "echo.ts",
    "export default (event, ctx) => ctx.reply({ of: event.id }, { type: 'echo' });\n",
  );
  await mesh.serve(
    triggerManifest("load", { type: "load", to: inbox.url, delivery: often }),
    triggerManifest("echo", { type: "load", to: "echo", delivery: often }),
    triggerManifest("reply", { type: "echo", to: reply.url, delivery: often }),
  );
  const load = startLoad("load");
  for (let round = 1; round <= 2; round++) {
    const before = load.sent();
    await until(() => load.sent() > before + 100, { what: "load" });
    const children = await mesh.descendants();
    await mesh.kill9();
    await until(async () => (await stillRunning(children)).length === 0, {
      what: "the server and the functions have ended by themselves",
    });
    await mesh.start();
  }
  const before = load.sent();
  await until(() => load.sent() > before + 100, { what: "load after the last start" });
  await load.stop();
  await ledger.settle({ trigger: "load", type: "load", inbox });
  await until(async () => (await mesh.trigger("echo")).pending === 0, { what: "the function has had all" });
  await until(async () => (await mesh.trigger("reply")).pending === 0, { what: "the replies have arrived" });
  // An attempt that runs is not pending: its reply is still to come.
  const unreplied = () => {
    const replied = new Set(reply.received.map(({ body }) => JSON.parse(body.toString()).of));
    return [...ledger.accepted.keys()].filter((id) => !replied.has(id));
  };
  await until(() => unreplied().length === 0, { what: "every accepted event is replied to" });
  // Every event was sent until it was accepted, so each is stored once, and so is its one reply.
  expect(ledger.refused.size + ledger.unanswered.size).toBe(0);
  const { brokers } = await mesh.status();
  expect(brokers.find(({ name }) => name === "default")?.events).toBe(2 * ledger.accepted.size);
}, 90_000);

test("kill -9 of the NATS server: answers stay true, it comes back by itself, nothing is lost", async () => {
  const inbox = subscriber.inbox("load");
  await mesh.serve(triggerManifest("load", { type: "load", to: inbox.url, delivery: often }));
  const load = startLoad("load");
  for (let round = 1; round <= 2; round++) {
    const before = load.sent();
    await until(() => load.sent() > before + 100, { what: "load", deadlineMs: 30_000 });
    const { nats } = await mesh.status();
    process.kill(nats.pid ?? Number.NaN, "SIGKILL");
    await until(
      async () => {
        const { ready, nats: now } = await mesh.status();
        return ready && now.pid !== null && now.pid !== nats.pid;
      },
      { deadlineMs: 30_000, what: "another server" },
    );
  }
  const before = load.sent();
  await until(() => load.sent() > before + 100, { what: "load after the last kill", deadlineMs: 30_000 });
  await load.stop();
  for (const { status, retryAfter } of load.others) {
    expect(status).toBe(503);
    expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
  }
  await ledger.settle({ trigger: "load", type: "load", inbox }, { deadlineMs: 60_000 });
}, 120_000);

test("kill -9 of a function in the middle of a request is a retry, not a loss", async () => {
  const started = subscriber.inbox("started", 204);
  const done = subscriber.inbox("done");
  await mesh.writeFunction(
    "fragile.ts",
    `export default async (event, ctx) => {
  await fetch("${started.url}", { method: "POST", body: String(process.pid) });
  if (ctx.attempt === 1) await new Promise(() => setInterval(() => {}, 1000));
  return ctx.reply({ attempt: ctx.attempt }, { type: "done" });
};
`,
  );
  await mesh.serve(
    triggerManifest("fragile", { type: "fragile", to: "fragile", delivery: often }),
    triggerManifest("done", { type: "done", to: done.url }),
  );
  await ledger.accept({ id: "f-1", type: "fragile" });
  const [first] = await until(() => started.received.length > 0 && started.received, { what: "the request" });
  process.kill(Number(first?.body.toString()), "SIGKILL");
  const [reply] = await until(() => done.received.length > 0 && done.received, { what: "the reply" });
  expect(JSON.parse(reply?.body.toString() ?? "")).toEqual({ attempt: 2 });
  await until(async () => (await mesh.trigger("fragile")).pending === 0, { what: "nothing is owed" });
  expect(await mesh.trigger("fragile")).toMatchObject({ delivered: 1, retried: 1, dead: 0 });
});

test("a subscriber that hangs or fails holds no other trigger up", async () => {
  const hanging = subscriber.inbox("hanging", "hang");
  const failing = subscriber.inbox("failing", 503);
  const good = subscriber.inbox("good");
  await mesh.serve(
    triggerManifest("hanging", { type: "load", to: hanging.url }),
    triggerManifest("failing", { type: "load", to: failing.url, delivery: often }),
    triggerManifest("good", { type: "load", to: good.url }),
  );
  const ids = Array.from({ length: 300 }, (_, i) => `i-${i}`);
  await Promise.all(ids.map((id) => ledger.accept({ id, type: "load" })));
  await ledger.settle({ trigger: "good", type: "load", inbox: good });
  expect(new Set(good.accepted()).size).toBe(300);
  const { inFlight, pending, delivered } = await mesh.trigger("hanging");
  expect({ inFlight, pending, delivered }).toEqual({ inFlight: 100, pending: 200, delivered: 0 });
  failing.follow(204);
  await ledger.settle({ trigger: "failing", type: "load", inbox: failing });
  await ledger.balance({ trigger: "hanging", type: "load", inbox: hanging });
});

test("a second weft on the same data directory is refused and names the first", async () => {
  const { code, stderr } = await mesh.weft("up", "--port", "0", "--control-port", "0");
  expect(code).toBe(1);
  expect(stderr).toContain("DATA_DIR_LOCKED");
  expect(stderr).toContain(`${mesh.pid}`);
  expect((await mesh.status()).ready).toBe(true);
});
