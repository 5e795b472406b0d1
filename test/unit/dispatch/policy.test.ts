import { describe, expect, test } from "vitest";
import {
  backoffMs,
  classifyStatus,
  parseRetryAfter,
  retryDelayMs,
} from "../../../src/mesh/dispatch/policy.ts";
import type { DeliveryPolicy } from "../../../src/mesh/routes/route.ts";

const policy: DeliveryPolicy = {
  retryMax: 10,
  backoffPolicy: "exponential",
  backoffDelayMs: 200,
  timeoutMs: 300_000,
  retryAfterMaxMs: 3_600_000,
  format: undefined,
};

describe("backoffMs", () => {
  // DESIGN §5: the first retry waits d; linear d × n, exponential d × 2^(n−1).
  test.each([
    ["linear", 1000, [1000, 2000, 3000, 4000]],
    ["exponential", 1000, [1000, 2000, 4000, 8000]],
    ["exponential", 200, [200, 400, 800, 1600]],
    ["linear", 0, [0, 0, 0, 0]],
  ] as const)("%s with d = %i ms", (backoffPolicy, backoffDelayMs, waits) => {
    expect([1, 2, 3, 4].map((n) => backoffMs({ ...policy, backoffPolicy, backoffDelayMs }, n))).toEqual(
      waits,
    );
  });

  test("is bounded however many retries there are", () => {
    expect(backoffMs(policy, 1_000_000)).toBe(24 * 3_600_000);
  });
});

describe("retryDelayMs", () => {
  test.each([
    ["no header", undefined, 0.5, 200],
    ["a shorter header", 100, 0.5, 200],
    ["a longer header", 900, 0.5, 900],
    ["a header over the jitter threshold adds up to 20 %", 10_000, 0.5, 11_000],
    ["jitter only adds", 10_000, 0, 10_000],
    ["the cap", 7_200_000, 0, 3_600_000],
  ])("takes the longer of Retry-After and back-off: %s", (_what, retryAfterMs, random, wanted) => {
    expect(retryDelayMs(policy, { n: 1, retryAfterMs, random })).toBe(wanted);
  });

  test("ignores the header when the cap is PT0S", () => {
    expect(retryDelayMs({ ...policy, retryAfterMaxMs: 0 }, { n: 1, retryAfterMs: 5000, random: 0 })).toBe(
      200,
    );
  });
});

describe("classifyStatus", () => {
  // Sheet knative-eventing §5.3.
  test.each([
    ["delivered", [200, 201, 202, 204, 299]],
    ["retry", [404, 408, 409, 429, 500, 501, 502, 503, 504, 599]],
    ["dead", [100, 101, 301, 302, 307, 308, 400, 401, 403, 405, 406, 410, 413, 418, 422, 426, 499]],
  ] as const)("%s: %j", (outcome, statuses) => {
    for (const status of statuses) expect(`${status} ${classifyStatus(status)}`).toBe(`${status} ${outcome}`);
  });
});

describe("parseRetryAfter", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  test.each([
    ["0", 0],
    ["120", 120_000],
    [" 7 ", 7000],
    ["Thu, 01 Jan 2026 00:01:00 GMT", 60_000],
    ["Wed, 31 Dec 2025 23:59:00 GMT", 0],
    ["Thursday, 01-Jan-26 00:00:30 GMT", 30_000],
    [undefined, undefined],
    ["", undefined],
    ["soon", undefined],
    ["-5", undefined],
    ["1.5", undefined],
    ["2026-01-01T00:01:00Z", undefined],
  ])("%j is %j", (header, wanted) => {
    expect(parseRetryAfter(header, now)).toBe(wanted);
  });
});
