/**
 * Stores events in their broker's stream: subject from the type, NATS headers in the CloudEvents NATS
 * binding's binary mode, message id from (source, id). Resolved means stored, and only then may anyone be
 * told 202 (promise 1).
 */
import { createInbox, type MsgHdrs, type NatsConnection } from "@nats-io/nats-core";
import { MsgHdrsImpl } from "@nats-io/nats-core/internal";
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import type { HeaderRecord, PubAck, Publisher } from "./publish.ts";
import { encodeStored } from "./stored-event.ts";
import { type BrokerKey, eventMessageId, eventSubject, eventSubjectPrefix } from "./subjects.ts";

const batchAckTimeoutMs = 10_000;

export interface StoreOptions {
  /** The deduplication id; undefined derives it from (source, id). */
  readonly messageId?: string;
  /** Headers that travel beside the event (request ids and the like), lower-case, already checked. */
  readonly beside?: HeaderRecord;
}

export class EventStore {
  readonly #publisher: Publisher;
  readonly #nc: NatsConnection;

  constructor({ publisher, nc }: { publisher: Publisher; nc: NatsConnection }) {
    this.#publisher = publisher;
    this.#nc = nc;
  }

  /** Rejects as Publisher.publish does. */
  store(broker: BrokerKey, event: Event, options: StoreOptions = {}): Promise<PubAck> {
    const subject = eventSubject(eventSubjectPrefix(broker), event.attributes.type);
    const { headers, payload } = encode(event, options);
    return this.#publisher.publish(subject, payload, headers);
  }

  /**
   * All or nothing, by JetStream's atomic batch (sheet nats-jetstream §1.4). Duplicates of events stored
   * earlier, or within the batch, are left out and still count as stored.
   */
  async storeBatch(broker: BrokerKey, events: readonly Event[], options: StoreOptions = {}): Promise<void> {
    const unique = distinct(events);
    if (unique.length <= 1) {
      for (const event of unique) await this.store(broker, event, options);
      return;
    }
    const answer = await this.#commit(broker, unique, options);
    if (answer === "stored") return;
    // Some member is a duplicate, so the server refused the whole. Every member is valid and has its id:
    // storing one by one repeats nothing, and a client that sees a failure here may send all again.
    await Promise.all(unique.map((event) => this.store(broker, event, options)));
  }

  async #commit(
    broker: BrokerKey,
    events: readonly Event[],
    options: StoreOptions,
  ): Promise<"stored" | "duplicate"> {
    const batchId = createInbox().slice(-22);
    const prefix = eventSubjectPrefix(broker);
    for (const [index, event] of events.entries()) {
      const { headers, payload } = encode(event, options);
      headers["Nats-Batch-Id"] = batchId;
      headers["Nats-Batch-Sequence"] = `${index + 1}`;
      const subject = eventSubject(prefix, event.attributes.type);
      if (index < events.length - 1) {
        this.#nc.publish(subject, payload, { headers: toHdrs(headers) });
        continue;
      }
      headers["Nats-Batch-Commit"] = "1";
      return readCommit(
        await this.#nc.request(subject, payload, { headers: toHdrs(headers), timeout: batchAckTimeoutMs }),
      );
    }
    return "stored";
  }
}

const duplicateInBatch = 10201;

function readCommit(msg: { json<T>(): T; data: Uint8Array }): "stored" | "duplicate" {
  const answer =
    msg.data.length === 0 ? {} : msg.json<{ error?: { err_code?: number; description?: string } }>();
  if (answer.error === undefined && msg.data.length > 0) return "stored";
  if (answer.error?.err_code === duplicateInBatch) return "duplicate";
  throw new MeshError("STORAGE_UNAVAILABLE", { found: answer.error?.description ?? "no acknowledgement" });
}

function encode(
  event: Event,
  { messageId, beside }: StoreOptions,
): { headers: Record<string, string>; payload: Uint8Array } {
  const stored = encodeStored(event);
  stored.headers["Nats-Msg-Id"] = messageId ?? eventMessageId(event.attributes.source, event.attributes.id);
  if (beside !== undefined) Object.assign(stored.headers, beside);
  return stored;
}

function distinct(events: readonly Event[]): Event[] {
  const byId = new Map<string, Event>();
  for (const event of events) {
    const id = eventMessageId(event.attributes.source, event.attributes.id);
    if (!byId.has(id)) byId.set(id, event);
  }
  return [...byId.values()];
}

function toHdrs(headers: HeaderRecord): MsgHdrs {
  return MsgHdrsImpl.fromRecord(headers as unknown as Record<string, string[]>);
}
