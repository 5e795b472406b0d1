import { describe, expect, test } from "vitest";
import { LoadMeter, LoadWindow } from "../../../src/mesh/host/load-window.ts";

const start = 1_700_000_000_000;
type Sample = readonly [second: number, value: number];

describe("LoadWindow", () => {
  test.each<{ name: string; samples: Sample[]; at: number; average: number }>([
    { name: "empty", samples: [], at: 0, average: 0 },
    { name: "first sample counts in full", samples: [[0, 5]], at: 0, average: 5 },
    {
      name: "same second adds up",
      samples: [
        [0, 5],
        [0, 2],
      ],
      at: 0,
      average: 7,
    },
    {
      name: "partial window",
      samples: [
        [0, 6],
        [1, 3],
      ],
      at: 1,
      average: 4.5,
    },
    {
      name: "gaps are zeros",
      samples: [
        [0, 6],
        [3, 6],
      ],
      at: 3,
      average: 3,
    },
    { name: "full window", samples: [0, 1, 2, 3, 4, 5].map((s): Sample => [s, 6]), at: 5, average: 6 },
    {
      name: "a full window keeps the last six",
      samples: [0, 1, 2, 3, 4, 5, 6].map((s): Sample => [s, s]),
      at: 6,
      average: 3.5,
    },
    {
      name: "expired buckets leave",
      samples: [0, 1, 2, 3, 4, 5].map((s): Sample => [s, 6 * s]),
      at: 8,
      average: 24,
    },
    { name: "nothing for a window", samples: [[0, 5]], at: 6, average: 0 },
    {
      name: "restarts after a window",
      samples: [
        [0, 100],
        [10, 4],
      ],
      at: 10,
      average: 4,
    },
    {
      name: "too old is dropped",
      samples: [
        [10, 4],
        [3, 100],
      ],
      at: 10,
      average: 4,
    },
    {
      name: "rounded to 6 decimals",
      samples: [
        [0, 1],
        [1, 0],
        [2, 0],
      ],
      at: 2,
      average: 0.333333,
    },
  ])("average $name: must be $average", ({ samples, at, average }) => {
    const window = new LoadWindow(6000);
    for (const [second, value] of samples) window.record(value, start + second * 1000);
    expect(window.average(start + at * 1000)).toBe(average);
  });
});

describe("LoadMeter", () => {
  test("sample must weigh the load by its time", () => {
    const meter = new LoadMeter({ metric: "concurrency", stableMs: 60_000, panicMs: 6000, now: start });
    meter.set(2, start);
    meter.set(0, start + 500);
    meter.sample(start + 1000);
    expect(meter.averages(start + 1000)).toEqual({ stable: 1, panic: 1 });
  });

  test("sample must count arrivals per second when the metric is rps", () => {
    const meter = new LoadMeter({ metric: "rps", stableMs: 60_000, panicMs: 6000, now: start });
    for (let count = 0; count < 10; count++) meter.arrive();
    meter.sample(start + 2000);
    expect(meter.averages(start + 2000)).toEqual({ stable: 5, panic: 5 });
  });

  test("restart must not average a first request over the idle time before it", () => {
    const meter = new LoadMeter({ metric: "concurrency", stableMs: 60_000, panicMs: 6000, now: start });
    meter.restart(start + 600_000);
    meter.set(3, start + 600_000);
    meter.sample(start + 601_000);
    expect(meter.averages(start + 601_000).stable).toBe(3);
  });
});
