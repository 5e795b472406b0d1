/**
 * Reconciles Triggers of Weft brokers (sheet knative-eventing §4.4).
 *
 * T1  Ready only after the consumer exists and the route is served: from then on no matching event passes by.
 * T2  an unresolved subscriber keeps its consumer, so events wait for it; subscriberUri is cleared.
 * T3  a trigger without its broker has neither consumer nor route, and recovers when the broker comes.
 */
import { type Clock, rfc3339 } from "../clock.ts";
import { messageOf } from "../errors.ts";
import {
  CONCURRENCY,
  CONCURRENCY_DEFAULT,
  DATA_FILTER,
  numberAnnotation,
  ORDER,
  PAUSED,
  REQUEST_REPLY_ROUTE,
  REWIND,
  START,
} from "../resources/annotations.ts";
import { type Broker, brokerSchema, classOf, WEFT_CLASS } from "../resources/broker.ts";
import { type Conditions, findCondition, startConditions } from "../resources/conditions.ts";
import { sameJson } from "../resources/json.ts";
import { BROKER, TRIGGER } from "../resources/kinds.ts";
import type { StoredObject } from "../resources/meta.ts";
import { parseSettings } from "../resources/request-reply.ts";
import { parseRewind, parseStartPoint } from "../resources/start-point.ts";
import { brokerNameOf, type Trigger, triggerSchema } from "../resources/trigger.ts";
import type { Target, TriggerRoute } from "../routes/route.ts";
import type { Store } from "../store/store.ts";
import { NO_SINK, SINK_UNRESOLVED } from "./broker.ts";
import type { Reconcile, ReconcileKey } from "./controller.ts";
import type { DataPlane } from "./data-plane.ts";
import { type DependencyVerdict, judgeDependency } from "./dependency.ts";
import { resolveDeadLetterSink, resolvePolicy } from "./policy.ts";
import { type Resolution, resolveDestination } from "./resolve.ts";
import type { RouteBoard } from "./route-board.ts";
import { writeStatus } from "./status.ts";
import { effectiveFilters } from "./trigger-filters.ts";

const DEPENDENTS = [
  "BrokerReady",
  "SubscriberResolved",
  "DeadLetterSinkResolved",
  "DependencyReady",
  "SubscriptionReady",
  "OIDCIdentityCreated",
];

export interface TriggerReconcilerParts {
  readonly store: Store;
  readonly board: RouteBoard;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
}

/** A trigger whose broker is there, with everything it refers to looked up. */
interface Subscription {
  readonly trigger: Trigger;
  readonly broker: Broker;
  readonly subscriber: Resolution;
  readonly deadLetterSink: Resolution | undefined;
}

export function createTriggerReconciler(parts: TriggerReconcilerParts): Reconcile {
  const { store, board, clock } = parts;
  return async (key) => {
    const object = store.get(TRIGGER, key);
    const known = board.trigger(key);
    const gone = object === undefined || object.metadata.deletionTimestamp !== undefined;
    if (gone || (known !== undefined && known.uid !== object.metadata.uid)) await unsubscribe(key, parts);
    if (gone) return undefined;
    const trigger = triggerSchema.parse(object);
    const brokerName = brokerNameOf(trigger);
    const brokerObject = store.get(BROKER, { namespace: key.namespace, name: brokerName });
    if (brokerObject !== undefined && classOf(brokerObject) !== WEFT_CLASS) {
      await unsubscribe(key, parts);
      return undefined;
    }
    const conditions = startConditions(DEPENDENTS, {
      previous: trigger.status?.conditions,
      now: rfc3339(clock.now()),
    });
    if (brokerObject === undefined) {
      await unsubscribe(key, parts);
      markBrokerMissing(conditions, brokerName);
      await writeStatus(store, { kind: TRIGGER, object, status: describe(object, conditions) });
      return undefined;
    }
    const subscription = lookUp(trigger, brokerSchema.parse(brokerObject), store);
    markBroker(conditions, brokerObject);
    markSubscription(conditions, subscription);
    markDependency(conditions, judgeDependency(trigger, store));
    const failure = await subscribe(routeOf(object, subscription), { conditions, parts });
    await writeStatus(store, { kind: TRIGGER, object, status: describe(object, conditions, subscription) });
    if (failure !== undefined) throw failure.error;
    return undefined;
  };
}

async function unsubscribe(key: ReconcileKey, { board, dataPlane }: TriggerReconcilerParts): Promise<void> {
  const known = board.trigger(key);
  if (known === undefined) return;
  board.removeTrigger(key);
  const { namespace, name, uid, broker } = known;
  await dataPlane.removeTrigger({ namespace, name, uid, broker });
}

function lookUp(trigger: Trigger, broker: Broker, store: Store): Subscription {
  const context = {
    namespace: trigger.metadata.namespace ?? "",
    lookup: (kind: Parameters<Store["get"]>[0], key: Parameters<Store["get"]>[1]) => store.get(kind, key),
  };
  const sink = resolveDeadLetterSink({ trigger: trigger.spec.delivery, broker: broker.spec?.delivery });
  return {
    trigger,
    broker,
    subscriber: resolveDestination(trigger.spec.subscriber ?? {}, context),
    deadLetterSink: sink === undefined ? undefined : resolveDestination(sink, context),
  };
}

