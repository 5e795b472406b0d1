/**
 * Dead letters: events that could not be delivered, kept in their broker's dead-letter stream with the reason
 * and every attempt, until someone redrives or discards them (promise 1).
 *
 * D1  the stored message is the event itself; what explains it travels in `weft-*` headers beside it.
 * D2  one delivery makes at most one dead letter, however often it is settled.
 */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { amend } from "../event/attributes.ts";
import type { Event } from "../event/event.ts";
import { encodeJson } from "../event/json.ts";
import { type AttemptRecord, attemptRecordSchema } from "../journal/record.ts";
import { decodeAddress, encodeAddress, type ReplyAddress } from "../reply/address.ts";
import { readDirect } from "../stream/direct-read.ts";
import type { Publisher } from "../stream/publish.ts";
import { decodeStored, encodeStored } from "../stream/stored-event.ts";
import { ignoring } from "../stream/stream.ts";
import {
  type BrokerKey,
  deadLetterId,
  deadLetterMessageId,
  deadLetterStream,
  deadLetterSubject,
  deadLetterSubjects,
  parseDeadLetterId,
  redriveMessageId,
  redriveSubject,
} from "../stream/subjects.ts";
import { base64Beginning, type Failure } from "./deliver.ts";
import { markReplayed } from "./replayed.ts";

/** One attempt as it is shown. */
export interface ShownAttempt {
  readonly at: string;
  readonly ms: number;
  readonly status: number | null;
  readonly error: string | null;
  readonly body: string;
}

export interface DeadLetter {
  readonly id: string;
  readonly namespace: string;
  readonly broker: string;
  readonly trigger: string;
  readonly triggerUid: string;
  readonly reason: string;
  readonly at: string;
  readonly event: Event;
  readonly attempts: readonly ShownAttempt[];
  readonly sinkAttempts: readonly ShownAttempt[];
}

export interface NewDeadLetter {
  readonly broker: BrokerKey;
  readonly trigger: string;
  readonly triggerUid: string;
  /** The trigger since its last rewind (parcel.ts). */
  readonly incarnation: string;
  readonly origin: "e" | "r";
  readonly sequence: number;
  readonly reason: string;
  readonly at: string;
  readonly event: Event;
  /** Whoever waits for a reply gets it also after a redrive. */
  readonly replyTo: ReplyAddress | undefined;
  readonly attempts: readonly AttemptRecord[];
}

export interface DeadLetterListing {
  readonly trigger: string | undefined;
  readonly from: number;
  readonly limit: number;
  readonly wants?: (letter: DeadLetter) => boolean;
}

/** Room for the attempts in the header block (64 KiB in all, the event's attributes take up to half). */
const attemptsBytesMax = 24 * 1024;
const redriveHeader = "weft-dead-letter";
/** Messages, and their bytes, that one read holds in memory. */
const scanBatch = 250;
const scanBytesMax = 16 * 1024 * 1024;
const errorDataChars = 1024;
const messageNotFound = 10037;
const streamNotFound = 10059;

export class DeadLetters {
  readonly #jsm: JetStreamManager;
  readonly #publisher: Publisher;
  readonly #clock: Clock;

  constructor({ jsm, publisher, clock }: { jsm: JetStreamManager; publisher: Publisher; clock: Clock }) {
    this.#jsm = jsm;
    this.#clock = clock;
    this.#publisher = publisher;
  }

  /** D2. Resolves to its id once it is stored; only then may the event be acked. */
  async write(letter: NewDeadLetter): Promise<string> {
    const { headers, payload } = encodeStored(letter.event);
    headers.push("Nats-Msg-Id", deadLetterMessageId(letter.incarnation, letter.origin, letter.sequence));
    headers.push("weft-trigger", letter.trigger);
    headers.push("weft-trigger-uid", letter.triggerUid);
    headers.push("weft-reason", letter.reason);
    headers.push("weft-at", letter.at);
    headers.push("weft-attempts", encodeAttempts(letter.attempts));
    if (letter.replyTo !== undefined) headers.push(...encodeAddress(letter.replyTo));
    const subject = deadLetterSubject(letter.broker, letter.trigger);
    const { sequence } = await this.#publisher.publish(subject, payload, headers);
    return deadLetterId(letter.broker, sequence);
  }

  /** Oldest first, from stream sequence `from`, those that `wants` wants. `next` is where the following page starts. */
  async list(
    broker: BrokerKey,
    { trigger, from, limit, wants = () => true }: DeadLetterListing,
  ): Promise<{ items: DeadLetter[]; next: number | undefined }> {
    const subject = trigger === undefined ? deadLetterSubjects(broker) : deadLetterSubject(broker, trigger);
    const items: DeadLetter[] = [];
    let seq = from;
    for (;;) {
      const query = { batch: scanBatch, max_bytes: scanBytesMax, next_by_subj: subject, seq };
      const stream = deadLetterStream(broker);
      const messages = await readDirect(this.#jsm.direct.getBatch(stream, query), this.#clock).catch(
        (error: unknown) => this.#nothingIfGone(stream, error),
      );
      if (messages.length === 0) return { items, next: undefined };
      for (const message of messages) {
        seq = message.seq + 1;
        if (items.length === limit) return { items, next: message.seq };
        const letter = decode(broker, message);
        if (wants(letter)) items.push(letter);
      }
    }
  }

