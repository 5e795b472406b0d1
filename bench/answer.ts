/**
 * Reads the answers on one connection. Answers to like requests are the same bytes until their date changes: one
 * that equals the last is known without being parsed, any other goes through the full reader.
 */
import { Buffer } from "node:buffer";
import { MessageReader } from "./message.ts";

export class AnswerReader {
  readonly #onAnswer: (status: number) => void;
  readonly #reader = new MessageReader((head) => this.#onHead(head));
  #known = Buffer.alloc(0);
  #knownStatus = 0;
  /** Whole messages in what is parsed now, and the status of the last. */
  #found = 0;
  #status = 0;

  constructor(onAnswer: (status: number) => void) {
    this.#onAnswer = onAnswer;
  }

  /** The first `length` bytes are new; the caller may write to them again afterwards. */
  push(bytes: Uint8Array, length: number): void {
    if (length === this.#known.length && this.#reader.isBetween && startsWith(bytes, this.#known)) {
      this.#onAnswer(this.#knownStatus);
      return;
    }
    const wasBetween = this.#reader.isBetween;
    const copy = Buffer.from(bytes.subarray(0, length));
    this.#found = 0;
    this.#reader.push(copy);
    if (wasBetween && this.#found === 1 && this.#reader.isBetween) {
      this.#known = copy;
      this.#knownStatus = this.#status;
    }
  }

  #onHead(head: Buffer): void {
    this.#found++;
    this.#status = Number(head.toString("latin1", 9, 12));
    this.#onAnswer(this.#status);
  }
}

function startsWith(bytes: Uint8Array, wanted: Uint8Array): boolean {
  for (let i = wanted.length - 1; i >= 0; i--) if (bytes[i] !== wanted[i]) return false;
  return true;
}