function routeOf(
  object: StoredObject,
  { trigger, broker, subscriber, deadLetterSink }: Subscription,
): TriggerRoute {
  const { namespace = "", name, annotations } = trigger.metadata;
  // `since` counts from the trigger's making, so that it means the same whenever it is looked at.
  const start = parseStartPoint(annotations?.[START] ?? "", Date.parse(object.metadata.creationTimestamp));
  const rewind = parseRewind(annotations?.[REWIND] ?? "");
  const requestReply = parseSettings(annotations?.[REQUEST_REPLY_ROUTE] ?? "");
  return {
    namespace,
    name,
    uid: object.metadata.uid,
    broker: broker.metadata.name,
    filters: effectiveFilters(trigger.spec),
    dataFilter: annotations?.[DATA_FILTER],
    subscriber: targetOf(subscriber),
    deadLetterSink: targetOf(deadLetterSink),
    policy: resolvePolicy({ trigger: trigger.spec.delivery, broker: broker.spec?.delivery }),
    concurrency: numberAnnotation(annotations, CONCURRENCY, CONCURRENCY_DEFAULT),
    paused: annotations?.[PAUSED] === "true",
    ...(start === undefined ? {} : { start }),
    ...(rewind === undefined ? {} : { rewind }),
    ...(requestReply === undefined ? {} : { requestReply }),
    ...(annotations?.[ORDER] === "key" ? { order: "key" as const } : {}),
  };
}

/**
 * A changed filter reaches the dispatcher before the consumer: what only the new one wants must not be judged,
 * and acked, by the old one. Everything else the consumer must have first (data-plane.ts, D1).
 */
async function follow(
  route: TriggerRoute,
  {
    known,
    board,
    dataPlane,
  }: { known: TriggerRoute | undefined } & Pick<TriggerReconcilerParts, "board" | "dataPlane">,
): Promise<void> {
  const { filters, dataFilter } = route;
  const refiltered = known !== undefined && sameJson({ ...known, filters, dataFilter }, route);
  if (refiltered) board.setTrigger(route);
  try {
    await dataPlane.ensureTrigger(route);
  } catch (error) {
    // The next pass must find that it is not ensured.
    if (refiltered) board.setTrigger(known);
    throw error;
  }
  board.setTrigger(route);
}

/** T1. Without the broker's streams there is nothing to subscribe to yet; its route's coming asks again. */
async function subscribe(
  route: TriggerRoute,
  { conditions, parts: { board, dataPlane } }: { conditions: Conditions; parts: TriggerReconcilerParts },
): Promise<{ error: unknown } | undefined> {
  if (board.broker({ namespace: route.namespace, name: route.broker }) === undefined) {
    conditions.markUnknown("SubscriptionReady", {
      reason: "SubscriptionNotConfigured",
      message: `Broker "${route.broker}" is not served yet`,
    });
    return undefined;
  }
  try {
    // On the board means: ensured in this process. Passes after a mere change of status need not ask again.
    const known = board.trigger(route);
    if (!sameJson(known, route)) await follow(route, { known, board, dataPlane });
    await dataPlane.routesServed();
  } catch (error) {
    conditions.markFalse("SubscriptionReady", { reason: "NotSubscribed", message: messageOf(error) });
    return { error };
  }
  conditions.markTrue("SubscriptionReady");
  return undefined;
}

function markBrokerMissing(conditions: Conditions, name: string): void {
  conditions.markFalse("BrokerReady", {
    reason: "BrokerDoesNotExist",
    message: `Broker "${name}" does not exist`,
  });
  const because = { reason: "BrokerDoesNotExist", message: "waiting for the broker" };
  for (const type of DEPENDENTS) if (type !== "BrokerReady") conditions.markUnknown(type, because);
}

function markBroker(conditions: Conditions, broker: StoredObject): void {
  const ready = findCondition(brokerSchema.parse(broker).status?.conditions);
  const { reason = "", message = "" } = ready ?? {};
  if (ready === undefined) {
    conditions.markUnknown("BrokerReady", {
      reason: "BrokerNotConfigured",
      message: "Broker has not yet been reconciled.",
    });
  } else if (ready.status === "True") conditions.markTrue("BrokerReady");
  else if (ready.status === "False") conditions.markFalse("BrokerReady", { reason, message });
  else conditions.markUnknown("BrokerReady", { reason, message });
}

function markSubscription(conditions: Conditions, subscription: Subscription): void {
  const { subscriber, deadLetterSink, trigger, broker } = subscription;
  if (subscriber.kind === "resolved") conditions.markTrue("SubscriberResolved");
  else {
    const reason = "Unable to get the Subscriber's URI";
    conditions.markFalse("SubscriberResolved", { reason, message: subscriber.message });
  }
  conditions.markTrue("OIDCIdentityCreated", { reason: "authentication-oidc feature disabled", message: "" });
  if (deadLetterSink === undefined) conditions.markTrue("DeadLetterSinkResolved", NO_SINK);
  else if (deadLetterSink.kind === "resolved") conditions.markTrue("DeadLetterSinkResolved");
  else {
    const own = trigger.spec.delivery?.deadLetterSink !== undefined;
    const reason = own
      ? SINK_UNRESOLVED
      : `Broker ${broker.metadata.name} didn't set status.deadLetterSinkURI`;
    conditions.markFalse("DeadLetterSinkResolved", { reason, message: deadLetterSink.message });
  }
}

function markDependency(conditions: Conditions, verdict: DependencyVerdict): void {
  if (verdict.status === "True") conditions.markTrue("DependencyReady");
  else if (verdict.status === "False") conditions.markFalse("DependencyReady", verdict.because);
  else conditions.markUnknown("DependencyReady", verdict.because);
}

function describe(
  object: StoredObject,
  conditions: Conditions,
  subscription?: Subscription,
): Record<string, unknown> {
  return {
    observedGeneration: object.metadata.generation,
    subscriberUri: targetOf(subscription?.subscriber)?.uri,
    deadLetterSinkUri: targetOf(subscription?.deadLetterSink)?.uri,
    conditions: conditions.list(),
  };
}

function targetOf(resolution: Resolution | undefined): Target | undefined {
  return resolution?.kind === "resolved" ? resolution.target : undefined;
}
