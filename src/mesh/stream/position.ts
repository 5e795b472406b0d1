/** Places in a stream as sequences, and the messages between two of them. */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import type { StartPoint } from "../routes/route.ts";
import { readDirect } from "./direct-read.ts";

/** Messages, and their bytes, that one read holds in memory. */
const readMessagesMax = 250;
const readBytesMax = 16 * 1024 * 1024;

/** The sequence of the first message at or after the place; one past the end when there is none yet. */
export async function sequenceAt(jsm: JetStreamManager, stream: string, point: StartPoint): Promise<number> {
  const { state } = await jsm.streams.info(stream);
  const end = state.last_seq + 1;
  switch (point.kind) {
    case "new":
      return end;
    case "first":
      return Math.min(Math.max(1, state.first_seq), end);
    case "sequence":
      return Math.min(Math.max(point.sequence, state.first_seq), end);
    case "time": {
      if (state.messages === 0) return end;
      const query = { start_time: new Date(point.atMs) };
      return (await jsm.direct.getMessage(stream, query))?.seq ?? end;
    }
  }
}

export interface Stretch {
  /** Only messages on subjects this covers. */
  readonly subject: string;
  readonly fromSequence: number;
  /** The last one, inclusive. */
  readonly toSequence: number;
}

/** The stored messages of a stretch, in order, some at a time. Rejects when the storage cannot be reached. */
export async function* readStretch(
  { jsm, clock }: { jsm: JetStreamManager; clock: Clock },
  stream: string,
  { subject, fromSequence, toSequence }: Stretch,
): AsyncGenerator<readonly StoredMsg[]> {
  let next = fromSequence;
  while (next <= toSequence) {
    const query = {
      batch: readMessagesMax,
      max_bytes: readBytesMax,
      next_by_subj: subject,
      seq: next,
    };
    const messages = await readDirect(jsm.direct.getBatch(stream, query), clock);
    const wanted = messages.filter(({ seq }) => seq <= toSequence);
    if (wanted.length > 0) yield wanted;
    const last = messages.at(-1);
    if (last === undefined || wanted.length < messages.length) return;
    next = last.seq + 1;
  }
}
