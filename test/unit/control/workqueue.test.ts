import { describe, expect, test } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import {
  BACKOFF_MAX_MS,
  BACKOFF_MIN_MS,
  type Outcome,
  WorkQueue,
} from "../../../src/mesh/control/workqueue.ts";

function makeQueue(process: (key: string) => Promise<Outcome> = async () => undefined) {
  const clock = new FakeClock();
  const processed: string[] = [];
  const waits: number[] = [];
  const queue = new WorkQueue({
    process: (key) => {
      processed.push(key);
      return process(key);
    },
    onFailure: ({ retryAfterMs }) => waits.push(retryAfterMs),
    clock,
  });
  return { queue, clock, processed, waits };
}

describe("WorkQueue", () => {
  test("processes nothing inside add, and a key added twice once", async () => {
    const { queue, processed } = makeQueue();
    queue.add("a");
    queue.add("a");
    queue.add("b");
    expect(processed).toEqual([]);
    await queue.idle();
    expect(processed).toEqual(["a", "b"]);
  });

  test("processes a key once more that is added while it is processed, never twice at a time", async () => {
    const gate = Promise.withResolvers<void>();
    let running = 0;
    let most = 0;
    const { queue, processed } = makeQueue(async () => {
      most = Math.max(most, ++running);
      await gate.promise;
      running--;
      return undefined;
    });
    queue.add("a");
    await new Promise(setImmediate);
    queue.add("a");
    queue.add("a");
    await new Promise(setImmediate);
    expect(processed).toEqual(["a"]);
    gate.resolve();
    await queue.idle();
    expect(processed).toEqual(["a", "a"]);
    expect(most).toBe(1);
  });

  test("lets one stuck key hold up nobody", async () => {
    const gate = Promise.withResolvers<void>();
    const { queue, processed } = makeQueue(async (key) => {
      if (key === "stuck") await gate.promise;
      return undefined;
    });
    queue.add("stuck");
    queue.add("b");
    await new Promise(setImmediate);
    expect(processed).toEqual(["stuck", "b"]);
    gate.resolve();
    await queue.close();
  });

  test("backs off with each failure up to the bound, and starts over after a success", async () => {
    let failing = true;
    const { queue, clock, processed, waits } = makeQueue(async () => {
      if (failing) throw new Error("not yet");
      return undefined;
    });
    queue.add("a");
    for (let count = 0; count < 12; count++) {
      await queue.idle();
      await clock.advance(waits.at(-1) ?? 0);
    }
    await queue.idle();
    expect(waits.slice(0, 4)).toEqual([1, 2, 4, 8].map((factor) => BACKOFF_MIN_MS * factor));
    expect(Math.max(...waits)).toBe(BACKOFF_MAX_MS);
    failing = false;
    queue.add("a");
    await queue.idle();
    const before = processed.length;
    await clock.advance(BACKOFF_MAX_MS);
    expect(processed).toHaveLength(before);
    failing = true;
    queue.add("a");
    await queue.idle();
    expect(waits.at(-1)).toBe(BACKOFF_MIN_MS);
  });

  test("comes again when asked to", async () => {
    const { queue, clock, processed } = makeQueue(async () => ({ requeueAfterMs: 1000 }));
    queue.add("a");
    await queue.idle();
    await clock.advance(999);
    expect(processed).toHaveLength(1);
    await clock.advance(1);
    await queue.idle();
    expect(processed).toHaveLength(2);
  });

  test("drops what waits when it closes, after what runs has finished", async () => {
    const gate = Promise.withResolvers<void>();
    const { queue, processed } = makeQueue(async () => {
      await gate.promise;
      return undefined;
    });
    queue.add("a");
    await new Promise(setImmediate);
    queue.add("a");
    const closing = queue.close();
    gate.resolve();
    await closing;
    queue.add("b");
    await queue.idle();
    expect(processed).toEqual(["a"]);
  });
});
