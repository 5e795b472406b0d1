/**
 * What each trigger and broker has counted since it was made. NATS adds the increments up (a counter stream),
 * so totals survive every crash of ours and several processes may count at once. Increments are gathered and
 * sent every `flushMs`, those that wait longest first; a kill loses at most what is gathered.
 *
 * U1  an increment that may or may not have been stored is sent again as the same message, so that it counts once;
 *     until its fate is known no others are sent.
 */
import { randomUUID } from "node:crypto";
import type { JetStreamManager } from "@nats-io/jetstream";
import { z } from "zod";
import type { Clock, Timer } from "../clock.ts";
import type { Closeable } from "../lifecycle.ts";
import { readDirect } from "../stream/direct-read.ts";
import type { Publisher } from "../stream/publish.ts";
import { counterStream, counterSubject } from "../stream/subjects.ts";

export type CounterName = "delivered" | "filtered" | "retried" | "dead" | "unmatched";

const flushMs = 100;
/**
 * So many counters at once: with hundreds of busy triggers, a message for each in every turn would be one per event.
 * A thousand are all sent within ten seconds.
 */
const countersPerTurn = 10;
const subjectsPerRead = 200;
const counterValueSchema = z.object({ val: z.string().regex(/^-?\d+$/) });
const empty = new Uint8Array(0);

interface Gathered {
  readonly uid: string;
  readonly counter: CounterName;
  readonly subject: string;
  readonly by: number;
}

interface Increment extends Gathered {
  readonly messageId: string;
}

export class Counters implements Closeable {
  readonly #publisher: Publisher;
  readonly #jsm: JetStreamManager;
  readonly #clock: Clock;
  readonly #timer: Timer;
  /** By uid: making a subject of it is for once a turn, not for every event. */
  readonly #pending = new Map<string, Map<CounterName, number>>();
  /** U1. */
  #unsure: Increment[] = [];
  readonly #idPrefix = `${randomUUID()}:`;
  #sent = 0;
  #flushing: Promise<void> | undefined;

  constructor({ publisher, jsm, clock }: { publisher: Publisher; jsm: JetStreamManager; clock: Clock }) {
    this.#publisher = publisher;
    this.#jsm = jsm;
    this.#clock = clock;
    this.#timer = clock.every(flushMs, () => void this.#flush(countersPerTurn));
  }

  add(uid: string, counter: CounterName, increment = 1): void {
    const counts = this.#pending.get(uid) ?? new Map<CounterName, number>();
    if (counts.size === 0) this.#pending.set(uid, counts);
    counts.set(counter, (counts.get(counter) ?? 0) + increment);
  }

  /** Sends all that is gathered; what could not be sent stays gathered. */
  async flush(): Promise<void> {
    await this.#flushing;
    await this.#flush(Number.POSITIVE_INFINITY);
    // The first may have cleared up what was unsure.
    if (this.#unsure.length === 0 && this.#pending.size > 0) await this.#flush(Number.POSITIVE_INFINITY);
  }

  /** Totals by uid and counter; absent means zero. Flushes first, so a caller sees its own counts. */
  async read(uids: readonly string[], counters: readonly CounterName[]): Promise<CounterTotals> {
    await this.flush();
    const totals = new Map<string, number>();
    const subjects = uids.flatMap((uid) => counters.map((counter) => counterSubject(uid, counter)));
    for (let i = 0; i < subjects.length; i += subjectsPerRead) {
      const multi_last = subjects.slice(i, i + subjectsPerRead);
      const request = this.#jsm.direct.getLastMessagesFor(counterStream, { multi_last });
      for (const message of await readDirect(request, this.#clock)) {
        const value = counterValueSchema.safeParse(message.json());
        if (value.success) totals.set(message.subject, Number(value.data.val));
      }
    }
    // What could not be flushed (NATS away) still counts for who asks this process.
    const pending = [...this.#unsure, ...this.#increments()];
    for (const { subject, by } of pending) totals.set(subject, (totals.get(subject) ?? 0) + by);
    return { of: (uid, counter) => totals.get(counterSubject(uid, counter)) ?? 0 };
  }

  async close(): Promise<void> {
    this.#timer.cancel();
    await this.flush();
  }

  /** One at a time. */
  #flush(countersMax: number): Promise<void> {
    this.#flushing ??= this.#send(countersMax).finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  async #send(countersMax: number): Promise<void> {
    const sending = this.#unsure.length > 0 ? this.#unsure : this.#take(countersMax);
    this.#unsure = [];
    await Promise.all(
      sending.map(async (increment) => {
        const { subject, by, messageId } = increment;
        const headers = ["Nats-Incr", `+${by}`, "Nats-Msg-Id", messageId];
        await this.#publisher.publish(subject, empty, headers).catch(() => this.#unsure.push(increment));
      }),
    );
  }

  #take(countersMax: number): Increment[] {
    const taken: Increment[] = [];
    for (const increment of this.#increments()) {
      if (taken.length >= countersMax) break;
      taken.push({ ...increment, messageId: this.#idPrefix + this.#sent++ });
      this.#drop(increment);
    }
    return taken;
  }

  *#increments(): Iterable<Gathered> {
    for (const [uid, counts] of this.#pending)
      for (const [counter, by] of counts) yield { uid, counter, subject: counterSubject(uid, counter), by };
  }

  #drop({ uid, counter }: Gathered): void {
    const counts = this.#pending.get(uid);
    counts?.delete(counter);
    if (counts?.size === 0) this.#pending.delete(uid);
  }
}

export interface CounterTotals {
  of(uid: string, counter: CounterName): number;
}
