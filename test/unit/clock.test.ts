import { expect, test } from "vitest";
import { type Clock, everyTogether, FakeClock } from "../../src/mesh/clock.ts";

/** A clock that counts the timers that run on it. */
function counting(): { clock: Clock; fake: FakeClock; timers: () => number } {
  const fake = new FakeClock();
  let timers = 0;
  const clock: Clock = {
    now: () => fake.now(),
    monotonic: () => fake.monotonic(),
    after: (ms, callback) => fake.after(ms, callback),
    sleep: (ms, signal) => fake.sleep(ms, signal),
    every(ms, callback) {
      const timer = fake.every(ms, callback);
      timers++;
      return {
        cancel() {
          timers--;
          timer.cancel();
        },
      };
    },
  };
  return { clock, fake, timers: () => timers };
}

test("everyTogether calls all of one rhythm with one timer, until each is cancelled", async () => {
  const { clock, fake, timers } = counting();
  const calls: string[] = [];
  const a = everyTogether(clock, 1000, () => calls.push("a"));
  const b = everyTogether(clock, 1000, () => calls.push("b"));
  expect(timers()).toBe(1);
  await fake.advance(1000);
  expect(calls).toEqual(["a", "b"]);
  a.cancel();
  a.cancel();
  await fake.advance(1000);
  expect(calls).toEqual(["a", "b", "b"]);
  b.cancel();
  expect(timers()).toBe(0);
  await fake.advance(1000);
  expect(calls).toHaveLength(3);
});

test("everyTogether keeps rhythms apart, and begins anew after the last was cancelled", async () => {
  const { clock, fake, timers } = counting();
  const calls: string[] = [];
  const fast = everyTogether(clock, 100, () => calls.push("fast"));
  const slow = everyTogether(clock, 300, () => calls.push("slow"));
  expect(timers()).toBe(2);
  await fake.advance(300);
  expect(calls).toEqual(["fast", "fast", "fast", "slow"]);
  fast.cancel();
  slow.cancel();
  const again = everyTogether(clock, 100, () => calls.push("again"));
  // What was cancelled before must not end what began after it.
  fast.cancel();
  await fake.advance(100);
  expect(calls.at(-1)).toBe("again");
  again.cancel();
  expect(timers()).toBe(0);
});

test("everyTogether calls the same function for each time it was given", async () => {
  const { clock, fake } = counting();
  let calls = 0;
  const count = () => calls++;
  const one = everyTogether(clock, 100, count);
  const other = everyTogether(clock, 100, count);
  await fake.advance(100);
  expect(calls).toBe(2);
  one.cancel();
  await fake.advance(100);
  expect(calls).toBe(3);
  other.cancel();
});
