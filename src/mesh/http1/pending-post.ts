/** A POST on its way, and who has it now. */
import type { Answer, AnswerListener, Exchange } from "./exchange.ts";
import type { Linked } from "./line.ts";

/** Who has a post in hand, and lets go of it when asked. */
export interface Carrier {
  release(post: PendingPost): void;
}

export interface PostBytes {
  readonly head: string;
  readonly body: Uint8Array;
}

export class PendingPost implements Exchange, Linked<PendingPost> {
  readonly bytes: PostBytes;
  readonly #listener: AnswerListener;
  /** Undefined once the post is over. */
  carrier: Carrier | undefined;
  hasConnection = false;
  previous: PendingPost | undefined;
  next: PendingPost | undefined;

  constructor(bytes: PostBytes, listener: AnswerListener) {
    this.bytes = bytes;
    this.#listener = listener;
  }

  answer(answer: Answer): void {
    this.carrier = undefined;
    this.#listener.onAnswer(answer);
  }

  fail(error: Error): void {
    this.carrier = undefined;
    this.#listener.onFailure(error);
  }

  cancel(): void {
    const carrier = this.carrier;
    this.carrier = undefined;
    carrier?.release(this);
  }
}
