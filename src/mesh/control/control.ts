/**
 * The control plane of one mesh: the reconcilers, what makes them look again, and the route table they write.
 * Resources come in through the Store, routes go out through the DataPlane, functions through the FunctionHost.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { classOf, WEFT_CLASS } from "../resources/broker.ts";
import {
  BROKER,
  CONFIGURATION,
  REQUEST_REPLY,
  REVISION,
  ROUTE,
  SERVICE,
  TRIGGER,
} from "../resources/kinds.ts";
import type { StoredObject } from "../resources/meta.ts";
import { brokerNameOf, triggerSchema } from "../resources/trigger.ts";
import type { Store } from "../store/store.ts";
import type { Addresses } from "./addresses.ts";
import { createBrokerReconciler } from "./broker.ts";
import { type Controller, ownKey, type ReconcileKey, startController } from "./controller.ts";
import type { Alive, DataPlane } from "./data-plane.ts";
import type { FunctionHost } from "./function-host.ts";
import { brokersReferringTo, triggersOfBroker, triggersReferringTo } from "./references.ts";
import { createRequestReplyReconciler, requestRepliesOf, requestReplyOf } from "./request-reply.ts";
import { REVISION_LABELS } from "./revision.ts";
import { RouteBoard } from "./route-board.ts";
import { createServiceReconciler } from "./service.ts";
import { createTriggerReconciler } from "./trigger.ts";

export interface ControlOptions {
  readonly store: Store;
  readonly dataPlane: DataPlane;
  readonly host: FunctionHost;
  readonly addresses: Addresses;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Control extends Closeable {
  /** Resolves when everything written by now was reconciled once, all consequences included. */
  settled(): Promise<void>;
}

/** Reconciles what is stored from now on; closing leaves streams, consumers and functions as they are. */
export function startControl({ store, dataPlane, host, addresses, clock, log }: ControlOptions): Control {
  const board = new RouteBoard({
    publish: (routes) => dataPlane.setRoutes(routes),
    onBrokerChange: (broker) => triggersOfBroker(store, broker).forEach(enqueueTrigger),
  });

  const enqueueTrigger = (key: ReconcileKey) => triggers.enqueue(key);

  const services: Controller = startController({
    name: "service",
    store,
    watches: [
      { kind: SERVICE, keysOf: (service) => [ownKey(service)] },
      ...[CONFIGURATION, ROUTE, REVISION].map((kind) => ({ kind, keysOf: serviceOf })),
    ],
    reconcile: createServiceReconciler({ store, host, addresses, clock }),
    clock,
    log,
  });
  host.onChange((service) => services.enqueue(service));

  const brokers: Controller = startController({
    name: "broker",
    store,
    watches: [
      { kind: BROKER, keysOf: (broker) => [ownKey(broker), ...brokersReferringTo(store, broker)] },
      { kind: SERVICE, keysOf: (service) => brokersReferringTo(store, service) },
    ],
    reconcile: createBrokerReconciler({ store, board, dataPlane, addresses, clock }),
    clock,
    log,
  });

  const triggers: Controller = startController({
    name: "trigger",
    store,
    watches: [
      { kind: TRIGGER, keysOf: (trigger) => [ownKey(trigger), ...triggersReferringTo(store, trigger)] },
      {
        kind: BROKER,
        keysOf: (broker) => [
          ...triggersOfBroker(store, ownKey(broker)),
          ...triggersReferringTo(store, broker),
        ],
      },
      { kind: SERVICE, keysOf: (service) => triggersReferringTo(store, service) },
      { kind: REQUEST_REPLY, keysOf: (requestReply) => triggersReferringTo(store, requestReply) },
    ],
    reconcile: createTriggerReconciler({ store, board, dataPlane, clock }),
    clock,
    log,
  });

  const requestReplies: Controller = startController({
    name: "request-reply",
    store,
    watches: [
      { kind: REQUEST_REPLY, keysOf: (requestReply) => [ownKey(requestReply)] },
      { kind: TRIGGER, keysOf: requestReplyOf },
      { kind: BROKER, keysOf: (broker) => requestRepliesOf(store, ownKey(broker)) },
    ],
    reconcile: createRequestReplyReconciler({ store, addresses, clock }),
    clock,
    log,
  });

  const controllers = [services, brokers, triggers, requestReplies];
  const settled = async () => {
    // One controller's writes are the next one's work, so all must be idle at the same moment.
    while (!controllers.every(({ isIdle }) => isIdle)) {
      await Promise.all(controllers.map((controller) => controller.idle()));
    }
  };

  background(
    settled().then(() => dataPlane.removeOrphans(() => aliveIn(store))),
    (error) =>
      log.warn({ stage: "control", error: messageOf(error) }, "left-over streams were not cleared away"),
  );

  return {
    settled,
    async close() {
      await Promise.all(controllers.map((controller) => controller.close()));
    },
  };
}

/** Configuration, Route and Revision concern the Service whose name they carry. */
function serviceOf({ metadata }: StoredObject) {
  const name = metadata.labels?.[REVISION_LABELS.service];
  return name === undefined ? [] : [{ namespace: metadata.namespace ?? "", name }];
}

/** Read from the store, not from the routes: what could not be served just now is alive all the same. */
function aliveIn(store: Store): Alive {
  const brokers = store.list(BROKER).items.filter((broker) => classOf(broker) === WEFT_CLASS);
  return {
    brokers: brokers.map(ownKey),
    triggers: store.list(TRIGGER).items.map((object) => ({
      ...ownKey(object),
      uid: object.metadata.uid,
      broker: brokerNameOf(triggerSchema.parse(object)),
    })),
  };
}
