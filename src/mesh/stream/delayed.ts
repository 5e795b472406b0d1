/**
 * Where events wait for the moment they name: the broker's delayed stream (DESIGN §4). An event waits as a NATS
 * message schedule on a subject of its own; when its moment comes NATS turns it into a message on the stream's
 * one due subject, from where a mover (dispatch/mover.ts) takes it into the event stream and deletes it here.
 *
 * Y1  while an event waits, a duplicate of it is refused with `placeTaken`: the first one stays, however long.
 * Y2  the message id travels along, so that the event stream refuses what has entered already.
 */
import { AckPolicy, DeliverPolicy, type JetStreamManager } from "@nats-io/jetstream";
import { createInbox, nanos } from "@nats-io/nats-core";
import { rfc3339 } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { OutgoingMessage } from "./publish.ts";
import type { Delivery } from "./puller.ts";
import { decodeStored, headersBeside } from "./stored-event.ts";
import { ignoring, isApiError } from "./stream.ts";
import {
  type BrokerKey,
  delayedStream,
  dueSubject,
  eventSubject,
  eventSubjectPrefix,
  movedMessageId,
  moverConsumer,
  waitingSubject,
} from "./subjects.ts";

/** err_code of a publish onto a subject that holds a message although none was expected. */
export const placeTaken = 10071;

const messageIdHeader = "weft-message-id";
const serverHeader = /^nats-/i;
/** A mover that says nothing for so long is gone. */
const ackWaitMs = 30_000;
/** Moves in flight, over all movers of a broker. */
const movingMax = 1000;
const consumerExists = 10148;
const gone = [10037, 10043, 10057, 10059];
/** Under this type an event that cannot be read goes on: it ends as a dead letter, not as a riddle. */
const unreadableType = "dev.weft.event.invalid";

/** The schedule of one event. Without a message id (no deduplication) its place is nobody else's. Y1. */
export function waitingMessage(
  broker: BrokerKey,
  { headers, payload }: Pick<OutgoingMessage, "headers" | "payload">,
  { dueMs, messageId }: { dueMs: number; messageId: string | undefined },
): OutgoingMessage {
  return {
    subject: waitingSubject(broker, messageId ?? createInbox()),
    payload,
    headers: [
      ...headers,
      ...["Nats-Schedule", `@at ${rfc3339(dueMs)}`],
      ...["Nats-Schedule-Target", dueSubject(broker)],
      ...["Nats-Expected-Last-Subject-Sequence", "0"],
      ...(messageId === undefined ? [] : [messageIdHeader, messageId]),
    ],
  };
}

/** A waiting event whose moment has come, as the delayed stream delivers it. */
export type DueMessage = Pick<Delivery, "headers" | "data" | "sequence">;

/** What a due message becomes in the event stream. Y2. */
export function dueMessage(broker: BrokerKey, due: DueMessage): OutgoingMessage {
  const kept = headersBeside(due.headers, (name) => !serverHeader.test(name) && name !== messageIdHeader);
  const headers = [...kept, "Nats-Msg-Id", due.headers.get(messageIdHeader) || movedMessageId(due.sequence)];
  return { subject: eventSubject(eventSubjectPrefix(broker), typeOf(due)), headers, payload: due.data };
}

/** The consumer all movers of the broker share. Idempotent. */
export async function ensureMoverConsumer(jsm: JetStreamManager, broker: BrokerKey): Promise<void> {
  const limits = { ack_wait: nanos(ackWaitMs), max_ack_pending: movingMax };
  try {
    await jsm.consumers.add(delayedStream(broker), {
      ...limits,
      durable_name: moverConsumer,
      filter_subject: dueSubject(broker),
      deliver_policy: DeliverPolicy.All,
      ack_policy: AckPolicy.Explicit,
      max_deliver: -1,
    });
  } catch (error) {
    if (!isApiError(error, consumerExists)) throw error;
    await jsm.consumers.update(delayedStream(broker), moverConsumer, limits);
  }
}

/** Forgets a due message that has entered the event stream. Idempotent. */
export async function removeDue(jsm: JetStreamManager, broker: BrokerKey, sequence: number): Promise<void> {
  await jsm.streams.deleteMessage(delayedStream(broker), sequence, false).catch(ignoring(...gone));
}

/** Events of the broker that have not entered its stream yet. */
export async function countDelayed(jsm: JetStreamManager, broker: BrokerKey): Promise<number> {
  const info = await jsm.streams.info(delayedStream(broker)).catch(ignoring(...gone));
  return info?.state.messages ?? 0;
}

/** When a waiting event wants to enter; undefined once its moment has come. */
export function dueAtOf(headers: { get(name: string): string } | undefined): string | undefined {
  return /^@at (.+)$/.exec(headers?.get("Nats-Schedule") ?? "")?.[1];
}

function typeOf(message: DueMessage): string {
  try {
    return decodeStored(message).attributes.type;
  } catch (error) {
    if (error instanceof MeshError) return unreadableType;
    throw error;
  }
}
