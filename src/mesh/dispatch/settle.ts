/**
 * Acts on verdicts. The only place that acks (DESIGN §2, step 8).
 *
 * A1  an event is acked only after it was delivered (and its reply stored), filtered out, expired, accepted
 *     by its dead-letter sink, or stored as a dead letter.
 * A2  a failed attempt is in the journal before the NAK or the dead letter it leads to; when the journal is
 *     out of reach the NAK goes out all the same: better tried once too often than lost.
 * A3  whatever fails in here leads to a redelivery, never to an ack.
 * A4  nothing comes of a delivery whose broker was deleted meanwhile: no reply, no record, not even an ack, for
 *     all of that could meet another event, which has its place in a new broker of the same name.
 */
import type { Clock } from "../clock.ts";
import { rfc3339 } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { inheritHops, takeHop } from "../event/hops.ts";
import type { Counters } from "../journal/counters.ts";
import type { JournalReader } from "../journal/reader.ts";
import { type AttemptRecord, bodyBytesKept, type OutcomeRecord } from "../journal/record.ts";
import type { JournalWriter } from "../journal/writer.ts";
import type { Log } from "../log.ts";
import type { Responder } from "../reply/responder.ts";
import type { BrokerRoute } from "../routes/route.ts";
import type { EventStore } from "../stream/event-store.ts";
import { isOutage } from "../stream/publish.ts";
import type { Delivery } from "../stream/puller.ts";
import { deadLetterMessageId, replyMessageId } from "../stream/subjects.ts";
import type { CallContext, Caller } from "./call.ts";
import { type DeadLetters, withErrorAttributes } from "./dead-letter.ts";
import { afterFailure, type Failure, judgeSink, type Verdict } from "./deliver.ts";
import { awayMsMax } from "./key-order.ts";
import { incarnationOf, type Parcel } from "./parcel.ts";
import { addressAfter, correlate, loopFailure, obituary } from "./reply-event.ts";

export interface SettlerParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: EventStore;
  readonly deadLetters: DeadLetters;
  readonly journal: JournalWriter;
  readonly journalReader: JournalReader;
  readonly counters: Counters;
  readonly caller: Caller;
  readonly responder: Responder;
  /** A reply has entered the broker. */
  readonly onReplyStored: (broker: BrokerRoute, reply: Event) => void;
  /** In [0, 1). */
  readonly random: () => number;
}

/** How a delivery left the dispatcher's hands. */
export type Settled =
  | { readonly kind: "acked" }
  /** It comes back after a while; the history is remembered until then. */
  | { readonly kind: "naked"; readonly afterMs: number };

type Place = Pick<
  AttemptRecord,
  "broker" | "trigger" | "triggerUid" | "origin" | "sequence" | "id" | "type" | "source" | "at"
>;

/** A4: there is nobody to be told. */
const dropped: Settled = { kind: "acked" };
const storageRetryMs = 1000;
const ackBody = Buffer.from("+ACK");
const workingBody = Buffer.from("+WPI");

export class Settler {
  readonly #parts: SettlerParts;

