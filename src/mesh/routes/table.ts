/**
 * The route table: what the control plane last wrote, indexed for the data plane's look-ups.
 *
 * T1  a set of routes replaces the one before as a whole; readers never see half of it.
 * T2  whether anyone wants an event costs as much as the triggers that might, not as all of them.
 * T3  a thousand triggers arrive one by one: indexes are built when the first event asks, not at each change.
 */
import type { Event } from "../event/event.ts";
import { createRouter, type Router } from "../filter/router.ts";
import { compileDataMatch } from "../filter/wanted.ts";
import type { BrokerRoute, Routes, TriggerRoute } from "./route.ts";

interface BrokerEntry {
  readonly route: BrokerRoute;
  readonly triggers: readonly TriggerRoute[];
  /** T3. */
  index: TriggerIndex | undefined;
}

interface TriggerIndex {
  readonly router: Router;
  /** The triggers that also look into the data, found by their attributes first. */
  readonly dataRouter: Router;
  readonly dataMatches: ReadonlyMap<string, (event: Event) => boolean>;
}

export class RouteTable {
  #brokers = new Map<string, BrokerEntry>();
  #routes: Routes = { brokers: [], triggers: [] };
  #requestReplies: ReadonlyMap<string, TriggerRoute> | undefined;
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
      const kept = previous !== undefined && sameTriggers(previous.triggers, triggers);
      brokers.set(path, { route, triggers, index: kept ? previous.index : undefined });
    }
    this.#routes = routes;
    this.#brokers = brokers;
    this.#requestReplies = undefined;
    for (const listener of this.#listeners) listener();
  }

  /** `path` is `<namespace>/<broker>`. */
  broker(path: string): BrokerRoute | undefined {
    return this.#brokers.get(path)?.route;
  }

  /** Whether any trigger of the broker wants the event. */
  isWanted(path: string, event: Event): boolean {
    const entry = this.#brokers.get(path);
    if (entry === undefined) return false;
    entry.index ??= indexOf(entry.triggers);
    const { router, dataRouter, dataMatches } = entry.index;
    if (router.matchesAny(event.attributes)) return true;
    if (dataMatches.size === 0) return false;
    return dataRouter.matching(event.attributes).some((uid) => dataMatches.get(uid)?.(event) ?? false);
  }

  /** The triggers of the broker that want the event. */
  wantedBy(path: string, event: Event): readonly TriggerRoute[] {
    const entry = this.#brokers.get(path);
    if (entry === undefined) return [];
    entry.index ??= indexOf(entry.triggers);
    const { router, dataRouter, dataMatches } = entry.index;
    const uids = new Set([
      ...router.matching(event.attributes),
      ...dataRouter.matching(event.attributes).filter((uid) => dataMatches.get(uid)?.(event) ?? false),
    ]);
    return entry.triggers.filter(({ uid }) => uids.has(uid));
  }

  /** The trigger that serves a RequestReply; `path` is `<namespace>/<name>`. */
  requestReply(path: string): TriggerRoute | undefined {
    // T3.
    this.#requestReplies ??= new Map(
      this.#routes.triggers.flatMap((trigger) =>
        trigger.requestReply === undefined
          ? []
          : [[`${trigger.namespace}/${trigger.requestReply.name}`, trigger]],
      ),
    );
    return this.#requestReplies.get(path);
  }

  /** Calls back after every `set`; the callback must not throw. */
  onChange(listener: () => void): { close(): void } {
    this.#listeners.add(listener);
    return { close: () => this.#listeners.delete(listener) };
  }
}

function indexOf(triggers: readonly TriggerRoute[]): TriggerIndex {
  const [withData, without] = partition(triggers, ({ dataFilter }) => dataFilter !== undefined);
  const entriesOf = (chosen: readonly TriggerRoute[]) =>
    chosen.map(({ uid, filters }) => ({ id: uid, filters }));
  return {
    router: createRouter(entriesOf(without)),
    dataRouter: createRouter(entriesOf(withData)),
    dataMatches: new Map(
      withData.map(({ uid, dataFilter }) => [uid, compileDataMatch(dataFilter ?? "")] as const),
    ),
  };
}

function partition<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}

/** A route is replaced, never changed: the same object is the same route. */
function sameTriggers(a: readonly TriggerRoute[], b: readonly TriggerRoute[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}
