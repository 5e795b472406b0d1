/**
 * What an API server's webhooks do to a submitted object: fill in the defaults, then check the rules. weft has
 * no webhooks, so whoever writes for a user (the Kubernetes-style API, manifests) calls these first.
 */
import { MeshError } from "../errors.ts";
import { validateAnnotations } from "./annotations.ts";
import { brokerSchema, defaultBroker, validateBroker } from "./broker.ts";
import {
  type FieldError,
  formatFieldErrors,
  fromZodError,
  invalidValue,
  missingField,
} from "./field-error.ts";
import type { CheckCesql } from "./filters.ts";
import { sameJson, withoutNulls } from "./json.ts";
import {
  BROKER,
  CONFIGURATION,
  isSameKind,
  REQUEST_REPLY,
  REVISION,
  ROUTE,
  SERVICE,
  TRIGGER,
} from "./kinds.ts";
import { type KindId, type KubeObject, objectMetaSchema } from "./meta.ts";
import { isDnsLabel, isDnsSubdomain } from "./names.ts";
import { defaultRequestReply, requestReplySchema, validateRequestReply } from "./request-reply.ts";
import {
  configurationSchema,
  defaultService,
  revisionSchema,
  routeSchema,
  serviceSchema,
  validateService,
} from "./service.ts";
import { defaultTrigger, triggerSchema, validateTrigger } from "./trigger.ts";

export interface DefaultOptions {
  /** The stored object when this is an update. */
  readonly old?: KubeObject | undefined;
  /** Who asks; recorded as the creator and last modifier when given. */
  readonly user?: string | undefined;
}

export interface ValidateOptions {
  readonly old?: KubeObject | undefined;
  /** Without it CESQL expressions are taken as they are. */
  readonly checkCesql?: CheckCesql | undefined;
}

/** What one kind brings: its shape, its defaults, its rules. */
interface Rules {
  structure(object: KubeObject): FieldError[];
  defaults(object: KubeObject, old: KubeObject | undefined): KubeObject;
  check(object: KubeObject, options: ValidateOptions): FieldError[];
}

/**
 * The object with its kind's defaults; null fields are dropped as Go's decoders do. An object whose shape is
 * wrong comes back unchanged: `validateObject` says what is wrong with it. Idempotent.
 */
export function defaultObject(kind: KindId, submitted: KubeObject, options: DefaultOptions = {}): KubeObject {
  const object = withoutNulls(submitted);
  const rules = rulesOf(kind);
  const defaulted =
    rules === undefined || rules.structure(object).length > 0 ? object : rules.defaults(object, options.old);
  return options.user === undefined ? defaulted : withUser(kind, defaulted, options);
}

/** Everything that is wrong with a defaulted object; empty when it may be stored. */
export function validateObject(
  kind: KindId,
  submitted: KubeObject,
  options: ValidateOptions = {},
): FieldError[] {
  const object = withoutNulls(submitted);
  const rules = rulesOf(kind);
  const structure = rules === undefined ? checkMetaShape(object) : rules.structure(object);
  if (structure.length > 0) return structure;
  return [
    ...validateMetadata(kind, object),
    ...validateAnnotations(kind.kind, object.metadata.annotations),
    ...(rules?.check(object, options) ?? []),
  ];
}

/** Defaults, validates and returns the object; rejects with OBJECT_INVALID. */
export function admitObject(
  kind: KindId,
  submitted: KubeObject,
  options: DefaultOptions & ValidateOptions = {},
): KubeObject {
  const object = defaultObject(kind, submitted, options);
  const found = validateObject(kind, object, options);
  if (found.length === 0) return object;
  throw new MeshError("OBJECT_INVALID", {
    field: `${kind.kind} ${object.metadata?.name ?? ""}`.trim(),
    found: formatFieldErrors(found),
  });
}

function rulesOf(kind: KindId): Rules | undefined {
  return rules.find(([id]) => isSameKind(id, kind))?.[1];
}

const rules: readonly (readonly [KindId, Rules])[] = [
  [
    BROKER,
    {
      structure: (object) => shapeErrors(brokerSchema, object),
      defaults: (object) => defaultBroker(brokerSchema.parse(object)),
      check: (object, { old }) => validateBroker(brokerSchema.parse(object), old && brokerSchema.parse(old)),
    },
  ],
  [
    TRIGGER,
    {
      structure: (object) => shapeErrors(triggerSchema, object),
      defaults: (object) => defaultTrigger(triggerSchema.parse(object)),
      check: (object, { old, checkCesql }) =>
        validateTrigger(triggerSchema.parse(object), { old: old && triggerSchema.parse(old), checkCesql }),
    },
  ],
  [
    REQUEST_REPLY,
    {
      structure: (object) => shapeErrors(requestReplySchema, object),
      defaults: (object) => defaultRequestReply(requestReplySchema.parse(object)),
      check: (object) => validateRequestReply(requestReplySchema.parse(object)),
    },
  ],
  [
    SERVICE,
    {
      structure: (object) => shapeErrors(serviceSchema, object),
      defaults: (object, old) => defaultService(serviceSchema.parse(object), old && serviceSchema.parse(old)),
      check: (object, { old }) =>
        validateService(serviceSchema.parse(object), old && serviceSchema.parse(old)),
    },
  ],
  [REVISION, shapeOnly((object) => shapeErrors(revisionSchema, object))],
  [CONFIGURATION, shapeOnly((object) => shapeErrors(configurationSchema, object))],
  [ROUTE, shapeOnly((object) => shapeErrors(routeSchema, object))],
];

function shapeOnly(structure: Rules["structure"]): Rules {
  return { structure, defaults: (object) => object, check: () => [] };
}

interface Schema {
  safeParse(
    input: unknown,
  ): { success: true } | { success: false; error: Parameters<typeof fromZodError>[0] };
}

function shapeErrors(schema: Schema, object: KubeObject): FieldError[] {
  const parsed = schema.safeParse(object);
  return parsed.success ? [] : fromZodError(parsed.error, object);
}

function checkMetaShape(object: KubeObject): FieldError[] {
  const parsed = objectMetaSchema.safeParse(object.metadata);
  if (parsed.success) return [];
  return fromZodError(parsed.error, object.metadata).map((error) => ({
    ...error,
    field: error.field === "" ? "metadata" : `metadata.${error.field}`,
  }));
}

function validateMetadata(kind: KindId, { metadata: { name, namespace } }: KubeObject): FieldError[] {
  const found: FieldError[] = [];
  if (name === "") found.push(missingField("metadata.name"));
  else if (isSameKind(kind, SERVICE) ? !isDnsLabel(name) : !isDnsSubdomain(name)) {
    const rule =
      "a lowercase RFC 1123 name: lower case letters, digits and '-', a letter or digit at both ends";
    found.push(invalidValue("metadata.name", name, rule));
  }
  if (kind.namespaced && namespace !== undefined && !isDnsLabel(namespace)) {
    found.push(invalidValue("metadata.namespace", namespace, "a lowercase RFC 1123 label"));
  }
  return found;
}

function withUser(kind: KindId, object: KubeObject, { old, user }: DefaultOptions): KubeObject {
  if (object.spec === undefined || user === undefined) return object;
  const [creator, modifier] = [`${kind.group}/creator`, `${kind.group}/lastModifier`];
  const stamps =
    old === undefined
      ? { [creator]: user, [modifier]: user }
      : sameJson(old.spec, object.spec)
        ? {}
        : { [modifier]: user };
  const annotations = { ...object.metadata.annotations, ...stamps };
  return { ...object, metadata: { ...object.metadata, annotations } };
}
