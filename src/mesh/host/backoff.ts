/** Starts that fail are not repeated at once: 1 s after the first failure, doubling to a minute. */
import type { Clock, Timer } from "../clock.ts";

const firstMs = 1000;
const maxMs = 60_000;

export class Backoff {
  readonly #clock: Clock;
  readonly #onOver: () => void;
  #failures = 0;
  #until = 0;
  #timer: Timer | undefined;

  /** `onOver` is called when a wait is over. */
  constructor(clock: Clock, onOver: () => void) {
    this.#clock = clock;
    this.#onOver = onOver;
  }

  get isBlocked(): boolean {
    return this.#clock.now() < this.#until;
  }

  fail(): void {
    this.#failures += 1;
    const delayMs = Math.min(maxMs, firstMs * 2 ** Math.min(10, this.#failures - 1));
    this.#until = this.#clock.now() + delayMs;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(delayMs, this.#onOver);
  }

  /** The function works: the next failure is a first one again. */
  succeed(): void {
    this.#failures = 0;
  }

  /** Something else is going to be started: nothing is known against it. */
  reset(): void {
    this.#failures = 0;
    this.#until = 0;
    this.#timer?.cancel();
  }
}
