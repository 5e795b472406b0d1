/**
 * The autoscaling loop of one service: measures its load, asks the autoscaler, and says how many instances are
 * wanted. It starts and stops nothing itself.
 *
 * A sample a second, a decision every two, and at once on a poke (somebody waits). Without instances and load
 * it has no timer.
 */
import type { Clock, Timer } from "../clock.ts";
import { boundScale, decideScale, freshMemory, type ScaleMemory } from "./autoscaler.ts";
import { LoadMeter } from "./load-window.ts";
import type { ScalingSpec } from "./scaling.ts";

const sampleMs = 1000;
const samplesPerDecision = 2;

export interface ScalerParts {
  readonly clock: Clock;
  /** How many instances there are now, starting ones included, and how many of them are ready. */
  readonly count: () => { readonly live: number; readonly ready: number };
  /** There is a new `desired`. */
  readonly onDecision: () => void;
}

export class Scaler {
  readonly #parts: ScalerParts;
  #spec: ScalingSpec | undefined;
  #meter: LoadMeter | undefined;
  #memory: ScaleMemory = freshMemory;
  #load = 0;
  #desired = 0;
  #panicking = false;
  #activeSince: number | undefined;
  #zeroSince: number | undefined;
  #ticker: Timer | undefined;
  #ticks = 0;

  constructor(parts: ScalerParts) {
    this.#parts = parts;
  }

  get desired(): number {
    return this.#desired;
  }

  get panicking(): boolean {
    return this.#panicking;
  }

  get load(): number {
    return this.#load;
  }

  /** Another revision serves: its load starts from nothing. */
  configure(spec: ScalingSpec): void {
    const now = this.#parts.clock.now();
    this.#spec = spec;
    this.#memory = freshMemory;
    const { metric, windowMs: stableMs, panicWindowMs: panicMs } = spec;
    this.#meter = new LoadMeter({ metric, stableMs, panicMs, now });
    this.#meter.set(this.#load, now);
  }

  /** Requests in flight and waiting, demand, and work after answers. */
  setLoad(load: number): void {
    this.#load = load;
    this.#meter?.set(load, this.#parts.clock.now());
  }

  arrive(): void {
    this.#meter?.arrive();
  }

  /** An instance is ready: at least one is wanted from now on, for a window. */
  noteReady(): void {
    this.#activeSince ??= this.#parts.clock.now();
    this.#desired = Math.max(this.#desired, 1);
  }

  /** No instance is left. */
  noteEmpty(): void {
    this.#activeSince = undefined;
  }

  /** One instance was given up for the sake of another service. */
  noteYielded(live: number): void {
    this.#desired = live;
  }

  /** Decides now, from the averages and, because somebody waits, the load of this moment. */
  poke(): void {
    this.#decide(this.#load);
  }

  /** Starts or stops the timer as needed. */
  keepTicking({ isNeeded }: { isNeeded: boolean }): void {
    if (isNeeded && this.#ticker === undefined) {
      const { clock } = this.#parts;
      this.#meter?.restart(clock.now());
      this.#ticker = clock.every(sampleMs, () => this.#tick());
    } else if (!isNeeded && this.#ticker !== undefined) {
      this.#ticker.cancel();
      this.#ticker = undefined;
      this.#memory = freshMemory;
      this.#panicking = false;
    }
  }

  #tick(): void {
    this.#meter?.sample(this.#parts.clock.now());
    this.#ticks += 1;
    if (this.#ticks % samplesPerDecision === 0) this.#decide(0);
  }

  #decide(loadAtLeast: number): void {
    const spec = this.#spec;
    if (spec === undefined || this.#meter === undefined) return;
    const now = this.#parts.clock.now();
    const { live, ready } = this.#parts.count();
    const averages = this.#meter.averages(now);
    const { want, panicking, memory } = decideScale({
      load: {
        ready,
        stable: Math.max(averages.stable, loadAtLeast),
        panic: Math.max(averages.panic, loadAtLeast),
      },
      spec,
      memory: this.#memory,
      now,
    });
    this.#memory = memory;
    this.#panicking = panicking;
    this.#zeroSince = want > 0 ? undefined : (this.#zeroSince ?? now);
    const bounded = boundScale({
      want,
      spec,
      activeForMs: this.#activeSince === undefined ? undefined : now - this.#activeSince,
      idleForMs: this.#zeroSince === undefined ? 0 : now - this.#zeroSince,
    });
    // A last instance lost while idle is not replaced before somebody asks.
    this.#desired = live === 0 && this.#load === 0 ? spec.minScale : bounded;
    this.#parts.onDecision();
  }
}
