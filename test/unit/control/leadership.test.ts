import { expect, test } from "vitest";
import { FakeClock, systemClock } from "../../../src/mesh/clock.ts";
import { Leadership } from "../../../src/mesh/control/leadership.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { until } from "../../support/until.ts";

/** A lease that is gained and lost when the test says so, and a term that says what happens to it. */
function setUp({ startFails = 0, closes = Promise.resolve() } = {}) {
  const said: string[] = [];
  const clock = new FakeClock();
  let isHeld = false;
  let listener = { onGain() {}, onLoss() {} };
  let failures = startFails;
  const leadership = new Leadership({
    hold(told) {
      listener = told;
      return {
        get isHeld() {
          return isHeld;
        },
        async close() {
          said.push("lease given up");
          isHeld = false;
        },
      };
    },
    async startTerm() {
      if (failures-- > 0) throw new Error("not now");
      said.push("begins");
      return {
        async close() {
          await closes;
          said.push("ends");
        },
      };
    },
    clock,
    log: silentLog,
  });
  return {
    said,
    clock,
    leadership,
    gain() {
      isHeld = true;
      listener.onGain();
    },
    lose() {
      isHeld = false;
      listener.onLoss();
    },
  };
}

test("Leadership runs a term for as long as the lease is held", async () => {
  const { said, leadership, gain, lose } = setUp();
  expect(leadership.isLeader).toBe(false);
  gain();
  await until(() => said.includes("begins"));
  expect(leadership.isLeader).toBe(true);
  lose();
  await until(() => said.includes("ends"));
  gain();
  await until(() => said.length === 3);
  expect(said).toEqual(["begins", "ends", "begins"]);
});

test("Leadership begins no term before the one before has ended", async () => {
  const closing = Promise.withResolvers<void>();
  const { said, gain, lose } = setUp({ closes: closing.promise });
  gain();
  await until(() => said.includes("begins"));
  lose();
  gain();
  await new Promise(setImmediate);
  expect(said).toEqual(["begins"]);
  closing.resolve();
  await until(() => said.length === 3);
  expect(said).toEqual(["begins", "ends", "begins"]);
});

test("Leadership tries a term again that could not begin", async () => {
  const { said, gain, clock } = setUp({ startFails: 2 });
  gain();
  await until(async () => {
    await clock.advance(1000);
    return said.includes("begins");
  });
});

test("Leadership that cannot begin a term leaves the lease to others, and wants it again later", async () => {
  const { said, gain, clock, leadership } = setUp({ startFails: 3 });
  gain();
  await until(async () => {
    await clock.advance(500);
    return said.includes("lease given up");
  });
  expect(leadership.isLeader).toBe(false);
  await clock.advance(20_000);
  gain();
  await until(() => said.includes("begins"));
});

test("Leadership closes at once while it leaves the lease to others", async () => {
  const { said, gain, clock, leadership } = setUp({ startFails: 3 });
  gain();
  await until(async () => {
    await clock.advance(500);
    return said.includes("lease given up");
  });
  await leadership.close();
  expect(said).not.toContain("begins");
});

test("Leadership ends its term before it gives the lease up", async () => {
  const { said, leadership, gain } = setUp();
  gain();
  await until(() => said.includes("begins"));
  await leadership.close();
  expect(said).toEqual(["begins", "ends", "lease given up"]);
});

test.each([
  ["as soon as its own term is under way", [undefined], true],
  ["when another is seen to renew the lease", [7, 7, 9], false],
])("Leadership is decided %s", async (_name, revisions: readonly (number | undefined)[], gains) => {
  const { leadership, gain, clock } = setUp();
  const looks: (number | undefined)[] = [];
  let isDecided = false;
  const decided = leadership
    .decided({
      look: async () => {
        looks.push(revisions[Math.min(looks.length, revisions.length - 1)]);
        return looks.at(-1);
      },
      signal: new AbortController().signal,
    })
    .then(() => {
      isDecided = true;
    });
  await until(() => looks.length === 1);
  expect(isDecided).toBe(false);
  if (gains) gain();
  await until(async () => {
    await clock.advance(100);
    return isDecided;
  });
  await decided;
  expect(looks.length).toBe(gains ? looks.length : revisions.length);
});

test("Leadership that is never decided ends with the signal", async () => {
  const { leadership, clock } = setUp();
  const stop = new AbortController();
  // A lease that nobody renews is that of a process that was killed.
  const decided = leadership.decided({ look: async () => 7, signal: stop.signal });
  await clock.advance(10_000);
  stop.abort();
  await Promise.race([
    decided,
    systemClock.sleep(5000).then(() => {
      throw new Error("still waiting");
    }),
  ]);
});
