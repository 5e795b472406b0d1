import { describe, expect, test } from "vitest";
import { boundScale, decideScale, freshMemory, type ScaleMemory } from "../../../src/mesh/host/autoscaler.ts";
import { parseScaling, type ScalingSpec } from "../../../src/mesh/host/scaling.ts";

const now = 1_700_000_000_000;

function spec(annotations: Record<string, string> = {}, containerConcurrency = 0): ScalingSpec {
  const prefixed = Object.entries(annotations).map(([name, value]) => [
    `autoscaling.knative.dev/${name}`,
    value,
  ]);
  const { spec, problems } = parseScaling({
    annotations: Object.fromEntries(prefixed),
    containerConcurrency,
    windowMs: 60_000,
  });
  expect(problems).toEqual([]);
  return spec;
}

describe("decideScale", () => {
  const panickingFor10s: ScaleMemory = { panicSince: now - 10_000, highWater: 5, recent: [] };
  test.each([
    { name: "first request", ready: 0, stable: 1, panic: 1, want: 1, panicking: false },
    { name: "first request, cc=1", ready: 0, stable: 1, panic: 1, cc: 1, want: 2, panicking: true },
    { name: "exactly at target", ready: 1, stable: 70, panic: 70, want: 1, panicking: false },
    { name: "just over target", ready: 1, stable: 71, panic: 71, want: 2, panicking: true },
    { name: "burst", ready: 2, stable: 100, panic: 300, want: 5, panicking: true },
    { name: "halving floor", ready: 10, stable: 0.001, panic: 0, want: 5, panicking: false },
    { name: "unreachable", ready: 10, stable: 0, panic: 0, reachable: false, want: 0, panicking: false },
    { name: "idle", ready: 1, stable: 0, panic: 0, want: 0, panicking: false },
    {
      name: "activation scale",
      ready: 0,
      stable: 1,
      panic: 1,
      annotations: { "activation-scale": "3" },
      want: 3,
      panicking: false,
    },
    {
      name: "still panicking",
      ready: 3,
      stable: 0,
      panic: 0,
      memory: panickingFor10s,
      want: 5,
      panicking: true,
    },
    { name: "up-rate", ready: 1, stable: 100_000, panic: 100_000, want: 1000, panicking: true },
    {
      name: "exact division",
      ready: 3,
      stable: 2.1,
      panic: 2.1,
      annotations: { target: "3" },
      want: 1,
      panicking: false,
    },
  ])("$name: $ready ready, $stable/$panic load → $want", (row) => {
    const decision = decideScale({
      load: row,
      spec: spec(row.annotations, row.cc),
      memory: row.memory ?? freshMemory,
      now,
      reachable: row.reachable ?? true,
    });
    expect({ want: decision.want, panicking: decision.panicking }).toEqual({
      want: row.want,
      panicking: row.panicking,
    });
  });

  test("panic must end one stable window after it was last warranted, and shrink only then", () => {
    const calm = { ready: 5, stable: 1, panic: 1 };
    const first = decideScale({
      load: { ready: 1, stable: 300, panic: 300 },
      spec: spec(),
      memory: freshMemory,
      now,
    });
    const during = decideScale({ load: calm, spec: spec(), memory: first.memory, now: now + 60_000 });
    const after = decideScale({ load: calm, spec: spec(), memory: during.memory, now: now + 60_001 });
    expect([first.want, during.want, after.want]).toEqual([5, 5, 2]);
    expect(after.panicking).toBe(false);
  });

  test("scale-down-delay must keep the highest decision of that time", () => {
    const delayed = spec({ "scale-down-delay": "10s" });
    const busy = { ready: 4, stable: 210, panic: 210 };
    const calm = { ready: 4, stable: 1, panic: 1 };
    const first = decideScale({ load: busy, spec: delayed, memory: freshMemory, now });
    const soon = decideScale({ load: calm, spec: delayed, memory: first.memory, now: now + 8000 });
    const later = decideScale({ load: calm, spec: delayed, memory: soon.memory, now: now + 12_000 });
    expect([first.want, soon.want, later.want]).toEqual([3, 3, 2]);
  });

  test.each([
    { ready: 1, panic: 5, annotations: {}, capacity: -116 },
    { ready: 3, panic: 5, annotations: {}, capacity: 84 },
    { ready: 3, panic: 5, annotations: { "target-burst-capacity": "0" }, capacity: 0 },
    { ready: 3, panic: 5, annotations: { "target-burst-capacity": "-1" }, capacity: -1 },
  ])("excess burst capacity of $ready ready must be $capacity", ({ ready, panic, annotations, capacity }) => {
    const load = { ready, stable: 5, panic };
    const decision = decideScale({ load, spec: spec(annotations), memory: freshMemory, now });
    expect(decision.excessBurstCapacity).toBe(capacity);
  });
});

describe("boundScale", () => {
  const limits = { minScale: 0, maxScale: 0, windowMs: 60_000, retentionMs: 0 };
  test.each([
    {
      name: "max-scale",
      want: 9,
      limits: { ...limits, maxScale: 4 },
      activeForMs: 1,
      idleForMs: 0,
      scale: 4,
    },
    {
      name: "min-scale",
      want: 0,
      limits: { ...limits, minScale: 2 },
      activeForMs: 1e9,
      idleForMs: 1e9,
      scale: 2,
    },
    { name: "active too short", want: 0, limits, activeForMs: 59_999, idleForMs: 0, scale: 1 },
    { name: "active a window", want: 0, limits, activeForMs: 60_000, idleForMs: 0, scale: 0 },
    {
      name: "retained",
      want: 0,
      limits: { ...limits, retentionMs: 5000 },
      activeForMs: 1e9,
      idleForMs: 4999,
      scale: 1,
    },
    {
      name: "retention over",
      want: 0,
      limits: { ...limits, retentionMs: 5000 },
      activeForMs: 1e9,
      idleForMs: 5000,
      scale: 0,
    },
    { name: "at zero", want: 0, limits, activeForMs: undefined, idleForMs: 0, scale: 0 },
  ])("$name: must be $scale", ({ want, limits: bounds, activeForMs, idleForMs, scale }) => {
    expect(boundScale({ want, spec: bounds, activeForMs, idleForMs })).toBe(scale);
  });
});
