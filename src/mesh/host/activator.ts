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
import { assert, MeshError } from "../errors.ts";
import type { Log } from "../log.ts";
import { Backoff } from "./backoff.ts";
import type { Instance, InstanceSpec, StartResult, StartTiming } from "./instance.ts";
import type { Pool } from "./pool.ts";
import { Scaler } from "./scaler.ts";
import { parseGoDuration, parseScaling, type ScalingSpec } from "./scaling.ts";
import type { Lease, RevisionResult, RevisionSpec, ServiceRef, ServiceStatus } from "./service.ts";
import { WaitingLine } from "./waiting-line.ts";

/** Somebody who waits this long although instances run makes the autoscaler look at once. */
const pokeAfterMs = 250;
/** An instance that does not answer a ping within this is stuck. */
const pingMs = 2000;
const progressDeadlineMs = 60_000;
const timeoutSecondsDefault = 300;

export interface ActivatorParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly pool: Pool;
  /** The stable window of revisions that do not set their own. */
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
  wasReady: boolean;
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

export class Activator {
  readonly ref: ServiceRef;
  readonly #parts: ActivatorParts;
  readonly #members = new Set<Member>();
  readonly #line: WaitingLine;
  readonly #scaler: Scaler;
  readonly #backoff: Backoff;
  #current: Revision | undefined;
  #candidate: { readonly revision: Revision; readonly instance: Instance } | undefined;
  #demand = 0;
  #poke: Timer | undefined;
  #lastStart: StartTiming | undefined;
  #problem: { reason: string; message: string } | undefined;
  #closed = false;

