/**
 * Tells the first process what happens to events here, as far as a person could read along: gathered for a moment,
 * at most `recordsMax` at once, one message under way. What is beyond that is only counted.
 */
import type { Clock, Timer } from "../clock.ts";
import type { JournalRecord } from "../journal/record.ts";
import type { FromWorker } from "./messages.ts";

const gatherMs = 50;
const recordsMax = 50;

export interface RecordRelayOptions {
  readonly clock: Clock;
  /** Resolves when there is room for another message. Never rejects. */
  readonly send: (message: FromWorker) => Promise<void>;
}

export class RecordRelay {
  readonly #options: RecordRelayOptions;
  #records: JournalRecord[] = [];
  #missed = 0;
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: RecordRelayOptions) {
    this.#options = options;
  }

  add(record: JournalRecord): void {
    if (this.#records.length < recordsMax) this.#records.push(record);
    else this.#missed++;
    this.#tellSoon();
  }

  /** Resolves when all that was added is told. */
  async flush(): Promise<void> {
    while (this.#sending !== undefined || this.#records.length > 0) await (this.#sending ?? this.#tell());
  }

  #tellSoon(): void {
    if (this.#sending !== undefined) return;
    this.#timer ??= this.#options.clock.after(gatherMs, () => void this.#tell());
  }

  #tell(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const message = { kind: "records", records: this.#records, missed: this.#missed } as const;
    this.#records = [];
    this.#missed = 0;
    this.#sending = this.#options.send(message).then(() => {
      this.#sending = undefined;
      if (this.#records.length > 0) this.#tellSoon();
    });
    return this.#sending;
  }
}
