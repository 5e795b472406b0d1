import { describe, expect, test } from "vitest";
import { parseDuration } from "../../src/mesh/duration.ts";

describe("parseDuration", () => {
  test.each([
    ["PT0.2S", 200],
    ["PT0.25S", 250],
    ["PT0,05S", 50],
    ["PT1M30S", 90_000],
    ["PT1H", 3_600_000],
    ["P1DT12H", 129_600_000],
    ["P2W", 1_209_600_000],
    ["P1Y", 31_556_952_000],
    ["P12M", 31_556_952_000],
    ["-PT5S", -5000],
    ["+PT5S", 5000],
    ["P0", 0],
    ["P0D", 0],
    ["PT0S", 0],
    ["-PT0S", 0],
  ])("reads %s as %d ms", (text, ms) => {
    expect(parseDuration(text)).toBeCloseTo(ms, 6);
  });

  test.each(["", "P", "PT", "10s", "pt1s", "PT1", "1S", "P1H", "PT1D", "PT.5S", "PT1S ", "P1DT", "PT1S1M"])(
    "refuses %j",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
});
