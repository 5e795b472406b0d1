/**
 * Pulls deliveries of one consumer, exactly as many as its owner wants: the window is refilled on every
 * completion, never by waiting for a batch (DESIGN §5).
 *
 * L1  `asked` counts deliveries requested and not yet arrived; asked + in the owner's hands ≤ what it wants.
 * L2  a pull that ends early says how many it still owed; a lost answer is noticed by missing heartbeats and
 *     then every pull is forgotten and asked again on a fresh inbox (JetStream redelivers what got lost).
 *     A single pull that is lost beside others that live is forgotten once it must have expired. With hundreds of
 *     pullers it takes longer: signs of life are rarer then, lest they be all the mesh does at rest.
 * L3  nothing thrown here reaches the NATS reader.
 */
import { createInbox, type Msg, type NatsConnection, nanos, type Subscription } from "@nats-io/nats-core";
import { type Clock, everyTogether, type Timer } from "../clock.ts";
import type { Closeable } from "../lifecycle.ts";
import type { HeaderBlock } from "../nats/header-block.ts";
import { headerBlockOf, replyOf } from "../nats/raw.ts";
import { type AckSubject, parseAckSubject } from "./ack-subject.ts";
import { type Outbox, outboxOf } from "./outbox.ts";
import { pullSubject } from "./subjects.ts";

/** One delivery of a stored message to this consumer. */
export interface Delivery extends AckSubject {
  /** Where it is settled. */
  readonly replySubject: string;
  readonly headers: HeaderBlock;
  readonly data: Uint8Array;
  /** Where its settlement goes out. */
  readonly outbox: Outbox;
}

/** How long a pull lives, and how often the server says that it does: what notices loss soon costs more at rest. */
export interface Pace {
  readonly expiresMs: number;
  readonly heartbeatMs: number;
}

/** For what is always under way, of so many pullers. */
export function busyPace(pullers: number): Pace {
  const heartbeatMs = Math.min(heartbeatMsMax, Math.max(heartbeatMsMin, pullers * msPerHeartbeat));
  return { expiresMs: 6 * heartbeatMs, heartbeatMs };
}

const heartbeatMsMin = 5_000;
/** Loss is noticed after two of them, well before a mesh that hears nothing says that it is not ready. */
const heartbeatMsMax = 9_000;
/** All busy pullers of a connection together hear so often from the server. */
const msPerHeartbeat = 20;
/** For what hardly ever comes. */
export const seldom: Pace = { expiresMs: 120_000, heartbeatMs: 30_000 };
const silenceGraceMs = 1_000;
const retryMs = 250;
const monitorMs = 1000;
/** How late the end of a pull that expired may be heard. */
const expiryLagMs = 2000;
/** Ask again once this share of the window is free; smaller batches would only cost round trips. */
const refillShare = 4;
const busyPullers = new WeakMap<NatsConnection, number>();

export interface PullerOptions {
  readonly nc: NatsConnection;
  readonly clock: Clock;
  readonly stream: string;
  readonly consumer: string;
  readonly pace?: Pace;
  /** How many more deliveries the owner can take now, besides those already asked for. */
  readonly wants: (asked: number) => number;
  /** Must not throw. */
  readonly onDelivery: (delivery: Delivery) => void;
  /** The server says why it does not deliver (consumer gone, no leader, …); the puller keeps trying. */
  readonly onTrouble: (description: string) => void;
  /** Every pull was forgotten (L2): deliveries may have been lost on their way. Must not throw. */
  readonly onRenewed?: () => void;
}

export class Puller implements Closeable {
  readonly #options: PullerOptions;
  readonly #outbox: Outbox;
  readonly #subject: string;
  readonly #monitor: Timer;
  /** Of the slowest pull that may be under way. */
  #pace: Pace;
  #inbox = "";
  #subscription: Subscription | undefined;
  #asked = 0;
  #pulls = 0;
  #lastHeardMs: number;
  #retry: Timer | undefined;
  /** Since when an answer is waited for: a delivery or a sign that the pull is alive. */
  #waitingSinceMs: number | undefined;
  /** How many deliveries were asked for, by the monitoring period in which they were. */
  readonly #askedIn = new Map<number, number>();
  #closed = false;

  constructor(options: PullerOptions) {
    this.#options = options;
    this.#outbox = outboxOf(options.nc);
    this.#count(1);
    this.#pace = this.#paceNow();
    this.#subject = pullSubject(options.stream, options.consumer);
    this.#lastHeardMs = options.clock.monotonic();
    this.#monitor = everyTogether(options.clock, monitorMs, () => this.#monitorPulls());
    this.#renew();
    this.refill();
  }

  /** Deliveries requested and not yet arrived. */
  get asked(): number {
    return this.#asked;
  }

