/** Reads the journal: all attempts at one delivery, oldest first. Values are checked at this boundary. */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import { readDirect } from "../stream/direct-read.ts";
import { attemptSubject, type BrokerKey, journalStream } from "../stream/subjects.ts";
import { type AttemptRecord, attemptRecordSchema } from "./record.ts";

const attemptsReadMax = 2000;
const batchSize = 250;

export interface DeliveryPlace {
  readonly triggerUid: string;
  readonly origin: "e" | "r";
  readonly sequence: number;
}

export class JournalReader {
  readonly #jsm: JetStreamManager;
  readonly #clock: Clock;

  constructor({ jsm, clock }: { jsm: JetStreamManager; clock: Clock }) {
    this.#jsm = jsm;
    this.#clock = clock;
  }

  /** The attempts still in the journal, oldest first, at most `attemptsReadMax`. */
  async attempts(broker: BrokerKey, place: DeliveryPlace): Promise<AttemptRecord[]> {
    const subject = attemptSubject(broker, place);
    const attempts: AttemptRecord[] = [];
    let from = 1;
    while (attempts.length < attemptsReadMax) {
      const query = { batch: batchSize, next_by_subj: subject, seq: from };
      const batch = await readDirect(this.#jsm.direct.getBatch(journalStream(broker), query), this.#clock);
      for (const message of batch) {
        from = message.seq + 1;
        const parsed = attemptRecordSchema.safeParse(parse(message.data));
        if (parsed.success) attempts.push(parsed.data);
      }
      if (batch.length < batchSize) break;
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
