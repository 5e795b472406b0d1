import { expect, test } from "vitest";
import { between, sumOf, usageOf } from "../../../bench/usage.ts";

const at = (pid: number, cpuMs: number) => ({ role: "weft", pid, cpuMs, peakMb: 2, residentMb: 1 });

test("between must give what each process spent meanwhile, all of it for one that is new", () => {
  expect(between([at(1, 10), at(2, 5)], [at(1, 12), at(3, 4)]).map(({ pid, cpuMs }) => [pid, cpuMs])).toEqual(
    [
      [1, 2],
      [3, 4],
    ],
  );
});

test("sumOf must add up time and memory", () => {
  expect(sumOf([at(1, 10), at(2, 5)])).toEqual({ cpuMs: 15, peakMb: 4, residentMb: 2 });
});

test.runIf(process.platform === "linux")("usageOf must see time pass on and memory held", () => {
  const before = usageOf(process.pid);
  const { user } = process.cpuUsage();
  while (process.cpuUsage().user < user + 20_000);
  const after = usageOf(process.pid);
  expect(after.cpuMs).toBeGreaterThan(before.cpuMs);
  expect(after.peakMb).toBeGreaterThanOrEqual(after.residentMb / 2);
  expect(after.residentMb).toBeGreaterThan(10);
});
