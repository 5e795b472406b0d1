/**
 * DeliverySpec: how hard to try and where undeliverable events go (sheet knative-eventing §5.1). What the fields
 * mean together, with inheritance and defaults, is control/policy.ts.
 */
import { z } from "zod";
import { parseDuration } from "../duration.ts";
import { defaultDestination, destinationSchema, validateDestination } from "./destination.ts";
import { type FieldError, invalidValue } from "./field-error.ts";

export const deliverySchema = z.strictObject({
  deadLetterSink: destinationSchema.optional(),
  retry: z.number().optional(),
  timeout: z.string().optional(),
  backoffPolicy: z.string().optional(),
  backoffDelay: z.string().optional(),
  retryAfterMax: z.string().optional(),
  format: z.string().optional(),
});

export type DeliverySpec = z.output<typeof deliverySchema>;

const INT32_MAX = 2 ** 31 - 1;
const DURATION_HINT = 'expected an ISO 8601 duration such as "PT0.5S"';

export function validateDelivery(delivery: DeliverySpec, path: string): FieldError[] {
  const { retry, backoffPolicy, format, deadLetterSink } = delivery;
  const found: FieldError[] = [];
  if (retry !== undefined && !(Number.isInteger(retry) && retry >= 0 && retry <= INT32_MAX)) {
    found.push(invalidValue(`${path}.retry`, retry));
  }
  if (backoffPolicy !== undefined && backoffPolicy !== "linear" && backoffPolicy !== "exponential") {
    found.push(invalidValue(`${path}.backoffPolicy`, backoffPolicy, 'expected "linear" or "exponential"'));
  }
  if (format !== undefined && format !== "json" && format !== "binary") {
    found.push(invalidValue(`${path}.format`, format, 'expected "json" or "binary"'));
  }
  found.push(...validateDurations(delivery, path));
  if (deadLetterSink !== undefined) {
    found.push(...validateDestination(deadLetterSink, `${path}.deadLetterSink`));
  }
  return found;
}

function validateDurations(delivery: DeliverySpec, path: string): FieldError[] {
  const rules = [
    { field: "backoffDelay", accepts: () => true, wants: DURATION_HINT },
    { field: "timeout", accepts: (ms: number) => ms > 0, wants: `${DURATION_HINT}, longer than zero` },
    { field: "retryAfterMax", accepts: (ms: number) => ms >= 0, wants: `${DURATION_HINT}, not negative` },
  ] as const;
  return rules.flatMap(({ field, accepts, wants }) => {
    const text = delivery[field];
    if (text === undefined) return [];
    const ms = parseDuration(text);
    return ms !== undefined && accepts(ms) ? [] : [invalidValue(`${path}.${field}`, text, wants)];
  });
}

export function defaultDelivery(delivery: DeliverySpec, namespace: string | undefined): DeliverySpec {
  if (delivery.deadLetterSink === undefined) return delivery;
  return { ...delivery, deadLetterSink: defaultDestination(delivery.deadLetterSink, namespace) };
}
