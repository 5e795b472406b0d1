/**
 * ONE worker process, as the first process sees it. The only file of this folder that starts processes.
 *
 * K1  it cannot outlive the first process: it ends when the IPC channel closes (worker-main.ts).
 * K2  signals of a terminal or a service manager do nothing to it; it stops when it is told to, and is killed when
 *     it has not ended by then.
 * K3  connections go to it one by one, each when the one before has arrived, and until then stay open here: Node.js
 *     forgets those on their way when the process dies, or has no file descriptor left for them, and their clients
 *     would wait for ever. Hence a plain message after each asks for an answer. Those that wait are bounded: a
 *     process that does not take them is given no more.
 */
import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import type { Clock } from "../clock.ts";
import type { JournalRecord } from "../journal/record.ts";
import type { Log } from "../log.ts";
import { type BrokerRefusal, fromWorkerSchema, type ToWorker, type WorkerSettings } from "./messages.ts";

export interface WorkerOptions {
  readonly settings: WorkerSettings;
  readonly clock: Clock;
  readonly log: Log;
  /** It serves, or has newer routes. Must not throw, as the next two. */
  readonly onChange: () => void;
  /** A sign of life, with why it does not serve well, if so. */
  readonly onBeat: (trouble: string | undefined) => void;
  /** What happened there; `missed` more records are not told. */
  readonly onRecords: (records: readonly JournalRecord[], missed: number) => void;
}

/** What supervision needs of a worker. */
export interface WorkerHandle {
  readonly pid: number;
  readonly isReady: boolean;
  /** Of the bucket, of the routes it serves. */
  readonly routesRevision: number;
  /** Resolves to how it ended. Never rejects. */
  readonly exited: Promise<string>;
  /** Connections it was given. */
  readonly connections: number;
  /** False when it cannot take the connection: whoever asks still has it. */
  take(socket: Socket): boolean;
  refuse(refusals: readonly BrokerRefusal[]): void;
  /** Resolves when it has ended, killed after `deadlineMs`. Idempotent. */
  stop(options: { deadlineMs: number }): Promise<void>;
}

/** K3. */
const waitingMax = 64;

export function startWorkerProcess(options: WorkerOptions): WorkerHandle {
  return new WorkerProcess(options);
}

class WorkerProcess implements WorkerHandle {
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  readonly #options: WorkerOptions;
  #isReady = false;
  #isStopping = false;
  /** K3. */
  readonly #waiting: Socket[] = [];
  #onItsWay: Socket | undefined;
  #hasEnded = false;
  #connections = 0;
  #routesRevision = 0;
  #failure: string | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    // TypeScript or built JavaScript, as this file is.
    const main = fileURLToPath(new URL(`../worker-main${import.meta.url.slice(-3)}`, import.meta.url));
    this.#child = fork(main, [], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    this.#child.on("message", (message) => this.#onMessage(message));
    this.exited = new Promise((resolve) => {
      this.#child.on("error", (error) => {
        if (this.#child.pid === undefined) resolve(error.message);
      });
      this.#child.once("exit", (code, signal) =>
        resolve(this.#failure ?? (signal === null ? `exit code ${code}` : signal)),
      );
    });
    this.#child.once("exit", () => {
      this.#hasEnded = true;
      // Whoever connected sees it break, as with the connections that the process had.
      this.#onItsWay?.destroy();
      for (const socket of this.#waiting.splice(0)) socket.destroy();
    });
    this.#send({ kind: "start", settings: options.settings });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isStopping && !this.#hasEnded && this.#child.connected;
  }

  get connections(): number {
    return this.#connections;
  }

  get routesRevision(): number {
    return this.#routesRevision;
  }

  take(socket: Socket): boolean {
    if (!this.isReady || this.#waiting.length >= waitingMax) return false;
    this.#connections++;
    this.#waiting.push(socket);
    if (this.#onItsWay === undefined) this.#handOver();
    return true;
  }

  #handOver(): void {
    const socket = this.#waiting.shift();
    this.#onItsWay = socket;
    if (socket === undefined) return;
    const message: ToWorker = { kind: "connection" };
    // When it cannot be sent, the answer to the next message says so, or there is none since the process ends.
    this.#child.send(message, socket, { keepOpen: true }, () => {});
    this.#send({ kind: "offered" });
  }

  refuse(refusals: readonly BrokerRefusal[]): void {
    this.#send({ kind: "refusals", refusals: [...refusals] });
  }

  async stop({ deadlineMs }: { deadlineMs: number }): Promise<void> {
    if (!this.#isStopping) {
      this.#isStopping = true;
      this.#send({ kind: "drain" });
    }
    const kill = this.#options.clock.after(deadlineMs, () => this.#child.kill("SIGKILL"));
    await this.exited;
    kill.cancel();
  }

  #send(message: ToWorker): void {
    // One whose channel is closed is ending.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #onMessage(raw: unknown): void {
    const { log, onChange, onBeat, onRecords } = this.#options;
    const { success, data: message } = fromWorkerSchema.safeParse(raw);
    if (!success) {
      log.error({ stage: "workers", pid: this.pid }, "a worker says something unknown");
      return;
    }
    switch (message.kind) {
      case "ready":
        this.#isReady = true;
        onChange();
        return;
      case "routes":
        this.#routesRevision = message.revision;
        onChange();
        return;
      case "beat":
        onBeat(message.trouble);
        return;
      case "taken":
        if (!message.arrived) {
          log.error(
            { stage: "workers", pid: this.pid },
            "a worker could not take a connection; it is closed",
          );
        }
        // When it has arrived the process has a handle of its own on it.
        this.#onItsWay?.destroy();
        this.#handOver();
        return;
      case "failed":
        this.#failure = message.message;
        return;
      case "records":
        onRecords(message.records, message.missed);
    }
  }
}
