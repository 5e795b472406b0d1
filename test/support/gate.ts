/** Holds the answers of a scripted subscriber back until the test opens it. */
import type { Act } from "./subscriber.ts";

export interface Gate {
  /** Answers held back now. */
  readonly waiting: number;
  pass(answer: Act): Promise<Act>;
  /** Lets every answer go, now and from now on. */
  open(): void;
}

export function gate(): Gate {
  const waiters: (() => void)[] = [];
  let isOpen = false;
  return {
    get waiting() {
      return waiters.length;
    },
    pass(answer) {
      if (isOpen) return Promise.resolve(answer);
      return new Promise((resolve) => waiters.push(() => resolve(answer)));
    },
    open() {
      isOpen = true;
      for (const pass of waiters.splice(0)) pass();
    },
  };
}
