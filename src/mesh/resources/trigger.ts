/** Trigger, eventing.knative.dev/v1: fields, defaults and rules (sheet knative-eventing §4). */
import { z } from "zod";
import { DATA_FILTER } from "./annotations.ts";
import { conditionsSchema } from "./conditions.ts";
import { defaultDelivery, deliverySchema, validateDelivery } from "./delivery.ts";
import {
  defaultDestination,
  destinationSchema,
  referenceSchema,
  validateDestination,
  validateReference,
} from "./destination.ts";
import {
  exactlyOne,
  type FieldError,
  forbiddenField,
  immutableChange,
  invalidValue,
  missingField,
} from "./field-error.ts";
import { type CheckCesql, filterSchema, validateAttributes, validateFilter } from "./filters.ts";
import { sameJson } from "./json.ts";
import { objectMetaSchema } from "./meta.ts";

export const BROKER_LABEL = "eventing.knative.dev/broker";
export const DEPENDENCY_ANNOTATION = "knative.dev/dependency";
const INJECTION_ANNOTATION = "eventing.knative.dev/injection";

export const triggerStatusSchema = z.looseObject({
  observedGeneration: z.number().optional(),
  conditions: conditionsSchema.optional(),
  subscriberUri: z.string().optional(),
  deadLetterSinkUri: z.string().optional(),
});

export const triggerSchema = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: objectMetaSchema,
  spec: z.strictObject({
    broker: z.string().optional(),
    brokerRef: referenceSchema.optional(),
    filter: z.strictObject({ attributes: z.record(z.string(), z.string()).optional() }).optional(),
    filters: z.array(filterSchema).optional(),
    subscriber: destinationSchema.optional(),
    delivery: deliverySchema.optional(),
  }),
  status: triggerStatusSchema.optional(),
});

export type Trigger = z.output<typeof triggerSchema>;

export const dependencySchema = z.looseObject({
  kind: z.string().optional(),
  name: z.string().optional(),
  apiVersion: z.string().optional(),
  namespace: z.string().optional(),
});

/** What a Trigger waits for (annotation `knative.dev/dependency`). */
export type Dependency = z.output<typeof dependencySchema>;

/** The broker's name, however the trigger writes it. */
export function brokerNameOf(trigger: Trigger): string {
  return trigger.spec.broker || trigger.spec.brokerRef?.name || "";
}

/** undefined without the annotation, "malformed" when it is no JSON object. */
export function dependencyOf(trigger: Trigger): Dependency | "malformed" | undefined {
  const text = trigger.metadata.annotations?.[DEPENDENCY_ANNOTATION];
  if (text === undefined) return undefined;
  try {
    return dependencySchema.parse(JSON.parse(text));
  } catch {
    return "malformed";
  }
}

export function defaultTrigger(trigger: Trigger): Trigger {
  const { namespace, labels } = trigger.metadata;
  const { subscriber, delivery, filter } = trigger.spec;
  const broker = brokerNameOf(trigger);
  return {
    ...trigger,
    metadata:
      broker === ""
        ? trigger.metadata
        : { ...trigger.metadata, labels: { ...labels, [BROKER_LABEL]: broker } },
    spec: {
      ...trigger.spec,
      filter: filter ?? {},
      ...(subscriber === undefined ? {} : { subscriber: defaultDestination(subscriber, namespace) }),
      ...(delivery === undefined ? {} : { delivery: defaultDelivery(delivery, namespace) }),
    },
  };
}

export function validateTrigger(
  trigger: Trigger,
  { old, checkCesql }: { old?: Trigger | undefined; checkCesql?: CheckCesql | undefined } = {},
): FieldError[] {
  const { filter, filters, subscriber, delivery } = trigger.spec;
  return [
    ...validateBrokerChoice(trigger),
    ...validateAttributes(filter?.attributes ?? {}, "spec.filter.attributes", { emptyMeansAny: true }),
    ...(filters ?? []).flatMap((each, index) => validateFilter(each, `spec.filters[${index}]`, checkCesql)),
    ...validateDestination(subscriber ?? {}, "spec.subscriber"),
    ...(delivery === undefined ? [] : validateDelivery(delivery, "spec.delivery")),
    ...validateDependency(trigger),
    ...validateInjection(trigger),
    ...validateDataFilter(trigger, checkCesql),
    ...(old === undefined ? [] : validateChange(trigger, old)),
  ];
}

function validateDataFilter({ metadata }: Trigger, checkCesql: CheckCesql = () => undefined): FieldError[] {
  const expression = metadata.annotations?.[DATA_FILTER];
  const fault = expression === undefined ? undefined : checkCesql(expression, { dataPaths: true });
  return fault === undefined ? [] : [invalidValue(`metadata.annotations[${DATA_FILTER}]`, expression, fault)];
}

function validateBrokerChoice({ spec: { broker, brokerRef } }: Trigger): FieldError[] {
  if (broker && brokerRef) return exactlyOne("both", ["spec.broker", "spec.brokerRef"]);
  if (brokerRef === undefined) return broker ? [] : [missingField("spec.broker")];
  const elsewhere = brokerRef.namespace ? [forbiddenField("spec.brokerRef.namespace")] : [];
  return [...validateReference(brokerRef, "spec.brokerRef"), ...elsewhere];
}

function validateDependency(trigger: Trigger): FieldError[] {
  const path = `metadata.annotations[${DEPENDENCY_ANNOTATION}]`;
  const dependency = dependencyOf(trigger);
  if (dependency === undefined) return [];
  if (dependency === "malformed") {
    return [
      invalidValue(path, trigger.metadata.annotations?.[DEPENDENCY_ANNOTATION], "expected a JSON object"),
    ];
  }
  const missing = (["kind", "name", "apiVersion"] as const)
    .filter((part) => !dependency[part])
    .map((part) => missingField(`${path}.${part}`));
  const { namespace } = dependency;
  const elsewhere = namespace !== undefined && namespace !== "" && namespace !== trigger.metadata.namespace;
  return elsewhere ? [...missing, { field: `${path}.namespace`, message: "mismatched namespaces" }] : missing;
}

function validateInjection(trigger: Trigger): FieldError[] {
  const value = trigger.metadata.annotations?.[INJECTION_ANNOTATION];
  const path = `metadata.annotations[${INJECTION_ANNOTATION}]`;
  if (value === undefined) return [];
  if (value !== "enabled" && value !== "disabled") return [invalidValue(path, value)];
  if (brokerNameOf(trigger) === "default") return [];
  return [{ field: path, message: 'The annotation may only be set on a Trigger of the broker "default"' }];
}

function validateChange(trigger: Trigger, old: Trigger): FieldError[] {
  if (trigger.spec.broker !== old.spec.broker) {
    const [before, after] = [old.spec.broker ?? "", trigger.spec.broker ?? ""];
    return immutableChange("fields", { fields: ["broker", "spec"], old: before, now: after });
  }
  if (sameJson(trigger.spec.brokerRef, old.spec.brokerRef)) return [];
  return immutableChange("fields", {
    fields: ["brokerRef", "spec"],
    old: old.spec.brokerRef ?? null,
    now: trigger.spec.brokerRef ?? null,
  });
}
