/**
 * The worker of one trigger: pulls what it may have in flight, makes attempts, settles verdicts.
 *
 * W1  attempts in flight never exceed the trigger's window; every completion refills it at once.
 * W2  an event in a back-off holds no place in the window.
 * W3  a function is only sent what it has room for; what waits, waits in JetStream.
 * W4  after `close` nothing is pulled; attempts in flight may finish until the deadline, the rest is given back.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import type { Clock, Timer } from "../clock.ts";
import { rfc3339 } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Attributes, Event } from "../event/event.ts";
import { removeHops } from "../event/hops.ts";
import { instantOf } from "../event/timestamp.ts";
import { compileWanted } from "../filter/wanted.ts";
import type { JournalReader } from "../journal/reader.ts";
import type { Log } from "../log.ts";
import type { BrokerRoute, TriggerRoute } from "../routes/route.ts";
import { ackWaitMs } from "../stream/consumer.ts";
import type { HeaderRecord } from "../stream/publish.ts";
import { type Delivery, Puller } from "../stream/puller.ts";
import { decodeStored, headersBeside } from "../stream/stored-event.ts";
import { consumerName, eventStream, redriveStream } from "../stream/subjects.ts";
import type { CallContext, Caller, CallResult } from "./call.ts";
import type { Capacity } from "./capacity.ts";
import { redrivenFrom } from "./dead-letter.ts";
import { judge, type Verdict } from "./deliver.ts";
import { freshHistory, type History, historyOf, incarnationOf, type Parcel } from "./parcel.ts";
import type { Settled, Settler } from "./settle.ts";

export interface WorkerParts {
  readonly nc: NatsConnection;
  readonly clock: Clock;
  readonly log: Log;
  readonly caller: Caller;
  readonly capacity: Capacity;
  readonly settler: Settler;
  readonly journalReader: JournalReader;
  readonly isPassedOn: (headerName: string) => boolean;
  readonly random: () => number;
}

/** A function that cannot be started is asked again after this. */
const noCapacityMs = 1000;
/** A redrive shares the window, but may wait in hand for a place in it: so many at once. */
const redriveShare = 10;
/** After a fault of ours the event comes back, not at once. */
const faultRetryMs = 5000;
const historiesMax = 50_000;

export class Worker {
  readonly #parts: WorkerParts;
  readonly #aborter = new AbortController();
  readonly #inFlight = new Set<Delivery>();
  readonly #waitingForPlace: { delivery: Delivery; origin: "e" | "r" }[] = [];
  readonly #histories = new Map<string, History>();
  readonly #heartbeat: Timer;
  readonly #events: Puller;
  readonly #redrives: Puller;
  #broker: BrokerRoute;
  #route: TriggerRoute;
  #wants: (event: Event) => boolean;
  #waitingForCapacity = 0;
  #closing = false;
  #onIdle: (() => void) | undefined;

  constructor(parts: WorkerParts, broker: BrokerRoute, route: TriggerRoute) {
    this.#parts = parts;
    this.#broker = broker;
    this.#route = route;
    this.#wants = compileWanted(route);
    this.#heartbeat = parts.clock.every(ackWaitMs / 3, () => this.#sayWorking());
    this.#events = this.#puller(eventStream(broker), "e");
    this.#redrives = this.#puller(redriveStream(broker), "r");
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
    this.#events.refill();
    this.#redrives.refill();
  }

  /** The connection to NATS is back. */
  restart(): void {
    this.#events.restart();
    this.#redrives.restart();
  }

