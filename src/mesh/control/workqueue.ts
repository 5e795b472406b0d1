/**
 * Keys waiting to be reconciled.
 *
 * Q1  a key is waiting at most once, and processed by one worker at a time.
 * Q2  a key added while it is processed is processed once more afterwards.
 * Q3  a failed key comes again after BACKOFF_MIN_MS, doubled with each failure up to BACKOFF_MAX_MS, for as long
 *     as it fails; adding it brings it forward.
 * Q4  nothing is processed inside `add`: whoever caused it gets to answer first.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Closeable } from "../lifecycle.ts";

export const BACKOFF_MIN_MS = 50;
export const BACKOFF_MAX_MS = 30_000;
/** Different keys in work at once. */
export const WORKERS_MAX = 8;

/** What a successful pass asks for: nothing, or to come again without being told. */
export type Outcome = { readonly requeueAfterMs: number } | undefined;

export interface WorkQueueOptions {
  readonly process: (key: string) => Promise<Outcome>;
  readonly onFailure: (failure: {
    key: string;
    error: unknown;
    failures: number;
    retryAfterMs: number;
  }) => void;
  readonly clock: Clock;
}

export class WorkQueue implements Closeable {
  readonly #process: WorkQueueOptions["process"];
  readonly #onFailure: WorkQueueOptions["onFailure"];
  readonly #clock: Clock;
  readonly #waiting = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #delayed = new Map<string, Timer>();
  readonly #failures = new Map<string, number>();
  #onIdle: (() => void)[] = [];
  #pumpPlanned = false;
  #closed = false;

  constructor({ process, onFailure, clock }: WorkQueueOptions) {
    this.#process = process;
    this.#onFailure = onFailure;
    this.#clock = clock;
  }

  add(key: string): void {
    if (this.#closed) return;
    this.#delayed.get(key)?.cancel();
    this.#delayed.delete(key);
    this.#waiting.add(key);
    this.#planPump();
  }

  /** Whether nothing is waiting or in work; keys in back-off do not count. */
  get isIdle(): boolean {
    return this.#waiting.size === 0 && this.#running.size === 0;
  }

  /** Resolves when `isIdle`. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** Drops what waits and lets what runs finish. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#waiting.clear();
    await Promise.all(this.#running.values());
    this.#tellIdle();
  }

  /** Q4. */
  #planPump(): void {
    if (this.#pumpPlanned) return;
    this.#pumpPlanned = true;
    setImmediate(() => {
      this.#pumpPlanned = false;
      this.#pump();
    });
  }

  #pump(): void {
    for (const key of [...this.#waiting]) {
      if (this.#running.size >= WORKERS_MAX) break;
      if (this.#running.has(key)) continue;
      this.#waiting.delete(key);
      this.#running.set(key, this.#run(key));
    }
    this.#tellIdle();
  }

  async #run(key: string): Promise<void> {
    try {
      const outcome = await this.#process(key);
      this.#failures.delete(key);
      if (outcome !== undefined) this.#delay(key, outcome.requeueAfterMs);
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      const retryAfterMs = Math.min(BACKOFF_MIN_MS * 2 ** (failures - 1), BACKOFF_MAX_MS);
      this.#onFailure({ key, error, failures, retryAfterMs });
      this.#delay(key, retryAfterMs);
    } finally {
      this.#running.delete(key);
      this.#planPump();
    }
  }

  #delay(key: string, ms: number): void {
    if (this.#closed || this.#waiting.has(key)) return;
    this.#delayed.get(key)?.cancel();
    this.#delayed.set(
      key,
      this.#clock.after(ms, () => this.add(key)),
    );
  }

  #tellIdle(): void {
    if (!this.isIdle) return;
    const waiters = this.#onIdle;
    this.#onIdle = [];
    for (const resolve of waiters) resolve();
  }
}