  /** How long the server has owed an answer; 0 while nothing is asked of it. */
  get silentMs(): number {
    if (this.#waitingSinceMs === undefined || (this.#asked === 0 && this.#retry === undefined)) return 0;
    return this.#options.clock.monotonic() - this.#waitingSinceMs;
  }

  /** Call whenever the owner can take more. Cheap; asks only when worth a round trip. */
  refill(): void {
    if (this.#closed || this.#retry !== undefined) return;
    const free = this.#options.wants(this.#asked);
    if (free <= 0) return;
    if (this.#asked > 0 && free < Math.max(1, Math.floor((free + this.#asked) / refillShare))) return;
    this.#ask(free);
  }

  /** The connection is back: whatever was asked before is lost. */
  restart(): void {
    if (this.#closed) return;
    this.#renew();
    this.#options.onRenewed?.();
    this.refill();
  }

  async close(): Promise<void> {
    if (!this.#closed) this.#count(-1);
    this.#closed = true;
    this.#monitor.cancel();
    this.#retry?.cancel();
    this.#subscription?.unsubscribe();
  }

  #ask(batch: number): void {
    const { clock } = this.#options;
    const now = clock.monotonic();
    if (this.#asked === 0) this.#lastHeardMs = now;
    this.#waitingSinceMs ??= now;
    this.#asked += batch;
    const period = Math.floor(now / monitorMs);
    this.#askedIn.set(period, (this.#askedIn.get(period) ?? 0) + batch);
    this.#pace = slowerOf(this.#pace, this.#paceNow());
    const { expiresMs, heartbeatMs } = this.#pace;
    const request = { batch, expires: nanos(expiresMs), idle_heartbeat: nanos(heartbeatMs) };
    // On a closed connection nothing is asked; whoever closed it closes this puller too.
    this.#outbox.send(this.#subject, JSON.stringify(request), { reply: `${this.#inbox}.${this.#pulls++}` });
  }

  #paceNow(): Pace {
    return this.#options.pace ?? busyPace(busyPullers.get(this.#options.nc) ?? 0);
  }

  #count(more: number): void {
    const { nc, pace } = this.#options;
    if (pace === undefined) busyPullers.set(nc, (busyPullers.get(nc) ?? 0) + more);
  }

  #onMessage(msg: Msg): void {
    if (this.#closed) return;
    this.#lastHeardMs = this.#options.clock.monotonic();
    const delivery = readDelivery(msg, this.#outbox);
    if (delivery === undefined) {
      this.#onStatus(msg);
      return;
    }
    this.#asked = Math.max(0, this.#asked - 1);
    this.#noteAnswer();
    this.#options.onDelivery(delivery);
    // What was too little to ask for may be worth it now that less is on its way.
    this.refill();
  }

  /** Sheet nats-jetstream §3.2, the status table. */
  #onStatus(msg: Msg): void {
    const code = msg.headers?.code ?? 0;
    if (code === 100) {
      this.#noteAnswer();
      return;
    }
    if (code === 503) {
      this.#pause("no JetStream leader answers for the consumer");
      return;
    }
    const owed = Number(msg.headers?.get("Nats-Pending-Messages") || 0);
    this.#asked = Math.max(0, this.#asked - owed);
    if (code === 408) {
      this.#noteAnswer();
      this.refill();
    } else this.#pause(msg.headers?.description ?? `status ${code}`);
  }

  #pause(description: string): void {
    this.#options.onTrouble(description);
    this.#retry ??= this.#options.clock.after(retryMs, () => {
      this.#retry = undefined;
      this.restart();
    });
  }

  #noteAnswer(): void {
    this.#waitingSinceMs = this.#asked === 0 ? undefined : this.#lastHeardMs;
  }

  /** L2. */
  #monitorPulls(): void {
    const now = this.#options.clock.monotonic();
    const { expiresMs, heartbeatMs } = this.#pace;
    if (this.#asked > 0 && now - this.#lastHeardMs >= 2 * heartbeatMs + silenceGraceMs) {
      this.restart();
      return;
    }
    const oldest = Math.floor((now - expiresMs - expiryLagMs) / monitorMs);
    let alive = 0;
    for (const [period, asked] of this.#askedIn) {
      if (period < oldest) this.#askedIn.delete(period);
      else alive += asked;
    }
    if (this.#asked <= alive) return;
    this.#asked = alive;
    this.refill();
  }

  #renew(): void {
    this.#subscription?.unsubscribe();
    this.#asked = 0;
    this.#inbox = createInbox();
    this.#subscription = this.#options.nc.subscribe(`${this.#inbox}.*`, {
      callback: (error, msg) => {
        if (error === null) this.#onMessage(msg);
      },
    });
    // Deliveries carry the event's subject, so they reach the inbox subscription by its sid alone.
  }
}

function slowerOf(one: Pace, other: Pace): Pace {
  return one.heartbeatMs < other.heartbeatMs ? other : one;
}

/** undefined when the message is no delivery but says something about a pull. */
function readDelivery(msg: Msg, outbox: Outbox): Delivery | undefined {
  const replySubject = replyOf(msg);
  const ack = parseAckSubject(replySubject);
  if (ack === undefined) return undefined;
  const { deliveryCount, sequence, storedMs, pending } = ack;
  const headers = headerBlockOf(msg);
  return { replySubject, headers, data: msg.data, deliveryCount, sequence, storedMs, pending, outbox };
}
