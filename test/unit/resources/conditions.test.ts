import { describe, expect, test } from "vitest";
import {
  type Condition,
  findCondition,
  isReady,
  startConditions,
} from "../../../src/mesh/resources/conditions.ts";

const T1 = "2026-01-01T00:00:00.000Z";
const T2 = "2026-01-01T00:00:01.000Z";
const why = { reason: "Broken", message: "it broke" };

function pass(previous: readonly Condition[] | undefined, now: string) {
  return startConditions(["A", "B"], { previous, now });
}

describe("startConditions", () => {
  test("starts everything Unknown, sorted by type", () => {
    expect(pass(undefined, T1).list()).toEqual([
      { type: "A", status: "Unknown", lastTransitionTime: T1 },
      { type: "B", status: "Unknown", lastTransitionTime: T1 },
      { type: "Ready", status: "Unknown", lastTransitionTime: T1 },
    ]);
  });

  test("is Ready once every dependent is True", () => {
    const conditions = pass(undefined, T1);
    conditions.markTrue("A");
    expect(conditions.isReady()).toBe(false);
    conditions.markTrue("B", { reason: "Skipped", message: "not needed" });
    expect(conditions.isReady()).toBe(true);
    expect(findCondition(conditions.list())?.reason).toBeUndefined();
  });

  test("copies the reason of a False dependent into Ready, whatever is Unknown", () => {
    const conditions = pass(undefined, T1);
    conditions.markUnknown("A", { reason: "Waiting", message: "soon" });
    conditions.markFalse("B", why);
    expect(findCondition(conditions.list())).toMatchObject({ status: "False", ...why });
  });

  test("copies the most recently failed dependent into Ready", () => {
    const first = pass(undefined, T1);
    first.markFalse("A", why);
    const second = pass(first.list(), T2);
    second.markFalse("B", { reason: "Newer", message: "later" });
    expect(findCondition(second.list())?.reason).toBe("Newer");
  });

  test("keeps lastTransitionTime of what did not change", () => {
    const first = pass(undefined, T1);
    first.markTrue("A");
    first.markFalse("B", why);
    const second = pass(first.list(), T2);
    second.markTrue("A");
    second.markFalse("B", why);
    expect(second.list()).toEqual(first.list());
    second.markTrue("B");
    expect(findCondition(second.list(), "A")?.lastTransitionTime).toBe(T1);
    expect(findCondition(second.list(), "B")?.lastTransitionTime).toBe(T2);
    expect(findCondition(second.list())?.lastTransitionTime).toBe(T2);
  });

  test("takes a new dependent of a Ready object for True", () => {
    const ready: Condition[] = [{ type: "Ready", status: "True", lastTransitionTime: T1 }];
    expect(isReady(pass(ready, T2).list())).toBe(true);
  });

  test("drops conditions that are no longer among the dependents", () => {
    const old: Condition[] = [{ type: "Gone", status: "False", ...why }];
    expect(findCondition(pass(old, T1).list(), "Gone")).toBeUndefined();
  });

  test("lets a kind whose only condition is Ready mark that", () => {
    const conditions = startConditions(["Ready"], { previous: undefined, now: T1 });
    conditions.markFalse("Ready", why);
    expect(conditions.list()).toEqual([{ type: "Ready", status: "False", lastTransitionTime: T1, ...why }]);
  });
});
