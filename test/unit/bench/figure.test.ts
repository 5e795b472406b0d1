import { expect, test } from "vitest";
import { spreadOf } from "../../../bench/figure.ts";

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
