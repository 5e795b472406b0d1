/**
 * Two DeliverySpecs become the one policy in force (DESIGN §5): a trigger's `delivery` replaces the broker's whole,
 * also when it is `{}`; only the dead-letter sink falls back; what is left open gets weft's defaults.
 */

import { parseDuration } from "../duration.ts";
import { DELIVERY_DEFAULT } from "../resources/broker.ts";
import type { DeliverySpec } from "../resources/delivery.ts";
import type { Destination } from "../resources/destination.ts";
import type { DeliveryPolicy } from "../routes/route.ts";

const BACKOFF_DELAY_DEFAULT_MS = 200;
const TIMEOUT_DEFAULT_MS = 5 * 60_000;
const RETRY_AFTER_MAX_DEFAULT_MS = 3_600_000;

export interface Deliveries {
  readonly trigger: DeliverySpec | undefined;
  readonly broker: DeliverySpec | undefined;
}

export function resolvePolicy({ trigger, broker }: Deliveries): DeliveryPolicy {
  const delivery = trigger ?? broker ?? DELIVERY_DEFAULT;
  const { retry, backoffPolicy, backoffDelay, timeout, retryAfterMax }: DeliverySpec = delivery;
  // How a subscriber wants its events is said by its own trigger alone (sheet knative-eventing §5.8).
  const format = trigger?.format;
  return {
    retryMax: retry ?? 0,
    backoffPolicy: backoffPolicy === "linear" ? "linear" : "exponential",
    backoffDelayMs: Math.max(0, milliseconds(backoffDelay, BACKOFF_DELAY_DEFAULT_MS)),
    timeoutMs: milliseconds(timeout, TIMEOUT_DEFAULT_MS),
    retryAfterMaxMs: milliseconds(retryAfterMax, RETRY_AFTER_MAX_DEFAULT_MS),
    format: format === "json" || format === "binary" ? format : undefined,
  };
}

/** The trigger's own dead-letter sink, else the broker's. */
export function resolveDeadLetterSink({ trigger, broker }: Deliveries): Destination | undefined {
  return trigger?.deadLetterSink ?? broker?.deadLetterSink;
}

function milliseconds(text: string | undefined, fallback: number): number {
  return (text === undefined ? undefined : parseDuration(text)) ?? fallback;
}
