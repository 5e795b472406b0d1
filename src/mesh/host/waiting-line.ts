/** Callers that wait for a lease: first come, first served, bounded, each free to give up. */
import type { Lease } from "./service.ts";

const waitersMax = 10_000;

interface Waiter {
  readonly grant: (lease: Lease) => void;
  readonly refuse: (error: unknown) => void;
}

export class WaitingLine {
  readonly #waiters = new Set<Waiter>();
  readonly #onLeft: () => void;

  /** `onLeft` is called when somebody gave up. */
  constructor(onLeft: () => void) {
    this.#onLeft = onLeft;
  }

  get length(): number {
    return this.#waiters.size;
  }

  get isFull(): boolean {
    return this.#waiters.size >= waitersMax;
  }

  /** Rejects with the signal's reason, or what `refuseAll` gives. */
  join(signal: AbortSignal | undefined): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
        this.#onLeft();
      };
      const waiter: Waiter = {
        grant: (lease) => {
          signal?.removeEventListener("abort", leave);
          resolve(lease);
        },
        refuse: (error) => {
          signal?.removeEventListener("abort", leave);
          reject(error);
        },
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Serves from the front while `hasRoom`; the served one has left the line when `take` is called. */
  serve({ hasRoom, take }: { hasRoom: () => boolean; take: () => Lease }): void {
    for (const waiter of this.#waiters) {
      if (!hasRoom()) return;
      this.#waiters.delete(waiter);
      waiter.grant(take());
    }
  }

  refuseAll(error: unknown): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.refuse(error);
  }
}
