/**
 * The function host: runs function services as processes, from zero up and back. Owns the warm pool, the
 * machine-wide cap, and one Activator per service; everything it starts ends with it.
 *
 * M1  At most `instancesMax` processes serve at a time. A service at zero that is wanted gets room from one
 *     that is idle, else from one that has several; else it waits, first come, first served.
 * M2  What an earlier run left behind (weft was killed) is ended before the first start.
 */
import { mkdir, readdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { Activator } from "./activator.ts";
import { endLeftover, type LogLine } from "./instance.ts";
import { Pool } from "./pool.ts";
import type { Lease, RevisionResult, RevisionSpec, ServiceRef, ServiceStatus } from "./service.ts";

const drainDefaultMs = 5000;

export interface FunctionHostOptions {
  /** Gets `instances/` and `compile-cache/`. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** What functions print, line by line. */
  readonly onLine: (line: LogLine) => void;
  /** Base of `ctx.emit`: the mesh's ingress, `http://127.0.0.1:8080`. */
  readonly ingressUrl?: string | undefined;
  /** Warm processes kept waiting. */
  readonly poolSize?: number;
  /** Idle time before zero, unless a revision says otherwise (`autoscaling.knative.dev/window`). */
  readonly windowMs?: number;
  readonly instancesMax?: number;
}

/** Ends leftovers (M2), fills the warm pool, and is ready for revisions. */
export async function startFunctionHost(options: FunctionHostOptions): Promise<FunctionHost> {
  const instancesDir = resolve(options.dataDir, "instances");
  await mkdir(instancesDir, { recursive: true, mode: 0o700 });
  const leftovers = await readdir(instancesDir);
  await Promise.all(leftovers.map((name) => endLeftover(join(instancesDir, name))));
  return new FunctionHost(options, instancesDir);
}

export class FunctionHost implements Closeable {
  readonly #options: FunctionHostOptions;
  readonly #clock: Clock;
  readonly #pool: Pool;
  readonly #instancesMax: number;
  readonly #activators = new Map<string, Activator>();
  readonly #listeners = new Set<(service: ServiceRef) => void>();
  /** Activators that were refused room, oldest first. */
  readonly #starved = new Set<Activator>();
  #closing: Promise<void> | undefined;

  constructor(options: FunctionHostOptions, instancesDir: string) {
    this.#options = options;
    this.#clock = options.clock;
    this.#instancesMax = options.instancesMax ?? Math.max(8, availableParallelism() * 4);
    this.#pool = new Pool(options.poolSize ?? 2, {
      clock: options.clock,
      instancesDir,
      compileCacheDir: resolve(options.dataDir, "compile-cache"),
      onLine: options.onLine,
    });
    this.#pool.refill();
  }

  /**
   * Starts one instance of the revision, and once it is ready moves the service's traffic to it. A failure
   * is a value; the old revision, if any, goes on serving. Applying the same revision again changes nothing.
   */
  async applyRevision(spec: RevisionSpec): Promise<RevisionResult> {
    if (this.#closing !== undefined) return { ready: false, reason: "Stopping", message: "weft is stopping" };
    const activator = this.#ensure(spec);
    // A new revision is tried at once, one over the cap for a moment, and room is made for it.
    if (activator.processes === 0 && this.#isFull()) this.#findDonor(activator)?.yieldInstance();
    return activator.apply(spec);
  }

  /** Refuses who waits, drains the instances; resolves when they are gone. Unknown services are fine. */
  async removeService(service: ServiceRef): Promise<void> {
    const activator = this.#activators.get(keyOf(service));
    if (activator === undefined) return;
    this.#activators.delete(keyOf(service));
    this.#starved.delete(activator);
    await activator.close({ deadlineMs: activator.timeoutMs ?? drainDefaultMs });
  }

  /** How many requests could be sent now or as soon as what is starting is ready; ≥ 1 wakes it from zero. */
  slots(service: ServiceRef): number {
    return this.#activators.get(keyOf(service))?.slots() ?? 0;
  }

  /** How many requests beyond the leases the caller would send if it could. Set it to 0 when none are left. */
  demand(service: ServiceRef, count: number): void {
    this.#activators.get(keyOf(service))?.demand(count);
  }

  /**
   * Leave to send one request, first come, first served. Rejects with NOT_FOUND, FUNCTION_UNAVAILABLE (starts
   * fail; not an attempt), OVERLOADED (queue full) or the signal's reason.
   */
  acquire(service: ServiceRef, signal?: AbortSignal): Promise<Lease> {
    const activator = this.#activators.get(keyOf(service));
    if (activator !== undefined) return activator.acquire(signal);
    return Promise.reject(
      new MeshError("NOT_FOUND", {
        expected: "a function service",
        found: `${service.namespace}/${service.name}`,
      }),
    );
  }

  /** The service's request timeout; undefined while it is unknown here or no revision was ready yet. */
  timeoutMs(service: ServiceRef): number | undefined {
    return this.#activators.get(keyOf(service))?.timeoutMs;
  }

  has(service: ServiceRef): boolean {
    return this.#activators.has(keyOf(service));
  }

  /** Calls back whenever a service may take more than before. Returns how to stop that. */
  onCapacity(listener: (service: ServiceRef) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** By namespace and name. */
  status(): ServiceStatus[] {
    return [...this.#activators.entries()]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([, activator]) => activator.status());
  }

  /** Resolves once the warm pool is filled: from here on a start is an import. */
  warmedUp(): Promise<void> {
    return this.#pool.booted();
  }

  /** Ends everything it started: gracefully until the deadline, then by SIGKILL. */
  close({ deadlineMs = drainDefaultMs }: { deadlineMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  async #close(deadlineMs: number): Promise<void> {
    const kill = this.#clock.after(deadlineMs, () => this.#pool.killAll());
    await Promise.all([...this.#activators.values()].map((activator) => activator.close({ deadlineMs })));
    await this.#pool.close();
    kill.cancel();
  }

  #ensure(service: ServiceRef): Activator {
    const key = keyOf(service);
    const known = this.#activators.get(key);
    if (known !== undefined) return known;
    const ref: ServiceRef = { namespace: service.namespace, name: service.name };
    const activator = new Activator(ref, {
      clock: this.#clock,
      log: this.#options.log,
      pool: this.#pool,
      windowMs: this.#options.windowMs ?? 60_000,
      ingressUrl: this.#options.ingressUrl,
      reserve: (self) => this.#reserve(self),
      onCapacity: () => {
        for (const listener of this.#listeners) listener(ref);
      },
      onExit: () => this.#onExit(),
    });
    this.#activators.set(key, activator);
    return activator;
  }

  /** M1. When full, makes room if the asker has nothing, and remembers it. */
  #reserve(asker: Activator): boolean {
    if (!this.#isFull()) {
      this.#starved.delete(asker);
      return true;
    }
    this.#starved.add(asker);
    if (asker.processes === 0 && asker.hasLoad) this.#findDonor(asker)?.yieldInstance();
    return false;
  }

  #isFull(): boolean {
    let processes = 0;
    for (const activator of this.#activators.values()) processes += activator.processes;
    return processes >= this.#instancesMax;
  }

  #findDonor(asker: Activator): Activator | undefined {
    const others = [...this.#activators.values()].filter((one) => one !== asker);
    const idle = others
      .map((activator) => ({ activator, since: activator.idleSince() }))
      .filter((one): one is { activator: Activator; since: number } => one.since !== undefined)
      .sort((a, b) => a.since - b.since)[0];
    if (idle !== undefined) return idle.activator;
    const largest = others.sort((a, b) => b.surplus() - a.surplus())[0];
    return largest !== undefined && largest.surplus() > 0 ? largest : undefined;
  }

  #onExit(): void {
    // Who has nothing comes first.
    const starved = [...this.#starved].sort((a, b) => a.processes - b.processes);
    for (const activator of starved) activator.reconcile();
  }
}

function keyOf({ namespace, name }: ServiceRef): string {
  return `${namespace}/${name}`;
}
