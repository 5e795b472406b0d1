/**
 * One function service: its revision, its instances, and the queue in front of them. Activator, queue-proxy
 * and autoscaler loop in one.
 *
 * V1  At most `concurrencyMax` leases per instance; waiting callers are served first come, first served.
 * V2  Traffic moves to a new revision only once an instance of it is ready; until then, and for good if that
 *     fails, the old revision serves.
 * V3  An instance is asked to leave only when none of its leases is open, so no request meets a closed door.
 * V4  While starts fail nobody waits: callers are refused with the reason and told of capacity when the
 *     back-off is over. A refused caller has made no attempt.
 * V5  At zero, with no load, nothing runs: no timer, no process.
 */
import type { Clock, Timer } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Log } from "../log.ts";
import { boundScale, decideScale, freshMemory, type ScaleMemory } from "./autoscaler.ts";
import type { Instance, InstanceSpec, StartResult, StartTiming } from "./instance.ts";
import { LoadMeter } from "./load-window.ts";
import type { Pool } from "./pool.ts";
import { parseGoDuration, parseScaling, type ScalingSpec } from "./scaling.ts";

const waitersMax = 10_000;
const sampleMs = 1000;
const samplesPerDecision = 2;
/** Somebody who waits this long although instances run makes the autoscaler look at once. */
const pokeAfterMs = 250;
const backoffFirstMs = 1000;
const backoffMaxMs = 60_000;
const pingMs = 2000;
const progressDeadlineMs = 60_000;

export interface ServiceRef {
  readonly namespace: string;
  readonly name: string;
}

export interface RevisionSpec extends ServiceRef {
  /** The revision's name, `<service>-00001`. */
  readonly revision: string;
  /** The bundle; its name is its digest. */
  readonly file: string;
  /** Working directory of the instances. */
  readonly root?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** 0 is unlimited (the target, 100, is then the bound per instance). */
  readonly containerConcurrency: number;
  readonly timeoutSeconds: number;
  /** Of the revision template: `autoscaling.knative.dev/*`, `serving.knative.dev/progress-deadline`. */
  readonly annotations: Readonly<Record<string, string>>;
}

export type RevisionResult =
  | { readonly ready: true; readonly warnings: readonly string[] }
  | { readonly ready: false; readonly reason: string; readonly message: string };

/** Leave to send one request to one instance. */
export interface Lease {
  /** `http://127.0.0.1:<port>`, without a path. */
  readonly url: string;
  /** To be added to the request. */
  readonly headers: Readonly<Record<string, string>>;
  readonly instance: string;
  /** `answered`: any HTTP response came; `broken`: none did. Idempotent; must be called. */
  release(outcome: "answered" | "broken"): void;
}

export interface ServiceStatus extends ServiceRef {
  readonly revision: string | undefined;
  readonly instances: readonly {
    readonly id: string;
    readonly pid: number;
    readonly revision: string;
    readonly state: "starting" | "ready" | "draining";
    readonly inFlight: number;
  }[];
  readonly desired: number;
  /** Ready instances. */
  readonly actual: number;
  readonly waiting: number;
  readonly panicking: boolean;
  readonly lastStart: StartTiming | undefined;
  /** Why the last start, or the last revision, failed; gone once one succeeds. */
  readonly problem: { readonly reason: string; readonly message: string } | undefined;
}

export interface ActivatorParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly pool: Pool;
  readonly windowMs: number;
  readonly ingressUrl: string | undefined;
  /** Asks the machine for room for one more instance; when refused, `reconcile` is called once there is. */
  readonly reserve: (activator: Activator) => boolean;
  /** There is room for requests that was not there before. */
  readonly onCapacity: () => void;
  /** A process of this service is gone. */
  readonly onExit: () => void;
}

interface Member {
  readonly instance: Instance;
  readonly revision: Revision;
  readonly startedAt: number;
  leases: number;
  answered: number;
  /** Did not answer a request: gets no more until it answers a ping. */
  isSuspect: boolean;
  isDraining: boolean;
  drainTimer: Timer | undefined;
  idleSince: number;
}

interface Revision {
  readonly spec: RevisionSpec;
  readonly scaling: ScalingSpec;
  readonly timeoutMs: number;
}

interface Waiter {
  readonly grant: (lease: Lease) => void;
  readonly refuse: (error: unknown) => void;
}

