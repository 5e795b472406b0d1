/** Broker, eventing.knative.dev/v1: fields, defaults and rules (sheet knative-eventing §3). */
import { z } from "zod";
import { conditionsSchema } from "./conditions.ts";
import { defaultDelivery, deliverySchema, validateDelivery } from "./delivery.ts";
import { referenceSchema, validateReference } from "./destination.ts";
import { type FieldError, immutableChange, missingField } from "./field-error.ts";
import { sameJson } from "./json.ts";
import { objectMetaSchema } from "./meta.ts";

export const CLASS_ANNOTATION = "eventing.knative.dev/broker.class";
/** The class weft's own controllers serve; every other one is left alone. */
export const WEFT_CLASS = "Weft";

/** What a Broker without a `delivery` gets: the shipped default of the reference broker. */
export const DELIVERY_DEFAULT = {
  retry: 10,
  backoffPolicy: "exponential",
  backoffDelay: "PT0.2S",
} as const;

export const brokerStatusSchema = z.looseObject({
  observedGeneration: z.number().optional(),
  conditions: conditionsSchema.optional(),
  address: z.looseObject({ name: z.string().optional(), url: z.string().optional() }).optional(),
  deadLetterSinkUri: z.string().optional(),
});

export const brokerSchema = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: objectMetaSchema,
  spec: z
    .strictObject({ config: referenceSchema.optional(), delivery: deliverySchema.optional() })
    .optional(),
  status: brokerStatusSchema.optional(),
});

export type Broker = z.output<typeof brokerSchema>;

export function classOf(broker: { metadata: Broker["metadata"] }): string | undefined {
  return broker.metadata.annotations?.[CLASS_ANNOTATION];
}

export function defaultBroker(broker: Broker): Broker {
  const { namespace, annotations } = broker.metadata;
  const { config, delivery } = broker.spec ?? {};
  return {
    ...broker,
    metadata: { ...broker.metadata, annotations: { [CLASS_ANNOTATION]: WEFT_CLASS, ...annotations } },
    spec: {
      ...(config === undefined ? {} : { config: { ...config, namespace: config.namespace || namespace } }),
      delivery: delivery === undefined ? DELIVERY_DEFAULT : defaultDelivery(delivery, namespace),
    },
  };
}

export function validateBroker(broker: Broker, old?: Broker): FieldError[] {
  const { config, delivery } = broker.spec ?? {};
  return [
    ...(classOf(broker) ? [] : [missingField(CLASS_ANNOTATION)]),
    ...(config === undefined ? [] : validateReference(config, "spec.config")),
    ...(delivery === undefined ? [] : validateDelivery(delivery, "spec.delivery")),
    ...(old === undefined ? [] : validateChange(broker, old)),
  ];
}

function validateChange(broker: Broker, old: Broker): FieldError[] {
  const [before, after] = [old.spec?.config, broker.spec?.config];
  if (!sameJson(before, after)) {
    return immutableChange("fields", { fields: ["spec"], old: before ?? null, now: after ?? null });
  }
  if (classOf(old) === classOf(broker)) return [];
  return immutableChange("annotations", {
    fields: ["annotations"],
    old: classOf(old),
    now: classOf(broker) ?? "",
  });
}
