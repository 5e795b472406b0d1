import { afterEach, beforeEach, expect, test } from "vitest";
import { Ledger } from "../support/ledger.ts";
import { startLoad } from "../support/load.ts";
import { startTestMesh, type TestMesh, triggerManifest } from "../support/mesh.ts";
import { type Subscriber, startSubscriber } from "../support/subscriber.ts";
import { until } from "../support/until.ts";

let mesh: TestMesh;
let subscriber: Subscriber;

beforeEach(async () => {
  subscriber = await startSubscriber();
  mesh = await startTestMesh({ flags: ["--warm-pool", "0"] });
});
afterEach(async () => {
  await mesh?.close();
  await subscriber?.close();
});

async function isReady(): Promise<boolean> {
  return (await fetch(`${mesh.controlUrl}/readyz`)).ok;
}

async function natsPid(): Promise<number> {
  const { pid } = (await mesh.status()).nats;
  if (pid === null) throw new Error("no NATS server of its own");
  return pid;
}

test("a NATS server that freezes for long is noticed, and every fetch loop lives when it is ready again", async () => {
  const frozenMs = 20_000;
  const inboxes = ["a", "b", "c"].map((type) => ({ type, inbox: subscriber.inbox(type, 204) }));
  await mesh.serve(
    ...inboxes.map(({ type, inbox }) => triggerManifest(type, { type, to: inbox.url })),
    triggerManifest("rewoken", { type: "rewoken", to: subscriber.inbox("rewoken", 204).url }),
  );
  const ledger = new Ledger(mesh);
  const loads = inboxes.map(({ type }) => startLoad({ type, ledgers: [ledger], producers: 2 }));
  await until(() => loads.every((load) => load.sent() > 20), { what: "events flow" });
  const pid = await natsPid();
  process.kill(pid, "SIGSTOP");
  const frozenAt = Date.now();
  try {
    await until(async () => !(await isReady()), { what: "readiness says so" });
    await until(() => loads.every(({ others }) => others.length > 0), { what: "producers are refused" });
    await until(() => Date.now() - frozenAt > frozenMs, { deadlineMs: frozenMs * 2, what: "a long outage" });
    expect(await isReady()).toBe(false);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await until(isReady, { deadlineMs: 30_000, what: "ready again" });
  const sentBefore = loads.map((load) => load.sent());
  await until(() => loads.every((load, i) => load.sent() > (sentBefore[i] ?? 0) + 20), {
    what: "events flow again",
  });
  await Promise.all(loads.map((load) => load.stop()));
  for (const { status, retryAfter } of loads.flatMap(({ others }) => others)) {
    expect({ status, retryAfter }).toEqual({ status: 503, retryAfter: "1" });
  }
  for (const { type, inbox } of inboxes) {
    await ledger.settle({ trigger: type, type, inbox }, { deadlineMs: 60_000 });
  }
  // A trigger that had nothing to do meanwhile is served at once: its loop is not waiting for a dead pull.
  await ledger.accept({ id: "wake-up", type: "rewoken" });
  await until(async () => (await mesh.trigger("rewoken")).delivered === 1, {
    deadlineMs: 5000,
    what: "the quiet trigger is served",
  });
}, 180_000);
