/**
 * Service, serving.knative.dev/v1, and the Configuration, Route and Revision made from it: fields, defaults and
 * rules (sheets scale-to-zero-and-functions §4, kubernetes-api-for-kn §11.3, §11.4). Details of a container that
 * only a cluster acts on (probes, volumes, resources) are kept as they are.
 */
import { z } from "zod";
import { BUNDLE, validateAnnotations } from "./annotations.ts";
import { conditionsSchema } from "./conditions.ts";
import {
  exactlyOne,
  type FieldError,
  forbiddenField,
  immutableChange,
  invalidValue,
  missingField,
  outOfBounds,
} from "./field-error.ts";
import { sameJson } from "./json.ts";
import { objectMetaSchema } from "./meta.ts";
import { isDnsLabel1035, isDnsSubdomain } from "./names.ts";

const TIMEOUT_SECONDS_DEFAULT = 300;
const TIMEOUT_SECONDS_MAX = 600;
const CONTAINER_CONCURRENCY_MAX = 1000;
const DEFAULT_CONTAINER = "user-container";
const CREATOR = "serving.knative.dev/creator";

const opaque = z.looseObject({});

const containerSchema = z.strictObject({
  name: z.string().optional(),
  image: z.string().optional(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  env: z
    .array(z.strictObject({ name: z.string(), value: z.string().optional(), valueFrom: opaque.optional() }))
    .optional(),
  envFrom: z.array(opaque).optional(),
  ports: z
    .array(
      z.strictObject({
        name: z.string().optional(),
        containerPort: z.number().int().optional(),
        protocol: z.string().optional(),
      }),
    )
    .optional(),
  resources: opaque.optional(),
  readinessProbe: opaque.optional(),
  livenessProbe: opaque.optional(),
  startupProbe: opaque.optional(),
  securityContext: opaque.optional(),
  volumeMounts: z.array(z.looseObject({ name: z.string() })).optional(),
  imagePullPolicy: z.string().optional(),
  terminationMessagePath: z.string().optional(),
  terminationMessagePolicy: z.string().optional(),
});

/** Fields of a pod that Knative keeps behind feature flags, all off: known, and refused as on a cluster. */
const FLAGGED_POD_FIELDS = [
  "initContainers",
  "affinity",
  "nodeSelector",
  "tolerations",
  "hostAliases",
  "hostIPC",
  "hostNetwork",
  "hostPID",
  "runtimeClassName",
  "securityContext",
  "priorityClassName",
  "schedulerName",
  "topologySpreadConstraints",
  "dnsPolicy",
  "dnsConfig",
  "shareProcessNamespace",
  "terminationGracePeriodSeconds",
] as const;

const revisionSpecSchema = z.strictObject({
  containers: z.array(containerSchema).optional(),
  volumes: z.array(z.looseObject({ name: z.string() })).optional(),
  serviceAccountName: z.string().optional(),
  automountServiceAccountToken: z.boolean().optional(),
  imagePullSecrets: z.array(opaque).optional(),
  enableServiceLinks: z.boolean().optional(),
  containerConcurrency: z.number().int().optional(),
  timeoutSeconds: z.number().int().optional(),
  responseStartTimeoutSeconds: z.number().int().optional(),
  idleTimeoutSeconds: z.number().int().optional(),
  ...(Object.fromEntries(FLAGGED_POD_FIELDS.map((name) => [name, z.unknown().optional()])) as Record<
    (typeof FLAGGED_POD_FIELDS)[number],
    z.ZodOptional<z.ZodUnknown>
  >),
});

const templateSchema = z.strictObject({
  metadata: z
    .looseObject({
      name: z.string().optional(),
      labels: z.record(z.string(), z.string()).optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    })
    .optional(),
  spec: revisionSpecSchema.optional(),
});

const trafficTargetSchema = z.strictObject({
  revisionName: z.string().optional(),
  latestRevision: z.boolean().optional(),
  percent: z.number().int().optional(),
  tag: z.string().optional(),
  url: z.string().optional(),
  configurationName: z.string().optional(),
});

export const serviceStatusSchema = z.looseObject({
  observedGeneration: z.number().optional(),
  conditions: conditionsSchema.optional(),
  url: z.string().optional(),
  address: z.looseObject({ url: z.string().optional() }).optional(),
  latestCreatedRevisionName: z.string().optional(),
  latestReadyRevisionName: z.string().optional(),
  traffic: z.array(trafficTargetSchema).optional(),
});

const head = { apiVersion: z.string(), kind: z.string(), metadata: objectMetaSchema };

export const serviceSchema = z.strictObject({
  ...head,
  spec: z.strictObject({
    template: templateSchema.optional(),
    traffic: z.array(trafficTargetSchema).optional(),
  }),
  status: serviceStatusSchema.optional(),
});

export const revisionSchema = z.strictObject({
  ...head,
  spec: revisionSpecSchema,
  status: z
    .looseObject({ observedGeneration: z.number().optional(), conditions: conditionsSchema.optional() })
    .optional(),
});

export const configurationSchema = z.strictObject({
  ...head,
  spec: z.strictObject({ template: templateSchema.optional() }),
  status: serviceStatusSchema.optional(),
});

export const routeSchema = z.strictObject({
  ...head,
  spec: z.strictObject({ traffic: z.array(trafficTargetSchema).optional() }),
  status: serviceStatusSchema.optional(),
});

export type Service = z.output<typeof serviceSchema>;
export type Revision = z.output<typeof revisionSchema>;
export type Configuration = z.output<typeof configurationSchema>;
export type Route = z.output<typeof routeSchema>;
export type RevisionTemplate = z.output<typeof templateSchema>;
export type RevisionSpec = z.output<typeof revisionSpecSchema>;
export type TrafficTarget = z.output<typeof trafficTargetSchema>;
type Container = z.output<typeof containerSchema>;

export function defaultService(service: Service, old?: Service): Service {
  const { template, traffic } = service.spec;
  const named = template?.metadata?.name;
  const keepTemplate = named !== undefined && named === old?.spec.template?.metadata?.name;
  const entries = traffic === undefined || traffic.length === 0 ? [{ percent: 100 }] : traffic;
  return {
    ...service,
    spec: {
      template: keepTemplate ? (template ?? {}) : defaultTemplate(template ?? {}, old),
      traffic: entries.map((entry) => ({
        ...entry,
        latestRevision: entry.latestRevision ?? !entry.revisionName,
        percent: entry.percent ?? 0,
      })),
    },
  };
}

function defaultTemplate(template: RevisionTemplate, old: Service | undefined): RevisionTemplate {
  const spec = template.spec ?? {};
  const containers = spec.containers ?? [];
  // Defaulted at creation only, and kept from then on: else an update that leaves it out were a new revision.
  const links =
    spec.enableServiceLinks ?? (old === undefined ? false : old.spec.template?.spec?.enableServiceLinks);
  return {
    ...template,
    spec: {
      ...spec,
      containerConcurrency: spec.containerConcurrency ?? 0,
      timeoutSeconds: spec.timeoutSeconds || TIMEOUT_SECONDS_DEFAULT,
      ...(links === undefined ? {} : { enableServiceLinks: links }),
      ...(spec.containers === undefined
        ? {}
        : { containers: containers.map((container, index) => defaultContainer(container, { spec, index })) }),
    },
  };
}

function defaultContainer(
  container: Container,
  { spec, index }: { spec: RevisionSpec; index: number },
): Container {
  const alone = spec.containers?.length === 1;
  const serving = alone || (container.ports ?? []).length > 0;
  const isScratch = (name: string) =>
    spec.volumes?.some(
      (volume) => volume.name === name && ("emptyDir" in volume || "persistentVolumeClaim" in volume),
    );
  return {
    ...container,
    name: container.name || (alone ? DEFAULT_CONTAINER : `${DEFAULT_CONTAINER}-${index}`),
    resources: container.resources ?? {},
    ...(serving
      ? { readinessProbe: container.readinessProbe ?? { successThreshold: 1, tcpSocket: { port: 0 } } }
      : {}),
    ...(container.volumeMounts === undefined
      ? {}
      : {
          volumeMounts: container.volumeMounts.map((mount) =>
            isScratch(mount.name) ? mount : { readOnly: true, ...mount },
          ),
        }),
  };
}

export function validateService(service: Service, old?: Service): FieldError[] {
  const { template, traffic } = service.spec;
  if (template === undefined) return [missingField("spec.template")];
  return [
    ...validateTemplate(template, service.metadata.name),
    ...validateTraffic(traffic ?? []),
    ...(old === undefined ? [] : validateChange(service, old)),
  ];
}

function validateTemplate(template: RevisionTemplate, serviceName: string): FieldError[] {
  const { name, annotations } = template.metadata ?? {};
  const path = "spec.template.metadata";
  const badName =
    name === undefined
      ? []
      : !name.startsWith(`${serviceName}-`)
        ? [invalidValue(`${path}.name`, `"${name}" must have prefix "${serviceName}-"`)]
        : isDnsLabel1035(name)
          ? []
          : [
              invalidValue(
                `${path}.name`,
                "not a DNS 1035 label: [a DNS-1035 label of at most 63 characters]",
              ),
            ];
  return [
    ...badName,
    ...validateAnnotations("Service", annotations, `${path}.annotations`),
    ...validateRevisionSpec(template.spec ?? {}, annotations?.[BUNDLE] !== undefined),
  ];
}

function validateRevisionSpec(spec: RevisionSpec, hasBundle: boolean): FieldError[] {
  const path = "spec.template.spec";
  const { containerConcurrency, timeoutSeconds, containers } = spec;
  const bounded = (field: string, value: number | undefined, max: number) =>
    value === undefined || (value >= 0 && value <= max)
      ? []
      : [outOfBounds(`${path}.${field}`, { value, min: 0, max })];
  return [
    ...FLAGGED_POD_FIELDS.filter((field) => spec[field] !== undefined).map((field) =>
      forbiddenField(`${path}.${field}`),
    ),
    ...bounded("containerConcurrency", containerConcurrency, CONTAINER_CONCURRENCY_MAX),
    ...bounded("timeoutSeconds", timeoutSeconds, TIMEOUT_SECONDS_MAX),
    ...validateContainers(containers ?? [], { path: `${path}.containers`, hasBundle }),
  ];
}

function validateContainers(
  containers: readonly Container[],
  { path, hasBundle }: { path: string; hasBundle: boolean },
): FieldError[] {
  if (containers.length === 0) return hasBundle ? [] : [missingField(path)];
  const withPorts = containers.filter(({ ports }) => (ports ?? []).length > 0);
  const ambiguous =
    containers.length > 1 && withPorts.length !== 1
      ? [{ field: `${path}.ports`, message: "expected exactly one container with a port" }]
      : [];
  return [
    ...ambiguous,
    ...containers.flatMap((container, index) => {
      const at = `${path}[${index}]`;
      const ports = container.ports ?? [];
      return [
        ...(container.image || hasBundle ? [] : [missingField(`${at}.image`)]),
        ...(container.name === "queue-proxy"
          ? [{ field: `${at}.name`, message: '"queue-proxy" is a reserved container name' }]
          : []),
        ...(ports.length > 1
          ? [{ field: `${at}.ports`, message: "More than one container port is set" }]
          : []),
      ];
    }),
  ];
}

function validateTraffic(traffic: readonly TrafficTarget[]): FieldError[] {
  const sum = traffic.reduce((total, { percent }) => total + (percent ?? 0), 0);
  const found = traffic.flatMap((target, index) => validateTarget(target, `spec.traffic[${index}]`));
  const tags = traffic.map(({ tag }) => tag);
  tags.forEach((tag, index) => {
    const first = tags.indexOf(tag);
    if (!tag || first === index) return;
    const message = `Multiple definitions for "${tag}"`;
    found.push(
      { field: `spec.traffic[${first}].tag`, message },
      { field: `spec.traffic[${index}].tag`, message },
    );
  });
  if (sum !== 100) found.push({ field: "spec.traffic", message: `Traffic targets sum to ${sum}, want 100` });
  return found;
}

function validateTarget(target: TrafficTarget, path: string): FieldError[] {
  const { revisionName, latestRevision, percent, tag, url, configurationName } = target;
  const found: FieldError[] = [];
  if (configurationName !== undefined) found.push(forbiddenField(`${path}.configurationName`));
  if (url !== undefined) found.push(forbiddenField(`${path}.url`));
  if (revisionName && !isDnsSubdomain(revisionName))
    found.push(invalidValue(`${path}.revisionName`, revisionName));
  if (latestRevision !== undefined && latestRevision === Boolean(revisionName)) {
    found.push(
      ...(latestRevision
        ? exactlyOne("both", [`${path}.latestRevision`, `${path}.revisionName`])
        : [invalidValue(`${path}.latestRevision`, latestRevision)]),
    );
  }
  if (percent !== undefined && (percent < 0 || percent > 100)) {
    found.push(outOfBounds(`${path}.percent`, { value: percent, min: 0, max: 100 }));
  }
  if (tag && !isDnsLabel1035(tag))
    found.push(invalidValue(`${path}.tag`, tag, "expected a DNS label (RFC 1035)"));
  return found;
}

function validateChange(service: Service, old: Service): FieldError[] {
  const [before, after] = [old.spec.template, service.spec.template];
  const name = after?.metadata?.name;
  const found: FieldError[] = [];
  if (name !== undefined && name === before?.metadata?.name && !sameJson(before, after)) {
    found.push(
      ...immutableChange("fields", { fields: ["spec.template.metadata.name"], old: before, now: after }).map(
        (error) => ({ ...error, message: "Saw the following changes without a name change (-old +new)" }),
      ),
    );
  }
  const creator = old.metadata.annotations?.[CREATOR];
  if (creator !== undefined && service.metadata.annotations?.[CREATOR] !== creator) {
    found.push({
      field: `metadata.annotations.${CREATOR}`,
      message: `annotation value is immutable`,
    });
  }
  return found;
}
