/**
 * The route table while it is being written: reconcilers set single routes, each change publishes the whole. A
 * route is set only after the data plane has ensured it, so being here means being served by this process.
 */
import { sameJson } from "../resources/json.ts";
import type { BrokerRoute, Routes, TriggerRoute } from "../routes/route.ts";
import { formatKey, type ReconcileKey } from "./controller.ts";

export interface RouteBoardOptions {
  readonly publish: (routes: Routes) => void;
  /** A broker's route appeared, changed or went: its triggers must be looked at again. */
  readonly onBrokerChange: (broker: ReconcileKey) => void;
}

export class RouteBoard {
  readonly #brokers = new Map<string, BrokerRoute>();
  readonly #triggers = new Map<string, TriggerRoute>();
  readonly #publish: (routes: Routes) => void;
  readonly #onBrokerChange: (broker: ReconcileKey) => void;

  constructor({ publish, onBrokerChange }: RouteBoardOptions) {
    this.#publish = publish;
    this.#onBrokerChange = onBrokerChange;
  }

  broker(key: ReconcileKey): BrokerRoute | undefined {
    return this.#brokers.get(formatKey(key));
  }

  trigger(key: ReconcileKey): TriggerRoute | undefined {
    return this.#triggers.get(formatKey(key));
  }

  setBroker(route: BrokerRoute): void {
    if (sameJson(this.broker(route), route)) return;
    this.#brokers.set(formatKey(route), route);
    this.#publishAll();
    this.#onBrokerChange(route);
  }

  /** Takes the routes of the broker's triggers along: there is nothing left to deliver. */
  removeBroker(key: ReconcileKey): void {
    if (!this.#brokers.delete(formatKey(key))) return;
    for (const [triggerKey, { namespace, broker }] of this.#triggers) {
      if (namespace === key.namespace && broker === key.name) this.#triggers.delete(triggerKey);
    }
    this.#publishAll();
    this.#onBrokerChange(key);
  }

  setTrigger(route: TriggerRoute): void {
    if (sameJson(this.trigger(route), route)) return;
    this.#triggers.set(formatKey(route), route);
    this.#publishAll();
  }

  removeTrigger(key: ReconcileKey): void {
    if (this.#triggers.delete(formatKey(key))) this.#publishAll();
  }

  #publishAll(): void {
    this.#publish({ brokers: [...this.#brokers.values()], triggers: [...this.#triggers.values()] });
  }
}