  readonly #onUnsettled = (cause: Error): void => {
    this.#parts.log.debug({ stage: "dispatch", error: cause.message }, "a delivery could not be settled");
  };

  constructor(parts: SettlerParts) {
    this.#parts = parts;
  }

  /** Not wanted after all: the subject could not decide the whole filter. */
  filtered(parcel: Parcel): Settled {
    this.#count(parcel, "filtered");
    this.#outcome(parcel, { outcome: "filtered", attempts: 0, ms: 0 });
    return this.#ack(parcel.delivery);
  }

  /** Its producer said when it stops to matter. */
  expired(parcel: Parcel): Settled {
    this.#outcome(parcel, { outcome: "expired", attempts: parcel.history.failed, ms: 0 });
    return this.#ack(parcel.delivery);
  }

  /** Settles a verdict on an attempt at the subscriber. `callFor` builds the call of the dead-letter sink. */
  async settle(parcel: Parcel, verdict: Verdict, callFor: (parcel: Parcel) => CallContext): Promise<Settled> {
    if (parcel.isOrphaned()) return dropped;
    switch (verdict.kind) {
      case "done":
        return this.#delivered(parcel, verdict, callFor);
      case "again":
        return this.#later(parcel, verdict.afterMs);
      case "retry": {
        parcel.history.failed++;
        await this.#record(parcel, "subscriber", verdict.why, { retryAfterMs: verdict.afterMs });
        this.#count(parcel, "retried");
        return this.#later(parcel, verdict.afterMs);
      }
      case "dead": {
        const { reason, why } = verdict;
        parcel.history.failed++;
        parcel.history.dead = { reason, why };
        await this.#record(parcel, "subscriber", why, { dead: reason });
        return this.bury(parcel, callFor);
      }
    }
  }

  /** The dead letter goes to the sink, or into the broker's dead-letter stream; only then the event is acked. */
  async bury(parcel: Parcel, callFor: (parcel: Parcel) => CallContext): Promise<Settled> {
    const { route, history } = parcel;
    if (route.deadLetterSink === undefined || history.sinkGivenUp) return this.#writeDeadLetter(parcel);
    const verdict = await this.#callSink(parcel, callFor);
    if (parcel.isOrphaned()) return dropped;
    switch (verdict.kind) {
      case "done":
        await this.#tellWaiter(parcel, null);
        await this.#forgetRedriven(parcel);
        this.#count(parcel, "dead");
        this.#outcome(parcel, {
          outcome: "deadToSink",
          attempts: history.failed,
          ms: verdict.ms,
          status: verdict.status,
          ...(history.dead === undefined ? {} : { reason: history.dead.reason }),
        });
        return this.#ack(parcel.delivery);
      case "again":
        return this.#later(parcel, verdict.afterMs);
      case "retry":
        history.sinkFailed++;
        await this.#record(parcel, "sink", verdict.why, { retryAfterMs: verdict.afterMs });
        return this.#later(parcel, verdict.afterMs);
      case "dead":
        history.sinkFailed++;
        history.sinkGivenUp = true;
        await this.#record(parcel, "sink", verdict.why, { dead: verdict.reason });
        return this.#writeDeadLetter(parcel);
    }
  }

  /** Gives it back untouched: no capacity, or we are stopping. Not an attempt. */
  giveBack(delivery: Delivery, afterMs: number): Settled {
    return this.#nak(delivery, afterMs);
  }

  /** Its back-off is not over: a process before this one had it last, or it was given back for a part of it. */
  postpone(parcel: Parcel): Settled {
    return this.#later(parcel, parcel.history.retryAtMs - this.#parts.clock.now());
  }

  /** A delayed event has entered its broker's stream (mover.ts): the copy that waited is done with. */
  moved(delivery: Delivery): Settled {
    return this.#ack(delivery);
  }

  /** The attempt still runs: JetStream keeps waiting. */
  working(delivery: Delivery): void {
    this.#tell(delivery, workingBody);
  }

  async #delivered(
    parcel: Parcel,
    verdict: Extract<Verdict, { kind: "done" }>,
    callFor: (parcel: Parcel) => CallContext,
  ): Promise<Settled> {
    const { reply } = verdict;
    if (reply !== undefined) {
      const refused = await this.#storeReply(parcel, verdict);
      if (refused !== undefined) return this.settle(parcel, refused, callFor);
    }
    await this.#forgetRedriven(parcel);
    this.#count(parcel, "delivered");
    this.#outcome(parcel, {
      outcome: "delivered",
      attempts: parcel.history.failed + 1,
      ms: verdict.ms,
      status: verdict.status,
      ...(reply === undefined ? {} : { reply: { type: reply.attributes.type, id: reply.attributes.id } }),
      ...(verdict.note === undefined ? {} : { note: verdict.note }),
    });
    return this.#ack(parcel.delivery);
  }

  /** undefined once the reply is stored; otherwise the verdict that replaces "done". */
  async #storeReply(
    parcel: Parcel,
    { reply, status, ms }: Extract<Verdict, { kind: "done" }>,
  ): Promise<Verdict | undefined> {
    const { broker, route, delivery, origin, hops } = parcel;
    if (reply === undefined) return undefined;
    const entering = takeHop(inheritHops(reply, hops), broker.hopsMax);
    if (entering === undefined)
      return { kind: "dead", reason: "LoopDetected", why: loopFailure(parcel, reply, { status, ms }) };
    try {
      const stored = correlate(parcel.event, entering);
      const ack = await this.#parts.store.store(broker, stored, {
        messageId: replyMessageId(incarnationOf(route), origin, delivery.sequence),
        beside: [...parcel.beside, ...addressAfter(parcel.replyTo, stored)],
      });
      if (!ack.duplicate && ack.delayed !== true) this.#parts.onReplyStored(broker, stored);
      if (parcel.replyTo !== undefined) {
        await this.#parts.responder.replied(parcel.replyTo, { broker, reply: stored, ack });
      }
      return undefined;
    } catch (error) {
      // The subscriber did its part: an outage of ours uses up none of its attempts.
      if (isOutage(error)) return { kind: "again", afterMs: storageRetryMs };
      const why: Failure = { error: "ReplyNotStored", message: messageOf(error), status, ms };
      return afterFailure(why, this.#circumstances(parcel, parcel.history.failed), undefined);
    }
  }

  async #callSink(parcel: Parcel, callFor: (parcel: Parcel) => CallContext): Promise<Verdict> {
    const { route, history, delivery, origin } = parcel;
    const { deadLetterSink } = route;
    if (deadLetterSink === undefined || history.dead === undefined) return { kind: "again", afterMs: 0 };
    const destination = route.subscriber?.uri ?? "";
    const context = callFor(parcel);
    const result = await this.#parts.caller.call(deadLetterSink, {
      ...context,
      // `format` is what the subscriber wants (sheet knative-eventing §5.8).
      policy: { ...context.policy, format: undefined },
      event: withErrorAttributes(parcel.event, destination, history.dead.why),
      messageId: deadLetterMessageId(incarnationOf(route), origin, delivery.sequence),
    });
    if (result.kind === "unavailable") return { kind: "again", afterMs: storageRetryMs };
    return judgeSink(result, this.#circumstances(parcel, history.sinkFailed));
  }

  async #writeDeadLetter(parcel: Parcel): Promise<Settled> {
    const { broker, route, delivery, origin, history, event } = parcel;
    const reason = history.dead?.reason ?? "EventInvalid";
    try {
      const attempts = await this.#parts.journalReader.attempts(broker, {
        triggerUid: route.uid,
        origin,
        sequence: delivery.sequence,
      });
      const id = await this.#parts.deadLetters.write({
        broker,
        trigger: route.name,
        triggerUid: route.uid,
        incarnation: incarnationOf(route),
        origin,
        sequence: delivery.sequence,
        reason,
        at: this.#now(),
        event,
        replyTo: parcel.replyTo,
        attempts,
      });
      await this.#tellWaiter(parcel, id);
      await this.#forgetRedriven(parcel);
    } catch (error) {
      this.#parts.log.warn(
        { stage: "dispatch", trigger: route.name, event: event.attributes.id, error: messageOf(error) },
        "a dead letter could not be stored; trying again",
      );
      return this.#later(parcel, storageRetryMs);
    }
    this.#count(parcel, "dead");
    this.#outcome(parcel, {
      outcome: "dead",
      attempts: history.failed,
      ms: history.dead?.why.ms ?? 0,
      reason,
    });
    return this.#ack(delivery);
  }

  /** Whoever waits for a reply learns at once that none will come; if it cannot be told, it waits in vain. */
  async #tellWaiter(parcel: Parcel, deadLetter: string | null): Promise<void> {
    if (parcel.replyTo === undefined) return;
    try {
      await this.#parts.responder.died(parcel.replyTo, obituary(parcel, deadLetter));
    } catch (error) {
      this.#parts.log.warn(
        { stage: "reply", trigger: parcel.route.name, error: messageOf(error) },
        "who waits for a reply could not be told that none comes",
      );
    }
  }

  /** The dead letter this redelivery came from has been dealt with. */
  async #forgetRedriven({ deadLetterId }: Parcel): Promise<void> {
    if (deadLetterId !== undefined) await this.#parts.deadLetters.discard(deadLetterId);
  }

  /** A2. */
  async #record(
    parcel: Parcel,
    phase: AttemptRecord["phase"],
    why: Failure,
    end: { retryAfterMs: number } | { dead: string },
  ): Promise<void> {
    const { route, history } = parcel;
    const record: AttemptRecord = {
      kind: "attempt",
      ...this.#place(parcel),
      ms: why.ms,
      phase,
      attempt: phase === "sink" ? history.sinkFailed : history.failed,
      destination: (phase === "sink" ? route.deadLetterSink : route.subscriber)?.uri ?? "",
      error: why.error,
      ...(why.status === undefined ? {} : { status: why.status }),
      ...(why.message === undefined ? {} : { message: why.message.slice(0, bodyBytesKept) }),
      ...(why.body === undefined
        ? {}
        : { body: Buffer.from(why.body.subarray(0, bodyBytesKept)).toString("base64") }),
      ...end,
    };
    try {
      await this.#parts.journal.attempt(parcel.broker, record);
    } catch (error) {
      this.#parts.log.warn(
        { stage: "journal", trigger: route.name, event: parcel.event.attributes.id, error: messageOf(error) },
        "an attempt could not be journaled",
      );
    }
  }

  #outcome(parcel: Parcel, outcome: Omit<OutcomeRecord, "kind" | keyof Place>): void {
    const record: OutcomeRecord = { kind: "outcome", ...this.#place(parcel), ...outcome };
    // An event that ends without having been delivered is always on record.
    if (parcel.broker.journal === "all" || record.outcome === "expired")
      this.#parts.journal.outcome(parcel.broker, record);
    else this.#parts.journal.announce(record);
  }

  #place({ names, route, origin, delivery, event }: Parcel): Place {
    return {
      broker: names.broker,
      trigger: names.trigger,
      triggerUid: route.uid,
      origin,
      sequence: delivery.sequence,
      id: event.attributes.id,
      type: event.attributes.type,
      source: event.attributes.source,
      at: this.#now(),
    };
  }

  #circumstances({ route }: Parcel, failedBefore: number) {
    const { clock, random } = this.#parts;
    return { policy: route.policy, failedBefore, nowMs: clock.now(), random: random() };
  }

  #count({ route }: Parcel, counter: "delivered" | "filtered" | "retried" | "dead"): void {
    this.#parts.counters.add(route.uid, counter);
  }

  #now(): string {
    return rfc3339(this.#parts.clock.now());
  }

  #ack(delivery: Delivery): Settled {
    this.#tell(delivery, ackBody);
    return { kind: "acked" };
  }

  /** An ordered delivery comes back early and is given back again, see key-order.ts, K4. */
  #later(parcel: Parcel, afterMs: number): Settled {
    const { delivery, route, origin, history } = parcel;
    history.retryAtMs = this.#parts.clock.now() + afterMs;
    if (route.order === undefined || origin === "r") return this.#nak(delivery, afterMs);
    this.#nak(delivery, Math.min(afterMs, awayMsMax));
    return { kind: "naked", afterMs };
  }

  #nak(delivery: Delivery, afterMs: number): Settled {
    // Never without a delay: the server keeps the time of a delayed redelivery through a restart, while a bare
    // NAK is forgotten and the event comes back only after the ack wait.
    const delay = Math.max(1, Math.round(afterMs));
    this.#tell(delivery, `-NAK {"delay":${delay}000000}`);
    return { kind: "naked", afterMs: delay };
  }

  /** A3: on a connection that was closed for good nothing is said, and JetStream delivers it again. */
  #tell({ replySubject, outbox }: Delivery, answer: Uint8Array | string): void {
    outbox.send(replySubject, answer, { onRefused: this.#onUnsettled });
  }
}
