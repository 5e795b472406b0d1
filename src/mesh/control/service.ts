/**
 * Reconciles Services (sheet scale-to-zero-and-functions §4): a Configuration whose generation numbers the
 * revisions, one immutable Revision per template, a Route with the traffic, and the status that kn reads.
 *
 * V1  the address stands from the first pass on, whether or not the function is ready: triggers resolve at once.
 * V2  every revision that traffic or "latest" names is handed to the host in every pass, so a restarted host
 *     learns all of them.
 * V3  requests go to the newest revision that is ready; one that failed never takes traffic from it.
 */
import { type Clock, rfc3339 } from "../clock.ts";
import { startConditions } from "../resources/conditions.ts";
import { sameJson } from "../resources/json.ts";
import { CONFIGURATION, REVISION, ROUTE, SERVICE } from "../resources/kinds.ts";
import { apiVersionOf, type KindId, type KubeObject, type StoredObject } from "../resources/meta.ts";
import { childName } from "../resources/names.ts";
import {
  type Revision,
  revisionSchema,
  type Service,
  serviceSchema,
  type TrafficTarget,
} from "../resources/service.ts";
import type { Store } from "../store/store.ts";
import type { Addresses } from "./addresses.ts";
import type { Reconcile, ReconcileKey } from "./controller.ts";
import type { FunctionHost, RevisionOutcome } from "./function-host.ts";
import { collectRevisions, REVISION_LABELS, revisionFor, toFunctionRevision } from "./revision.ts";
import { deleteObject, writeStatus } from "./status.ts";

export interface ServiceReconcilerParts {
  readonly store: Store;
  readonly host: FunctionHost;
  readonly addresses: Addresses;
  readonly clock: Clock;
}

/** One pass over one Service: what it found out on the way. */
interface Pass {
  readonly parts: ServiceReconcilerParts;
  readonly object: StoredObject;
  readonly service: Service;
  readonly key: ReconcileKey;
  readonly now: string;
}

/** The state of all revisions that matter. */
interface Revisions {
  readonly created: string;
  readonly latestReady: string | undefined;
  readonly outcomes: ReadonlyMap<string, RevisionOutcome>;
}

type Verdict = RevisionOutcome;
const READY: Verdict = { kind: "ready" };

export function createServiceReconciler(parts: ServiceReconcilerParts): Reconcile {
  const { store, host, clock } = parts;
  return async (key) => {
    const object = store.get(SERVICE, key);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
      await host.remove(key);
      await removeChildren(key, store);
      return undefined;
    }
    const service = serviceSchema.parse(object);
    const pass = { parts, object, service, key, now: rfc3339(clock.now()) };
    const configuration = await ensureConfiguration(pass);
    const revisions = await applyRevisions(pass, configuration);
    const traffic = resolveTraffic(pass, revisions);
    host.setTraffic(
      key,
      traffic.targets.map(({ revisionName = "", percent = 0, tag }) => ({
        revision: revisionName,
        percent,
        tag,
      })),
    );
    await writeAll(pass, { configuration, revisions, traffic });
    return undefined;
  };
}

/** Children go with their owner; one that a pass made while the owner was being deleted goes here. */
async function removeChildren(key: ReconcileKey, store: Store): Promise<void> {
  for (const kind of [ROUTE, CONFIGURATION]) {
    const child = store.get(kind, key);
    if (child?.metadata.labels?.[REVISION_LABELS.service] !== key.name) continue;
    await deleteObject(store, kind, child);
  }
}

function ensureConfiguration({ parts, object, service, key }: Pass): Promise<StoredObject> {
  return ensureOwned(parts.store, CONFIGURATION, {
    apiVersion: apiVersionOf(CONFIGURATION),
    kind: CONFIGURATION.kind,
    metadata: {
      ...key,
      labels: { [REVISION_LABELS.service]: key.name, [REVISION_LABELS.serviceUid]: object.metadata.uid },
      ownerReferences: [ownerReference(object)],
    },
    spec: { template: service.spec.template },
  });
}

/** V2. */
async function applyRevisions(pass: Pass, configuration: StoredObject): Promise<Revisions> {
  const { parts, service, key } = pass;
  const created = nameOfRevision(service, configuration);
  const taken = await ensureRevision(pass, { configuration, name: created });
  const before = service.status?.latestReadyRevisionName;
  const named = (service.spec.traffic ?? []).flatMap(({ revisionName }) => revisionName || []);
  const outcomes = new Map<string, RevisionOutcome>();
  // What is applied last gets the traffic: the newest, unless the traffic is pinned to others.
  const earlier = [...(before === undefined ? [] : [before]), ...named].filter((name) => name !== created);
  const isPinned = (service.spec.traffic ?? []).every(({ latestRevision }) => latestRevision !== true);
  for (const name of new Set(isPinned ? [created, ...earlier] : [...earlier, created])) {
    const stored = parts.store.get(REVISION, { namespace: key.namespace, name });
    if (stored !== undefined) outcomes.set(name, await applyRevision(stored, { key, host: parts.host }));
  }
  if (taken !== undefined) outcomes.set(created, taken);
  const latestReady = [created, before].find((name) => name && outcomes.get(name)?.kind === "ready");
  return { created, latestReady, outcomes };
}

