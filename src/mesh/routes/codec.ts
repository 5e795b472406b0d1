/**
 * Routes as text, for data planes that get them from elsewhere than their own process. What comes in is checked;
 * what a newer control plane adds passes through.
 */
import { z } from "zod";
import type { FilterSpec } from "../filter/filter.ts";
import type { BrokerRoute, TriggerRoute } from "./route.ts";

const brokerSchema = z.looseObject({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  hopsMax: z.number().int(),
  journal: z.enum(["all", "failures"]),
  dedupeMs: z.number().optional(),
});

const placeSchema = { uri: z.string(), namespace: z.string(), name: z.string() };
const targetSchema = z.discriminatedUnion("kind", [
  z.looseObject({ kind: z.literal("url"), uri: z.string() }),
  z.looseObject({ kind: z.literal("function"), ...placeSchema, path: z.string() }),
  z.looseObject({ kind: z.literal("broker"), ...placeSchema }),
]);

const policySchema = z.looseObject({
  retryMax: z.number().int(),
  backoffPolicy: z.enum(["linear", "exponential"]),
  backoffDelayMs: z.number(),
  timeoutMs: z.number(),
  retryAfterMaxMs: z.number(),
  format: z.enum(["binary", "json"]).optional(),
});

const triggerSchema = z.looseObject({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  broker: z.string(),
  // A filter of an unknown form matches nothing (filter.ts F2), so that its shape is all that is checked here.
  filters: z.array(z.custom<FilterSpec>((value) => typeof value === "object" && value !== null)),
  dataFilter: z.string().optional(),
  subscriber: targetSchema.optional(),
  deadLetterSink: targetSchema.optional(),
  policy: policySchema,
  concurrency: z.number().int().min(1),
  paused: z.boolean(),
  order: z.literal("key").optional(),
  requestReply: z
    .looseObject({
      name: z.string(),
      correlationAttribute: z.string(),
      replyAttribute: z.string(),
      prefix: z.string(),
      timeoutMs: z.number(),
    })
    .optional(),
  rewind: z.looseObject({ sequence: z.number().int(), at: z.string() }).optional(),
});

export function encodeRoute(route: BrokerRoute | TriggerRoute): string {
  return JSON.stringify(route);
}

/** undefined when the text is no broker's route. */
export function decodeBrokerRoute(text: string): BrokerRoute | undefined {
  return decode(text, brokerSchema) as BrokerRoute | undefined;
}

/** undefined when the text is no trigger's route. */
export function decodeTriggerRoute(text: string): TriggerRoute | undefined {
  return decode(text, triggerSchema) as TriggerRoute | undefined;
}

function decode(text: string, schema: z.ZodType): unknown {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
