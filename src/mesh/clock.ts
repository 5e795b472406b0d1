/**
 * The only door to time: everything that waits or stamps takes a Clock, so tests can own time.
 * Units: milliseconds since the epoch for instants, milliseconds for durations.
 */
export interface Timer {
  /** Idempotent; a fired timer may be cancelled too. */
  cancel(): void;
}

export interface Clock {
  /** Wall clock, epoch milliseconds. */
  now(): number;
  /** Monotonic milliseconds, for latencies. */
  monotonic(): number;
  /** Calls `callback` once after `ms`. Does not keep the process alive. */
  after(ms: number, callback: () => void): Timer;
  /** Calls `callback` every `ms` until cancelled. Does not keep the process alive. */
  every(ms: number, callback: () => void): Timer;
  /** Resolves after `ms`, or at once (still resolving) when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const handle = setTimeout(callback, ms);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  every(ms, callback) {
    const handle = setInterval(callback, ms);
    handle.unref();
    return { cancel: () => clearInterval(handle) };
  },
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(handle);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const handle = setTimeout(done, ms);
      signal?.addEventListener("abort", done, { once: true });
    });
  },
};

interface Rhythm {
  readonly timer: Timer;
  readonly callbacks: Set<() => void>;
}

const rhythms = new WeakMap<Clock, Map<number, Rhythm>>();

/**
 * `clock.every` for many of the same rhythm: all are called by one timer, so that a thousand of them wake the process
 * once and not a thousand times. The first call may come sooner than after `ms`.
 */
export function everyTogether(clock: Clock, ms: number, callback: () => void): Timer {
  const known = rhythms.get(clock) ?? new Map<number, Rhythm>();
  rhythms.set(clock, known);
  const rhythm = known.get(ms) ?? startRhythm(clock, ms);
  known.set(ms, rhythm);
  // Its own, should the same function be given twice.
  const own = () => callback();
  rhythm.callbacks.add(own);
  return {
    cancel() {
      rhythm.callbacks.delete(own);
      if (rhythm.callbacks.size > 0 || known.get(ms) !== rhythm) return;
      rhythm.timer.cancel();
      known.delete(ms);
    },
  };
}

function startRhythm(clock: Clock, ms: number): Rhythm {
  const callbacks = new Set<() => void>();
  const timer = clock.every(ms, () => {
    for (const callback of callbacks) callback();
  });
  return { timer, callbacks };
}

let lastStamped = { ms: Number.NaN, text: "" };

/** RFC 3339 in UTC with milliseconds, the form of every timestamp weft writes. Many share one millisecond. */
export function rfc3339(epochMs: number): string {
  if (epochMs !== lastStamped.ms) lastStamped = { ms: epochMs, text: new Date(epochMs).toISOString() };
  return lastStamped.text;
}

/** A clock that moves only when told to; timers fire inside `advance`, in order. */
export class FakeClock implements Clock {
  #now: number;
  #timers: { at: number; everyMs: number | undefined; callback: () => void }[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): Timer {
    return this.#add(ms, undefined, callback);
  }

  every(ms: number, callback: () => void): Timer {
    return this.#add(ms, ms, callback);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = this.after(ms, resolve);
      signal?.addEventListener("abort", () => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Moves time forward by `ms`, firing due timers in order and letting promises settle between them. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.at);
      if (next.everyMs === undefined) this.#timers.splice(this.#timers.indexOf(next), 1);
      else next.at += next.everyMs;
      next.callback();
      await new Promise(setImmediate);
    }
    this.#now = end;
  }

  #add(ms: number, everyMs: number | undefined, callback: () => void): Timer {
    const timer = { at: this.#now + ms, everyMs, callback };
    this.#timers.push(timer);
    const cancel = () => {
      this.#timers = this.#timers.filter((t) => t !== timer);
    };
    return { cancel };
  }
}
