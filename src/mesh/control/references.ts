/** Who points at what: which brokers and triggers must be looked at again when an object changes. */
import { brokerSchema } from "../resources/broker.ts";
import type { Destination } from "../resources/destination.ts";
import { BROKER, TRIGGER } from "../resources/kinds.ts";
import type { StoredObject } from "../resources/meta.ts";
import { brokerNameOf, dependencyOf, type Trigger, triggerSchema } from "../resources/trigger.ts";
import type { Store } from "../store/store.ts";
import { ownKey, type ReconcileKey } from "./controller.ts";

/** Triggers that subscribe to this broker. */
export function triggersOfBroker(store: Store, { namespace, name }: ReconcileKey): ReconcileKey[] {
  return store
    .list(TRIGGER, namespace)
    .items.filter((trigger) => brokerNameOf(parseTrigger(trigger)) === name)
    .map(ownKey);
}

/** Triggers, in any namespace, that send to `object`, dead-letter to it, or wait for it. */
export function triggersReferringTo(store: Store, object: StoredObject): ReconcileKey[] {
  return store
    .list(TRIGGER)
    .items.filter((item) => {
      const trigger = parseTrigger(item);
      const { namespace } = trigger.metadata;
      const dependency = dependencyOf(trigger);
      return (
        pointsAt(trigger.spec.subscriber, { object, namespace }) ||
        pointsAt(trigger.spec.delivery?.deadLetterSink, { object, namespace }) ||
        (typeof dependency === "object" && pointsAt({ ref: dependency }, { object, namespace }))
      );
    })
    .map(ownKey);
}

/** Brokers whose dead-letter sink is `object`, and through them their triggers follow. */
export function brokersReferringTo(store: Store, object: StoredObject): ReconcileKey[] {
  return store
    .list(BROKER)
    .items.filter((broker) => {
      const sink = brokerSchema.parse(broker).spec?.delivery?.deadLetterSink;
      return pointsAt(sink, { object, namespace: broker.metadata.namespace });
    })
    .map(ownKey);
}

function pointsAt(
  destination: Pick<Destination, "ref"> | undefined,
  { object, namespace }: { object: StoredObject; namespace: string | undefined },
): boolean {
  const ref = destination?.ref;
  return (
    ref !== undefined &&
    ref.name === object.metadata.name &&
    ref.kind === object.kind &&
    ref.apiVersion === object.apiVersion &&
    (ref.namespace || namespace) === object.metadata.namespace
  );
}

/** Stored objects never change in place, so each is parsed once however often it is asked about. */
const parsed = new WeakMap<StoredObject, Trigger>();

function parseTrigger(object: StoredObject): Trigger {
  const known = parsed.get(object) ?? triggerSchema.parse(object);
  parsed.set(object, known);
  return known;
}
