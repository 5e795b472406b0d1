/** What a consumer still has out: handed to somebody and not acked. Asked of the server, never guessed. */
import type { JetStreamManager } from "@nats-io/jetstream";
import { consumerInfo } from "./consumer.ts";
import { ignoring } from "./stream.ts";

export interface Unacked {
  readonly count: number;
  /** Everything up to here was handed out at least once. */
  readonly upTo: number;
  /** Everything up to here is acked. */
  readonly floor: number;
}

const messageNotFound = 10037;
const streamNotFound = 10059;

/** undefined when the consumer does not exist. */
export async function readUnacked(
  jsm: JetStreamManager,
  { stream, triggerUid }: { stream: string; triggerUid: string },
): Promise<Unacked | undefined> {
  const info = await consumerInfo(jsm, stream, triggerUid);
  if (info === undefined) return undefined;
  return {
    count: info.num_ack_pending,
    upTo: info.delivered.stream_seq,
    floor: info.ack_floor.stream_seq,
  };
}

/** Whether the stream still holds a message at this sequence. */
export async function isStored(jsm: JetStreamManager, stream: string, sequence: number): Promise<boolean> {
  const message = await jsm.streams
    .getMessage(stream, { seq: sequence })
    .catch(ignoring(messageNotFound, streamNotFound));
  return message !== undefined && message !== null;
}
