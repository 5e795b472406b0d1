/**
 * Leases: one process at a time owns a name, kept in a NATS KV bucket whose entries expire unless renewed.
 *
 * E1  made and renewed by compare-and-swap, so two processes never both think they won.
 * E2  a holder stops believing in its lease before the server lets it expire, by its own monotonic clock,
 *     counted from before the renewal that succeeded was sent.
 * E3  a lost lease is asked for again at once; `close` hands it on without waiting for its expiry.
 *
 * It is no fence: what a holder sent just before it lost the lease may still arrive afterwards.
 */
import { JetStreamApiError } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Clock, Timer } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { leaseBucket } from "./subjects.ts";

/** How long the server keeps a lease that nobody renews: the longest a fail-over waits. */
export const leaseTtlMs = 6000;

export type LeaseState =
  | { readonly kind: "free"; readonly tryAtMs: number }
  /** Believed in until `untilMs` (E2). */
  | {
      readonly kind: "held";
      readonly revision: number;
      readonly renewAtMs: number;
      readonly untilMs: number;
    };

export type LeaseAction = "create" | "renew" | "lose" | "wait";

/** What the holder, or who wants to be it, does now. Pure. */
export function leaseAction(state: LeaseState, nowMs: number): LeaseAction {
  if (state.kind === "free") return nowMs >= state.tryAtMs ? "create" : "wait";
  if (nowMs >= state.untilMs) return "lose";
  return nowMs >= state.renewAtMs ? "renew" : "wait";
}

/** The state after a write that was sent at `sentMs` and made `revision`. Pure. */
export function leaseHeld(revision: number, sentMs: number, ttlMs: number): LeaseState {
  return { kind: "held", revision, renewAtMs: sentMs + ttlMs / 3, untilMs: sentMs + (ttlMs * 2) / 3 };
}

/** The state after a write at `sentMs` that lost against somebody else. Pure. */
export function leaseTaken(sentMs: number, ttlMs: number): LeaseState {
  return { kind: "free", tryAtMs: sentMs + ttlMs / 6 };
}

export interface LeaseListener {
  /** Must not throw. */
  onGain(): void;
  /** Must not throw. */
  onLoss(): void;
}

export interface LeasesOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly replicas: number;
  /** What the holder is called in the bucket, for people who look. */
  readonly owner: string;
  readonly ttlMs?: number;
}

const stepsPerTtl = 24;
/** "The expected last sequence is not the last": alone, and in a cluster with writes in flight. */
const casFailed: readonly number[] = [10071, 10164];

export class Leases {
  readonly #kv: KV;
  readonly #options: LeasesOptions;

  private constructor(kv: KV, options: LeasesOptions) {
    this.#kv = kv;
    this.#options = options;
  }

  /** Opens the bucket, making it when it is missing. */
  static async open(nc: NatsConnection, options: LeasesOptions): Promise<Leases> {
    const { replicas, ttlMs = leaseTtlMs } = options;
    const kv = await new Kvm(nc).create(leaseBucket, {
      history: 1,
      replicas,
      ttl: ttlMs,
      // Compare-and-swap needs what the leader knows.
      allow_direct: false,
    });
    return new Leases(kv, options);
  }

  /** The revision of the lease as somebody holds it now: it changes while they are alive. */
  async revision(name: string): Promise<number | undefined> {
    const entry = await this.#kv.get(name);
    return entry?.operation === "PUT" ? entry.revision : undefined;
  }

  /** Wants the lease of this name from now on until the result is closed. */
  hold(name: string, listener: LeaseListener): Lease {
    return new Lease(this.#kv, { ...this.#options, name, listener });
  }
}

type LeaseOptions = LeasesOptions & { readonly name: string; readonly listener: LeaseListener };

export class Lease implements Closeable {
  readonly #kv: KV;
  readonly #options: LeaseOptions;
  readonly #ttlMs: number;
  readonly #ticks: Timer;
  #state: LeaseState;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(kv: KV, options: LeaseOptions) {
    this.#kv = kv;
    this.#options = options;
    this.#ttlMs = options.ttlMs ?? leaseTtlMs;
    this.#state = { kind: "free", tryAtMs: 0 };
    this.#ticks = options.clock.every(this.#ttlMs / stepsPerTtl, () => this.#step());
    this.#step();
  }

  /** E2: true only while nobody else can have it. */
  get isHeld(): boolean {
    return this.#state.kind === "held" && this.#options.clock.monotonic() < this.#state.untilMs;
  }

  /** Gives the lease up; the listener is told nothing any more. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#ticks.cancel();
    await this.#writing;
    const state = this.#state;
    if (state.kind !== "held") return;
    this.#state = { kind: "free", tryAtMs: Number.POSITIVE_INFINITY };
    // When it fails the entry expires by itself.
    await this.#kv.delete(this.#options.name, { previousSeq: state.revision }).catch(() => {});
  }

  #step(): void {
    if (this.#closed) return;
    const now = this.#options.clock.monotonic();
    switch (leaseAction(this.#state, now)) {
      case "wait":
        return;
      case "lose":
        this.#lose(now);
        return;
      case "create":
      case "renew":
        this.#writing ??= this.#write(now).finally(() => {
          this.#writing = undefined;
        });
    }
  }

  async #write(sentMs: number): Promise<void> {
    const { owner, name, log, listener } = this.#options;
    const before = this.#state;
    try {
      const revision =
        before.kind === "held"
          ? await this.#kv.update(name, owner, before.revision)
          : await this.#kv.create(name, owner);
      // A renewal that took so long that the lease was given up meanwhile is a lease all the same.
      const gained = this.#state.kind === "free";
      this.#state = leaseHeld(revision, sentMs, this.#ttlMs);
      if (gained && this.isHeld && !this.#closed) listener.onGain();
    } catch (error) {
      if (error instanceof JetStreamApiError && casFailed.includes(error.code)) {
        if (this.#state.kind === "held") this.#lose(sentMs);
        this.#state = leaseTaken(sentMs, this.#ttlMs);
        return;
      }
      log.debug({ stage: "stream", lease: name, error: messageOf(error) }, "a lease could not be written");
      // Renewals go on until E2 ends them.
      if (this.#state.kind === "free") this.#state = leaseTaken(sentMs, this.#ttlMs);
    }
  }

  #lose(nowMs: number): void {
    this.#state = { kind: "free", tryAtMs: nowMs };
    if (!this.#closed) this.#options.listener.onLoss();
  }
}
