import { expect, test } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import { Backoff } from "../../../src/mesh/host/backoff.ts";

test("Backoff must double from one second to a minute, and start over after a success", async () => {
  const clock = new FakeClock();
  let over = 0;
  const backoff = new Backoff(clock, () => {
    over += 1;
  });
  const waits: number[] = [];
  async function failAndMeasure(): Promise<void> {
    backoff.fail();
    const start = clock.now();
    while (backoff.isBlocked) await clock.advance(500);
    waits.push((clock.now() - start) / 1000);
  }
  for (let failure = 0; failure < 8; failure++) await failAndMeasure();
  backoff.succeed();
  await failAndMeasure();
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 1]);
  expect(over).toBe(9);
});

test("Backoff reset must end the wait", () => {
  const backoff = new Backoff(new FakeClock(), () => {});
  backoff.fail();
  expect(backoff.isBlocked).toBe(true);
  backoff.reset();
  expect(backoff.isBlocked).toBe(false);
});