  /** W4. Idempotent. */
  async close(drainMs: number): Promise<void> {
    this.#closing = true;
    this.#demand(this.#route.subscriber, 0);
    await Promise.all([this.#events.close(), this.#redrives.close()]);
    for (const { delivery } of this.#waitingForPlace.splice(0)) this.#parts.settler.giveBack(delivery, 0);
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
    this.#heartbeat.cancel();
  }

  #puller(stream: string, origin: "e" | "r"): Puller {
    const { nc, clock, log } = this.#parts;
    return new Puller({
      nc,
      clock,
      stream,
      consumer: consumerName(this.#route.uid),
      wants: (asked) => (origin === "e" ? this.#room() - asked : this.#redriveRoom() - asked),
      onDelivery: (delivery) => this.#onDelivery(delivery, origin),
      onTrouble: (description) =>
        log.debug({ stage: "stream", trigger: this.#route.name, stream, description }, "pull interrupted"),
    });
  }

  /** Deliveries this worker can start now. W1, W3. */
  #room(): number {
    const { subscriber, concurrency, paused } = this.#route;
    if (this.#closing || paused || subscriber === undefined) return 0;
    const room = concurrency - this.#inFlight.size;
    if (subscriber.kind !== "function") return room;
    return Math.min(room, this.#parts.capacity.slots(subscriber));
  }

  #redriveRoom(): number {
    const { subscriber, concurrency, paused } = this.#route;
    if (this.#closing || paused || subscriber === undefined) return 0;
    return Math.max(1, Math.floor(concurrency / redriveShare)) - this.#waitingForPlace.length;
  }

  #onDelivery(delivery: Delivery, origin: "e" | "r"): void {
    const { subscriber } = this.#route;
    this.#demand(subscriber, delivery.pending);
    // What was asked for before a pause arrives after it, and waits in hand for its end.
    if ((origin === "r" || this.#route.paused) && this.#room() <= 0) {
      this.#waitingForPlace.push({ delivery, origin });
      return;
    }
    this.#start(delivery, origin);
  }

  /** What waits counts as the function's load, unless none of it is going to be sent. */
  #demand(subscriber: TriggerRoute["subscriber"], waiting: number): void {
    if (subscriber?.kind !== "function") return;
    const counted = this.#closing || this.#route.paused ? 0 : waiting;
    this.#parts.capacity.demand(subscriber, this.#route.uid, counted);
  }

  #startWaiting(): void {
    while (this.#waitingForPlace.length > 0 && this.#room() > 0) {
      const next = this.#waitingForPlace.shift();
      if (next !== undefined) this.#start(next.delivery, next.origin);
    }
  }

  #start(delivery: Delivery, origin: "e" | "r"): void {
    this.#inFlight.add(delivery);
    this.#handle(delivery, origin)
      .catch((error: unknown) => {
        const { log, settler } = this.#parts;
        log.error(
          { stage: "dispatch", trigger: this.#route.name, error },
          "a delivery failed in our own code",
        );
        return settler.giveBack(delivery, faultRetryMs);
      })
      .finally(() => {
        this.#inFlight.delete(delivery);
        if (this.#inFlight.size === 0) this.#onIdle?.();
        this.refill();
      });
  }

  async #handle(delivery: Delivery, origin: "e" | "r"): Promise<void> {
    const key = `${origin}${delivery.sequence}`;
    const parcel = await this.#open(delivery, origin, key);
    const settled = await this.#process(parcel);
    if (settled.kind === "acked") this.#histories.delete(key);
    else this.#remember(key, parcel.history);
  }

  async #process(parcel: Parcel): Promise<Settled> {
    const { settler, clock } = this.#parts;
    if (parcel.history.dead !== undefined) return settler.bury(parcel, (p) => this.#callContext(p));
    if (parcel.origin === "e" && !this.#wants(parcel.event)) return settler.filtered(parcel);
    if (isExpired(parcel.event, clock.now())) return settler.expired(parcel);
    const verdict = await this.#attempt(parcel);
    return settler.settle(parcel, verdict, (p) => this.#callContext(p));
  }

  async #attempt(parcel: Parcel): Promise<Verdict> {
    const { subscriber, policy } = parcel.route;
    if (subscriber === undefined) return { kind: "again", afterMs: noCapacityMs };
    const result = await this.#call(parcel, subscriber);
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
    const context = this.#callContext(parcel);
    return this.#parts.caller.call(subscriber, {
      ...context,
      headers: { prefer: "reply", ...context.headers },
      event: parcel.event,
      messageId: `f:${incarnationOf(parcel.route)}:${parcel.origin}${parcel.delivery.sequence}`,
    });
  }

  #callContext(parcel: Parcel): CallContext {
    const { route, broker, history, hops, beside } = parcel;
    return {
      policy: route.policy,
      headers: { ...beside, "kn-namespace": route.namespace },
      functionHeaders: (deadlineMs) =>
        functionHeaders(broker, route, { attempt: history.failed + 1, deadlineMs }),
      hops,
      signal: this.#aborter.signal,
      onWaiting: (waiting) => {
        this.#waitingForCapacity += waiting ? 1 : -1;
      },
    };
  }

  /** The delivery as a parcel; what is no event becomes a parcel that can only be buried. */
  async #open(delivery: Delivery, origin: "e" | "r", key: string): Promise<Parcel> {
    const { isPassedOn } = this.#parts;
    const common = {
      delivery,
      origin,
      broker: this.#broker,
      route: this.#route,
      beside: headersBeside(delivery.msg, isPassedOn),
      deadLetterId: origin === "r" ? redrivenFrom(delivery.msg.headers) : undefined,
    };
    try {
      const { event, hops } = removeHops(decodeStored(delivery.msg));
      return { ...common, event, hops, history: await this.#history(delivery, origin, key) };
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      const history = freshHistory();
      history.dead = { reason: "EventInvalid", why: { error: error.code, message: error.message, ms: 0 } };
      return { ...common, event: surrogate(delivery, this.#broker), hops: undefined, history };
    }
  }

  async #history(delivery: Delivery, origin: "e" | "r", key: string): Promise<History> {
    if (delivery.deliveryCount === 1) return freshHistory();
    const known = this.#histories.get(key);
    if (known !== undefined) return known;
    const { uid } = this.#route;
    return historyOf(
      await this.#parts.journalReader.attempts(this.#broker, {
        triggerUid: uid,
        origin,
        sequence: delivery.sequence,
      }),
    );
  }

  #remember(key: string, history: History): void {
    if (this.#histories.size >= historiesMax) {
      // The journal remembers what is dropped here.
      const oldest = this.#histories.keys().next().value;
      if (oldest !== undefined) this.#histories.delete(oldest);
    }
    this.#histories.set(key, history);
  }

  #sayWorking(): void {
    for (const delivery of this.#inFlight) this.#parts.settler.working(delivery);
    for (const { delivery } of this.#waitingForPlace) this.#parts.settler.working(delivery);
  }
}

function functionHeaders(
  broker: BrokerRoute,
  route: TriggerRoute,
  { attempt, deadlineMs }: { attempt: number; deadlineMs: number },
): HeaderRecord {
  return {
    "weft-attempt": `${attempt}`,
    "weft-trigger": `${route.namespace}/${route.name}`,
    "weft-broker": `${broker.namespace}/${broker.name}`,
    "weft-deadline": `${Math.round(deadlineMs)}`,
  };
}

function isExpired(event: Event, nowMs: number): boolean {
  const { expirytime } = event.attributes;
  if (expirytime === undefined) return false;
  const at = instantOf(expirytime);
  return at !== undefined && at <= nowMs;
}

/** Something was published to the broker's subjects that is no event: it is kept, as one, with its bytes. */
function surrogate(delivery: Delivery, broker: BrokerRoute): Event {
  const attributes: Record<string, string> = Object.assign(Object.create(null), {
    specversion: "1.0",
    id: `${broker.uid}-${delivery.sequence}`,
    source: `/namespaces/${broker.namespace}/brokers/${broker.name}`,
    type: "dev.weft.event.invalid",
    time: rfc3339(delivery.storedMs),
  });
  return { attributes: attributes as unknown as Attributes, data: delivery.msg.data };
}
