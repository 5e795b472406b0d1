import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Clock, FakeClock, systemClock } from "../../../src/mesh/clock.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import {
  type LeaseAction,
  type LeaseState,
  Leases,
  leaseAction,
  leaseHeld,
  leaseTaken,
} from "../../../src/mesh/stream/lease.ts";
import { startTestNats, type TestNats } from "../../support/nats.ts";
import { until } from "../../support/until.ts";

const ttlMs = 6000;
const held = leaseHeld(7, 1000, ttlMs);

test.each<[string, LeaseState, number, LeaseAction]>([
  ["free", { kind: "free", tryAtMs: 0 }, 0, "create"],
  ["taken by another", leaseTaken(1000, ttlMs), 1999, "wait"],
  ["taken by another, a while ago", leaseTaken(1000, ttlMs), 2000, "create"],
  ["held, just renewed", held, 1001, "wait"],
  ["held, to be renewed", held, 3000, "renew"],
  ["held, renewals failing", held, 4999, "renew"],
  ["held too long without renewal", held, 5000, "lose"],
])("leaseAction when %s", (_case, state, nowMs, action) => {
  expect(leaseAction(state, nowMs)).toBe(action);
});

test("leaseHeld is not believed in any more before the server lets it expire", () => {
  expect(held.kind === "held" && held.untilMs).toBeLessThan(1000 + ttlMs);
});

describe("Lease", () => {
  let nats: TestNats;
  beforeAll(async () => {
    nats = await startTestNats();
  });
  afterAll(() => nats.close());

  /** A process of its own, with its own connection. */
  async function process(owner: string, clock: Clock = systemClock) {
    const { nc } = await nats.connect(owner);
    const leases = await Leases.open(nc, { clock, log: silentLog, replicas: 1, owner, ttlMs: 1500 });
    const seen: string[] = [];
    return {
      seen,
      nc,
      hold: (name: string) =>
        leases.hold(name, { onGain: () => seen.push("gain"), onLoss: () => seen.push("loss") }),
    };
  }

  test("close hands it on to who waits for it", async () => {
    const one = await process("one");
    const two = await process("two");
    const first = one.hold("handed-on");
    await until(() => first.isHeld);
    const second = two.hold("handed-on");
    await until(() => two.nc.stats().inMsgs > 3, { what: "an answer to the second" });
    expect(second.isHeld).toBe(false);
    await first.close();
    await until(() => second.isHeld);
    expect(first.isHeld).toBe(false);
    expect([one.seen, two.seen]).toEqual([["gain"], ["gain"]]);
    await second.close();
  });

  test("isHeld ends by itself when the holder's clock stands still, and another takes over", async () => {
    const clock = new FakeClock();
    const stopped = await process("stopped", clock);
    const other = await process("other");
    const first = stopped.hold("taken-over");
    await until(() => first.isHeld);
    const second = other.hold("taken-over");
    await until(() => second.isHeld);
    await clock.advance(1000);
    expect(first.isHeld).toBe(false);
    await until(() => stopped.seen.includes("loss"));
    expect(second.isHeld).toBe(true);
    await first.close();
    await second.close();
  });

  test("isHeld goes on over many renewals", async () => {
    const one = await process("steady");
    const lease = one.hold("steady");
    await until(() => lease.isHeld);
    const { outMsgs } = one.nc.stats();
    await until(() => one.nc.stats().outMsgs >= outMsgs + 5, { what: "five renewals" });
    expect(lease.isHeld).toBe(true);
    expect(one.seen).toEqual(["gain"]);
    await lease.close();
  });
});
