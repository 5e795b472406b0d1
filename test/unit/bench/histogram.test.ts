import { expect, test } from "vitest";
import { Histogram } from "../../../bench/histogram.ts";

function filled(values: Iterable<number>): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.add(value);
  return histogram;
}

const thousand = Array.from({ length: 1000 }, (_, i) => (i + 1) * 100);

test.each([
  { share: 0.5, ms: 50 },
  { share: 0.99, ms: 99 },
  { share: 0.999, ms: 99.9 },
  { share: 1, ms: 100 },
])("percentileMs must be within a bucket of the exact $share of evenly spread values", ({ share, ms }) => {
  const found = filled(thousand).percentileMs(share);
  expect(found).toBeGreaterThanOrEqual(ms);
  expect(found).toBeLessThanOrEqual(ms * 1.02);
});

test("percentileMs must not depend on the order of the values", () => {
  expect(filled(thousand.toReversed()).summary()).toEqual(filled(thousand).summary());
});

test("percentileMs must never exceed the greatest value", () => {
  expect(filled([1234]).percentileMs(0.5)).toBe(1.234);
});

test("percentileMs must find a rare slow value only from its rank on", () => {
  const histogram = filled([...Array(999).fill(100), 1_000_000]);
  expect(histogram.percentileMs(0.99)).toBeLessThan(0.11);
  expect(histogram.percentileMs(0.9999)).toBe(1000);
});

test.each([0, 0.4, 1])("add must take %f µs, which has no logarithm above zero", (us) => {
  expect(filled([us]).summary()).toMatchObject({ count: 1, max: Math.round(us) / 1000 });
});

test("summary must be all zero without values", () => {
  expect(new Histogram().summary()).toEqual({ count: 0, p50: 0, p99: 0, p999: 0, max: 0 });
});
