/**
 * Window averages of a service's load, as the KPA computes them. Time comes in as an argument; nothing here
 * waits. Values are rounded to 6 decimals.
 *
 * L1  Values recorded in the same bucket add up.
 * L2  Right after a (re)start the window is partial: the first sample counts in full.
 * L3  Nothing for a whole window: 0, and the next value starts the window anew.
 */
export class LoadWindow {
  readonly #bucketMs: number;
  readonly #buckets: number[];
  #first = 0;
  #last: number | undefined;

  constructor(windowMs: number, bucketMs = 1000) {
    this.#bucketMs = bucketMs;
    this.#buckets = new Array<number>(Math.max(1, Math.ceil(windowMs / bucketMs))).fill(0);
  }

  record(value: number, now: number): void {
    const at = Math.floor(now / this.#bucketMs);
    const size = this.#buckets.length;
    if (this.#last === undefined || at - this.#last >= size) {
      this.#buckets.fill(0);
      this.#first = at;
      this.#last = at;
    } else if (at > this.#last) {
      // Missing seconds are zeros.
      for (let gap = this.#last + 1; gap <= at; gap++) this.#buckets[gap % size] = 0;
      this.#last = at;
    } else if (at <= this.#last - size) {
      return;
    } else if (at < this.#first) {
      this.#first = at;
    }
    this.#buckets[at % size] = (this.#buckets[at % size] ?? 0) + value;
  }

  average(now: number): number {
    if (this.#last === undefined) return 0;
    const size = this.#buckets.length;
    const behind = Math.max(0, Math.floor(now / this.#bucketMs) - this.#last);
    if (behind >= size) return 0;
    let total = 0;
    for (let at = this.#last - size + 1 + behind; at <= this.#last; at++) {
      if (at >= this.#first) total += this.#buckets[((at % size) + size) % size] ?? 0;
    }
    const span = Math.min(this.#last - this.#first + 1, size - behind);
    return Math.round((total / span) * 1e6) / 1e6;
  }
}

/**
 * Turns "the load is now n" into samples, time-weighted concurrency or arrivals per second, and those into the
 * two averages a decision needs.
 */
export class LoadMeter {
  readonly #stable: LoadWindow;
  readonly #panic: LoadWindow;
  readonly #metric: "concurrency" | "rps";
  #load = 0;
  #arrivals = 0;
  #since: number;
  #integral = 0;
  #sampledAt: number;

  constructor({
    metric,
    stableMs,
    panicMs,
    now,
  }: {
    metric: "concurrency" | "rps";
    stableMs: number;
    panicMs: number;
    now: number;
  }) {
    this.#metric = metric;
    this.#stable = new LoadWindow(stableMs);
    this.#panic = new LoadWindow(panicMs);
    this.#since = now;
    this.#sampledAt = now;
  }

  /** Requests in flight and waiting, from now on. */
  set(load: number, now: number): void {
    this.#integral += this.#load * (now - this.#since);
    this.#since = now;
    this.#load = load;
  }

  /** A request came. */
  arrive(): void {
    this.#arrivals += 1;
  }

  /** Records the average load since the last sample. Called about once a second. */
  sample(now: number): void {
    this.set(this.#load, now);
    const elapsed = now - this.#sampledAt;
    if (elapsed <= 0) return;
    const average = this.#metric === "rps" ? (this.#arrivals * 1000) / elapsed : this.#integral / elapsed;
    this.#integral = 0;
    this.#arrivals = 0;
    this.#sampledAt = now;
    this.#stable.record(average, now);
    this.#panic.record(average, now);
  }

  averages(now: number): { stable: number; panic: number } {
    return { stable: this.#stable.average(now), panic: this.#panic.average(now) };
  }

  /** Forgets an unsampled past of idleness, so that a first request is not averaged over it. */
  restart(now: number): void {
    this.set(this.#load, now);
    this.#integral = 0;
    this.#arrivals = 0;
    this.#sampledAt = now;
  }
}
