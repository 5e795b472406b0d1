/**
 * Reconciles RequestReplies (sheet knative-eventing §7): each is a Trigger that sends the events which answer to the
 * ingress, where whoever waits is found, and an address where requests are POSTed.
 *
 * R1  the Trigger is this object's own: one of that name that somebody else made is left alone, and said so.
 * R2  the Trigger's annotation is the data plane's route; nothing else crosses.
 */
import { type Clock, rfc3339 } from "../clock.ts";
import { REQUEST_REPLY_ROUTE } from "../resources/annotations.ts";
import { brokerSchema } from "../resources/broker.ts";
import { type Conditions, findCondition, startConditions } from "../resources/conditions.ts";
import { sameJson } from "../resources/json.ts";
import { BROKER, REQUEST_REPLY, TRIGGER } from "../resources/kinds.ts";
import { apiVersionOf, type KubeObject, type StoredObject } from "../resources/meta.ts";
import { childName } from "../resources/names.ts";
import { type RequestReply, requestReplySchema, settingsOf } from "../resources/request-reply.ts";
import { brokerNameOf, defaultTrigger, triggerSchema } from "../resources/trigger.ts";
import type { Store } from "../store/store.ts";
import type { Addresses } from "./addresses.ts";
import { ownKey, type Reconcile, type ReconcileKey } from "./controller.ts";
import { deleteObject, writeStatus } from "./status.ts";

const DEPENDENTS = ["BrokerReady", "TriggersReady", "Addressable", "EventPoliciesReady"];

const LABELS = {
  name: "eventing.knative.dev/RequestReply.name",
  namespace: "eventing.knative.dev/RequestReply.namespace",
};

/** The ingress answers every POST of a reply; only storage that is away is worth another attempt. */
const DELIVERY = {
  retry: 5,
  backoffPolicy: "exponential",
  backoffDelay: "PT0.2S",
  timeout: "PT30S",
} as const;

export interface RequestReplyReconcilerParts {
  readonly store: Store;
  readonly addresses: Addresses;
  readonly clock: Clock;
}

export function createRequestReplyReconciler(parts: RequestReplyReconcilerParts): Reconcile {
  const { store, addresses, clock } = parts;
  return async (key) => {
    const object = store.get(REQUEST_REPLY, key);
    // Its Trigger has an owner reference and goes with it.
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return undefined;
    const requestReply = requestReplySchema.parse(object);
    const url = addresses.requestReply(key);
    const conditions = startConditions(DEPENDENTS, {
      previous: requestReply.status?.conditions,
      now: rfc3339(clock.now()),
    });
    const broker = store.get(BROKER, { namespace: key.namespace, name: brokerNameIn(requestReply) });
    markBroker(conditions, broker);
    markTrigger(conditions, await ensureTrigger(store, { object, requestReply, url }));
    conditions.markTrue("Addressable");
    conditions.markTrue("EventPoliciesReady", { reason: "NotImplemented", message: "" });
    const brokerUrl = broker === undefined ? undefined : brokerSchema.parse(broker).status?.address?.url;
    const address = { name: "http", url };
    const status = {
      observedGeneration: object.metadata.generation,
      address,
      addresses: [address],
      annotations: brokerUrl === undefined ? undefined : { "knative.dev/brokerAddress": brokerUrl },
      desiredReplicas: 1,
      readyReplicas: 1,
      conditions: conditions.list(),
    };
    await writeStatus(store, { kind: REQUEST_REPLY, object, status });
    return undefined;
  };
}

/** The RequestReply a Trigger was made for. */
export function requestReplyOf({ metadata }: StoredObject): ReconcileKey[] {
  const name = metadata.labels?.[LABELS.name];
  return name === undefined ? [] : [{ namespace: metadata.namespace ?? "", name }];
}

/** RequestReplies over this broker. */
export function requestRepliesOf(store: Store, { namespace, name }: ReconcileKey): ReconcileKey[] {
  return store
    .list(REQUEST_REPLY, namespace)
    .items.filter((object) => brokerNameIn(requestReplySchema.parse(object)) === name)
    .map(ownKey);
}