export class Activator {
  readonly ref: ServiceRef;
  readonly #parts: ActivatorParts;
  readonly #members = new Set<Member>();
  readonly #waiters = new Set<Waiter>();
  #current: Revision | undefined;
  #candidate: { readonly revision: Revision; readonly instance: Instance } | undefined;
  #meter: LoadMeter;
  #memory: ScaleMemory = freshMemory;
  #panicking = false;
  #desired = 0;
  #demand = 0;
  #ticker: Timer | undefined;
  #ticks = 0;
  #poke: Timer | undefined;
  #activeSince: number | undefined;
  #zeroSince: number | undefined;
  #failures = 0;
  #blockedUntil = 0;
  #unblock: Timer | undefined;
  #lastStart: StartTiming | undefined;
  #problem: { reason: string; message: string } | undefined;
  #closed = false;

  constructor(ref: ServiceRef, parts: ActivatorParts) {
    this.ref = ref;
    this.#parts = parts;
    this.#meter = this.#createMeter(parts.windowMs, parts.windowMs / 10);
  }

  /** Per request, from arrival to answer; undefined while no revision is ready. */
  get timeoutMs(): number | undefined {
    return this.#current?.timeoutMs;
  }

  /** Starts one instance of the revision and moves traffic to it (V2). A newer call supersedes an older one. */
  async apply(spec: RevisionSpec): Promise<RevisionResult> {
    const { spec: scaling, problems: warnings } = parseScaling({ ...spec, windowMs: this.#parts.windowMs });
    const revision: Revision = { spec, scaling, timeoutMs: (spec.timeoutSeconds || 300) * 1000 };
    if (this.#current !== undefined && isSame(this.#current.spec, spec)) {
      this.#dropCandidate();
      return { ready: true, warnings };
    }
    this.#dropCandidate();
    const instance = this.#parts.pool.take();
    const candidate = { revision, instance };
    this.#candidate = candidate;
    const member = this.#join(instance, revision);
    const result = await instance.become(this.#instanceSpec(revision), { deadlineMs: startDeadlineMs(spec) });
    this.#parts.pool.refill();
    if (this.#candidate !== candidate || this.#closed) {
      instance.kill();
      return { ready: false, reason: "Superseded", message: "a newer revision was applied meanwhile" };
    }
    this.#candidate = undefined;
    if (!result.ok) {
      const { reason, message } = result;
      this.#problem = { reason, message };
      if (this.#current === undefined) this.#refuseWaiters();
      return { ready: false, reason, message };
    }
    this.#moveTraffic(revision);
    this.#onReady(member, result.timing);
    this.#scale({ poke: true });
    return { ready: true, warnings };
  }

  /** Requests that could be sent now, or as soon as what is starting is ready. At zero: one instance's worth. */
  slots(): number {
    const revision = this.#current ?? this.#candidate?.revision;
    if (revision === undefined || this.#closed) return 0;
    const most = revision.scaling.concurrencyMax;
    const live = this.#live();
    if (live.length === 0) {
      return this.#isBlocked() ? 0 : Math.max(0, most - this.#waiters.size);
    }
    let free = -this.#waiters.size;
    for (const member of live) if (!member.isSuspect) free += Math.max(0, most - member.leases);
    return Math.max(0, free);
  }

  /** How many more requests would be sent if there were slots: counts as load until it is set to 0 again. */
  demand(count: number): void {
    if (count === this.#demand) return;
    this.#demand = count;
    this.#loadChanged();
    if (count > 0 && this.#live().length === 0) this.#scale({ poke: true });
  }

  /**
   * Resolves to a lease, waiting for a start if need be. Rejects with FUNCTION_UNAVAILABLE (V4), OVERLOADED
   * (queue full), or the signal's reason.
   */
  acquire(signal?: AbortSignal): Promise<Lease> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed) return Promise.reject(this.#unavailable("the mesh is stopping"));
    const free = this.#waiters.size === 0 ? this.#pick() : undefined;
    if (free !== undefined) return Promise.resolve(this.#lease(free));
    const live = this.#live();
    if (live.length === 0 && this.#candidate === undefined) {
      if (this.#current === undefined) return Promise.reject(this.#unavailable("no revision is ready"));
      if (this.#isBlocked()) return Promise.reject(this.#unavailable("its last start failed"));
    }
    if (this.#waiters.size >= waitersMax) {
      return Promise.reject(
        new MeshError("OVERLOADED", {
          field: this.#name,
          expected: `at most ${waitersMax} waiting requests`,
          fix: "Try again in a second",
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiters.delete(waiter);
        this.#loadChanged();
        reject(signal?.reason);
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
      this.#loadChanged();
      if (live.length === 0) this.#scale({ poke: true });
      else this.#pokeSoon();
    });
  }

  /** Makes the number of instances the desired one. Idempotent; called whenever anything may have changed. */
  reconcile(): void {
    const revision = this.#current;
    if (revision === undefined || this.#closed) return;
    const live = this.#live();
    for (let count = live.length; count < this.#desired; count++) {
      if (this.#isBlocked() || !this.#parts.reserve(this)) break;
      void this.#start(revision);
    }
    const idlest = live
      .filter((member) => member.instance.state.kind === "ready")
      .sort((a, b) => a.leases - b.leases || a.instance.pending - b.instance.pending || b.startedAt - a.startedAt);
    for (const member of idlest.slice(0, Math.max(0, live.length - this.#desired))) this.#drain(member);
    this.#keepTicking();
  }

  /** Processes of this service, whatever their state. */
  get processes(): number {
    return this.#members.size;
  }

  /** Since when the most idle instance that could be given up has been idle; undefined when there is none. */
  idleSince(): number | undefined {
    const spare = this.#spare();
    return spare === undefined || spare.leases > 0 || spare.instance.pending > 0 ? undefined : spare.idleSince;
  }

  /** How many instances it could lose and still serve. */
  surplus(): number {
    return Math.max(0, this.#live().length - Math.max(1, this.#current?.scaling.minScale ?? 0));
  }

  /** Gives an instance up, because another service has none: the one `idleSince` spoke of, or the least busy. */
  yieldInstance(): void {
    const spare = this.#spare();
    if (spare === undefined) return;
    this.#desired = Math.max(0, this.#live().length - 1);
    this.#drain(spare);
  }

  status(): ServiceStatus {
    const instances = [...this.#members].map((member) => ({
      id: member.instance.id,
      pid: member.instance.pid,
      revision: member.revision.spec.revision,
      state: stateOf(member),
      inFlight: member.leases,
    }));
    return {
      ...this.ref,
      revision: this.#current?.spec.revision,
      instances,
      desired: this.#desired,
      actual: instances.filter((instance) => instance.state === "ready").length,
      waiting: this.#waiters.size,
      panicking: this.#panicking,
      lastStart: this.#lastStart,
      problem: this.#problem,
    };
  }

  /** Refuses who waits, lets requests in flight finish until the deadline, then kills. Idempotent. */
  async close({ deadlineMs }: { deadlineMs: number }): Promise<void> {
    this.#closed = true;
    for (const timer of [this.#ticker, this.#poke, this.#unblock]) timer?.cancel();
    this.#refuseWaiters("the mesh is stopping");
    this.#dropCandidate();
    const members = [...this.#members];
    for (const member of members) {
      if (stateOf(member) === "starting") member.instance.kill();
      else this.#drain(member, deadlineMs);
    }
    await Promise.all(members.map((member) => member.instance.exited));
  }

  // — starts and stops —

  async #start(revision: Revision): Promise<void> {
    const instance = this.#parts.pool.take();
    const member = this.#join(instance, revision);
    const result = await instance.become(this.#instanceSpec(revision), {
      deadlineMs: startDeadlineMs(revision.spec),
    });
    this.#parts.pool.refill();
    if (this.#closed || revision !== this.#current) return instance.kill();
    if (result.ok) this.#onReady(member, result.timing);
    else this.#onStartFailed(result);
  }

  #join(instance: Instance, revision: Revision): Member {
    const now = this.#parts.clock.now();
    const member: Member = {
      instance,
      revision,
      startedAt: now,
      leases: 0,
      answered: 0,
      isSuspect: false,
      isDraining: false,
      drainTimer: undefined,
      idleSince: now,
    };
    this.#members.add(member);
    instance.onPending = () => this.#loadChanged();
    void instance.exited.then(() => this.#onExit(member));
    return member;
  }

  #onReady(member: Member, timing: StartTiming): void {
    const now = this.#parts.clock.now();
    this.#lastStart = timing;
    this.#problem = undefined;
    this.#activeSince ??= now;
    member.idleSince = now;
    this.#desired = Math.max(this.#desired, 1);
    this.#parts.log.info(
      { stage: "host", service: this.#name, instance: member.instance.id, ...timing },
      "instance ready",
    );
    this.#keepTicking();
    this.#serveWaiters();
  }

  #onStartFailed({ reason, message }: StartResult & { ok: false }): void {
    this.#problem = { reason, message };
    this.#parts.log.warn({ stage: "host", service: this.#name, reason, message }, "instance did not start");
    this.#backOff();
    if (this.#live().length === 0) this.#refuseWaiters();
  }

  #backOff(): void {
    const { clock } = this.#parts;
    this.#failures += 1;
    const delayMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(10, this.#failures - 1));
    this.#blockedUntil = clock.now() + delayMs;
    this.#unblock?.cancel();
    this.#unblock = clock.after(delayMs, () => {
      this.reconcile();
      this.#parts.onCapacity();
    });
  }

  #onExit(member: Member): void {
    this.#members.delete(member);
    member.drainTimer?.cancel();
    const { state } = member.instance;
    const crashed = !member.isDraining && member.revision === this.#current && member !== this.#starting(member);
    if (crashed && state.kind === "dead") {
      const { reason } = state;
      this.#problem = { reason, message: `instance ${member.instance.id} ended: ${reason}` };
      this.#parts.log.warn(
        { stage: "host", service: this.#name, instance: member.instance.id, reason },
        "instance crashed",
      );
      // One that has worked is replaced at once; one that never did could crash for ever.
      if (member.answered === 0) this.#backOff();
      if (this.#live().length === 0 && this.#isBlocked()) this.#refuseWaiters();
    }
    if (this.#live().length === 0) this.#activeSince = undefined;
    this.#loadChanged();
    this.reconcile();
    this.#parts.onExit();
  }

  #moveTraffic(revision: Revision): void {
    this.#current = revision;
    this.#failures = 0;
    this.#blockedUntil = 0;
    this.#memory = freshMemory;
    const { windowMs, panicWindowMs } = revision.scaling;
    this.#meter = this.#createMeter(windowMs, panicWindowMs);
    for (const member of this.#members) if (member.revision !== revision) this.#drain(member);
  }

  #dropCandidate(): void {
    this.#candidate?.instance.kill();
    this.#candidate = undefined;
  }

  /** V3: first its leases, then the process; all of it within the revision's timeout. */
  #drain(member: Member, deadlineMs = member.revision.timeoutMs): void {
    if (!member.isDraining) {
      member.isDraining = true;
      member.drainTimer = this.#parts.clock.after(deadlineMs, () => member.instance.kill());
    }
    if (member.leases === 0) void member.instance.drain({ graceMs: deadlineMs });
  }

  // — leases —

  #pick(): Member | undefined {
    let best: Member | undefined;
    for (const member of this.#live()) {
      if (member.isSuspect || member.instance.state.kind !== "ready") continue;
      if (member.leases >= member.revision.scaling.concurrencyMax) continue;
      if (best === undefined || member.leases < best.leases) best = member;
    }
    return best;
  }

  #lease(member: Member): Lease {
    const { state } = member.instance;
    if (state.kind !== "ready") throw new Error("bug: a lease needs a ready instance");
    member.leases += 1;
    this.#loadChanged();
    let open = true;
    return {
      url: state.url,
      headers: state.headers,
      instance: member.instance.id,
      release: (outcome) => {
        if (!open) return;
        open = false;
        this.#release(member, outcome);
      },
    };
  }

  #release(member: Member, outcome: "answered" | "broken"): void {
    member.leases -= 1;
    if (member.leases === 0) member.idleSince = this.#parts.clock.now();
    if (outcome === "answered") {
      member.answered += 1;
      this.#failures = 0;
    } else if (member.instance.state.kind === "ready") {
      void this.#examine(member);
    }
    this.#loadChanged();
    if (member.isDraining) {
      if (member.leases === 0) void member.instance.drain({ graceMs: member.revision.timeoutMs });
      return;
    }
    this.#serveWaiters();
  }

  /** No answer may mean a slow request, or a function stuck in a loop that will never answer anyone. */
  async #examine(member: Member): Promise<void> {
    if (member.isSuspect) return;
    member.isSuspect = true;
    const isAlive = await member.instance.ping(pingMs);
    member.isSuspect = false;
    if (isAlive) return this.#serveWaiters();
    this.#parts.log.warn(
      { stage: "host", service: this.#name, instance: member.instance.id },
      "instance does not respond and is killed",
    );
    member.instance.kill();
  }

  #serveWaiters(): void {
    for (const waiter of this.#waiters) {
      const member = this.#pick();
      if (member === undefined) return;
      this.#waiters.delete(waiter);
      waiter.grant(this.#lease(member));
    }
    this.#parts.onCapacity();
  }

  #refuseWaiters(why = "its last start failed"): void {
    const error = this.#unavailable(why);
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.refuse(error);
    this.#loadChanged();
  }

  // — scale —

  #loadChanged(): void {
    let load = this.#waiters.size + this.#demand;
    for (const member of this.#members) {
      load += member.leases + (member.isDraining ? 0 : member.instance.pending);
    }
    this.#meter.set(load, this.#parts.clock.now());
    this.#load = load;
    if (load > 0) this.#keepTicking();
  }

  #load = 0;

  #tick(): void {
    const { clock } = this.#parts;
    this.#meter.sample(clock.now());
    this.#ticks += 1;
    if (this.#ticks % samplesPerDecision === 0) this.#scale({ poke: false });
  }

  /** A poke looks at the load of this moment too, not only at averages. */
  #scale({ poke }: { poke: boolean }): void {
    const revision = this.#current;
    if (revision === undefined || this.#closed) return;
    const now = this.#parts.clock.now();
    const ready = this.#live().filter((member) => member.instance.state.kind === "ready").length;
    const averages = this.#meter.averages(now);
    const least = poke ? this.#load : 0;
    const decision = decideScale({
      load: {
        ready,
        stable: Math.max(averages.stable, least),
        panic: Math.max(averages.panic, least),
      },
      spec: revision.scaling,
      memory: this.#memory,
      now,
    });
    this.#memory = decision.memory;
    this.#panicking = decision.panicking;
    this.#zeroSince = decision.want > 0 ? undefined : (this.#zeroSince ?? now);
    this.#desired = boundScale({
      want: decision.want,
      spec: revision.scaling,
      activeForMs: this.#activeSince === undefined ? undefined : now - this.#activeSince,
      idleForMs: this.#zeroSince === undefined ? 0 : now - this.#zeroSince,
    });
    this.reconcile();
  }

  #pokeSoon(): void {
    this.#poke ??= this.#parts.clock.after(pokeAfterMs, () => {
      this.#poke = undefined;
      if (this.#waiters.size === 0) return;
      this.#scale({ poke: true });
      this.#pokeSoon();
    });
  }

  /** V5. */
  #keepTicking(): void {
    const isNeeded = !this.#closed && (this.#members.size > 0 || this.#load > 0 || this.#desired > 0);
    if (isNeeded && this.#ticker === undefined) {
      this.#meter.restart(this.#parts.clock.now());
      this.#ticker = this.#parts.clock.every(sampleMs, () => this.#tick());
    } else if (!isNeeded && this.#ticker !== undefined) {
      this.#ticker.cancel();
      this.#ticker = undefined;
      this.#memory = freshMemory;
      this.#panicking = false;
    }
  }

  // — small views —

  get #name(): string {
    return `${this.ref.namespace}/${this.ref.name}`;
  }

  /** Of the current revision, coming or there. */
  #live(): Member[] {
    const live: Member[] = [];
    for (const member of this.#members) {
      if (member.revision !== this.#current || member.isDraining) continue;
      if (member.instance.state.kind !== "dead") live.push(member);
    }
    return live;
  }

  #spare(): Member | undefined {
    const live = this.#live().filter((member) => member.instance.state.kind === "ready");
    if (live.length <= (this.#current?.scaling.minScale ?? 0)) return undefined;
    return live.sort((a, b) => a.leases - b.leases || a.idleSince - b.idleSince)[0];
  }

  #isBlocked(): boolean {
    return this.#parts.clock.now() < this.#blockedUntil;
  }

  #unavailable(why: string): MeshError {
    return new MeshError("FUNCTION_UNAVAILABLE", {
      field: this.#name,
      found: this.#problem === undefined ? why : `${why}: ${this.#problem.reason}: ${this.#problem.message}`,
    });
  }

  #instanceSpec({ spec, timeoutMs }: Revision): InstanceSpec {
    return {
      namespace: spec.namespace,
      service: spec.name,
      revision: spec.revision,
      file: spec.file,
      root: spec.root,
      env: spec.env,
      timeoutMs,
      ingressUrl: this.#parts.ingressUrl,
    };
  }

  #createMeter(stableMs: number, panicMs: number): LoadMeter {
    return new LoadMeter({ stableMs, panicMs, now: this.#parts.clock.now() });
  }
}

function stateOf({ instance, isDraining }: Member): "starting" | "ready" | "draining" {
  if (isDraining) return "draining";
  return instance.state.kind === "ready" ? "ready" : "starting";
}

function startDeadlineMs({ annotations }: RevisionSpec): number {
  const text = annotations["serving.knative.dev/progress-deadline"];
  return (text === undefined ? undefined : parseGoDuration(text)) || progressDeadlineMs;
}

function isSame(a: RevisionSpec, b: RevisionSpec): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
