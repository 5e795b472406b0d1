import { expect, test } from "vitest";
import { busyPace } from "../../../src/mesh/stream/puller.ts";

test.each([
  [1, 5_000],
  [250, 5_000],
  [1000, 20_000],
  [100_000, 30_000],
])("busyPace of %i pullers is a sign of life every %i ms", (pullers, heartbeatMs) => {
  expect(busyPace(pullers)).toEqual({ heartbeatMs, expiresMs: 6 * heartbeatMs });
});