  /** A broker that is being deleted has no dead letters any more; a stream that is there must be readable. */
  async #nothingIfGone(stream: string, error: unknown): Promise<StoredMsg[]> {
    const info = await this.#jsm.streams.info(stream).catch(ignoring(streamNotFound));
    if (info === undefined) return [];
    throw error;
  }

  /** Rejects with NOT_FOUND. */
  async get(id: string): Promise<DeadLetter> {
    const { broker, message } = await this.#message(id);
    return decode(broker, message);
  }

  /**
   * Sends it, or `edited` in its place, to its trigger again, durably; it leaves the list when that is delivered.
   * NOT_FOUND when unknown.
   */
  async redrive(
    id: string,
    triggerUid: (letter: DeadLetter) => string | undefined,
    edited?: Event,
  ): Promise<DeadLetter> {
    const { broker, message } = await this.#message(id);
    const letter = decode(broker, message);
    const uid = triggerUid(letter);
    if (uid === undefined) {
      throw new MeshError("NOT_FOUND", {
        field: "trigger",
        found: `${letter.namespace}/${letter.trigger}`,
        fix: "Its trigger is gone; make one of that name again, or discard the dead letter",
      });
    }
    const { headers, payload } = encodeStored(markReplayed(edited ?? letter.event, id));
    const messageId = redriveMessageId(id, edited === undefined ? undefined : encodeJson(edited));
    headers.push("Nats-Msg-Id", messageId, redriveHeader, id);
    const replyTo = decodeAddress(message.header);
    if (replyTo !== undefined) headers.push(...encodeAddress(replyTo));
    await this.#publisher.publish(redriveSubject(broker, uid), payload, headers);
    return letter;
  }

  /** Idempotent. */
  async discard(id: string): Promise<void> {
    const place = parseDeadLetterId(id);
    if (place === undefined) return;
    await this.#jsm.streams
      .deleteMessage(deadLetterStream(place.broker), place.sequence, false)
      .catch(ignoring(messageNotFound, streamNotFound, sequenceNotFound, deleteFailed));
  }

  async #message(id: string): Promise<{ broker: BrokerKey; message: StoredMsg }> {
    const place = parseDeadLetterId(id);
    const message =
      place &&
      (await this.#jsm.streams
        .getMessage(deadLetterStream(place.broker), { seq: place.sequence })
        .catch(ignoring(messageNotFound, streamNotFound)));
    if (!place || !message) {
      throw new MeshError("NOT_FOUND", {
        field: "dead letter",
        found: id.slice(0, 200),
        fix: "List them with `weft dead list`",
      });
    }
    return { broker: place.broker, message };
  }
}

const sequenceNotFound = 10043;
const deleteFailed = 10057;

/** The dead letter a redriven message came from. */
export function redrivenFrom(headers: { get(name: string): string } | undefined): string | undefined {
  return headers?.get(redriveHeader) || undefined;
}

/** The event as its dead-letter sink gets it (sheet knative-eventing §5.7): only what is absent is added. */
export function withErrorAttributes(event: Event, destination: string, why: Failure): Event {
  const data =
    why.status === undefined
      ? Buffer.from(`dispatch error: ${why.message ?? why.error}`)
      : (why.body ?? Buffer.alloc(0));
  const added: Record<string, string> = {
    knativeerrordest: destination,
    knativeerrorcode: `${why.status ?? 500}`,
    knativeerrordata: base64Beginning(data, errorDataChars),
  };
  const absent = Object.entries(added).filter(([name]) => !event.attributes[name]);
  return amend(event, Object.fromEntries(absent));
}

const keptSchema = z.array(
  attemptRecordSchema.pick({
    phase: true,
    at: true,
    ms: true,
    status: true,
    error: true,
    message: true,
    body: true,
  }),
);
type Kept = z.output<typeof keptSchema>[number];

/**
 * The attempts as ASCII JSON for a header. When they do not fit, bodies go first (oldest first), then the
 * oldest attempts: the latest say most.
 */
function encodeAttempts(attempts: readonly AttemptRecord[]): string {
  let kept: Kept[] = attempts.map(({ phase, at, ms, status, error, message, body }) => ({
    phase,
    at,
    ms,
    status,
    error,
    message: message?.slice(0, 300),
    body,
  }));
  for (let i = 0; i < kept.length && size(kept) > attemptsBytesMax; i++) {
    kept = kept.with(i, { ...(kept[i] as Kept), body: undefined });
  }
  while (kept.length > 1 && size(kept) > attemptsBytesMax) {
    kept = kept.slice(Math.ceil(kept.length / 10));
  }
  return asciiJson(kept);
}

function size(kept: readonly Kept[]): number {
  return asciiJson(kept).length;
}

function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function decode(broker: BrokerKey, message: StoredMsg): DeadLetter {
  const header = (name: string) => message.header.get(name);
  const attempts = keptSchema.safeParse(parseJson(header("weft-attempts"))).data ?? [];
  return {
    id: deadLetterId(broker, message.seq),
    namespace: broker.namespace,
    broker: broker.name,
    trigger: header("weft-trigger"),
    triggerUid: header("weft-trigger-uid"),
    reason: header("weft-reason"),
    at: header("weft-at"),
    event: decodeStored({ headers: message.header, data: message.data }),
    attempts: attempts.filter((attempt) => attempt.phase === "subscriber").map(showAttempt),
    sinkAttempts: attempts.filter((attempt) => attempt.phase === "sink").map(showAttempt),
  };
}

/** An attempt as people see it. */
export function showAttempt({ at, ms, status, error, message, body }: Kept): ShownAttempt {
  return {
    at,
    ms,
    status: status ?? null,
    error: message === undefined ? error : `${error}: ${message}`,
    body: body === undefined ? "" : Buffer.from(body, "base64").toString("utf8"),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return [];
  }
}
