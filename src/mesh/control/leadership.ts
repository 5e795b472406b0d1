/**
 * Runs something in one process at a time: a term begins when this process gets the lease and ends when it loses
 * it. The lease itself is the caller's.
 *
 * L1  terms of this process never overlap: the next begins after the one before has closed.
 * L2  a term that cannot begin is tried again, STARTS_MAX times; then the lease is left to others for a while, as
 *     one of them may be able to.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";

const retryMs = 1000;
const STARTS_MAX = 3;
/** Longer than anybody who wants the lease waits before trying again. */
const standBackMs = 10_000;
const lookMs = 100;

export interface HeldLease extends Closeable {
  /** True only while nobody else can have it. */
  readonly isHeld: boolean;
}

export interface LeadershipOptions {
  readonly hold: (listener: { onGain(): void; onLoss(): void }) => HeldLease;
  /** Begins a term; resolves when it is fully under way. Rejects when it cannot begin, nothing left running. */
  readonly startTerm: (signal: AbortSignal) => Promise<Closeable>;
  readonly clock: Clock;
  readonly log: Log;
}

export class Leadership implements Closeable {
  readonly #options: LeadershipOptions;
  readonly #stopping = new AbortController();
  #lease: HeldLease;
  #hasLed = false;
  #terms: Promise<void> = Promise.resolve();
  #term: AbortController | undefined;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#lease = this.#hold();
  }

  get isLeader(): boolean {
    return this.#lease.isHeld;
  }

  /**
   * Resolves when the first term of this process is under way, or when another process is seen to renew the lease
   * (`look` reads its revision), or when the signal aborts.
   */
  async decided({
    look,
    signal,
  }: {
    readonly look: () => Promise<number | undefined>;
    readonly signal: AbortSignal;
  }): Promise<void> {
    const { clock, log } = this.#options;
    let before: number | undefined;
    while (!signal.aborted && !this.#hasLed) {
      if (!this.isLeader) {
        const seen = await look().catch((error: unknown) => {
          log.debug({ stage: "control", error: messageOf(error) }, "the lease could not be read");
          return undefined;
        });
        if (before !== undefined && seen !== undefined && seen !== before && !this.isLeader) return;
        before = seen ?? before;
      } else before = undefined;
      await clock.sleep(lookMs, signal);
    }
  }

  /** Ends the term, then hands the lease on. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#end();
    await this.#terms;
    await this.#lease.close();
    // A lease gained in between began another term.
    this.#end();
    await this.#terms;
  }

  #hold(): HeldLease {
    return this.#options.hold({
      onGain: () => this.#begin(),
      onLoss: () => this.#end(),
    });
  }

  #begin(): void {
    const ending = new AbortController();
    this.#term = ending;
    this.#terms = this.#terms.then(() => this.#run(ending.signal));
  }

  #end(): void {
    this.#term?.abort();
    this.#term = undefined;
  }

  /** L1, L2. Never rejects. */
  async #run(signal: AbortSignal): Promise<void> {
    const { startTerm, clock, log } = this.#options;
    for (let starts = 1; !signal.aborted; starts++) {
      let term: Closeable;
      try {
        term = await startTerm(signal);
      } catch (error) {
        if (signal.aborted) return;
        log.warn(
          { stage: "control", starts, error: messageOf(error) },
          "the control plane could not start here",
        );
        if (starts >= STARTS_MAX) {
          await this.#standBack();
          return;
        }
        await clock.sleep(retryMs, signal);
        continue;
      }
      this.#hasLed = true;
      await aborted(signal);
      await term.close();
    }
  }

  async #standBack(): Promise<void> {
    const { signal } = this.#stopping;
    this.#end();
    await this.#lease.close();
    await this.#options.clock.sleep(standBackMs, signal);
    if (!signal.aborted) this.#lease = this.#hold();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
