/**
 * Writes the journal: failed attempts one by one and awaited, outcomes gathered and flushed many to a message,
 * so that success costs the hot path almost nothing. Followers in this process hear every record at once.
 *
 * J1  an attempt record is stored when `attempt` resolves: before the NAK or the dead letter it explains.
 * J2  outcomes are best effort: bounded, and lost for at most `flushMs` when the process is killed.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { Publisher } from "../stream/publish.ts";
import { attemptSubject, type BrokerKey, outcomesSubject } from "../stream/subjects.ts";
import type { AttemptRecord, JournalRecord, OutcomeRecord, UnmatchedRecord } from "./record.ts";

const flushMs = 10;
const flushRecords = 256;
const bufferedRecordsMax = 20_000;

export class JournalWriter implements Closeable {
  readonly #publisher: Publisher;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #followers = new Set<(record: JournalRecord) => void>();
  readonly #buffers = new Map<string, { broker: BrokerKey; records: OutcomeRecord[] }>();
  #timer: Timer | undefined;
  #buffered = 0;
  #lost = 0;

  constructor({ publisher, clock, log }: { publisher: Publisher; clock: Clock; log: Log }) {
    this.#publisher = publisher;
    this.#clock = clock;
    this.#log = log;
  }

  /** Calls back for every record of this process; the callback must not throw. */
  follow(onRecord: (record: JournalRecord) => void): { close(): void } {
    this.#followers.add(onRecord);
    return { close: () => this.#followers.delete(onRecord) };
  }

  /** J1. Rejects when it could not be stored. */
  async attempt(broker: BrokerKey, record: AttemptRecord): Promise<void> {
    this.#tell(record);
    await this.#publisher.publish(attemptSubject(broker, record), encode(record), []);
  }

  /** J2. */
  outcome(broker: BrokerKey, record: OutcomeRecord): void {
    this.#tell(record);
    if (this.#buffered >= bufferedRecordsMax) {
      this.#lost++;
      return;
    }
    let buffer = this.#buffers.get(record.broker);
    if (buffer === undefined) {
      buffer = { broker, records: [] };
      this.#buffers.set(record.broker, buffer);
    }
    buffer.records.push(record);
    this.#buffered++;
    if (buffer.records.length >= flushRecords) void this.#flush();
    else this.#timer ??= this.#clock.after(flushMs, () => void this.#flush());
  }

  unmatched(record: UnmatchedRecord): void {
    this.#tell(record);
  }

  /** Only tells the followers, for brokers that journal failures only. */
  announce(record: OutcomeRecord): void {
    this.#tell(record);
  }

  async close(): Promise<void> {
    await this.#flush();
  }

  #flush(): Promise<unknown> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const flushed = [...this.#buffers.values()].map(({ broker, records }) =>
      this.#publisher.publish(outcomesSubject(broker), encode(records), []).catch(() => {
        this.#lost += records.length;
      }),
    );
    this.#buffers.clear();
    this.#buffered = 0;
    return Promise.all(flushed).then(() => this.#reportLost());
  }

  #reportLost(): void {
    if (this.#lost === 0) return;
    this.#log.warn({ stage: "journal", records: this.#lost }, "outcomes were not journaled");
    this.#lost = 0;
  }

  #tell(record: JournalRecord): void {
    for (const follower of this.#followers) follower(record);
  }
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
