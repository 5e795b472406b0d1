/**
 * The worker of one trigger: pulls what it may have in flight, makes attempts, settles verdicts.
 *
 * W1  attempts in flight never exceed the trigger's window; every completion refills it at once.
 * W2  an event in a back-off holds no place in the window.
 * W3  a function is only sent what it has room for; what waits, waits in JetStream.
 * W4  after `close` nothing is pulled; attempts in flight may finish until the deadline, the rest is given back.
 * W5  an event is attempted once at a time: what is delivered again meanwhile (its `working` got lost) is ignored.
 * W6  what is in hand, running or waiting, has its bytes taken from the budget all triggers share.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Clock, Timer } from "../clock.ts";
import { rfc3339 } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { attributesOf } from "../event/attributes.ts";
import type { Event } from "../event/event.ts";
import { removeHops } from "../event/hops.ts";
import { instantOf } from "../event/timestamp.ts";
import { compileWanted } from "../filter/wanted.ts";
import type { JournalReader } from "../journal/reader.ts";
import { background } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { decodeAddress } from "../reply/address.ts";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import type { RouteTable } from "../routes/table.ts";
import type { Leases } from "../stream/lease.ts";
import { isOutage } from "../stream/publish.ts";
import { type Delivery, Puller, seldom } from "../stream/puller.ts";
import { decodeStored, headersBeside } from "../stream/stored-event.ts";
import { consumerName, eventStream, redriveStream } from "../stream/subjects.ts";
import type { BudgetHolder, ByteBudget } from "./byte-budget.ts";
import type { CallContext, Caller, CallResult } from "./call.ts";
import type { Capacity } from "./capacity.ts";
import { afterAttempt, type Congestion, congestionSign, uncongested, windowOf } from "./congestion.ts";
import { redrivenFrom } from "./dead-letter.ts";
import { judge, type Verdict } from "./deliver.ts";
import { Histories } from "./histories.ts";
import { orderKey } from "./order-key.ts";
import { OrderedLine } from "./ordered-line.ts";
import {
  freshHistory,
  type History,
  historyOf,
  incarnationOf,
  type Parcel,
  type ParcelNames,
} from "./parcel.ts";
import type { Settled, Settler } from "./settle.ts";

export interface WorkerParts {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly leases: Leases;
  /** Shared by all workers of the process. */
  readonly budget: ByteBudget;
  /** The consumers' ack wait. */
  readonly ackWaitMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly caller: Caller;
  readonly capacity: Capacity;
  readonly settler: Settler;
  readonly journalReader: JournalReader;
  readonly isPassedOn: (headerName: string) => boolean;
  readonly random: () => number;
  readonly table: RouteTable;
}

/** A function that cannot be started is asked again after this. */
const noCapacityMs = 1000;
/** A redrive shares the window, but may wait in hand for a place in it: so many at once. */
const redriveShare = 10;
/** After a fault of ours the event comes back, not at once. */
const faultRetryMs = 5000;
/** NATS does not answer: the event comes back after this. */
const outageRetryMs = 1000;
/** No memory for it now: the event comes back after this. */
const noMemoryMs = 1000;
/** What a delivery takes besides its data. */
const deliveryOverheadBytes = 1024;
/** A back-off that ends within this is over: the server's timers and ours differ. */
const earlyMs = 20;

type Origin = "e" | "r";

