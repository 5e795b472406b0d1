import { describe, expect, test } from "vitest";
import type { CallResult } from "../../../src/mesh/dispatch/call.ts";
import {
  afterAttempt,
  type Congestion,
  congestionSign,
  uncongested,
  windowOf,
} from "../../../src/mesh/dispatch/congestion.ts";

const answered = (status: number): CallResult => ({
  kind: "answered",
  status,
  headers: {},
  body: new Uint8Array(0),
  truncated: false,
  ms: 1,
});
const failed = (error: string): CallResult => ({ kind: "failed", error, message: "", ms: 1 });

test.each([
  [answered(429), "congested"],
  [answered(503), "congested"],
  [failed("Timeout"), "congested"],
  [answered(200), "clear"],
  [answered(202), "clear"],
  [answered(400), "clear"],
  [answered(500), "neither"],
  [failed("ConnectionRefused"), "neither"],
  [{ kind: "aborted", ms: 1 } satisfies CallResult, "neither"],
  [{ kind: "unavailable", message: "" } satisfies CallResult, "neither"],
])("congestionSign of %j is %s", (result, sign) => {
  expect(congestionSign(result)).toBe(sign);
});

function follow(start: Congestion, signs: readonly ("congested" | "clear")[], concurrency = 100): Congestion {
  return signs.reduce<Congestion>(
    (congestion, sign) => afterAttempt(congestion, { sign, round: congestion.round, concurrency }),
    start,
  );
}

describe("afterAttempt", () => {
  test.each([
    [0, 100],
    [1, 50],
    [2, 25],
    [3, 12],
    [6, 1],
    [9, 1],
  ])("after %i signs of congestion in as many rounds leaves %i of 100", (times, window) => {
    expect(windowOf(follow(uncongested, Array(times).fill("congested")), 100)).toBe(window);
  });

  test("shrinks once for all attempts of one round", () => {
    const shrunk = afterAttempt(uncongested, { sign: "congested", round: 0, concurrency: 100 });
    const again = afterAttempt(shrunk, { sign: "congested", round: 0, concurrency: 100 });
    expect(windowOf(again, 100)).toBe(50);
    expect(windowOf(afterAttempt(again, { sign: "congested", round: 1, concurrency: 100 }), 100)).toBe(25);
  });

  test("grows by about one for a full window of good answers, up to the trigger's own window", () => {
    const shrunk = follow(uncongested, ["congested", "congested"], 16);
    expect(windowOf(shrunk, 16)).toBe(4);
    expect(windowOf(follow(shrunk, Array(5).fill("clear"), 16), 16)).toBe(5);
    const recovered = follow(shrunk, Array(200).fill("clear"), 16);
    expect(windowOf(recovered, 16)).toBe(16);
    expect(recovered.limit).toBe(Number.POSITIVE_INFINITY);
  });

  test("halves what the window is now, also after the trigger's own window was made smaller", () => {
    expect(windowOf(follow(uncongested, ["congested"], 10), 100)).toBe(5);
    expect(windowOf(uncongested, 3)).toBe(3);
  });
});
