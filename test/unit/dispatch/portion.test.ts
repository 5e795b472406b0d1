import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { partOf, wholeDispatch, windowShare } from "../../../src/mesh/dispatch/portion.ts";
import type { Target, TriggerRoute } from "../../../src/mesh/routes/route.ts";

const url: Target = { kind: "url", uri: "http://localhost/" };
const fn: Target = {
  kind: "function",
  uri: "http://f.default.localhost/",
  namespace: "default",
  name: "f",
  path: "/",
};

function route(wishes: Partial<TriggerRoute>): TriggerRoute {
  return {
    namespace: "default",
    name: "t",
    uid: "uid-1",
    broker: "default",
    filters: [],
    dataFilter: undefined,
    subscriber: url,
    deadLetterSink: undefined,
    policy: {
      retryMax: 1,
      backoffPolicy: "linear",
      backoffDelayMs: 1,
      timeoutMs: 1,
      retryAfterMaxMs: 1,
      format: undefined,
    },
    concurrency: 100,
    paused: false,
    ...wishes,
  };
}

/** What each of `of` processes has of the route's window; 0 where it does not serve it. */
function shares(served: TriggerRoute, of: number): number[] {
  return Array.from({ length: of }, (_, index) => partOf(served, { index, of })?.concurrency ?? 0);
}

describe("windowShare", () => {
  test("adds up to the window, and no share is more than one above another", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 0, max: 65_535 }),
        (window, of, turn) => {
          const all = Array.from({ length: of }, (_, index) => windowShare(window, { index, of }, turn));
          expect(all.reduce((sum, one) => sum + one, 0)).toBe(window);
          expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});

describe("partOf", () => {
  test("is the same route for who is alone", () => {
    const served = route({});
    expect(partOf(served, wholeDispatch)).toBe(served);
  });

  test.each([
    { concurrency: 100, of: 3, expected: [33, 33, 34] },
    { concurrency: 2, of: 3, expected: [0, 1, 1] },
    { concurrency: 1, of: 2, expected: [0, 1] },
  ])("deals a window of $concurrency out to $of processes", ({ concurrency, of, expected }) => {
    expect(shares(route({ concurrency }), of).sort((a, b) => a - b)).toEqual(expected);
  });

  test("lets the single places of many triggers fall to all processes", () => {
    const owners = Array.from({ length: 100 }, (_, n) =>
      shares(route({ uid: `uid-${n}`, concurrency: 1 }), 2).indexOf(1),
    );
    const first = owners.filter((owner) => owner === 0).length;
    expect(first).toBeGreaterThan(20);
    expect(first).toBeLessThan(80);
  });

  test.each([
    ["subscriber", { subscriber: fn }],
    ["dead-letter sink", { deadLetterSink: fn }],
    ["subscriber of an ordered one", { subscriber: fn, order: "key" as const }],
  ])("leaves a trigger with a function as %s to the first process", (_what, wishes) => {
    expect(shares(route(wishes), 3)).toEqual([100, 0, 0]);
  });

  test("gives every process the whole window of an ordered trigger, whose lease only one has", () => {
    expect(shares(route({ order: "key" }), 3)).toEqual([100, 100, 100]);
  });
});
