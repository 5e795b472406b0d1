/**
 * Reconciles Brokers of class Weft (sheet knative-eventing §3.3): streams first, then the route, then the status.
 * Brokers of other classes belong to other controllers and are not touched.
 */
import { type Clock, rfc3339 } from "../clock.ts";
import { messageOf } from "../errors.ts";
import {
  DEDUPE,
  HOPS_MAX,
  HOPS_MAX_DEFAULT,
  JOURNAL,
  numberAnnotation,
  parseDedupe,
} from "../resources/annotations.ts";
import { type Broker, brokerSchema, classOf, WEFT_CLASS } from "../resources/broker.ts";
import { type Conditions, startConditions } from "../resources/conditions.ts";
import { sameJson } from "../resources/json.ts";
import { BROKER } from "../resources/kinds.ts";
import type { StoredObject } from "../resources/meta.ts";
import type { BrokerRoute } from "../routes/route.ts";
import type { Store } from "../store/store.ts";
import type { Addresses } from "./addresses.ts";
import type { Reconcile, ReconcileKey } from "./controller.ts";
import type { DataPlane } from "./data-plane.ts";
import { resolveDestination } from "./resolve.ts";
import type { RouteBoard } from "./route-board.ts";
import { writeStatus } from "./status.ts";

const DEPENDENTS = [
  "IngressReady",
  "TriggerChannelReady",
  "FilterReady",
  "Addressable",
  "DeadLetterSinkResolved",
  "EventPoliciesReady",
];

export const NO_SINK = {
  reason: "DeadLetterSinkNotConfigured",
  message: "No dead letter sink is configured.",
};
export const SINK_UNRESOLVED = "Unable to get the dead letter sink's URI";

export interface BrokerReconcilerParts {
  readonly store: Store;
  readonly board: RouteBoard;
  readonly dataPlane: DataPlane;
  readonly addresses: Addresses;
  readonly clock: Clock;
}

export function createBrokerReconciler(parts: BrokerReconcilerParts): Reconcile {
  const { store, board, dataPlane } = parts;
  return async (key) => {
    const object = store.get(BROKER, key);
    const known = board.broker(key);
    const gone = object === undefined || object.metadata.deletionTimestamp !== undefined;
    if (gone || (known !== undefined && known.uid !== object.metadata.uid)) {
      await removeBroker(key, parts);
    }
    if (gone || classOf(object) !== WEFT_CLASS) return undefined;
    const broker = brokerSchema.parse(object);
    const conditions = startConditions(DEPENDENTS, {
      previous: broker.status?.conditions,
      now: rfc3339(parts.clock.now()),
    });
    const failure = await serve(routeOf(object, broker), { board, dataPlane, conditions });
    await writeStatus(store, {
      kind: BROKER,
      object,
      status: describe(object, broker, { parts, conditions }),
    });
    if (failure !== undefined) throw failure.error;
    return undefined;
  };
}

/** The route goes first, so that nothing is accepted for streams about to go (D2). */
async function removeBroker(key: ReconcileKey, { board, dataPlane }: BrokerReconcilerParts): Promise<void> {
  if (board.broker(key) === undefined) return;
  board.removeBroker(key);
  await dataPlane.removeBroker(key);
}

function routeOf(object: StoredObject, broker: Broker): BrokerRoute {
  const { namespace = "", name, annotations } = broker.metadata;
  const dedupeMs = parseDedupe(annotations?.[DEDUPE] ?? "");
  return {
    namespace,
    name,
    uid: object.metadata.uid,
    ...(dedupeMs === undefined ? {} : { dedupeMs }),
    hopsMax: numberAnnotation(annotations, HOPS_MAX, HOPS_MAX_DEFAULT),
    journal: annotations?.[JOURNAL] === "failures" ? "failures" : "all",
  };
}

async function serve(
  route: BrokerRoute,
  { board, dataPlane, conditions }: { board: RouteBoard; dataPlane: DataPlane; conditions: Conditions },
): Promise<{ error: unknown } | undefined> {
  try {
    // On the board means: ensured in this process. Passes after a mere change of status need not ask again.
    if (!sameJson(board.broker(route), route)) {
      await dataPlane.ensureBroker(route);
      board.setBroker(route);
    }
    await dataPlane.routesServed();
  } catch (error) {
    const because = { reason: "ChannelFailure", message: messageOf(error) };
    conditions.markFalse("TriggerChannelReady", because);
    for (const type of ["IngressReady", "FilterReady"]) conditions.markUnknown(type, because);
    return { error };
  }
  for (const type of ["TriggerChannelReady", "IngressReady", "FilterReady"]) conditions.markTrue(type);
  return undefined;
}

function describe(
  object: StoredObject,
  broker: Broker,
  { parts, conditions }: { parts: BrokerReconcilerParts; conditions: Conditions },
): Record<string, unknown> {
  const { namespace = "", name } = broker.metadata;
  conditions.markTrue("Addressable");
  conditions.markTrue("EventPoliciesReady", {
    reason: "OIDCDisabled",
    message: 'Feature "authentication-oidc" must be enabled to support Authorization',
  });
  return {
    observedGeneration: object.metadata.generation,
    address: { name: "http", url: parts.addresses.broker({ namespace, name }) },
    deadLetterSinkUri: deadLetterSinkUri(broker, { store: parts.store, conditions }),
    conditions: conditions.list(),
  };
}

function deadLetterSinkUri(
  broker: Broker,
  { store, conditions }: { store: Store; conditions: Conditions },
): string | undefined {
  const sink = broker.spec?.delivery?.deadLetterSink;
  if (sink === undefined) {
    conditions.markTrue("DeadLetterSinkResolved", NO_SINK);
    return undefined;
  }
  const resolution = resolveDestination(sink, {
    namespace: broker.metadata.namespace ?? "",
    lookup: (kind, key) => store.get(kind, key),
  });
  if (resolution.kind === "unresolved") {
    conditions.markFalse("DeadLetterSinkResolved", { reason: SINK_UNRESOLVED, message: resolution.message });
    return undefined;
  }
  conditions.markTrue("DeadLetterSinkResolved");
  return resolution.target.uri;
}
