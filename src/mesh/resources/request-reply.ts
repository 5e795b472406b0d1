/** RequestReply, eventing.knative.dev/v1alpha1: fields, defaults and rules (sheet knative-eventing §7). */
import { z } from "zod";
import { parseDuration } from "../duration.ts";
import { conditionsSchema } from "./conditions.ts";
import { defaultDelivery, deliverySchema, validateDelivery } from "./delivery.ts";
import { referenceSchema, validateReference } from "./destination.ts";
import { type FieldError, forbiddenField, invalidValue, missingField } from "./field-error.ts";
import { objectMetaSchema } from "./meta.ts";

const BROKER_LABEL = "eventing.knative.dev/broker";

export const requestReplySchema = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: objectMetaSchema,
  spec: z.strictObject({
    brokerRef: referenceSchema.optional(),
    correlationAttribute: z.string().optional(),
    replyAttribute: z.string().optional(),
    timeout: z.string().optional(),
    delivery: deliverySchema.optional(),
  }),
  status: z
    .looseObject({
      observedGeneration: z.number().optional(),
      conditions: conditionsSchema.optional(),
      address: z.looseObject({ name: z.string().optional(), url: z.string().optional() }).optional(),
    })
    .optional(),
});

export type RequestReply = z.output<typeof requestReplySchema>;

const CORRELATION_DEFAULT = "correlationid";
const REPLY_DEFAULT = "replyid";
const TIMEOUT_DEFAULT = "PT30S";
const TIMEOUT_MS_MAX = 86_400_000;

export function defaultRequestReply(object: RequestReply): RequestReply {
  const { metadata, spec } = object;
  const { brokerRef, correlationAttribute, replyAttribute, timeout, delivery } = spec;
  const labels = brokerRef?.name === undefined ? {} : { [BROKER_LABEL]: brokerRef.name };
  return {
    ...object,
    metadata: { ...metadata, labels: { ...metadata.labels, ...labels } },
    spec: {
      ...spec,
      correlationAttribute: correlationAttribute ?? CORRELATION_DEFAULT,
      replyAttribute: replyAttribute ?? REPLY_DEFAULT,
      timeout: timeout ?? TIMEOUT_DEFAULT,
      ...(delivery === undefined ? {} : { delivery: defaultDelivery(delivery, metadata.namespace) }),
    },
  };
}

export function validateRequestReply({ spec }: RequestReply): FieldError[] {
  const { brokerRef, correlationAttribute = "", replyAttribute = "", timeout = "", delivery } = spec;
  const ms = parseDuration(timeout);
  return [
    ...validateBrokerRef(brokerRef),
    ...validateAttribute("correlationAttribute", correlationAttribute),
    ...validateAttribute("replyAttribute", replyAttribute),
    ...(correlationAttribute !== replyAttribute
      ? []
      : [invalidValue("spec.replyAttribute", replyAttribute, "must differ from correlationAttribute")]),
    ...(ms !== undefined && ms > 0 && ms <= TIMEOUT_MS_MAX
      ? []
      : [invalidValue("spec.timeout", timeout, "expected an ISO 8601 duration such as PT30S, at most P1D")]),
    ...(delivery === undefined ? [] : validateDelivery(delivery, "spec.delivery")),
  ];
}

function validateBrokerRef(brokerRef: RequestReply["spec"]["brokerRef"]): FieldError[] {
  if (brokerRef === undefined) return [missingField("spec.brokerRef")];
  const kind = brokerRef.kind ?? "";
  return [
    ...validateReference(brokerRef, "spec.brokerRef"),
    ...(kind === "" || kind.toLowerCase() === "broker"
      ? []
      : [invalidValue("spec.brokerRef.kind", kind, "expected Broker")]),
    ...(brokerRef.namespace ? [forbiddenField("spec.brokerRef.namespace")] : []),
  ];
}

const takenNames = ["id", "source", "specversion", "type"];

function validateAttribute(field: string, name: string): FieldError[] {
  if (takenNames.includes(name))
    return [invalidValue(`spec.${field}`, name, "every event needs it for itself")];
  if (/^[a-z0-9]+$/.test(name) && name !== "data") return [];
  return [invalidValue(`spec.${field}`, name, "expected the name of an extension attribute")];
}

/** What correlation values of a RequestReply begin with: several may share a broker, and each hears its own. */
export function correlationPrefix(name: string): string {
  return `${name}:`;
}

/** What the data plane has to know of a RequestReply; its Trigger carries it as an annotation. */
const requestReplyRouteSchema = z.strictObject({
  name: z.string(),
  correlationAttribute: z.string(),
  replyAttribute: z.string(),
  prefix: z.string(),
  timeoutMs: z.number().positive(),
});

export type RequestReplySettings = z.output<typeof requestReplyRouteSchema>;

export function settingsOf({ metadata, spec }: RequestReply): RequestReplySettings {
  return {
    name: metadata.name,
    correlationAttribute: spec.correlationAttribute ?? CORRELATION_DEFAULT,
    replyAttribute: spec.replyAttribute ?? REPLY_DEFAULT,
    prefix: correlationPrefix(metadata.name),
    timeoutMs: parseDuration(spec.timeout ?? TIMEOUT_DEFAULT) ?? 0,
  };
}

/** undefined when the text is none. */
export function parseSettings(text: string): RequestReplySettings | undefined {
  try {
    return requestReplyRouteSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