export class Worker implements BudgetHolder {
  readonly #parts: WorkerParts;
  #aborter = new AbortController();
  /** By place. */
  readonly #inFlight = new Map<number, Delivery>();
  /** Arrived without a place in the window (it shrank, or a pause began), or a redrive: it shares the window. */
  readonly #waiting: Readonly<Record<Origin, Map<number, Delivery>>> = { e: new Map(), r: new Map() };
  /** Whose bytes are taken (W6). */
  readonly #inHand = new Set<Delivery>();
  readonly #histories = new Histories();
  /** While anything is in hand. */
  #heartbeat: Timer | undefined;
  /** Absent while another process is the active one of an ordered trigger. */
  #events: Puller | undefined;
  readonly #redrives: Puller;
  /** Of an ordered trigger. */
  readonly #line: OrderedLine | undefined;
  #congestion: Congestion = uncongested;
  #broker: BrokerRoute;
  #route: TriggerRoute;
  #wants: (event: Event) => boolean;
  /** Said to the sink besides the event, and to the subscriber. */
  readonly #sinkHeaders: readonly string[];
  readonly #subscriberHeaders: readonly string[];
  readonly #names: ParcelNames;
  #waitingForCapacity = 0;
  #closing = false;
  #onIdle: (() => void) | undefined;
  readonly #onWaiting = (waiting: boolean): void => {
    this.#waitingForCapacity += waiting ? 1 : -1;
  };

  constructor(parts: WorkerParts, broker: BrokerRoute, route: TriggerRoute) {
    this.#parts = parts;
    this.#broker = broker;
    this.#route = route;
    this.#wants = compileWanted(route);
    this.#sinkHeaders = ["kn-namespace", route.namespace];
    this.#subscriberHeaders = ["prefer", "reply", ...this.#sinkHeaders];
    this.#names = {
      broker: `${broker.namespace}/${broker.name}`,
      trigger: `${route.namespace}/${route.name}`,
    };
    this.#redrives = this.#puller(redriveStream(broker), "r");
    if (route.order === undefined) this.#events = this.#puller(eventStream(broker), "e");
    else this.#line = this.#orderedLine(eventStream(broker));
  }

  get route(): TriggerRoute {
    return this.#route;
  }

  get broker(): BrokerRoute {
    return this.#broker;
  }

  /** Attempts running now. */
  get inFlight(): number {
    return this.#inFlight.size - this.#waitingForCapacity;
  }

  /** How long the server has owed this worker an answer to a pull of events. */
  get pullSilentMs(): number {
    return this.#events?.silentMs ?? 0;
  }

  /** The trigger or its broker changed; what is in flight finishes under the old route. */
  update(broker: BrokerRoute, route: TriggerRoute): void {
    const { filters, dataFilter } = this.#route;
    if (route.filters !== filters || route.dataFilter !== dataFilter) this.#wants = compileWanted(route);
    const before = this.#route.subscriber;
    this.#broker = broker;
    this.#route = route;
    if (before !== route.subscriber || route.paused) this.#demand(before, 0);
    this.refill();
  }

  /** There may be room for more. */
  refill(): void {
    this.#startWaiting();
    this.#events?.refill();
    this.#redrives.refill();
  }

  /** The connection to NATS is back. */
  restart(): void {
    this.#events?.restart();
    this.#redrives.restart();
  }

  /** W4. Idempotent. */
  async close(drainMs: number): Promise<void> {
    this.#closing = true;
    this.#demand(this.#route.subscriber, 0);
    await Promise.all([this.#events?.close(), this.#redrives.close()]);
    this.#line?.stop();
    for (const waiting of [this.#waiting.e, this.#waiting.r]) {
      for (const delivery of waiting.values()) this.#giveBack(delivery, 0);
      waiting.clear();
    }
    if (this.#inFlight.size > 0 && drainMs > 0) {
      const idle = new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
      await Promise.race([idle, this.#parts.clock.sleep(drainMs)]);
    }
    if (this.#inFlight.size > 0) {
      const idle = new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
      this.#aborter.abort();
      await idle;
    }
    this.#heartbeat?.cancel();
    await this.#line?.close();
    this.#parts.budget.forget(this);
  }

  #orderedLine(stream: string): OrderedLine {
    return new OrderedLine({
      ...this.#parts,
      stream,
      triggerUid: this.#route.uid,
      onOpen: () => {
        this.#events = this.#puller(stream, "e");
        this.#redrives.refill();
      },
      onShut: () => this.#endTerm(),
      onReady: () => this.refill(),
      isPulling: () => this.#room() > 0,
      giveBack: (delivery, afterMs) => this.#giveBack(delivery, afterMs),
      letGo: (delivery) => this.#letGo(delivery),
    });
  }

  /** Another process may deliver the ordered events now: what runs here is ended and given back. */
  #endTerm(): void {
    const events = this.#events;
    this.#events = undefined;
    if (events !== undefined) background(events.close(), () => {});
    this.#aborter.abort();
    this.#aborter = new AbortController();
    this.#giveBackRedrives();
  }

  #puller(stream: string, origin: Origin): Puller {
    const { nc, clock, log } = this.#parts;
    return new Puller({
      nc,
      clock,
      stream,
      consumer: consumerName(this.#route.uid),
      wants: (asked) => this.#wantsMore(origin, asked),
      onDelivery: (delivery) => this.#onDelivery(delivery, origin),
      onTrouble: (description) =>
        log.debug({ stage: "stream", trigger: this.#route.name, stream, description }, "pull interrupted"),
      ...(origin === "e" ? { onRenewed: () => this.#line?.suspect() } : { pace: seldom }),
    });
  }

  #wantsMore(origin: Origin, asked: number): number {
    const more = (origin === "e" ? this.#eventRoom() : this.#redriveRoom()) - asked;
    return more > 0 && this.#parts.budget.mayPull(this) ? more : 0;
  }

  /** Attempts that could start now. W1. */
  #places(): number {
    const { subscriber, concurrency, paused } = this.#route;
    if (this.#closing || paused || subscriber === undefined) return 0;
    return windowOf(this.#congestion, concurrency) - this.#inFlight.size;
  }

  /** Attempts that could start now and be sent at once. W3. */
  #room(): number {
    const { subscriber } = this.#route;
    const places = this.#places();
    if (places <= 0 || subscriber?.kind !== "function") return places;
    return Math.min(places, this.#parts.capacity.slots(subscriber));
  }

  #eventRoom(): number {
    const room = this.#room() - this.#waiting.e.size;
    return this.#line === undefined ? room : this.#line.room(room);
  }

  #redriveRoom(): number {
    const { subscriber, concurrency, paused, order } = this.#route;
    if (this.#closing || paused || subscriber === undefined) return 0;
    // Redrives of an ordered trigger share the window of whoever is the active process.
    if (order !== undefined && this.#events === undefined) return 0;
    return Math.max(1, Math.floor(concurrency / redriveShare)) - this.#waiting.r.size;
  }

  #onDelivery(delivery: Delivery, origin: Origin): void {
    this.#demand(this.#route.subscriber, delivery.pending);
    const place = placeOf(delivery, origin);
    if (this.#inFlight.has(place)) return;
    const fits = this.#parts.budget.take(this, bytesOf(delivery));
    if (fits) this.#inHand.add(delivery);
    if (origin === "e" && this.#line !== undefined)
      this.#line.add(delivery, { key: this.#key(delivery), fits });
    else if (!fits) this.#giveBack(delivery, noMemoryMs);
    else {
      const earlier = this.#waiting[origin].get(place);
      if (earlier !== undefined) this.#letGo(earlier);
      this.#waiting[origin].set(place, delivery);
    }
    this.#sayWorkingLater();
    this.#startWaiting();
  }

  /** The key an ordered delivery waits for; what the trigger does not want, or cannot be read, waits for nothing. */
  #key(delivery: Delivery): string {
    try {
      const event = decodeStored(delivery);
      if (this.#wants(event)) return orderKey(event.attributes);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
    }
    return `${delivery.sequence}`;
  }

  /** What waits counts as the function's load, unless none of it is going to be sent. */
  #demand(subscriber: TriggerRoute["subscriber"], waiting: number): void {
    if (subscriber?.kind !== "function") return;
    const counted = this.#closing || this.#route.paused ? 0 : waiting;
    this.#parts.capacity.demand(subscriber, this.#route.uid, counted);
  }

  #startWaiting(): void {
    if (this.#line !== undefined && this.#events === undefined) this.#giveBackRedrives();
    while (this.#waiting.r.size > 0 && this.#room() > 0) this.#startFirst("r");
    while (this.#waiting.e.size > 0 && this.#places() > 0) this.#startFirst("e");
    while (this.#line !== undefined && this.#places() > 0) {
      const delivery = this.#line.next();
      if (delivery === undefined) break;
      this.#start(delivery, "e");
    }
  }

  /** Pulled while this process was the active one of an ordered trigger: now it is another one's turn. */
  #giveBackRedrives(): void {
    for (const delivery of this.#waiting.r.values()) this.#giveBack(delivery, 0);
    this.#waiting.r.clear();
  }

  #startFirst(origin: Origin): void {
    for (const [place, delivery] of this.#waiting[origin]) {
      this.#waiting[origin].delete(place);
      this.#start(delivery, origin);
      return;
    }
  }

  #start(delivery: Delivery, origin: Origin): void {
    const place = placeOf(delivery, origin);
    this.#inFlight.set(place, delivery);
    void this.#handle(delivery, origin, place).then((settled) => {
      this.#inFlight.delete(place);
      if (origin === "e") this.#line?.left(delivery, settled);
      this.#letGo(delivery);
      if (this.#inFlight.size === 0) this.#onIdle?.();
      this.refill();
    });
  }

  /** Gives back what was never attempted. */
  #giveBack(delivery: Delivery, afterMs: number): void {
    this.#parts.settler.giveBack(delivery, afterMs);
    this.#letGo(delivery);
  }

  #letGo(delivery: Delivery): void {
    if (this.#inHand.delete(delivery)) this.#parts.budget.give(this, bytesOf(delivery));
  }

  /** Never rejects. */
  async #handle(delivery: Delivery, origin: Origin, place: number): Promise<Settled> {
    try {
      const history =
        delivery.deliveryCount === 1 ? freshHistory() : await this.#recall(delivery, origin, place);
      const settled = await this.#process(this.#open(delivery, origin, history));
      if (settled.kind === "acked") this.#histories.forget(place);
      else this.#histories.remember(place, history, delivery.deliveryCount);
      return settled;
    } catch (error) {
      return this.#failed(delivery, error);
    }
  }

  #failed(delivery: Delivery, error: unknown): Settled {
    const { log, settler } = this.#parts;
    const fields = { stage: "dispatch", trigger: this.#route.name, error };
    if (isOutage(error)) {
      log.warn(fields, "the storage is out of reach; a delivery is given back");
      return settler.giveBack(delivery, outageRetryMs);
    }
    log.error(fields, "a delivery failed in our own code");
    return settler.giveBack(delivery, faultRetryMs);
  }

  async #process(parcel: Parcel): Promise<Settled> {
    const { settler, clock } = this.#parts;
    if (this.#isEarly(parcel)) return settler.postpone(parcel);
    if (parcel.history.dead !== undefined) return settler.bury(parcel, (p) => this.#callContext(p));
    if (parcel.origin === "e" && !this.#wants(parcel.event)) return settler.filtered(parcel);
    if (isExpired(parcel.event, clock.now())) return settler.expired(parcel);
    const verdict = await this.#attempt(parcel);
    return settler.settle(parcel, verdict, (p) => this.#callContext(p));
  }

  /** An ordered event comes back before its back-off is over (key-order.ts, K4), also to who did not start that. */
  #isEarly({ origin, history }: Parcel): boolean {
    return (
      origin === "e" && this.#line !== undefined && history.retryAtMs - this.#parts.clock.now() > earlyMs
    );
  }

  async #attempt(parcel: Parcel): Promise<Verdict> {
    const { subscriber, policy } = parcel.route;
    if (subscriber === undefined) return { kind: "again", afterMs: noCapacityMs };
    const { round } = this.#congestion;
    const result = await this.#call(parcel, subscriber);
    const sign = congestionSign(result);
    this.#congestion = afterAttempt(this.#congestion, { sign, round, concurrency: this.#route.concurrency });
    if (result.kind === "unavailable") return { kind: "again", afterMs: noCapacityMs };
    const { clock, random } = this.#parts;
    return judge(result, {
      policy,
      failedBefore: parcel.history.failed,
      nowMs: clock.now(),
      random: random(),
    });
  }

  #call(parcel: Parcel, subscriber: NonNullable<TriggerRoute["subscriber"]>): Promise<CallResult> {
    const { route, event, origin, delivery } = parcel;
    return this.#parts.caller.call(subscriber, {
      ...this.#callContext(parcel, this.#subscriberHeaders),
      event,
      messageId: `f:${incarnationOf(route)}:${origin}${delivery.sequence}`,
    });
  }

  #callContext(
    { route, broker, history, hops, beside }: Parcel,
    headers: readonly string[] = this.#sinkHeaders,
  ): CallContext {
    return {
      broker,
      route,
      attempt: history.failed + 1,
      policy: route.policy,
      headers: [...headers, ...beside],
      hops,
      signal: this.#aborter.signal,
      onWaiting: this.#onWaiting,
    };
  }

  /** What is no event becomes a parcel that can only be buried. */
  #open(delivery: Delivery, origin: Origin, history: History): Parcel {
    const { isPassedOn, table } = this.#parts;
    const broker = this.#broker;
    const names = this.#names;
    const decoded = decodeDelivery(delivery, broker);
    if (decoded.fault !== undefined) {
      const { code, message } = decoded.fault;
      history.dead = { reason: "EventInvalid", why: { error: code, message, ms: 0 } };
    }
    return {
      delivery,
      origin,
      broker,
      route: this.#route,
      names,
      event: decoded.event,
      hops: decoded.hops,
      beside: headersBeside(delivery.headers, isPassedOn),
      replyTo: decodeAddress(delivery.headers),
      deadLetterId: origin === "r" ? redrivenFrom(delivery.headers) : undefined,
      isOrphaned: () => table.broker(names.broker)?.uid !== broker.uid,
      history,
    };
  }

  #recall({ deliveryCount, sequence }: Delivery, origin: Origin, place: number): Promise<History> {
    return this.#histories.recall(place, {
      deliveryCount,
      readJournal: async () => {
        const attempts = { triggerUid: this.#route.uid, origin, sequence };
        return historyOf(await this.#parts.journalReader.attempts(this.#broker, attempts));
      },
    });
  }

  /** A third of the ack wait from the first delivery on, and again as long as there are any. */
  #sayWorkingLater(): void {
    const { clock, ackWaitMs } = this.#parts;
    this.#heartbeat ??= clock.after(ackWaitMs / 3, () => {
      this.#heartbeat = undefined;
      if (this.#sayWorking() > 0) this.#sayWorkingLater();
    });
  }

  /** Of how many. */
  #sayWorking(): number {
    const held = this.#line?.held ?? [];
    let count = 0;
    for (const deliveries of [
      this.#inFlight.values(),
      this.#waiting.e.values(),
      this.#waiting.r.values(),
      held,
    ])
      for (const delivery of deliveries) {
        this.#parts.settler.working(delivery);
        count++;
      }
    return count;
  }
}

