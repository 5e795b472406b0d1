import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { CloseStack } from "../../src/mesh/lifecycle.ts";
import { Ledger } from "../support/ledger.ts";
import { startLoad } from "../support/load.ts";
import { brokerManifest, runWeft, startTestMesh, type TestMesh, triggerManifest } from "../support/mesh.ts";
import { startTestNats, type TestNats } from "../support/nats.ts";
import { type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

let nats: TestNats;
let subscriber: Subscriber;
const started = new CloseStack();
let processes: TestMesh[] = [];

beforeAll(async () => {
  nats = await startTestNats();
  started.use("nats", nats);
  subscriber = started.use("subscriber", await startSubscriber());
});
afterEach(async () => {
  await Promise.all(processes.map((each) => each.close()));
  processes = [];
});
afterAll(() => started.close());

async function serve(roles?: string): Promise<TestMesh> {
  const process = await startTestMesh({
    flags: ["--warm-pool", "0", "--drain", "3s"],
    serve: { natsUrl: nats.url, ...(roles === undefined ? {} : { roles }) },
  });
  processes.push(process);
  return process;
}

const peersSchema = z.array(z.looseObject({ pid: z.int(), leads: z.boolean(), roles: z.array(z.string()) }));

async function peers(asked: TestMesh): Promise<z.output<typeof peersSchema>> {
  const response = await fetch(`${asked.controlUrl}/weft/v1/status`);
  return z.object({ processes: peersSchema }).parse(await response.json()).processes;
}

async function leaderOf(asked: TestMesh): Promise<number> {
  return until(async () => (await peers(asked)).find(({ leads }) => leads)?.pid, { what: "somebody leads" });
}

const often = { retry: 100, backoffPolicy: "linear", backoffDelay: "PT0.05S" };

test("weft serve says what is missing when no NATS is named", async () => {
  const { code, stderr } = await runWeft(["serve"], nats.dataDir);
  expect(code).toBe(2);
  expect(stderr).toContain("--nats-url");
});

test("processes share the work; one that leaves or joins loses nothing and counts nothing twice", async () => {
  const first = await serve();
  const second = await serve();
  // Slow until both were seen at work, however long the sending takes.
  let slow = true;
  const inbox = subscriber.inbox("shared", () => ({ status: 204, delayMs: slow ? 1000 : 50 }));
  await first.serve(
    brokerManifest("shared"),
    triggerManifest("shared", {
      broker: "shared",
      to: inbox.url,
      annotations: { "weft.dev/concurrency": "5" },
    }),
  );
  await until(async () => (await second.status()).brokers.some(({ name }) => name === "shared"), {
    what: "the second has the routes",
  });
  const ledger = new Ledger(first);
  const toSecond = new Ledger(second);
  const send = async (from: number, to: number, ledgers: readonly Ledger[]) => {
    for (let n = from; n < to; n++) {
      await ledgers[n % ledgers.length]?.accept({ id: `${n}`, type: "t", path: "/default/shared" });
    }
  };
  await send(0, 100, [ledger, toSecond]);
  // More than one process's window: the work is shared, and the status sums it up.
  await until(async () => (await first.trigger("shared")).inFlight > 5, {
    what: "both have attempts running",
  });
  slow = false;
  await second.stop();
  await send(100, 150, [ledger]);
  await second.start();
  await send(150, 250, [ledger, toSecond]);
  await until(async () => (await second.trigger("shared")).delivered === 250, { what: "all are delivered" });
  expect(
    inbox
      .accepted()
      .map(Number)
      .sort((a, b) => a - b),
  ).toEqual(Array.from({ length: 250 }, (_, n) => n));
  expect(await first.trigger("shared")).toMatchObject({ delivered: 250, pending: 0, inFlight: 0, dead: 0 });
});

test("when the active control plane is killed another one takes over, and events flow meanwhile", async () => {
  const one = await serve();
  const two = await serve();
  const inbox = subscriber.inbox("led", 204);
  await one.serve(triggerManifest("led", { type: "led", to: inbox.url }));
  const leader = await leaderOf(one);
  const [killed, other] = leader === one.pid ? [one, two] : [two, one];
  const ledger = new Ledger(other);
  await ledger.accept({ id: "before", type: "led" });
  await killed.kill9();
  await ledger.accept({ id: "meanwhile", type: "led" });
  await until(() => inbox.accepted().includes("meanwhile"), { what: "delivered without a control plane" });
  await other.serve(triggerManifest("after", { type: "after", to: inbox.url }));
  expect(await leaderOf(other)).toBe(other.pid);
  await ledger.accept({ id: "after", type: "after" });
  await killed.start();
  await until(() => inbox.accepted().includes("after"), { what: "the new trigger is served" });
  expect(await leaderOf(killed)).toBe(other.pid);
  await ledger.settle({ trigger: "led", type: "led", inbox });
});

test("dispatchers that are killed at any moment lose no event, and store each reply once", async () => {
  const ingress = await serve("ingress,control");
  const inbox = subscriber.inbox("crash", ({ id }) => ({
    status: 200,
    headers: {
      "ce-specversion": "1.0",
      "ce-id": `reply-${id}`,
      "ce-source": "/crash",
      "ce-type": `answer.${id}`,
    },
    delayMs: Math.random() * 40,
  }));
  await ingress.serve(
    brokerManifest("crash"),
    triggerManifest("crash", { broker: "crash", type: "crash", to: inbox.url, delivery: often }),
  );
  const dispatchers = await Promise.all([serve("dispatch"), serve("dispatch"), serve("dispatch")]);
  const starting = new Map<TestMesh, Promise<void>>();
  const ledger = new CrashLedger(ingress);
  const load = startLoad({ type: "crash", ledgers: [ledger], producers: 3 });
  for (let kill = 0; kill < 20; kill++) {
    const victim = dispatchers[kill % dispatchers.length];
    if (victim === undefined) throw new Error("no dispatcher");
    await starting.get(victim);
    const more = Math.random() * 20;
    const before = inbox.received.length;
    await until(() => inbox.received.length > before + more, { what: "attempts are made" });
    await victim.kill9();
    starting.set(victim, victim.start());
  }
  await Promise.all(starting.values());
  await load.stop();
  expect(load.others).toEqual([]);
  await ledger.settle({ trigger: "crash", type: "crash", inbox }, { deadlineMs: 60_000 });
  expect(ledger.accepted.size).toBeGreaterThan(100);

  const { nc } = await nats.connect();
  const jsm = await jetstreamManager(nc);
  const { state } = await jsm.streams.info("weft-ev-default_crash", {
    subjects_filter: "weft.ev.default.crash.answer.>",
  });
  const replies = Object.values(state.subjects ?? {});
  expect(replies.length).toBe(ledger.accepted.size);
  expect(new Set(replies)).toEqual(new Set([1]));
}, 180_000);

/** Everything goes to the broker of the crash test. */
class CrashLedger extends Ledger {
  override send(event: Parameters<Ledger["send"]>[0]): ReturnType<Ledger["send"]> {
    return super.send({ ...event, path: "/default/crash" });
  }
}
