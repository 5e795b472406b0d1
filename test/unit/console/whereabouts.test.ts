import { expect, test } from "vitest";
import { type Evidence, whereIs } from "../../../src/mesh/console/whereabouts.ts";

const progress = { deliveredSequence: 10, settledSequence: 5, createdMs: 1000 };
const evidence: Evidence = {
  wanted: true,
  paused: false,
  sequence: 8,
  storedMs: 2000,
  progress,
  outcome: undefined,
  failedAttempts: 0,
  isDeadLetter: false,
};

test.each<[Partial<Evidence>, string]>([
  [{}, "in flight"],
  [{ failedAttempts: 2 }, "retrying"],
  [{ failedAttempts: 2, paused: true }, "paused"],
  [{ sequence: 11 }, "waiting"],
  [{ sequence: 11, paused: true }, "paused"],
  [{ sequence: 3 }, "settled"],
  [{ sequence: 3, storedMs: 500 }, "before the trigger began"],
  [{ sequence: 3, storedMs: 500, failedAttempts: 1 }, "settled"],
  [{ progress: undefined }, "before the trigger began"],
  [{ wanted: false }, "not wanted"],
  [{ wanted: false, outcome: "filtered" }, "filtered"],
  [{ outcome: "delivered", sequence: 11 }, "delivered"],
  [{ outcome: "dead" }, "dead"],
  [{ isDeadLetter: true, outcome: "delivered" }, "dead"],
])("whereIs with %j is %j", (differing, expected) => {
  expect(whereIs({ ...evidence, ...differing })).toBe(expected);
});
