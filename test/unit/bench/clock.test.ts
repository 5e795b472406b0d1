import { expect, test } from "vitest";
import { nowUs } from "../../../bench/clock.ts";

/** What rounding and the shortest time between two looks may come to. */
const toleranceUs = 20;

test("nowUs must follow the monotonic clock of the machine", () => {
  for (let i = 0; i < 100; i++) {
    const before = Number(process.hrtime.bigint()) / 1000;
    const now = nowUs();
    const after = Number(process.hrtime.bigint()) / 1000;
    expect(now).toBeGreaterThan(before - toleranceUs);
    expect(now).toBeLessThan(after + toleranceUs);
  }
});