function nameOfRevision(service: Service, configuration: StoredObject): string {
  const given = service.spec.template?.metadata?.name;
  const number = String(configuration.metadata.generation).padStart(5, "0");
  return given ?? childName(configuration.metadata.name, `-${number}`);
}

/** Makes the revision of the current template; says so when its name belongs to a different one. */
async function ensureRevision(
  { parts: { store }, service, key, object }: Pass,
  { configuration, name }: { configuration: StoredObject; name: string },
): Promise<Verdict | undefined> {
  const wanted = revisionFor({
    service,
    owner: ownerReference(configuration),
    configuration,
    name,
    uid: object.metadata.uid,
  });
  const existing = store.get(REVISION, { namespace: key.namespace, name });
  if (existing === undefined) {
    await store.create(REVISION, wanted);
    return undefined;
  }
  if (sameJson(existing.spec, wanted.spec)) return undefined;
  const message = `Revision "${name}" exists with another template; give the template another metadata.name`;
  return { kind: "failed", reason: "RevisionNameTaken", message };
}

async function applyRevision(
  object: StoredObject,
  { key, host }: { key: ReconcileKey; host: FunctionHost },
): Promise<RevisionOutcome> {
  const runnable = toFunctionRevision(revisionSchema.parse(object), { key, uid: object.metadata.uid });
  return runnable.kind === "runnable" ? host.applyRevision(runnable.revision) : runnable.failure;
}

/** The traffic as it is: every entry with the revision it means now. */
function resolveTraffic(
  { service, parts: { addresses }, key }: Pass,
  { created, latestReady, outcomes }: Revisions,
): { targets: TrafficTarget[]; verdict: Verdict } {
  const targets: TrafficTarget[] = [];
  let verdict = READY;
  const missing = (message: string) => {
    if (verdict.kind === "ready") verdict = { kind: "failed", reason: "RevisionMissing", message };
  };
  for (const { revisionName: named, latestRevision, percent = 0, tag } of service.spec.traffic ?? []) {
    const revisionName = latestRevision ? latestReady : named;
    if (revisionName === undefined) {
      missing(`Configuration "${key.name}" does not have any ready Revision (the latest is "${created}").`);
    } else if (!outcomes.has(revisionName)) {
      missing(`Revision "${revisionName}" referenced in traffic not found.`);
    } else {
      const tagged = tag ? { tag, url: addresses.function(key, tag) } : {};
      targets.push({ revisionName, latestRevision: latestRevision ?? false, percent, ...tagged });
    }
  }
  return { targets, verdict };
}

interface Findings {
  readonly configuration: StoredObject;
  readonly revisions: Revisions;
  readonly traffic: { readonly targets: readonly TrafficTarget[]; readonly verdict: Verdict };
}

/** Children first: when the Service says Ready, all it names is there. */
async function writeAll(pass: Pass, { configuration, revisions, traffic }: Findings): Promise<void> {
  const { parts, object, service, key, now } = pass;
  const { store, addresses } = parts;
  const { created, latestReady, outcomes } = revisions;
  const used = new Set(traffic.targets.flatMap(({ revisionName }) => revisionName ?? []));
  await writeRevisions(pass, { outcomes, used, created });
  const createdOutcome = outcomes.get(created) ?? READY;

  const latest = { latestCreatedRevisionName: created, latestReadyRevisionName: latestReady };
  const configurationStatus = {
    observedGeneration: configuration.metadata.generation,
    ...latest,
    conditions: judge({ Ready: createdOutcome }, configuration, now),
  };
  await writeStatus(store, { kind: CONFIGURATION, object: configuration, status: configurationStatus });

  const url = addresses.function(key);
  const where = { url, address: { url }, traffic: traffic.targets };
  const route = await ensureOwned(store, ROUTE, {
    apiVersion: apiVersionOf(ROUTE),
    kind: ROUTE.kind,
    metadata: {
      ...key,
      labels: { [REVISION_LABELS.service]: key.name },
      ownerReferences: [ownerReference(object)],
    },
    spec: { traffic: service.spec.traffic },
  });
  const routeStatus = {
    observedGeneration: route.metadata.generation,
    ...where,
    conditions: judge(
      { AllTrafficAssigned: traffic.verdict, IngressReady: READY, CertificateProvisioned: READY },
      route,
      now,
    ),
  };
  await writeStatus(store, { kind: ROUTE, object: route, status: routeStatus });

  const serviceStatus = {
    observedGeneration: object.metadata.generation,
    ...latest,
    ...where,
    conditions: judge({ ConfigurationsReady: createdOutcome, RoutesReady: traffic.verdict }, object, now),
  };
  await writeStatus(store, { kind: SERVICE, object, status: serviceStatus });
  await collectRevisions(store, { key, keep: new Set([...used, created, latestReady ?? created]) });
}

