import { describe, expect, test } from "vitest";
import { attributesOf } from "../../../src/mesh/event/attributes.ts";
import { dueMsOf, statesDelay } from "../../../src/mesh/event/delay.ts";
import { instantOf } from "../../../src/mesh/event/timestamp.ts";

const now = Date.parse("2026-01-31T12:00:00Z");
const event = (more: Readonly<Record<string, string>>) =>
  attributesOf({ specversion: "1.0", id: "1", source: "/s", type: "t", ...more });

describe("dueMsOf", () => {
  test.each([
    [{}, undefined],
    [{ deliverat: "2026-01-31T12:00:05Z" }, now + 5000],
    [{ deliverat: "2026-01-31t13:00:05.250+01:00" }, now + 5250],
    [{ deliverat: "2026-01-31T12:00:00Z" }, undefined],
    [{ deliverat: "1999-12-31T23:59:59Z" }, undefined],
    [{ weftdelay: "PT90S" }, now + 90_000],
    [{ weftdelay: "P1DT0.5S" }, now + 86_400_500],
    [{ weftdelay: "PT0S" }, undefined],
  ])("of %j is %s", (more, expected) => {
    expect(dueMsOf(event(more), now)).toBe(expected);
  });

  test.each([
    ["deliverat", { deliverat: "soon" }],
    ["deliverat", { deliverat: "1769860805" }],
    ["deliverat", { deliverat: "" }],
    ["deliverat", { deliverat: "2026-02-30T00:00:00Z" }],
    ["deliverat", { deliverat: "2036-12-31T00:00:00Z" }],
    ["weftdelay", { weftdelay: "90" }],
    ["weftdelay", { weftdelay: "-PT1S" }],
    ["weftdelay", { weftdelay: "P11Y" }],
    ["weftdelay", { weftdelay: "PT1S", deliverat: "2026-01-31T12:00:05Z" }],
  ])("refuses by the name of %s: %j", (field, more) => {
    expect(() => dueMsOf(event(more), now)).toThrow(
      expect.objectContaining({ code: "EVENT_INVALID", detail: expect.objectContaining({ field }) }),
    );
  });
});

test("statesDelay is true exactly for events that say something about when", () => {
  expect([event({}), event({ deliverat: "x" }), event({ weftdelay: "x" })].map(statesDelay)).toEqual([
    false,
    true,
    true,
  ]);
});

test.each([
  ["2026-01-31T12:00:00Z", now],
  ["2026-01-31t12:00:00z", now],
  ["2026-01-31T12:00:00.123456789Z", now + 123],
  ["2026-01-31T11:30:00-00:30", now],
  ["2016-12-31T23:59:60Z", Date.parse("2017-01-01T00:00:00Z")],
  ["2026-01-31T12:00:60Z", undefined],
  ["2026-01-31 12:00:00Z", undefined],
  ["2026-01-31", undefined],
])("instantOf %s is %s", (text, expected) => {
  expect(instantOf(text)).toBe(expected);
});
