/**
 * What the reconcilers ask of the data plane; its implementation lives with the streams. All of it is idempotent.
 *
 * D1  a trigger's consumer exists before its route is published, and goes after its route went.
 * D2  a broker's streams exist before its route is published, and go, with the consumers of its triggers, after
 *     its route went.
 * D3  a route is served once it was published and `routesServed` resolved.
 */
import type { BrokerRoute, Routes, TriggerRoute } from "../routes/route.ts";

export interface BrokerKey {
  readonly namespace: string;
  readonly name: string;
}

export interface TriggerIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly broker: string;
}

export interface DataPlane {
  /** Resolves when events for the broker can be stored. */
  ensureBroker(route: BrokerRoute): Promise<void>;
  /** Deletes the broker's streams; resolves when there are none. */
  removeBroker(key: BrokerKey): Promise<void>;
  /** Makes or updates the trigger's durable consumer; resolves when no later event can pass it by. */
  ensureTrigger(route: TriggerRoute): Promise<void>;
  removeTrigger(trigger: TriggerIdentity): Promise<void>;
  /** The whole table, each time anything in it changed. */
  setRoutes(routes: Routes): void;
  /**
   * Resolves when the processes that serve the routes with this one have what was set, a stuck one not waited for.
   * Rejects when it cannot reach them.
   */
  routesServed(): Promise<void>;
  /**
   * Deletes what belongs to no broker or trigger that exists; called once after a start. `alive` is asked again
   * before each deletion: what is made meanwhile must not fall to an earlier answer.
   */
  removeOrphans(alive: () => Alive): Promise<void>;
}

export interface Alive {
  readonly brokers: readonly BrokerKey[];
  readonly triggers: readonly TriggerIdentity[];
}
