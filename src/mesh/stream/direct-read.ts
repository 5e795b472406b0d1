/**
 * Reads several stored messages by a direct get, as an array.
 *
 * R1  no match is an empty array: the server says so in the course of the answer, not by refusing the request.
 * R2  an answer that stops in the middle (the server died) is an error within `silenceMs`, never a wait forever.
 */
import { JetStreamError, type StoredMsg } from "@nats-io/jetstream";
import type { QueuedIterator } from "@nats-io/nats-core";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";

const silenceMs = 5000;
const notFoundStatus = 404;

/** `request` is what `getBatch` or `getLastMessagesFor` returned. Rejects when the storage cannot be reached. */
export async function readDirect(
  request: Promise<QueuedIterator<StoredMsg>>,
  clock: Clock,
): Promise<StoredMsg[]> {
  const answer = await request;
  const found: StoredMsg[] = [];
  let heardMs = clock.monotonic();
  const watch = clock.every(silenceMs / 5, () => {
    if (clock.monotonic() - heardMs < silenceMs) return;
    answer.stop(new MeshError("STORAGE_UNAVAILABLE", { found: `no answer within ${silenceMs} ms` }));
  });
  try {
    for await (const message of answer) {
      heardMs = clock.monotonic();
      found.push(message);
    }
    return found;
  } catch (error) {
    if (isNotFound(error)) return found;
    throw error;
  } finally {
    watch.cancel();
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof JetStreamError && "code" in error && error.code === notFoundStatus;
}
