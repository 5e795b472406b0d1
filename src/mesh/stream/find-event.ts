/**
 * Finds a stored event by its id. Nothing indexes ids, so a stream is read from its newest end backwards, some at
 * a time: what people ask about has mostly just happened.
 */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Event } from "../event/event.ts";
import { readStretch } from "./position.ts";
import { decodeStored } from "./stored-event.ts";
import { ignoring } from "./stream.ts";

export interface FoundEvent {
  readonly message: StoredMsg;
  readonly event: Event;
}

export interface Search {
  readonly stream: string;
  readonly subject: string;
  readonly id: string;
  /** Any when undefined: ids are only unique within one source. */
  readonly source: string | undefined;
}

const windowMessages = 1000;
const searchedMax = 500_000;
const streamNotFound = 10059;

/** The newest such event; undefined when it is not among the newest `searchedMax` messages. */
export async function findEvent(
  parts: { jsm: JetStreamManager; clock: Clock },
  { stream, subject, id, source }: Search,
): Promise<FoundEvent | undefined> {
  const info = await parts.jsm.streams.info(stream).catch(ignoring(streamNotFound));
  if (info === undefined || info.state.messages === 0) return undefined;
  const oldest = Math.max(info.state.first_seq, info.state.last_seq - searchedMax + 1);
  for (let toSequence = info.state.last_seq; toSequence >= oldest; toSequence -= windowMessages) {
    const fromSequence = Math.max(oldest, toSequence - windowMessages + 1);
    let found: FoundEvent | undefined;
    for await (const messages of readStretch(parts, stream, { subject, fromSequence, toSequence })) {
      for (const message of messages) {
        const event = read(message);
        if (event?.attributes.id !== id || (source !== undefined && event.attributes.source !== source)) {
          continue;
        }
        found = { message, event };
      }
    }
    if (found !== undefined) return found;
  }
  return undefined;
}

function read(message: StoredMsg): Event | undefined {
  try {
    return decodeStored({ headers: message.header, data: message.data });
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
}
