import { expect, test } from "vitest";
import { flood } from "../support/flood.ts";
import { startHoldingSubscriber } from "../support/holding-subscriber.ts";
import { memoryOf } from "../support/memory.ts";
import { startTestMesh, triggerManifest } from "../support/mesh.ts";
import { until } from "../support/until.ts";

const small = { type: "small", count: 60_000, bytes: 1024, idPrefix: "s" };
const large = { type: "large", count: 8000, bytes: 64 * 1024, idPrefix: "l" };
/** The data of all events together is more than that, and data is the least of what an event in memory takes. */
const growthMbMax = 400;
const floodMb = (small.count * small.bytes + large.count * large.bytes) / 1024 / 1024;
/** Per trigger, of attempts at once. */
const concurrency = 100;
const deliveryMs = 240_000;

test.runIf(process.platform === "linux")(
  "a subscriber that does not answer fills streams, not memory, and gets everything later",
  { timeout: 2 * deliveryMs },
  async () => {
    expect(floodMb).toBeGreaterThan(growthMbMax);
    const subscriber = await startHoldingSubscriber();
    const mesh = await startTestMesh();
    try {
      await mesh.serve(
        triggerManifest("small", { type: "small", to: subscriber.url }),
        triggerManifest("large", { type: "large", to: subscriber.url }),
      );
      const before = await memoryOf(mesh.pid);
      await flood(mesh, small);
      await flood(mesh, large);
      await until(() => subscriber.waiting === 2 * concurrency, { what: "both windows are full" });
      const under = await memoryOf(mesh.pid);
      expect(under.peakMb - before.residentMb).toBeLessThan(growthMbMax);
      expect(subscriber.delivered).toBe(0);
      subscriber.release();
      await until(() => subscriber.delivered === small.count + large.count, { deadlineMs: deliveryMs });
    } finally {
      await mesh.close();
      await subscriber.close();
    }
  },
);
