import { expect, test } from "vitest";
import { appliedWait, waitMsOf } from "../../../src/mesh/ingress/preference.ts";

const bounds = { defaultMs: 30_000, maxMs: 60_000 };

test.each([
  [undefined, undefined],
  ["", undefined],
  ["reply", undefined],
  ["respond-async", undefined],
  ["wait", 30_000],
  ["wait=", 30_000],
  ["wait=10", 10_000],
  ["WAIT = 10", 10_000],
  ['wait="10"', 10_000],
  ["wait=0", 0],
  ["wait=0.25", 250],
  ["wait=10; foo=bar", 10_000],
  ["reply, wait=5", 5_000],
  ["wait=5, wait=7", 5_000],
  ["wait=61", 60_000],
  ["wait=999999999", 60_000],
  ["wait=-1", undefined],
  ["wait=soon", undefined],
  ["wait=10s", undefined],
  ["wait=1e9", undefined],
  ["await=10", undefined],
])("waitMsOf reads Prefer: %s as %s ms", (prefer, expected) => {
  expect(waitMsOf(prefer, bounds)).toBe(expected);
});

test("waitMsOf takes several Prefer headers for one", () => {
  expect(waitMsOf(["reply", "wait=3"], bounds)).toBe(3000);
});

test("waitMsOf cuts the default to the maximum too", () => {
  expect(waitMsOf("wait", { defaultMs: 5000, maxMs: 1000 })).toBe(1000);
});

test("appliedWait says seconds", () => {
  expect(appliedWait(1500)).toBe("wait=1.5");
});
