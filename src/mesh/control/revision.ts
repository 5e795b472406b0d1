/** Revisions: made from a Service's template, read as something a host can run, and cleared away when unused. */
import { BUNDLE } from "../resources/annotations.ts";
import { REVISION } from "../resources/kinds.ts";
import { apiVersionOf, type KubeObject, type ObjectMeta, type StoredObject } from "../resources/meta.ts";
import type { Revision, Service } from "../resources/service.ts";
import type { Store } from "../store/store.ts";
import type { ReconcileKey } from "./controller.ts";
import type { FunctionRevision, RevisionOutcome } from "./function-host.ts";
import { deleteObject } from "./status.ts";

export const REVISION_LABELS = {
  configuration: "serving.knative.dev/configuration",
  configurationGeneration: "serving.knative.dev/configurationGeneration",
  configurationUid: "serving.knative.dev/configurationUID",
  service: "serving.knative.dev/service",
  serviceUid: "serving.knative.dev/serviceUID",
  routingState: "serving.knative.dev/routingState",
} as const;

/** Revisions without traffic that are kept to go back to. */
export const UNUSED_REVISIONS_MAX = 20;

const CREATOR = "serving.knative.dev/creator";

/** The Revision a Service's template stands for. */
export function revisionFor({
  service,
  configuration,
  owner,
  name,
  uid,
}: {
  service: Service;
  configuration: StoredObject;
  owner: NonNullable<ObjectMeta["ownerReferences"]>[number];
  name: string;
  /** Of the Service. */
  uid: string;
}): KubeObject {
  const { metadata: template, spec } = service.spec.template ?? {};
  const creator = service.metadata.annotations?.[CREATOR];
  return {
    apiVersion: apiVersionOf(REVISION),
    kind: REVISION.kind,
    metadata: {
      name,
      namespace: service.metadata.namespace,
      ownerReferences: [owner],
      annotations: { ...template?.annotations, ...(creator === undefined ? {} : { [CREATOR]: creator }) },
      labels: {
        ...template?.labels,
        [REVISION_LABELS.configuration]: configuration.metadata.name,
        [REVISION_LABELS.configurationGeneration]: String(configuration.metadata.generation),
        [REVISION_LABELS.configurationUid]: configuration.metadata.uid,
        [REVISION_LABELS.service]: service.metadata.name,
        [REVISION_LABELS.serviceUid]: uid,
        [REVISION_LABELS.routingState]: "pending",
      },
    },
    spec: spec ?? {},
  };
}

export type Runnable =
  | { readonly kind: "runnable"; readonly revision: FunctionRevision }
  | { readonly kind: "not-runnable"; readonly failure: RevisionOutcome };

/** What the host needs to run the revision, or why it cannot be run here. */
export function toFunctionRevision(
  { metadata, spec }: Revision,
  { key, uid }: { key: ReconcileKey; uid: string },
): Runnable {
  const bundle = metadata.annotations?.[BUNDLE];
  if (bundle === undefined) {
    return notRunnable(
      "ContainerMissing",
      `Revision "${metadata.name}" names no code that this mesh can run: it runs functions, not images. ` +
        `Put the code in functions/${key.name}.ts, or run "weft deploy", which sets the template annotation ${BUNDLE}.`,
    );
  }
  const variables = (spec.containers ?? []).flatMap(({ env }) => env ?? []);
  const foreign = variables.find(({ valueFrom }) => valueFrom !== undefined);
  if (foreign !== undefined) {
    return notRunnable(
      "EnvironmentUnresolved",
      `Environment variable ${foreign.name} takes its value from the cluster (valueFrom), which this mesh does not have; give it a value.`,
    );
  }
  const revision: FunctionRevision = {
    namespace: key.namespace,
    name: key.name,
    revision: metadata.name,
    uid,
    generation: Number(metadata.labels?.[REVISION_LABELS.configurationGeneration] ?? 0),
    bundle,
    env: Object.fromEntries(variables.map(({ name, value = "" }) => [name, value])),
    containerConcurrency: spec.containerConcurrency ?? 0,
    timeoutSeconds: spec.timeoutSeconds ?? 300,
    annotations: metadata.annotations ?? {},
  };
  return { kind: "runnable", revision };
}

/** Deletes the oldest of a Service's revisions that are not in `keep`, beyond UNUSED_REVISIONS_MAX. */
export async function collectRevisions(
  store: Store,
  { key, keep }: { key: ReconcileKey; keep: ReadonlySet<string> },
): Promise<void> {
  const unused = store
    .list(REVISION, key.namespace)
    .items.filter(({ metadata }) => metadata.labels?.[REVISION_LABELS.service] === key.name)
    .filter(({ metadata }) => !keep.has(metadata.name))
    .sort((a, b) => numberOf(b) - numberOf(a));
  for (const revision of unused.slice(UNUSED_REVISIONS_MAX)) await deleteObject(store, REVISION, revision);
}

function numberOf(revision: StoredObject): number {
  return Number(revision.metadata.labels?.[REVISION_LABELS.configurationGeneration] ?? 0);
}

function notRunnable(reason: string, message: string): Runnable {
  return { kind: "not-runnable", failure: { kind: "failed", reason, message } };
}
