import { expect, test } from "vitest";
import { figuresOf, format, spreadOf } from "../../../bench/figure.ts";

test.each([
  { values: [3], median: 3, min: 3, max: 3 },
  { values: [3, 1], median: 2, min: 1, max: 3 },
  { values: [10, 9, 100], median: 10, min: 9, max: 100 },
  { values: [4, 1, 3, 2], median: 2.5, min: 1, max: 4 },
])("spreadOf must find median, least and greatest of $values", ({ values, ...spread }) => {
  expect(spreadOf(values)).toEqual(spread);
});

test("spreadOf must refuse no values", () => {
  expect(() => spreadOf([])).toThrow("no values");
});

test("figuresOf must make a figure of every number that was measured", () => {
  const row = { part: "p", name: "n" };
  expect(
    figuresOf(row, [
      ["in/s", "more", 7],
      ["p99 ms", "less", undefined],
    ]),
  ).toEqual([{ ...row, quantity: "in/s", better: "more", value: 7 }]);
});

test.each([
  [12_345.6, "12346"],
  [12.34, "12.3"],
  [1.234, "1.23"],
  [0.0123, "0.012"],
])("format must show %d as %s", (value, text) => {
  expect(format(value)).toBe(text);
});
