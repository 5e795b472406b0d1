/**
 * WHEN an event wants to be delivered: `deliverat` (RFC 3339) names the moment, `weftdelay` (ISO 8601 duration)
 * counts from the moment the broker takes the event. Moments that have passed mean now.
 */
import { parseDuration } from "../duration.ts";
import type { Attributes } from "./event.ts";
import { instantOf } from "./timestamp.ts";
import { eventInvalid } from "./validate.ts";

/** Nothing waits longer: a slip of the pen must not keep an event for centuries. */
const aheadYearsMax = 10;
const aheadMsMax = aheadYearsMax * 366 * 86_400_000;

/** Whether the event says anything about when; cheap, for the hot path. */
export function statesDelay({ deliverat, weftdelay }: Attributes): boolean {
  return deliverat !== undefined || weftdelay !== undefined;
}

/** The moment in epoch milliseconds, undefined for now. Throws EVENT_INVALID. */
export function dueMsOf({ deliverat, weftdelay }: Attributes, nowMs: number): number | undefined {
  if (deliverat !== undefined && weftdelay !== undefined) {
    throw eventInvalid("weftdelay", "either deliverat or weftdelay, not both", weftdelay);
  }
  if (deliverat !== undefined) return bounded("deliverat", deliverat, { dueMs: momentOf(deliverat), nowMs });
  if (weftdelay === undefined) return undefined;
  return bounded("weftdelay", weftdelay, { dueMs: nowMs + delayMsOf(weftdelay), nowMs });
}

function momentOf(deliverat: string): number {
  const moment = instantOf(deliverat);
  if (moment !== undefined) return moment;
  throw eventInvalid("deliverat", "an RFC 3339 timestamp such as 2026-01-31T12:00:00Z", deliverat);
}

function delayMsOf(weftdelay: string): number {
  const delayMs = parseDuration(weftdelay);
  if (delayMs !== undefined && delayMs >= 0) return Math.round(delayMs);
  throw eventInvalid("weftdelay", "an ISO 8601 duration such as PT30S, not negative", weftdelay);
}

function bounded(
  name: string,
  value: string,
  { dueMs, nowMs }: { dueMs: number; nowMs: number },
): number | undefined {
  if (dueMs - nowMs > aheadMsMax) {
    throw eventInvalid(name, `a moment at most ${aheadYearsMax} years ahead`, value);
  }
  return dueMs > nowMs ? dueMs : undefined;
}
