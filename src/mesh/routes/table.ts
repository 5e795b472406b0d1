/**
 * The route table: what the control plane last wrote, indexed for the data plane's look-ups.
 *
 * T1  a set of routes replaces the one before as a whole; readers never see half of it.
 * T2  whether anyone wants an event costs as much as the triggers that might, not as all of them.
 */
import type { Attributes } from "../event/event.ts";
import { createRouter, type Router } from "../filter/router.ts";
import type { BrokerRoute, Routes, TriggerRoute } from "./route.ts";

interface BrokerEntry {
  readonly route: BrokerRoute;
  readonly triggers: readonly TriggerRoute[];
  readonly router: Router;
}

export class RouteTable {
  #brokers = new Map<string, BrokerEntry>();
  #routes: Routes = { brokers: [], triggers: [] };
  readonly #listeners = new Set<() => void>();

  get routes(): Routes {
    return this.#routes;
  }

  set(routes: Routes): void {
    const byBroker = Map.groupBy(routes.triggers, (trigger) => `${trigger.namespace}/${trigger.broker}`);
    const brokers = new Map<string, BrokerEntry>();
    for (const route of routes.brokers) {
      const path = `${route.namespace}/${route.name}`;
      const triggers = byBroker.get(path) ?? [];
      const previous = this.#brokers.get(path);
      const router = sameFilters(previous?.triggers, triggers) ? previous?.router : undefined;
      brokers.set(path, { route, triggers, router: router ?? createRouter(triggers.map(toEntry)) });
    }
    this.#routes = routes;
    this.#brokers = brokers;
    for (const listener of this.#listeners) listener();
  }

  /** `path` is `<namespace>/<broker>`. */
  broker(path: string): BrokerRoute | undefined {
    return this.#brokers.get(path)?.route;
  }

  /** Whether any trigger of the broker wants an event with these attributes. */
  isWanted(path: string, attributes: Attributes): boolean {
    return this.#brokers.get(path)?.router.matchesAny(attributes) ?? false;
  }

  /** Calls back after every `set`; the callback must not throw. */
  onChange(listener: () => void): { close(): void } {
    this.#listeners.add(listener);
    return { close: () => this.#listeners.delete(listener) };
  }
}

function toEntry(trigger: TriggerRoute): { id: string; filters: TriggerRoute["filters"] } {
  return { id: trigger.uid, filters: trigger.filters };
}

/** Reconcilers hand out the same filters array while a trigger's spec does not change. */
function sameFilters(a: readonly TriggerRoute[] | undefined, b: readonly TriggerRoute[]): boolean {
  return (
    a !== undefined &&
    a.length === b.length &&
    a.every((trigger, i) => trigger.uid === b[i]?.uid && trigger.filters === b[i]?.filters)
  );
}
