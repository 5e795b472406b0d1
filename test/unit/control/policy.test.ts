import { describe, expect, test } from "vitest";
import { resolveDeadLetterSink, resolvePolicy } from "../../../src/mesh/control/policy.ts";
import type { DeliverySpec } from "../../../src/mesh/resources/delivery.ts";
import type { DeliveryPolicy } from "../../../src/mesh/routes/route.ts";

const defaults: DeliveryPolicy = {
  retryMax: 10,
  backoffPolicy: "exponential",
  backoffDelayMs: 200,
  timeoutMs: 300_000,
  retryAfterMaxMs: 3_600_000,
  format: undefined,
};
const sink = (uri: string) => ({ uri });

describe("resolvePolicy", () => {
  test.each<[string, DeliverySpec | undefined, DeliverySpec | undefined, Partial<DeliveryPolicy>]>([
    ["nothing anywhere: the reference broker's", undefined, undefined, {}],
    ["an empty trigger delivery: no retries", {}, { retry: 5 }, { retryMax: 0 }],
    [
      "none on the trigger: the broker's whole",
      undefined,
      { retry: 5, backoffPolicy: "linear", backoffDelay: "PT1S", timeout: "PT2S" },
      { retryMax: 5, backoffPolicy: "linear", backoffDelayMs: 1000, timeoutMs: 2000 },
    ],
    [
      "the trigger's replaces the broker's whole",
      { retry: 2 },
      { retry: 5, backoffPolicy: "linear", timeout: "PT2S" },
      { retryMax: 2 },
    ],
    [
      "only a sink on the trigger: no retries",
      { deadLetterSink: sink("http://a") },
      { retry: 5 },
      { retryMax: 0 },
    ],
    [
      "a delay without policy: exponential",
      { retry: 1, backoffDelay: "PT3S" },
      undefined,
      { retryMax: 1, backoffDelayMs: 3000 },
    ],
    [
      "a policy without delay: the default delay",
      { retry: 1, backoffPolicy: "linear" },
      undefined,
      { retryMax: 1, backoffPolicy: "linear" },
    ],
    [
      "a negative delay: none",
      { retry: 1, backoffDelay: "-PT3S" },
      undefined,
      { retryMax: 1, backoffDelayMs: 0 },
    ],
    [
      "retryAfterMax zero: ignore the header",
      { retryAfterMax: "PT0S" },
      undefined,
      { retryMax: 0, retryAfterMaxMs: 0 },
    ],
    ["a format", { format: "json" }, undefined, { retryMax: 0, format: "json" }],
    ["full precision", { backoffDelay: "PT0.05S" }, undefined, { retryMax: 0, backoffDelayMs: 50 }],
  ])("takes %s", (_what, trigger, broker, expected) => {
    expect(resolvePolicy({ trigger, broker })).toEqual({ ...defaults, ...expected });
  });
});

describe("resolveDeadLetterSink", () => {
  test.each<[DeliverySpec | undefined, DeliverySpec | undefined, unknown]>([
    [undefined, undefined, undefined],
    [{}, { deadLetterSink: sink("http://b") }, sink("http://b")],
    [{ deadLetterSink: sink("http://t") }, { deadLetterSink: sink("http://b") }, sink("http://t")],
    [undefined, { deadLetterSink: sink("http://b") }, sink("http://b")],
  ])("takes the trigger's, else the broker's (%#)", (trigger, broker, expected) => {
    expect(resolveDeadLetterSink({ trigger, broker })).toEqual(expected);
  });
});
