/**
 * What an ordered trigger's worker does before it starts an attempt: owns the lease, keeps what waits in hand,
 * and lets key-order.ts decide what may start.
 *
 * O1  only the holder of the trigger's lease pulls and starts; who loses it gives everything back.
 * O2  each term begins by counting what the consumer has out, and nothing starts before that is here (K3).
 * O3  a delivery that others wait for and that never comes again (trimmed, rewound over) is found and forgotten.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Clock, Timer } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { Lease, Leases } from "../stream/lease.ts";
import type { Delivery } from "../stream/puller.ts";
import { triggerLease } from "../stream/subjects.ts";
import { isStored, readUnacked } from "../stream/unacked.ts";
import { heldMax, KeyOrder } from "./key-order.ts";
import type { Settled } from "./settle.ts";

export interface OrderedLineParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly jsm: JetStreamManager;
  readonly leases: Leases;
  readonly ackWaitMs: number;
  readonly stream: string;
  readonly triggerUid: string;
  /** A term begins: pull. None of these may throw. */
  readonly onOpen: () => void;
  /** The term is over: stop pulling and end what runs. */
  readonly onShut: () => void;
  /** Something may start now, or more may be asked for. */
  readonly onReady: () => void;
  /** Whether the trigger can be delivered to at all now. */
  readonly isPulling: () => boolean;
  /** A delivery leaves the hand without an attempt. */
  readonly giveBack: (delivery: Delivery, afterMs: number) => void;
  /** A delivery is not needed: another copy of it is in hand. */
  readonly letGo: (delivery: Delivery) => void;
}

const tickMs = 250;
/** Every so many ticks what is overdue is looked for. */
const overdueTicks = 20;
const overdueGraceMs = 5000;
const overdueChecksMax = 50;
/** Un-acked events are back after one ack wait; after this many, what is still away is none of ours. */
const returningAckWaits = 2;

export class OrderedLine implements Closeable {
  readonly #parts: OrderedLineParts;
  readonly #lease: Lease;
  readonly #ticks: Timer;
  readonly #held = new Map<number, Delivery>();
  /** One term of ownership. */
  #order: KeyOrder | undefined;
  #pullingMs = 0;
  #tickCount = 0;
  #mayProbe = false;
  #asking = false;
  #closed = false;

