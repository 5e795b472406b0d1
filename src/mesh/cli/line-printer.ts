/**
 * Prints one line per delivery for as long as a person could read them: gathered for a moment, and beyond
 * `linesPerSecond` only counted. Printing must never be what slows the mesh down.
 */
import type { Clock, Timer } from "../clock.ts";
import type { JournalRecord } from "../journal/record.ts";
import { formatRecord } from "./record-line.ts";

const gatherMs = 20;
const linesPerSecond = 200;

export class LinePrinter {
  readonly #out: (text: string) => void;
  readonly #clock: Clock;
  #lines: string[] = [];
  #timer: Timer | undefined;
  #secondStartedMs = 0;
  #printedThisSecond = 0;
  #skipped = 0;

  constructor(out: (text: string) => void, clock: Clock) {
    this.#out = out;
    this.#clock = clock;
  }

  record(record: JournalRecord): void {
    if (this.#takesPlace()) this.line(formatRecord(record));
    else this.#skipped++;
  }

  /** So many records are not going to be told. */
  missed(count: number): void {
    this.#skipped += count;
  }

  line(text: string): void {
    this.#lines.push(text);
    this.#timer ??= this.#clock.after(gatherMs, () => this.flush());
  }

  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#lines.length > 0) this.#out(`${this.#lines.join("\n")}\n`);
    this.#lines = [];
  }

  #takesPlace(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#secondStartedMs >= 1000) {
      if (this.#skipped > 0) this.line(`… and ${this.#skipped} more lines (see \`npx weft status\`)`);
      this.#secondStartedMs = now;
      this.#printedThisSecond = 0;
      this.#skipped = 0;
    }
    return this.#printedThisSecond++ < linesPerSecond;
  }
}
