/** A worker for every trigger that has a broker and a part for this process, kept in step with the route table. */
import type { Closeable } from "../lifecycle.ts";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import { type Portion, partOf } from "./portion.ts";
import { Worker, type WorkerParts } from "./worker.ts";

export interface DispatcherParts extends WorkerParts {
  /** How long `close` lets attempts in flight finish. */
  readonly drainMs: number;
  /** What of the dispatch is this process's. */
  readonly portion: Portion;
}

/** Pulls are answered every few seconds, or asked again: after this, whatever the reason, nobody is served. */
export const pullSilenceMs = 20_000;

export class Dispatcher implements Closeable {
  readonly #parts: DispatcherParts;
  readonly #workers = new Map<string, Worker>();
  /** A route that did not change has the part it had. */
  readonly #partsByRoute = new WeakMap<TriggerRoute, { readonly part: TriggerRoute | undefined }>();
  readonly #closings = new Set<Promise<void>>();
  readonly #subscriptions: { close(): void }[];
  #closed = false;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.#subscriptions = [
      parts.table.onChange(() => this.#sync()),
      parts.capacity.onCapacity(() => this.#refillFunctions()),
    ];
    this.#sync();
  }

  /** Attempts running for a trigger now. */
  inFlight(triggerUid: string): number {
    return this.#workers.get(triggerUid)?.inFlight ?? 0;
  }

  /** Attempts running now, by trigger uid; triggers without any are left out. */
  allInFlight(): Record<string, number> {
    return Object.fromEntries(
      [...this.#workers].flatMap(([uid, { inFlight }]) => (inFlight > 0 ? [[uid, inFlight] as const] : [])),
    );
  }

  /** Why events are not delivered, for people: a consumer that has owed an answer for longer than `pullSilenceMs`. */
  trouble(): string | undefined {
    for (const { pullSilentMs, route } of this.#workers.values()) {
      if (pullSilentMs > pullSilenceMs) {
        return `the consumer of trigger ${route.namespace}/${route.name} does not answer`;
      }
    }
    return undefined;
  }

  /** The connection to NATS is back: pulls made before it are lost. */
  restart(): void {
    for (const worker of this.#workers.values()) worker.restart();
  }

  /** Stops pulling at once, lets attempts finish until the drain deadline, gives the rest back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const subscription of this.#subscriptions) subscription.close();
    for (const uid of [...this.#workers.keys()]) this.#retire(uid);
    await Promise.all(this.#closings);
  }

  #sync(): void {
    if (this.#closed) return;
    const { table } = this.#parts;
    const wanted = new Map<string, { broker: BrokerRoute; trigger: TriggerRoute }>();
    for (const trigger of table.routes.triggers) {
      const broker = table.broker(`${trigger.namespace}/${trigger.broker}`);
      const part = broker === undefined ? undefined : this.#partOf(trigger);
      if (broker !== undefined && part !== undefined) wanted.set(trigger.uid, { broker, trigger: part });
    }
    for (const [uid, { route, broker }] of this.#workers) {
      // A rewound trigger has a new consumer: what its worker knows of the old one means nothing there. One that
      // is to be ordered from now on, or no longer, needs a worker of the other kind.
      // So does one whose broker was made anew.
      const next = wanted.get(uid);
      if (
        next?.broker.uid !== broker.uid ||
        next.trigger.rewind?.at !== route.rewind?.at ||
        next.trigger.order !== route.order
      ) {
        this.#retire(uid);
      }
    }
    for (const [uid, { broker, trigger }] of wanted) {
      const worker = this.#workers.get(uid);
      if (worker === undefined) this.#workers.set(uid, new Worker(this.#parts, broker, trigger));
      else if (worker.route !== trigger || worker.broker !== broker) worker.update(broker, trigger);
    }
  }

  #partOf(route: TriggerRoute): TriggerRoute | undefined {
    const known = this.#partsByRoute.get(route);
    if (known !== undefined) return known.part;
    const part = partOf(route, this.#parts.portion);
    this.#partsByRoute.set(route, { part });
    return part;
  }

  #retire(uid: string): void {
    const worker = this.#workers.get(uid);
    if (worker === undefined) return;
    this.#workers.delete(uid);
    const closing = worker.close(this.#parts.drainMs).finally(() => this.#closings.delete(closing));
    this.#closings.add(closing);
  }

  #refillFunctions(): void {
    for (const worker of this.#workers.values()) {
      if (worker.route.subscriber?.kind === "function") worker.refill();
    }
  }
}