function brokerNameIn({ spec }: RequestReply): string {
  return spec.brokerRef?.name ?? "";
}

/** The Trigger as it is now; undefined when it belongs to somebody else (R1), or is on its way out. */
async function ensureTrigger(
  store: Store,
  wanted: { object: StoredObject; requestReply: RequestReply; url: string },
): Promise<StoredObject | undefined> {
  const trigger = triggerFor(wanted);
  const { namespace, name, labels, annotations } = trigger.metadata;
  const existing = store.get(TRIGGER, { namespace, name });
  if (existing === undefined) return store.create(TRIGGER, trigger);
  if (!existing.metadata.ownerReferences?.some(({ uid }) => uid === wanted.object.metadata.uid))
    return undefined;
  if (brokerNameOf(triggerSchema.parse(existing)) !== brokerNameIn(wanted.requestReply)) {
    // A Trigger never changes its broker; its going asks for another pass.
    await deleteObject(store, TRIGGER, existing);
    return undefined;
  }
  const { resourceVersion: _latest, ...metadata } = existing.metadata;
  const next = {
    ...existing,
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, ...labels },
      annotations: { ...metadata.annotations, ...annotations },
    },
    spec: trigger.spec,
  };
  const isSame =
    sameJson(existing.spec, next.spec) &&
    sameJson(existing.metadata.labels, next.metadata.labels) &&
    sameJson(existing.metadata.annotations, next.metadata.annotations);
  return isSame ? existing : store.update(TRIGGER, next);
}

function triggerFor({
  object,
  requestReply,
  url,
}: {
  object: StoredObject;
  requestReply: RequestReply;
  url: string;
}): KubeObject {
  const { namespace = "", name, uid } = object.metadata;
  const settings = settingsOf(requestReply);
  const owner = { apiVersion: object.apiVersion, kind: object.kind, name, uid };
  return defaultTrigger({
    apiVersion: apiVersionOf(TRIGGER),
    kind: TRIGGER.kind,
    metadata: {
      namespace,
      name: childName(name, "-reply"),
      labels: { [LABELS.name]: name, [LABELS.namespace]: namespace },
      annotations: { [REQUEST_REPLY_ROUTE]: JSON.stringify(settings) },
      ownerReferences: [{ ...owner, controller: true, blockOwnerDeletion: true }],
    },
    spec: {
      broker: brokerNameIn(requestReply),
      filters: [{ prefix: { [settings.replyAttribute]: settings.prefix } }],
      subscriber: { uri: `${url}/reply` },
      delivery: DELIVERY,
    },
  });
}

function markBroker(conditions: Conditions, broker: StoredObject | undefined): void {
  const ready = broker && findCondition(brokerSchema.parse(broker).status?.conditions);
  if (broker === undefined) {
    conditions.markUnknown("BrokerReady", { reason: "NotFound", message: "the broker does not exist" });
  } else if (ready?.status === "True") conditions.markTrue("BrokerReady");
  else conditions.markFalse("BrokerReady", { reason: "NotReady", message: "the broker is not ready" });
}

function markTrigger(conditions: Conditions, trigger: StoredObject | undefined): void {
  if (trigger === undefined) {
    conditions.markUnknown("TriggersReady", {
      reason: "TriggerReconcileError",
      message: "a Trigger of the same name belongs to somebody else, or is being replaced",
    });
    return;
  }
  const { conditions: its, observedGeneration } = triggerSchema.parse(trigger).status ?? {};
  const isReady = findCondition(its)?.status === "True" && observedGeneration === trigger.metadata.generation;
  if (isReady) conditions.markTrue("TriggersReady");
  else
    conditions.markUnknown("TriggersReady", {
      reason: "TriggersNotReady",
      message: `Trigger ${trigger.metadata.name} is not ready`,
    });
}
