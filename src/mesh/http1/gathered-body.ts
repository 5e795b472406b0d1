/** The bytes of one body as they arrive, up to a bound. What comes in is copied: the chunk may be used again. */
import { Buffer } from "node:buffer";

const empty = new Uint8Array(0);

export class GatheredBody {
  readonly #bytesMax: number;
  #bytes: Uint8Array = empty;
  #length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Takes what there is room for; false when that was not all of it. */
  add(chunk: Uint8Array, from: number, to: number): boolean {
    const end = Math.min(to, from + this.#bytesMax - this.#length);
    const length = this.#length + end - from;
    if (length > this.#bytes.length) this.#grow(length);
    this.#bytes.set(chunk.subarray(from, end), this.#length);
    this.#length = length;
    return end === to;
  }

  /** The whole of it; the next body begins. */
  take(): Uint8Array {
    const body = this.#bytes.length === this.#length ? this.#bytes : this.#bytes.subarray(0, this.#length);
    this.#bytes = empty;
    this.#length = 0;
    return body;
  }

  /** Exactly at first, for most bodies come at once; then twice as much each time, so that bytes move rarely. */
  #grow(length: number): void {
    const room = this.#length === 0 ? length : Math.min(this.#bytesMax, Math.max(length, 2 * this.#length));
    const bytes = Buffer.allocUnsafe(room);
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
  }
}