  constructor(ref: ServiceRef, parts: ActivatorParts) {
    const { clock } = parts;
    this.ref = ref;
    this.#parts = parts;
    this.#line = new WaitingLine(() => this.#loadChanged());
    this.#backoff = new Backoff(clock, () => {
      this.reconcile();
      parts.onCapacity();
    });
    this.#scaler = new Scaler({
      clock,
      count: () => {
        const live = this.#live();
        return { live: live.length, ready: live.filter(isReady).length };
      },
      onDecision: () => this.reconcile(),
    });
  }

  /** Per request, from arrival to answer; undefined while no revision is ready. */
  get timeoutMs(): number | undefined {
    return this.#current?.timeoutMs;
  }

  /**
   * Starts one instance of the revision and moves traffic to it (V2); a service that was at zero goes back there.
   * A newer call supersedes an older one.
   */
  async apply(spec: RevisionSpec): Promise<RevisionResult> {
    const { spec: scaling, problems: warnings } = parseScaling({ ...spec, windowMs: this.#parts.windowMs });
    const revision: Revision = {
      spec,
      scaling,
      timeoutMs: (spec.timeoutSeconds || timeoutSecondsDefault) * 1000,
    };
    if (this.#current !== undefined && isSame(this.#current.spec, spec)) {
      this.#dropCandidate();
      this.#problem = undefined;
      return { ready: true, warnings };
    }
    this.#dropCandidate();
    const instance = this.#parts.pool.take();
    const candidate = { revision, instance };
    const wasAtZero = this.#live().length === 0;
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
    if (wasAtZero && !this.hasLoad && scaling.minScale === 0) {
      // It only had to show that it can serve: nobody asked for it yet.
      this.#scaler.noteYielded(0);
      this.#drain(member);
    } else this.#scaler.poke();
    return { ready: true, warnings };
  }

  /** Requests that could be sent now, or as soon as what is starting is ready. At zero: one instance's worth. */
  slots(): number {
    const revision = this.#current ?? this.#candidate?.revision;
    if (revision === undefined || this.#closed) return 0;
    const most = revision.scaling.concurrencyMax;
    const live = this.#live();
    if (live.length === 0) {
      return this.#backoff.isBlocked ? 0 : Math.max(0, most - this.#line.length);
    }
    let free = -this.#line.length;
    for (const member of live) if (!member.isSuspect) free += Math.max(0, most - member.leases);
    return Math.max(0, free);
  }

  /** How many more requests would be sent if there were slots: counts as load until it is set to 0 again. */
  demand(count: number): void {
    if (count === this.#demand) return;
    this.#demand = count;
    this.#loadChanged();
    if (count > 0 && this.#live().length === 0) this.#scaler.poke();
  }

  /**
   * Resolves to a lease, waiting for a start if need be. Rejects with FUNCTION_UNAVAILABLE (V4), OVERLOADED
   * (queue full), or the signal's reason.
   */
  acquire(signal?: AbortSignal): Promise<Lease> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed) return Promise.reject(this.#unavailable("the mesh is stopping"));
    this.#scaler.arrive();
    const free = this.#line.length === 0 ? this.#pick() : undefined;
    if (free !== undefined) return Promise.resolve(this.#lease(free));
    const live = this.#live();
    if (live.length === 0 && this.#candidate === undefined) {
      if (this.#current === undefined) return Promise.reject(this.#unavailable("no revision is ready"));
      if (this.#backoff.isBlocked) return Promise.reject(this.#unavailable("its last start failed"));
    }
    if (this.#line.isFull) {
      const fix = "Try again in a second";
      return Promise.reject(new MeshError("OVERLOADED", { field: this.#name, found: "a full queue", fix }));
    }
    const lease = this.#line.join(signal);
    this.#loadChanged();
    if (live.length === 0) this.#scaler.poke();
    this.#pokeSoon();
    return lease;
  }

  /** Makes the number of instances the desired one. Idempotent; called whenever anything may have changed. */
  reconcile(): void {
    const revision = this.#current;
    if (revision === undefined || this.#closed) return;
    const live = this.#live();
    for (let count = live.length; count < this.#scaler.desired; count++) {
      if (this.#backoff.isBlocked || !this.#parts.reserve(this)) break;
      void this.#start(revision);
    }
    const idlest = live
      .filter(isReady)
      .sort(
        (a, b) => a.leases - b.leases || a.instance.pending - b.instance.pending || b.startedAt - a.startedAt,
      );
    for (const member of idlest.slice(0, Math.max(0, live.length - this.#scaler.desired)))
      this.#drain(member);
    this.#keepTicking();
  }

  /** Is it wanted at this moment? */
  get hasLoad(): boolean {
    return this.#scaler.load > 0;
  }

  /** Processes of this service, whatever their state. */
  get processes(): number {
    return this.#members.size;
  }

  /** Since when the most idle instance that could be given up has been idle; undefined when there is none. */
  idleSince(): number | undefined {
    const spare = this.#spare();
    return spare === undefined || spare.leases > 0 || spare.instance.pending > 0
      ? undefined
      : spare.idleSince;
  }

  /** How many instances it could lose and still serve. */
  surplus(): number {
    return Math.max(0, this.#live().length - Math.max(1, this.#current?.scaling.minScale ?? 0));
  }

  /** Gives an instance up, because another service has none: the one `idleSince` spoke of, or the least busy. */
  yieldInstance(): void {
    const spare = this.#spare();
    if (spare === undefined) return;
    this.#scaler.noteYielded(this.#live().length - 1);
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
      desired: this.#scaler.desired,
      actual: instances.filter((instance) => instance.state === "ready").length,
      waiting: this.#line.length,
      panicking: this.#scaler.panicking,
      lastStart: this.#lastStart,
      problem: this.#problem,
    };
  }

  /** Refuses who waits, lets requests in flight finish until the deadline, then kills. Idempotent. */
  async close({ deadlineMs }: { deadlineMs: number }): Promise<void> {
    this.#closed = true;
    this.#poke?.cancel();
    this.#backoff.reset();
    this.#keepTicking();
    this.#refuseWaiters("the mesh is stopping");
    this.#dropCandidate();
    const members = [...this.#members];
    for (const member of members) {
      if (stateOf(member) === "starting") member.instance.kill();
      else this.#drain(member, deadlineMs);
    }
    this.#parts.clock.after(deadlineMs, () => {
      for (const { instance } of this.#members) instance.kill();
    });
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
      wasReady: false,
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
    member.wasReady = true;
    member.idleSince = now;
    this.#scaler.noteReady();
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
    this.#backoff.fail();
    if (this.#live().length === 0) this.#refuseWaiters();
    this.reconcile();
  }

  #onExit(member: Member): void {
    this.#members.delete(member);
    member.drainTimer?.cancel();
    if (this.#live().length === 0) this.#scaler.noteEmpty();
    // One that died while starting is its starter's business (back-off before the next try).
    if (member.wasReady) {
      if (!member.isDraining && member.revision === this.#current) this.#onCrash(member);
      this.#loadChanged();
      this.reconcile();
    }
    this.#parts.onExit();
  }

  #onCrash({ instance, answered }: Member): void {
    const { state } = instance;
    const reason = state.kind === "dead" ? state.reason : "Unknown";
    this.#problem = { reason, message: `instance ${instance.id} ended unexpectedly` };
    this.#parts.log.warn(
      { stage: "host", service: this.#name, instance: instance.id, reason },
      "instance crashed",
    );
    // One that has worked is replaced at once; one that never did could crash for ever.
    if (answered > 0) return;
    this.#backoff.fail();
    if (this.#live().length === 0) this.#refuseWaiters();
  }

  #moveTraffic(revision: Revision): void {
    this.#current = revision;
    this.#backoff.reset();
    this.#scaler.configure(revision.scaling);
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
    assert(state.kind === "ready", "a lease needs a ready instance");
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
      this.#backoff.succeed();
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
    this.#line.serve({
      hasRoom: () => this.#pick() !== undefined,
      take: () => {
        const member = this.#pick();
        assert(member !== undefined, "there was room a moment ago");
        return this.#lease(member);
      },
    });
    if (this.#line.length === 0) this.#parts.onCapacity();
  }

  #refuseWaiters(why = "its last start failed"): void {
    this.#line.refuseAll(this.#unavailable(why));
    this.#loadChanged();
  }

  // — load —

  #loadChanged(): void {
    let load = this.#line.length + this.#demand;
    for (const member of this.#members) {
      load += member.leases + (member.isDraining ? 0 : member.instance.pending);
    }
    this.#scaler.setLoad(load);
    if (load > 0) this.#keepTicking();
  }

  #pokeSoon(): void {
    this.#poke ??= this.#parts.clock.after(pokeAfterMs, () => {
      this.#poke = undefined;
      if (this.#line.length === 0) return;
      this.#scaler.poke();
      this.#pokeSoon();
    });
  }

  /** V5. */
  #keepTicking(): void {
    const { load, desired } = this.#scaler;
    const isNeeded = !this.#closed && (this.#members.size > 0 || load > 0 || desired > 0);
    this.#scaler.keepTicking({ isNeeded });
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
    const live = this.#live().filter(isReady);
    if (live.length <= (this.#current?.scaling.minScale ?? 0)) return undefined;
    return live.sort((a, b) => a.leases - b.leases || a.idleSince - b.idleSince)[0];
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
}

function isReady({ instance }: Member): boolean {
  return instance.state.kind === "ready";
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
