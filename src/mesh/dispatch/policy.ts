/** The arithmetic of delivery: what is retried, and when (DESIGN §5). Pure. */
import type { DeliveryPolicy } from "../routes/route.ts";

/** Delays above this get jitter, so that retry waves spread out. */
const jitterFromMs = 1000;
const jitterShare = 0.2;
/** JetStream takes longer delays, but nobody wants to wait longer for one retry. */
export const delayMsMax = 24 * 60 * 60 * 1000;

/** The wait before retry `n` (1 for the first): linear d × n, exponential d × 2^(n−1). No jitter yet. */
export function backoffMs({ backoffPolicy, backoffDelayMs }: DeliveryPolicy, n: number): number {
  const factor = backoffPolicy === "linear" ? n : 2 ** Math.min(n - 1, 40);
  return Math.min(backoffDelayMs * factor, delayMsMax);
}

/** The wait before retry `n`, all rules applied. `random` is in [0, 1). */
export function retryDelayMs(
  policy: DeliveryPolicy,
  { n, retryAfterMs, random }: { n: number; retryAfterMs: number | undefined; random: number },
): number {
  const asked = retryAfterMs === undefined ? 0 : Math.min(retryAfterMs, policy.retryAfterMaxMs);
  const base = Math.max(backoffMs(policy, n), asked);
  const jittered = base > jitterFromMs ? base * (1 + jitterShare * random) : base;
  return Math.min(Math.round(jittered), delayMsMax);
}

/** What an HTTP status means for a delivery (sheet knative-eventing §5.3). */
export function classifyStatus(status: number): "delivered" | "retry" | "dead" {
  if (status >= 200 && status < 300) return "delivered";
  if (status >= 500 || status === 404 || status === 408 || status === 409 || status === 429) return "retry";
  return "dead";
}

/** Milliseconds asked for by a Retry-After (delta seconds or an HTTP date); undefined when unreadable. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000;
  if (!httpDate.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/** The preferred form of RFC 9110 §5.6.7, and its two obsolete ones. */
const httpDate =
  /^(?:\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT|\w{6,9}, \d{2}-\w{3}-\d{2} \d{2}:\d{2}:\d{2} GMT|\w{3} \w{3} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/;