  constructor(parts: OrderedLineParts) {
    this.#parts = parts;
    this.#ticks = parts.clock.every(tickMs, () => this.#tick());
    this.#lease = parts.leases.hold(triggerLease(parts.triggerUid), {
      onGain: () => this.#begin(),
      onLoss: () => this.#end(),
    });
  }

  /** Deliveries waiting in hand. */
  get held(): Iterable<Delivery> {
    return this.#held.values();
  }

  /** How many deliveries are worth asking for while `places` attempts could start. */
  room(places: number): number {
    const order = this.#order;
    if (order === undefined || !this.#lease.isHeld) return 0;
    if (!order.returning) return places - order.ready;
    if (order.held < heldMax) return places;
    return this.#mayProbe ? Math.min(places, order.missing) : 0;
  }

  /** Takes a delivery in hand, or gives it back. */
  add(delivery: Delivery, { key, fits }: { key: string; fits: boolean }): void {
    const { clock, giveBack, letGo } = this.#parts;
    const { sequence } = delivery;
    if (this.#order === undefined) {
      giveBack(delivery, 0);
      return;
    }
    const arrival = this.#order.arrive({ sequence, key, fits, nowMs: clock.now() });
    switch (arrival.kind) {
      case "held":
        this.#held.set(sequence, delivery);
        if (arrival.instead !== undefined) this.#giveBackHeld(arrival.instead);
        return;
      case "givenBack":
        giveBack(delivery, arrival.afterMs);
        return;
      case "duplicate":
        letGo(delivery);
    }
  }

  #giveBackHeld({ sequence, afterMs }: { sequence: number; afterMs: number }): void {
    const delivery = this.#held.get(sequence);
    this.#held.delete(sequence);
    if (delivery !== undefined) this.#parts.giveBack(delivery, afterMs);
  }

  /** The next delivery that may start; whoever takes it must tell `left`. O1. */
  next(): Delivery | undefined {
    if (!this.#lease.isHeld) return undefined;
    const sequence = this.#order?.next(this.#parts.clock.now());
    if (sequence === undefined) return undefined;
    const delivery = this.#held.get(sequence);
    this.#held.delete(sequence);
    return delivery;
  }

  /** An attempt is over. */
  left({ sequence }: Delivery, settled: Settled): void {
    const nowMs = this.#parts.clock.now();
    if (settled.kind === "acked") this.#order?.settled(sequence, nowMs);
    else this.#order?.backOff(sequence, { afterMs: settled.afterMs, nowMs });
  }

  /** Pulls were forgotten: what was on its way is lost until its ack wait is over. */
  suspect(): void {
    const order = this.#order;
    if (order === undefined) return;
    order.suspect();
    this.#pullingMs = 0;
    this.#inBackground(() => this.#recount(order));
  }

  /** Nothing starts any more, what waits is given back; the lease stays until `close`. */
  stop(): void {
    this.#closed = true;
    this.#ticks.cancel();
    this.#shut();
  }

  async close(): Promise<void> {
    this.stop();
    await this.#lease.close();
  }

  #begin(): void {
    this.#order = new KeyOrder();
    this.#pullingMs = 0;
    const order = this.#order;
    background(this.#open(order), (error) =>
      this.#parts.log.error({ stage: "dispatch", error }, "a term failed"),
    );
  }

  /** O2: counted before the first pull, so that nothing counted is on its way. */
  async #open(order: KeyOrder): Promise<void> {
    while (this.#isCurrent(order)) {
      try {
        if (await this.#count(order)) break;
      } catch (error) {
        this.#parts.log.debug(
          { stage: "dispatch", error: messageOf(error) },
          "a consumer could not be counted",
        );
      }
      await this.#parts.clock.sleep(tickMs);
    }
    if (this.#isCurrent(order)) this.#parts.onOpen();
  }

  #end(): void {
    if (this.#order === undefined) return;
    this.#parts.log.info(
      { stage: "dispatch", trigger: this.#parts.triggerUid },
      "another process delivers the ordered trigger now, or NATS is out of reach",
    );
    this.#shut();
    this.#parts.onShut();
  }

  #shut(): void {
    this.#order = undefined;
    const held = [...this.#held.values()];
    this.#held.clear();
    for (const delivery of held) this.#parts.giveBack(delivery, 0);
  }

  #tick(): void {
    const order = this.#order;
    if (order === undefined) return;
    this.#tickCount++;
    const isPulling = this.#parts.isPulling();
    if (order.returning) {
      if (isPulling) this.#pullingMs += tickMs;
      this.#inBackground(() => this.#recount(order));
      this.#mayProbe = true;
      this.#parts.onReady();
      this.#mayProbe = false;
    } else if (isPulling && this.#tickCount % overdueTicks === 0) {
      this.#inBackground(() => this.#lookForOverdue(order));
    }
  }

  async #recount(order: KeyOrder): Promise<void> {
    if (this.#pullingMs >= returningAckWaits * this.#parts.ackWaitMs) order.endReturning();
    else await this.#count(order);
    if (this.#isCurrent(order) && !order.returning) this.#parts.onReady();
  }

  async #count(order: KeyOrder): Promise<boolean> {
    const unacked = await readUnacked(this.#parts.jsm, this.#parts);
    if (unacked === undefined) return false;
    if (this.#isCurrent(order)) order.recount({ unacked: unacked.count, upTo: unacked.upTo });
    return true;
  }

  /** O3. */
  async #lookForOverdue(order: KeyOrder): Promise<void> {
    const { clock, jsm, stream } = this.#parts;
    const overdue = order.overdue({ nowMs: clock.now(), graceMs: overdueGraceMs, max: overdueChecksMax });
    if (overdue.length === 0) return;
    const unacked = await readUnacked(jsm, this.#parts);
    if (unacked === undefined) return;
    for (const sequence of overdue) {
      const willCome = sequence > unacked.floor && (await isStored(jsm, stream, sequence));
      if (willCome) order.expectAgain(sequence, clock.now());
      else order.forget(sequence);
    }
    if (this.#isCurrent(order)) this.#parts.onReady();
  }

  #isCurrent(order: KeyOrder): boolean {
    return this.#order === order && !this.#closed;
  }

  /** One question at a time; what fails is asked again with the next tick. */
  #inBackground(work: () => Promise<void>): void {
    if (this.#asking) return;
    this.#asking = true;
    const done = work().finally(() => {
      this.#asking = false;
    });
    background(done, (error) =>
      this.#parts.log.debug(
        { stage: "dispatch", error: messageOf(error) },
        "an ordered trigger's check failed",
      ),
    );
  }
}
