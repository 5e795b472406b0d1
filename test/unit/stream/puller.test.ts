import { expect, test } from "vitest";
import { pullSilenceMs } from "../../../src/mesh/dispatch/dispatcher.ts";
import { busyPace } from "../../../src/mesh/stream/puller.ts";

test.each([
  [1, 5_000],
  [250, 5_000],
  [400, 8_000],
  [100_000, 9_000],
])("busyPace of %i pullers is a sign of life every %i ms", (pullers, heartbeatMs) => {
  expect(busyPace(pullers)).toEqual({ heartbeatMs, expiresMs: 6 * heartbeatMs });
});

test("busyPace lets a lost pull be made good before the mesh says that it is not ready", () => {
  const { heartbeatMs } = busyPace(Number.MAX_SAFE_INTEGER);
  expect(2 * heartbeatMs + 1000).toBeLessThan(pullSilenceMs);
});
