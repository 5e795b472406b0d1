import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { FakeClock } from "../../../src/mesh/clock.ts";
import { parseConfig } from "../../../src/mesh/config.ts";
import { silentLog } from "../../../src/mesh/log.ts";
import { Crew, restartWaitMs } from "../../../src/mesh/workers/crew.ts";
import type { BrokerRefusal } from "../../../src/mesh/workers/messages.ts";
import type { WorkerHandle, WorkerOptions } from "../../../src/mesh/workers/worker-process.ts";

/** A worker that does what the test says. */
class FakeWorker implements WorkerHandle {
  readonly pid: number;
  readonly exited: Promise<string>;
  isReady = false;
  connections = 0;
  routesRevision = 0;
  refusals: readonly BrokerRefusal[];
  readonly #options: WorkerOptions;
  #end: (how: string) => void = () => {};

  constructor(options: WorkerOptions, pid: number) {
    this.#options = options;
    this.pid = pid;
    this.refusals = options.settings.refusals;
    this.exited = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get index(): number {
    return this.#options.settings.portion.index;
  }

  becomeReady(): void {
    this.isReady = true;
    this.#options.onChange();
  }

  follow(revision: number): void {
    this.routesRevision = revision;
    this.#options.onChange();
  }

  beat(trouble?: string): void {
    this.#options.onBeat(trouble);
  }

  /** Resolves when whoever waited for it knows. */
  async end(): Promise<void> {
    this.isReady = false;
    this.#end("SIGKILL");
    await new Promise(setImmediate);
  }

  take(): boolean {
    this.connections++;
    return true;
  }

  refuse(refusals: readonly BrokerRefusal[]): void {
    this.refusals = refusals;
  }

  async stop(): Promise<void> {
    await this.end();
  }
}

/** `failures`: so many starts fail at first. */
function startCrew(count: number, { failures = 0 } = {}) {
  let failed = 0;
  const clock = new FakeClock();
  const started: FakeWorker[] = [];
  const crew = new Crew({
    count,
    settings: { config: parseConfig({}, {}), roles: ["ingress", "dispatch"], nats: { url: "nats://x" } },
    clock,
    log: silentLog,
    onRecords() {},
    silenceMsMax: 20_000,
    drainMs: 1000,
    start: (options) => {
      if (failed++ < failures) throw new Error("spawn ENOMEM");
      const worker = new FakeWorker(options, started.length + 1);
      started.push(worker);
      return worker;
    },
  });
  const connect = (times: number) => {
    for (let n = 0; n < times; n++) crew.share(new Socket());
  };
  return { clock, crew, started, connect };
}

describe("Crew", () => {
  test("shares connections out evenly, this process among the workers", async () => {
    const { crew, started, connect } = startCrew(3);
    for (const worker of started) worker.becomeReady();
    await crew.ready(new AbortController().signal);
    connect(9);
    expect([crew.kept, ...started.map(({ connections }) => connections)]).toEqual([3, 3, 3]);
    await crew.close();
  });

  test("gives no connection to who is not ready", async () => {
    const { crew, started, connect } = startCrew(3);
    started[1]?.becomeReady();
    connect(4);
    expect([crew.kept, ...started.map(({ connections }) => connections)]).toEqual([2, 0, 2]);
    await crew.close();
  });

  test("starts a worker again in its place, later each time it does not stay up", async () => {
    const { clock, crew, started } = startCrew(2);
    await started[0]?.end();
    await clock.advance(restartWaitMs(1) - 1);
    expect(started.length).toBe(1);
    await clock.advance(1);
    expect(started.map(({ index }) => index)).toEqual([1, 1]);
    await started[1]?.end();
    await clock.advance(restartWaitMs(2) - 1);
    expect(started.length).toBe(2);
    await clock.advance(1);
    await clock.advance(30_000);
    await started[2]?.end();
    await clock.advance(restartWaitMs(1));
    expect(started.length).toBe(4);
    await crew.close();
  });

  test("starts a worker again that could not be started, later each time", async () => {
    const { clock, crew, started } = startCrew(2, { failures: 2 });
    // The failure is seen to.
    await new Promise(setImmediate);
    await clock.advance(restartWaitMs(1));
    expect(started.length).toBe(0);
    await clock.advance(restartWaitMs(2) - 1);
    expect(started.length).toBe(0);
    await clock.advance(1);
    expect(started.length).toBe(1);
    await crew.close();
  });

  test("tells what brokers refuse to all workers, and to those that start later", async () => {
    const { clock, crew, started } = startCrew(2);
    const refusals = [{ path: "default/default", found: "full" }];
    crew.refuse(refusals);
    expect(started[0]?.refusals).toEqual(refusals);
    await started[0]?.end();
    await clock.advance(restartWaitMs(1));
    expect(started[1]?.refusals).toEqual(refusals);
    await crew.close();
  });

  test("names a worker that is in trouble until it says that it is well", async () => {
    const { crew, started } = startCrew(2);
    started[0]?.becomeReady();
    expect(crew.trouble()).toBeUndefined();
    started[0]?.beat("NATS is not connected");
    expect(crew.trouble()).toBe("worker 1 (pid 1): NATS is not connected");
    started[0]?.beat();
    expect(crew.trouble()).toBeUndefined();
    await crew.close();
  });

  test("names a worker that is not heard of for long, running or not", async () => {
    const { clock, crew, started } = startCrew(3);
    for (const worker of started) worker.becomeReady();
    await clock.advance(20_000);
    expect(crew.trouble()).toBeUndefined();
    started[0]?.beat();
    await clock.advance(1);
    expect(crew.trouble()).toBe("worker 2 (pid 2) has not served for 20 s");
    await started[1]?.end();
    expect(crew.trouble()).toBe("worker 2 has not served for 20 s");
    await clock.advance(restartWaitMs(1));
    expect(crew.trouble()).toBe("worker 2 (pid 3) has not served for 20 s");
    started[2]?.becomeReady();
    expect(crew.trouble()).toBeUndefined();
    await crew.close();
  });

  test("knows when all workers that serve have the routes", async () => {
    const { clock, crew, started } = startCrew(4);
    const [one, two] = started;
    for (const worker of [one, two]) {
      worker?.follow(4);
      worker?.becomeReady();
    }
    const signal = new AbortController().signal;
    let have = false;
    const waiting = crew.haveRoutes(5, signal).then(() => {
      have = true;
    });
    one?.follow(5);
    await clock.advance(0);
    expect(have).toBe(false);
    two?.follow(6);
    await waiting;
    // One that is killed, in trouble or stuck keeps nobody waiting.
    const killed = crew.haveRoutes(6, signal);
    await one?.end();
    await killed;
    two?.beat("NATS is not connected");
    await crew.haveRoutes(7, signal);
    two?.beat();
    await clock.advance(3001);
    await crew.haveRoutes(7, signal);
    await crew.close();
  });

  test("starts nothing any more once it is drained, and gives no connection away", async () => {
    const { clock, crew, started, connect } = startCrew(2);
    started[0]?.becomeReady();
    crew.drain();
    await crew.close();
    await clock.advance(60_000);
    connect(2);
    expect(started.length).toBe(1);
    expect(crew.kept).toBe(2);
  });

  test("is not waited for when the start is given up", async () => {
    const { crew } = startCrew(2);
    const stop = new AbortController();
    const ready = crew.ready(stop.signal);
    stop.abort();
    await ready;
    await crew.close();
  });
});

test("restartWaitMs grows up to a bound", () => {
  expect([1, 2, 3, 50].map(restartWaitMs)).toEqual([100, 200, 400, 10_000]);
});