/** One number for both streams: as a key it costs less than text. */
function placeOf({ sequence }: Delivery, origin: Origin): number {
  return 2 * sequence + (origin === "r" ? 1 : 0);
}

function bytesOf({ data }: Delivery): number {
  return data.length + deliveryOverheadBytes;
}

function isExpired(event: Event, nowMs: number): boolean {
  const { expirytime } = event.attributes;
  if (expirytime === undefined) return false;
  const at = instantOf(expirytime);
  return at !== undefined && at <= nowMs;
}

interface Decoded {
  readonly event: Event;
  readonly hops: string | undefined;
  /** It is no event; `event` stands for it. */
  readonly fault?: MeshError;
}

function decodeDelivery(delivery: Delivery, broker: BrokerRoute): Decoded {
  try {
    return removeHops(decodeStored(delivery));
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    return { event: surrogate(delivery, broker), hops: undefined, fault: error };
  }
}

/** Something was published to the broker's subjects that is no event: it is kept, as one, with its bytes. */
function surrogate(delivery: Delivery, broker: BrokerRoute): Event {
  const attributes = attributesOf({
    specversion: "1.0",
    id: `${broker.uid}-${delivery.sequence}`,
    source: `/namespaces/${broker.namespace}/brokers/${broker.name}`,
    type: "dev.weft.event.invalid",
    time: rfc3339(delivery.storedMs),
  });
  return { attributes, data: delivery.data };
}
