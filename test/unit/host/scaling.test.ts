import { expect, test } from "vitest";
import { parseGoDuration, parseScaling } from "../../../src/mesh/host/scaling.ts";

function parse(annotations: Record<string, string>, containerConcurrency = 0) {
  const prefixed = Object.entries(annotations).map(([name, value]) => [
    `autoscaling.knative.dev/${name}`,
    value,
  ]);
  return parseScaling({ annotations: Object.fromEntries(prefixed), containerConcurrency, windowMs: 60_000 });
}

test.each([
  {
    annotations: {},
    cc: 0,
    expected: { total: 100, utilization: 0.7, concurrencyMax: 100, windowMs: 60_000 },
  },
  { annotations: {}, cc: 0, expected: { panicWindowMs: 6000, panicThreshold: 2, minScale: 0, maxScale: 0 } },
  { annotations: {}, cc: 10, expected: { total: 10, concurrencyMax: 10 } },
  { annotations: { target: "50" }, cc: 0, expected: { total: 50, concurrencyMax: 50 } },
  { annotations: { target: "50" }, cc: 10, expected: { total: 10, concurrencyMax: 10 } },
  { annotations: { target: "5" }, cc: 10, expected: { total: 5, concurrencyMax: 10 } },
  { annotations: { metric: "rps" }, cc: 0, expected: { metric: "rps", total: 200, concurrencyMax: 100 } },
  { annotations: { window: "6s" }, cc: 0, expected: { windowMs: 6000, panicWindowMs: 1000 } },
  { annotations: { window: "1m30s" }, cc: 0, expected: { windowMs: 90_000, panicWindowMs: 9000 } },
  { annotations: { minScale: "2", "max-scale": "4" }, cc: 0, expected: { minScale: 2, maxScale: 4 } },
  { annotations: { targetUtilizationPercentage: "100" }, cc: 0, expected: { utilization: 1 } },
])("parseScaling $annotations cc=$cc must give $expected", ({ annotations, cc, expected }) => {
  const { spec, problems } = parse(annotations as Record<string, string>, cc);
  expect(spec).toMatchObject(expected);
  expect(problems).toEqual([]);
});

test.each([
  [{ window: "5s" }, 'window: expected a duration such as 90s, from 6s to 3600s, found "5s"'],
  [{ window: "soon" }, 'found "soon"'],
  [{ target: "0" }, "target: expected a number from 0.01"],
  [{ "min-scale": "-1" }, "min-scale: expected a whole number from 0"],
  [{ "min-scale": "3", "max-scale": "2" }, "max-scale: expected at least min-scale 3, found 2"],
  [{ metric: "cpu" }, 'metric: expected concurrency or rps, found "cpu"'],
])("parseScaling %j must name the problem and keep the default", (annotations, problem) => {
  const { spec, problems } = parse(annotations as unknown as Record<string, string>);
  expect(problems).toEqual([expect.stringContaining(problem)]);
  expect(spec).toMatchObject({ windowMs: 60_000, total: 100, maxScale: 0, metric: "concurrency" });
});

test.each([
  ["1m5s", 65_000],
  ["0s", 0],
  ["1.5h", 5_400_000],
  ["250ms", 250],
  ["5", undefined],
  ["-5s", undefined],
  ["", undefined],
])("parseGoDuration %s must be %s", (text, ms) => {
  expect(parseGoDuration(text)).toBe(ms);
});
