/**
 * Takes delayed events whose moment has come into their broker's event stream, for every broker of the route
 * table. All movers of a broker, in any number of processes, share one durable consumer.
 *
 * M1  an event is stored in the event stream before the copy that waited is deleted and acked; in between, a
 *     second move is refused there by its message id.
 * M2  moves in flight per broker never exceed `movesMax`.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Clock } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import type { Event } from "../event/event.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { BrokerRoute } from "../routes/route.ts";
import type { RouteTable } from "../routes/table.ts";
import { removeDue } from "../stream/delayed.ts";
import type { EventStore } from "../stream/event-store.ts";
import { type Delivery, Puller } from "../stream/puller.ts";
import { decodeStored } from "../stream/stored-event.ts";
import { delayedStream, moverConsumer } from "../stream/subjects.ts";
import type { Settler } from "./settle.ts";

export interface MoverParts {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly clock: Clock;
  readonly log: Log;
  readonly table: RouteTable;
  readonly store: EventStore;
  readonly settler: Settler;
  /** A delayed event has entered its broker. */
  readonly onEntered: (broker: BrokerRoute, event: Event) => void;
}

const movesMax = 256;
const retryMs = 1000;

interface Lane {
  broker: BrokerRoute;
  readonly puller: Puller;
  readonly moving: Set<Promise<void>>;
}

export class Mover implements Closeable {
  readonly #parts: MoverParts;
  readonly #lanes = new Map<string, Lane>();
  readonly #subscription: { close(): void };

  constructor(parts: MoverParts) {
    this.#parts = parts;
    this.#subscription = parts.table.onChange(() => this.#sync());
    this.#sync();
  }

  /** The connection to NATS is back: pulls made before it are lost. */
  restart(): void {
    for (const { puller } of this.#lanes.values()) puller.restart();
  }

  /** Moves that are under way finish first. */
  async close(): Promise<void> {
    this.#subscription.close();
    const lanes = [...this.#lanes.values()];
    this.#lanes.clear();
    await Promise.all(lanes.map(({ puller }) => puller.close()));
    await Promise.all(lanes.flatMap(({ moving }) => [...moving]));
  }

  #sync(): void {
    const wanted = new Map(this.#parts.table.routes.brokers.map((broker) => [broker.uid, broker]));
    for (const [uid, { puller }] of this.#lanes) {
      if (wanted.has(uid)) continue;
      this.#lanes.delete(uid);
      void puller.close();
    }
    for (const [uid, broker] of wanted) {
      const lane = this.#lanes.get(uid);
      if (lane === undefined) this.#lanes.set(uid, this.#open(broker));
      else lane.broker = broker;
    }
  }

  #open(broker: BrokerRoute): Lane {
    const { nc, clock, log } = this.#parts;
    const moving = new Set<Promise<void>>();
    const stream = delayedStream(broker);
    const puller: Puller = new Puller({
      nc,
      clock,
      stream,
      consumer: moverConsumer,
      wants: (asked) => movesMax - moving.size - asked,
      onDelivery: (delivery) => {
        const move = this.#move(lane.broker, delivery).finally(() => {
          moving.delete(move);
          puller.refill();
        });
        moving.add(move);
      },
      onTrouble: (description) => log.debug({ stage: "stream", stream, description }, "pull interrupted"),
    });
    const lane: Lane = { broker, puller, moving };
    return lane;
  }

  /** M1. Never rejects: what goes wrong is tried again. */
  async #move(broker: BrokerRoute, delivery: Delivery): Promise<void> {
    const { store, jsm, settler, log } = this.#parts;
    try {
      const { duplicate } = await store.enter(broker, delivery);
      await removeDue(jsm, broker, delivery.sequence);
      settler.moved(delivery);
      if (!duplicate) this.#announce(broker, delivery);
    } catch (error) {
      log.warn(
        { stage: "dispatch", broker: `${broker.namespace}/${broker.name}`, error: messageOf(error) },
        "a delayed event could not enter its broker; trying again",
      );
      settler.giveBack(delivery, retryMs);
    }
  }

  #announce(broker: BrokerRoute, delivery: Delivery): void {
    let event: Event;
    try {
      event = decodeStored(delivery);
    } catch (error) {
      // What cannot be read is known to nobody yet; its triggers bury it.
      if (error instanceof MeshError) return;
      throw error;
    }
    this.#parts.onEntered(broker, event);
  }
}
