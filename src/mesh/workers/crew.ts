/**
 * The workers of this process: started, kept running, given connections, stopped.
 *
 * R1  a worker that ends, or could not be started, is started again, after a wait that grows while it does not stay up.
 * R2  a connection goes to who is next of those that are ready, this process among them: it always is.
 * R3  a worker in trouble, or not heard of for longer than `silenceMsMax`, is said to be so: it may have events, and
 *     connections, that nobody else serves.
 * R4  after `drain` nothing is started any more.
 */
import type { Socket } from "node:net";
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { JournalRecord } from "../journal/record.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { BrokerRefusal, WorkerSettings } from "./messages.ts";
import { nextTurn } from "./turn.ts";
import type { WorkerHandle, WorkerOptions } from "./worker-process.ts";

export interface CrewOptions {
  /** Processes in all, this one among them. */
  readonly count: number;
  readonly settings: Omit<WorkerSettings, "portion" | "refusals">;
  readonly clock: Clock;
  readonly log: Log;
  readonly onRecords: (records: readonly JournalRecord[], missed: number) => void;
  /** R3. */
  readonly silenceMsMax: number;
  /** How long a stop lets attempts in flight finish. */
  readonly drainMs: number;
  /** May throw. */
  readonly start: (options: WorkerOptions) => WorkerHandle;
}

/** R1: what a worker that was up for less than this is counted as. */
const stableMs = 30_000;
const firstWaitMs = 100;
const waitMsMax = 10_000;
/** A worker gives a sign of life every second; one that has not for this long is not waited for. */
const stuckMs = 3000;
/** What a stop takes besides the drain. */
const stopGraceMs = 5000;

/** The wait before a worker is started again that has failed so many times in a row. Pure. */
export function restartWaitMs(failures: number): number {
  return Math.min(waitMsMax, firstWaitMs * 2 ** Math.max(0, failures - 1));
}

interface Place {
  readonly index: number;
  worker: WorkerHandle | undefined;
  /** R3. By the monotonic clock. */
  heardMs: number;
  trouble: string | undefined;
}

export class Crew implements Closeable {
  readonly #options: CrewOptions;
  readonly #places: readonly Place[];
  readonly #running: readonly Promise<void>[];
  readonly #stopping = new AbortController();
  #refusals: readonly BrokerRefusal[] = [];
  #turn = 0;
  #kept = 0;
  /** Called when a worker has changed. */
  readonly #watchers = new Set<() => void>();

  constructor(options: CrewOptions) {
    this.#options = options;
    const heardMs = options.clock.monotonic();
    this.#places = Array.from({ length: options.count - 1 }, (_, i) => ({
      ...{ index: i + 1, worker: undefined, heardMs, trouble: undefined },
    }));
    this.#running = this.#places.map((place) => this.#keepRunning(place));
  }

  /** Resolves when all workers serve, or when it is drained or `signal` aborts. */
  ready(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#places.every(({ worker }) => worker?.isReady), signal);
  }

  /**
   * Resolves when all workers that serve have the routes of this revision of the bucket or newer ones, or when it is
   * drained or `signal` aborts. One that is in trouble or stuck is not waited for.
   */
  haveRoutes(revision: number, signal: AbortSignal): Promise<void> {
    const sinceMs = this.#options.clock.monotonic() - stuckMs;
    const isServing = ({ worker, trouble, heardMs }: Place) =>
      worker?.isReady === true && trouble === undefined && heardMs >= sinceMs;
    const has = (place: Place) => !isServing(place) || (place.worker?.routesRevision ?? 0) >= revision;
    return this.#until(() => this.#places.every(has), signal);
  }

  /** R2. True when another process has the connection. */
  share(socket: Socket): boolean {
    const canTake = [true, ...this.#places.map(({ worker }) => worker?.isReady === true)];
    const turn = nextTurn(this.#turn, canTake) ?? 0;
    this.#turn = turn;
    const taken = this.#places[turn - 1]?.worker?.take(socket) ?? false;
    if (!taken) this.#kept++;
    return taken;
  }

  /** The brokers that must not take events now; workers that start later hear of them too. */
  refuse(refusals: readonly BrokerRefusal[]): void {
    this.#refusals = refusals;
    for (const { worker } of this.#places) worker?.refuse(refusals);
  }

  /** Those that run now. */
  get workers(): readonly Pick<WorkerHandle, "pid" | "isReady" | "connections">[] {
    return this.#places.flatMap(({ worker }) => (worker === undefined ? [] : [worker]));
  }

  /** R3. For people; undefined when all workers serve, or have not been away for long. */
  trouble(): string | undefined {
    const { clock, silenceMsMax } = this.#options;
    for (const { index, worker, heardMs, trouble } of this.#places) {
      const name = worker === undefined ? `worker ${index}` : `worker ${index} (pid ${worker.pid})`;
      if (trouble !== undefined) return `${name}: ${trouble}`;
      const silentMs = clock.monotonic() - heardMs;
      if (silentMs > silenceMsMax) return `${name} has not served for ${Math.floor(silentMs / 1000)} s`;
    }
    return undefined;
  }

  /** Connections that this process has kept. */
  get kept(): number {
    return this.#kept;
  }

  /** R4. Tells all workers to stop; `close` waits for them. Idempotent. */
  drain(): void {
    this.#stopping.abort();
    const deadlineMs = this.#options.drainMs + stopGraceMs;
    for (const { worker } of this.#places) {
      if (worker !== undefined) background(worker.stop({ deadlineMs }), () => {});
    }
  }

  async close(): Promise<void> {
    this.drain();
    await Promise.all(this.#running);
  }

  /** Resolves when `isDone`, or when it is drained or `signal` aborts. */
  async #until(isDone: () => boolean, signal: AbortSignal): Promise<void> {
    const end = AbortSignal.any([signal, this.#stopping.signal]);
    if (end.aborted || isDone()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (isDone()) resolve();
    };
    this.#watchers.add(look);
    end.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    this.#watchers.delete(look);
  }

  #tellWatchers(): void {
    for (const look of this.#watchers) look();
  }

  /** R1. */
  async #keepRunning(place: Place): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      const startedMs = clock.monotonic();
      const { pid, how } = await this.#run(place);
      if (signal.aborted) return;
      failures = clock.monotonic() - startedMs < stableMs ? failures + 1 : 1;
      const waitMs = restartWaitMs(failures);
      log.error({ stage: "workers", pid, how, waitMs }, "a worker ended; another one is started");
      await clock.sleep(waitMs, signal);
    }
  }

  /** Resolves when the worker has ended, or could not be started (no memory). Never rejects. */
  async #run(place: Place): Promise<{ pid?: number; how: string }> {
    try {
      const worker = this.#start(place);
      place.worker = worker;
      return { how: await worker.exited, pid: worker.pid };
    } catch (error) {
      return { how: messageOf(error) };
    } finally {
      place.worker = undefined;
      place.trouble = undefined;
      this.#tellWatchers();
    }
  }

  #start(place: Place): WorkerHandle {
    const { count, settings, clock, log, onRecords, start } = this.#options;
    const { index } = place;
    const hear = (trouble?: string) => {
      place.heardMs = clock.monotonic();
      place.trouble = trouble;
    };
    return start({
      settings: { ...settings, portion: { index, of: count }, refusals: [...this.#refusals] },
      clock,
      log,
      onRecords,
      onChange: () => {
        hear();
        this.#tellWatchers();
      },
      onBeat: hear,
    });
  }
}
