/** Reads the journal: all attempts at one delivery, oldest first. Values are checked at this boundary. */
import type { JetStreamManager } from "@nats-io/jetstream";
import { ignoring } from "../stream/stream.ts";
import { attemptSubject, type BrokerKey, journalStream } from "../stream/subjects.ts";
import { type AttemptRecord, attemptRecordSchema } from "./record.ts";

const attemptsReadMax = 2000;
const batchSize = 250;
const messageNotFound = 10037;
const streamNotFound = 10059;

export interface DeliveryPlace {
  readonly triggerUid: string;
  readonly origin: "e" | "r";
  readonly sequence: number;
}

export class JournalReader {
  readonly #jsm: JetStreamManager;

  constructor(jsm: JetStreamManager) {
    this.#jsm = jsm;
  }

  /** The attempts still in the journal, oldest first, at most `attemptsReadMax`. */
  async attempts(broker: BrokerKey, place: DeliveryPlace): Promise<AttemptRecord[]> {
    const subject = attemptSubject(broker, place);
    const attempts: AttemptRecord[] = [];
    let from = 1;
    while (attempts.length < attemptsReadMax) {
      const batch = await this.#jsm.direct
        .getBatch(journalStream(broker), { batch: batchSize, next_by_subj: subject, seq: from })
        .catch(ignoring(messageNotFound, streamNotFound));
      if (batch === undefined) break;
      let count = 0;
      for await (const message of batch) {
        count++;
        from = message.seq + 1;
        const parsed = attemptRecordSchema.safeParse(parse(message.data));
        if (parsed.success) attempts.push(parsed.data);
      }
      if (count < batchSize) break;
    }
    return attempts;
  }
}

function parse(data: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(data).toString("utf8"));
  } catch {
    return undefined;
  }
}
