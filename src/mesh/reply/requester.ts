/**
 * Waits for replies, from the ingress's side: one wildcard inbox for the whole process, one token per request.
 *
 * Q1  waits never exceed `waitersMax`; one more is refused before its event is stored.
 * Q2  a wait holds nothing once it is over, however it ended.
 * Q3  core NATS may lose an answer; before a wait is given up, and when the connection comes back, the stored
 *     ending is looked at.
 * Q4  before a wait is given up, where the request is gets stored, so that its token is known ever after.
 * Q5  nothing thrown here reaches the NATS reader.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import type { Clock } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import type { Event } from "../event/event.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { Publisher } from "../stream/publish.ts";
import { answerSubject, type BrokerKey } from "../stream/subjects.ts";
import { decodeAddress, inboxOf, randomId } from "./address.ts";
import {
  type Answer,
  type Place,
  readAnswer,
  readPlace,
  readProgress,
  readStored,
  writeProgress,
} from "./ending.ts";
import { decodeAnswer } from "./wire.ts";

export interface RequesterParts {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly log: Log;
  /** Q1. */
  readonly waitersMax: number;
}

/** How a wait ended without an answer: its time was over, the caller left, or this process stops. */
export type Unanswered = "timeout" | "left" | "stopping";

export class Requester implements Closeable {
  readonly #parts: RequesterParts;
  readonly #processId = randomId();
  readonly #subscription: Subscription;
  /** By request id. */
  readonly #expected = new Map<string, Wait>();
  readonly #waits = new Set<Wait>();
  #closed = false;

  constructor(parts: RequesterParts) {
    this.#parts = parts;
    this.#subscription = parts.nc.subscribe(answerSubject(this.#processId, "*"), {
      callback: (error, msg) => {
        if (error === null) this.#onAnswer(msg);
      },
    });
  }

  /** Waits open now. */
  get waiting(): number {
    return this.#waits.size;
  }

  /** A wait under a token of its own, to be opened before its event is stored. Throws OVERLOADED (Q1). */
  open(): Wait {
    const requestId = randomId();
    const wait = this.#add(this.#processId + requestId, () => this.#expected.delete(requestId));
    this.#expected.set(requestId, wait);
    return wait;
  }

  /** A wait for the answer to somebody else's request. Throws OVERLOADED (Q1). */
  follow(token: string): Wait {
    const wait = this.#add(token, () => subscription.unsubscribe());
    const subscription = this.#parts.nc.subscribe(inboxOf(token), {
      callback: (error, msg) => {
        if (error === null) this.#give(wait, msg);
      },
    });
    return wait;
  }

  /** The token under which the event stored at this place is waited for; undefined when nobody ever asked. */
  async tokenOf(broker: BrokerKey, sequence: number): Promise<string | undefined> {
    return decodeAddress((await readStored(this.#parts.jsm, broker, sequence))?.header)?.token;
  }

  /** Q3: what is stored of a request's end now. */
  answerTo(token: string): Promise<Answer | undefined> {
    return readAnswer(this.#parts.jsm, token);
  }

  /** The event a request has come to; undefined when nothing is known of it. */
  progressOf(token: string): Promise<Place | undefined> {
    return readProgress(this.#parts.jsm, token);
  }

  /** The event at a place; undefined when it is no longer stored. */
  eventAt(place: Place): Promise<Event | undefined> {
    return readPlace(this.#parts.jsm, place);
  }

  /** The connection to NATS is back. Q3. */
  restart(): void {
    for (const wait of this.#waits) void wait.look();
  }

  /** Gives every wait up. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#waits].map((wait) => wait.giveUp("stopping")));
    this.#subscription.unsubscribe();
  }

  #add(token: string, release: () => void): Wait {
    const { waitersMax, clock } = this.#parts;
    if (this.#closed || this.#waits.size >= waitersMax) {
      throw new MeshError("OVERLOADED", {
        expected: `at most ${waitersMax} requests waiting for a reply`,
        found: this.#closed ? "the mesh is stopping" : `${this.#waits.size}`,
        fix: "Send it again in a moment, or without waiting for the reply",
      });
    }
    const wait: Wait = new Wait(token, {
      clock,
      lookUp: () => this.answerTo(token),
      keep: (place) => writeProgress(this.#parts.publisher, token, { place, first: true }),
      onEnd: () => {
        this.#waits.delete(wait);
        release();
      },
    });
    this.#waits.add(wait);
    return wait;
  }

  #onAnswer(msg: Msg): void {
    const wait = this.#expected.get(msg.subject.slice(msg.subject.lastIndexOf(".") + 1));
    if (wait !== undefined) this.#give(wait, msg);
  }

  /** Q5. */
  #give(wait: Wait, msg: Msg): void {
    try {
      wait.end(decodeAnswer(msg));
    } catch (error) {
      this.#parts.log.warn({ stage: "reply", error: messageOf(error) }, "an answer cannot be read");
    }
  }
}

interface WaitParts {
  readonly clock: Clock;
  readonly lookUp: () => Promise<Answer | undefined>;
  readonly keep: (place: Place) => Promise<void>;
  readonly onEnd: () => void;
}

/** One wait for one answer. Whoever opens it awaits `answer` or ends it. */
export class Wait {
  readonly token: string;
  /** Of the event, once it is stored. Q4. */
  place: Place | undefined;
  readonly #parts: WaitParts;
  readonly #ended: Promise<Answer | Unanswered>;
  #resolve: (how: Answer | Unanswered) => void = () => {};
  #isOver = false;

  constructor(token: string, parts: WaitParts) {
    this.token = token;
    this.#parts = parts;
    this.#ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Resolves to the answer, or to why there is none, at most a moment after `waitMs`. */
  async answer({ waitMs, signal }: { waitMs: number; signal: AbortSignal }): Promise<Answer | Unanswered> {
    const onAbort = () => this.end("left");
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    const deadline = this.#parts.clock.after(waitMs, () => void this.giveUp("timeout"));
    try {
      return await this.#ended;
    } finally {
      deadline.cancel();
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Ends it when an answer is stored. Q3. Never rejects. */
  async look(): Promise<void> {
    try {
      const answer = await this.#parts.lookUp();
      if (answer !== undefined) this.end(answer);
    } catch {
      // It may still come by itself.
    }
  }

  /** Q3, Q4. Never rejects. */
  async giveUp(why: Unanswered): Promise<void> {
    await this.look();
    if (this.#isOver) return;
    if (this.place !== undefined) await this.#parts.keep(this.place).catch(() => {});
    this.end(why);
  }

  /** Q2. Idempotent: the first end counts. */
  end(how: Answer | Unanswered): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#parts.onEnd();
    this.#resolve(how);
  }
}