async function writeRevisions(
  { parts: { store }, key, now }: Pass,
  {
    outcomes,
    used,
    created,
  }: { outcomes: Revisions["outcomes"]; used: ReadonlySet<string>; created: string },
): Promise<void> {
  const revisions = store
    .list(REVISION, key.namespace)
    .items.filter(({ metadata }) => metadata.labels?.[REVISION_LABELS.service] === key.name);
  for (const object of revisions) {
    const { name } = object.metadata;
    const labelled = await labelRevision(store, object, {
      service: key.name,
      isUsed: used.has(name),
      isLatest: name === created,
      now,
    });
    const outcome = outcomes.get(name);
    if (outcome === undefined) continue;
    const status = {
      ...revisionStatusOf(labelled),
      observedGeneration: labelled.metadata.generation,
      conditions: judge({ ResourcesAvailable: READY, ContainerHealthy: outcome }, labelled, now),
      containerStatuses: containerStatuses(revisionSchema.parse(labelled)),
    };
    await writeStatus(store, { kind: REVISION, object: labelled, status });
  }
}

/** What others put into a revision's status (replica counts) stays. */
function revisionStatusOf(object: StoredObject): Record<string, unknown> {
  return revisionSchema.parse(object).status ?? {};
}

function containerStatuses(revision: Revision): { name: string; imageDigest: string }[] {
  return (revision.spec.containers ?? []).map(({ name = "", image = "" }) => ({ name, imageDigest: image }));
}

/** Marks whether traffic can reach the revision, as kn and the host read it. */
async function labelRevision(
  store: Store,
  object: StoredObject,
  { service, isUsed, isLatest, now }: { service: string; isUsed: boolean; isLatest: boolean; now: string },
): Promise<StoredObject> {
  const { resourceVersion: _latest, annotations = {}, labels = {}, ...metadata } = object.metadata;
  const state = isUsed || isLatest ? "active" : "reserve";
  const { "serving.knative.dev/routes": _routes, ...others } = annotations;
  const changed = labels[REVISION_LABELS.routingState] !== state;
  return store.update(REVISION, {
    ...object,
    metadata: {
      ...metadata,
      labels: { ...labels, [REVISION_LABELS.routingState]: state },
      annotations: {
        ...others,
        ...(isUsed ? { "serving.knative.dev/routes": service } : {}),
        ...(changed ? { "serving.knative.dev/routingStateModified": now } : {}),
      },
    },
  });
}

/** Conditions from verdicts; a lone `Ready` is its own dependent. */
function judge(verdicts: Readonly<Record<string, Verdict>>, object: StoredObject, now: string) {
  const previous = serviceSchema.shape.status.parse(object.status)?.conditions;
  const dependents = Object.keys(verdicts);
  const conditions = startConditions(dependents, { previous, now });
  for (const [type, verdict] of Object.entries(verdicts)) {
    if (verdict.kind === "ready") conditions.markTrue(type);
    else conditions.markFalse(type, { reason: verdict.reason, message: verdict.message });
  }
  return conditions.list();
}

function ownerReference(owner: StoredObject) {
  const { apiVersion, kind, metadata } = owner;
  return {
    apiVersion,
    kind,
    name: metadata.name,
    uid: metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Creates the child, or brings what the reconciler owns of it (spec, owner, its labels) up to date. */
async function ensureOwned(store: Store, kind: KindId, wanted: KubeObject): Promise<StoredObject> {
  const { namespace, name, labels, ownerReferences } = wanted.metadata;
  const existing = store.get(kind, { namespace, name });
  if (existing === undefined) return store.create(kind, wanted);
  const { resourceVersion: _latest, ...metadata } = existing.metadata;
  return store.update(kind, {
    ...existing,
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, ...labels },
      ...(ownerReferences && { ownerReferences }),
    },
    spec: wanted.spec,
  });
}
