/**
 * Stores events in their broker's stream: subject from the type, NATS headers in the CloudEvents NATS
 * binding's binary mode, message id from (source, id). Resolved means stored, and only then may anyone be
 * told 202 (promise 1).
 *
 * An event that names a later moment waits in the broker's delayed stream (delayed.ts) and enters then.
 */
import { createInbox } from "@nats-io/nats-core";
import type { Clock } from "../clock.ts";
import { dueMsOf, statesDelay } from "../event/delay.ts";
import type { Event } from "../event/event.ts";
import type { BrokerRoute } from "../routes/route.ts";
import { type DueMessage, dueMessage, placeTaken, waitingMessage } from "./delayed.ts";
import {
  type OutgoingMessage,
  type PubAck,
  type Publisher,
  type RawHeaders,
  serverErrorCode,
} from "./publish.ts";
import { encodeStored } from "./stored-event.ts";
import { type BrokerKey, eventMessageId, eventSubject, eventSubjectPrefix } from "./subjects.ts";

/** The broker an event enters; `dedupeMs` 0 means that nothing is a duplicate there. */
export type EventBroker = BrokerKey & Pick<BrokerRoute, "dedupeMs">;

export interface StoreOptions {
  /** The deduplication id; undefined derives it from (source, id). */
  readonly messageId?: string;
  /** Headers that travel beside the event (request ids and the like), lower-case, already checked. */
  readonly beside?: RawHeaders;
  /** Enters at once, whatever moment the event names: it has waited for that already. */
  readonly now?: boolean;
}

export interface Stored extends PubAck {
  /** It waits for its moment; nobody sees it before. */
  readonly delayed?: true;
}

export class EventStore {
  readonly #publisher: Publisher;
  readonly #clock: Clock;

  constructor({ publisher, clock }: { publisher: Publisher; clock: Clock }) {
    this.#publisher = publisher;
    this.#clock = clock;
  }

  /** Rejects as Publisher.publish does, and with EVENT_INVALID when the moment it names is unreadable. */
  store(broker: EventBroker, event: Event, options: StoreOptions = {}): Promise<Stored> {
    if (statesDelay(event.attributes)) return this.#storeForItsMoment(broker, event, options);
    return this.#publish(encode(broker, event, options));
  }

  /**
   * All or nothing, by JetStream's atomic batch (sheet nats-jetstream §1.4). Duplicates of events stored
   * earlier, or within the batch, are left out and still count as stored. Resolves to the events that entered
   * at once. A batch of both kinds is two atomic ones, as two streams hold them, the delayed first: a rejection
   * may leave those waiting, and sending all again then repeats none.
   */
  async storeBatch(
    broker: EventBroker,
    events: readonly Event[],
    options: StoreOptions = {},
  ): Promise<readonly Event[]> {
    const unique = broker.dedupeMs === 0 ? events : distinct(events);
    const entering: Event[] = [];
    const messages: OutgoingMessage[] = [];
    const delayed: { event: Event; message: OutgoingMessage }[] = [];
    for (const event of unique) {
      const dueMs = this.#dueMs(event, options);
      if (dueMs === undefined) {
        entering.push(event);
        messages.push(encode(broker, event, options));
      } else delayed.push({ event, message: encodeDelayed(broker, event, { ...options, dueMs }) });
    }
    await this.#storeAll(
      delayed.map(({ message }) => message),
      (i) => this.store(broker, delayed[i]?.event as Event, options),
    );
    await this.#storeAll(messages, (i) => this.store(broker, entering[i] as Event, options));
    return entering;
  }

  /** A delayed event enters its broker's stream; doing it twice repeats nothing. */
  enter(broker: EventBroker, due: DueMessage): Promise<PubAck> {
    return this.#publish(dueMessage(broker, due));
  }

  async #storeForItsMoment(broker: EventBroker, event: Event, options: StoreOptions): Promise<Stored> {
    const dueMs = this.#dueMs(event, options);
    if (dueMs === undefined) return this.#publish(encode(broker, event, options));
    try {
      const ack = await this.#publish(encodeDelayed(broker, event, { ...options, dueMs }));
      return { ...ack, delayed: true };
    } catch (error) {
      if (serverErrorCode(error) !== placeTaken) throw error;
      return { stream: "", sequence: 0, duplicate: true, delayed: true };
    }
  }

  #publish({ subject, payload, headers }: OutgoingMessage): Promise<PubAck> {
    return this.#publisher.publish(subject, payload, headers);
  }

  #dueMs({ attributes }: Event, { now }: StoreOptions): number | undefined {
    return now === true || !statesDelay(attributes) ? undefined : dueMsOf(attributes, this.#clock.now());
  }

  async #storeAll(
    messages: readonly OutgoingMessage[],
    storeOne: (index: number) => Promise<unknown>,
  ): Promise<void> {
    if (messages.length > 1 && (await this.#commit(messages)) === "stored") return;
    // One by itself, or some member is a duplicate and the server refused the whole. Every member is valid and
    // has its id: storing one by one repeats nothing, and a client that sees a failure here may send all again.
    await Promise.all(messages.map((_, i) => storeOne(i)));
  }

  async #commit(messages: readonly OutgoingMessage[]): Promise<"stored" | "duplicate"> {
    const batchId = createInbox().slice(-22);
    const last = messages.length - 1;
    const members = messages.map(({ subject, payload, headers: own }, index) => {
      const headers = [...own, "Nats-Batch-Id", batchId, "Nats-Batch-Sequence", `${index + 1}`];
      if (index === last) headers.push("Nats-Batch-Commit", "1");
      return { subject, payload, headers };
    });
    try {
      await this.#publisher.publishBatch(members);
      return "stored";
    } catch (error) {
      if (duplicateInBatch.includes(serverErrorCode(error) ?? 0)) return "duplicate";
      throw error;
    }
  }
}

const duplicateInBatch = [10201, placeTaken];

function encode(broker: EventBroker, event: Event, options: StoreOptions): OutgoingMessage {
  const { headers, payload } = encodeStored(event);
  const messageId = messageIdOf(broker, event, options);
  if (messageId !== undefined) headers.push("Nats-Msg-Id", messageId);
  if (options.beside !== undefined) headers.push(...options.beside);
  return { subject: eventSubject(eventSubjectPrefix(broker), event.attributes.type), headers, payload };
}

function encodeDelayed(
  broker: EventBroker,
  event: Event,
  { dueMs, ...options }: StoreOptions & { dueMs: number },
): OutgoingMessage {
  const { headers, payload } = encodeStored(event);
  if (options.beside !== undefined) headers.push(...options.beside);
  const messageId = messageIdOf(broker, event, options);
  return waitingMessage(broker, { headers, payload }, { dueMs, messageId });
}

function messageIdOf(broker: EventBroker, event: Event, { messageId }: StoreOptions): string | undefined {
  if (messageId !== undefined || broker.dedupeMs === 0) return messageId;
  return eventMessageId(event.attributes.source, event.attributes.id);
}

function distinct(events: readonly Event[]): Event[] {
  const byId = new Map<string, Event>();
  for (const event of events) {
    const id = eventMessageId(event.attributes.source, event.attributes.id);
    if (!byId.has(id)) byId.set(id, event);
  }
  return [...byId.values()];
}
