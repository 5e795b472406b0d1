/**
 * ONE process = one instance of a function. The only file that starts processes.
 *
 * I1  A process serves one function and is never reused: warm → starting → ready → draining → dead, never back.
 * I2  It leads its own session: a Ctrl-C at the terminal reaches weft only, and killing the group takes
 *     along whatever the function started.
 * I3  It cannot outlive weft: the runner ends with its IPC channel, and a watchdog thread sees to it when the
 *     runner is stuck (sdk/server.ts, sdk/watchdog.ts).
 * I4  Its directory (record of the process, private TMPDIR) is removed once it is dead.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { assert } from "../errors.ts";
import { readLines } from "./lines.ts";

const stderrLinesKept = 12;

export interface LogLine {
  readonly namespace: string;
  readonly service: string;
  readonly revision: string;
  readonly instance: string;
  readonly stream: "stdout" | "stderr";
  /** At most 64 Ki characters; a longer line comes in pieces. */
  readonly line: string;
}

export interface InstanceOptions {
  readonly clock: Clock;
  /** Where this process gets a directory of its own. */
  readonly instancesDir: string;
  readonly compileCacheDir: string;
  readonly onLine: (line: LogLine) => void;
}

/** What a warm process becomes. */
export interface InstanceSpec {
  readonly namespace: string;
  readonly service: string;
  readonly revision: string;
  /** The bundle. */
  readonly file: string;
  /** Working directory. */
  readonly root: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly ingressUrl: string | undefined;
}

export interface StartTiming {
  /** The blocking spawn call. */
  readonly spawnMs: number;
  /** From the spawn until the runner waits for orders; 0 when a warm process was waiting already. */
  readonly bootMs: number;
  readonly importMs: number;
  readonly initMs: number;
  /** From the order until ready: what a sleeping function costs its first event. */
  readonly readyMs: number;
}

export type StartResult =
  | { readonly ok: true; readonly timing: StartTiming }
  | { readonly ok: false; readonly reason: string; readonly message: string };

export type InstanceState =
  | { readonly kind: "warm" }
  | { readonly kind: "starting" }
  | { readonly kind: "ready"; readonly url: string; readonly headers: Readonly<Record<string, string>> }
  | { readonly kind: "draining" }
  | { readonly kind: "dead"; readonly reason: string };

const fromRunnerSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("booted") }),
  z.object({ kind: z.literal("ready"), port: z.number(), importMs: z.number(), initMs: z.number() }),
  z.object({ kind: z.literal("failed"), message: z.string(), stack: z.string() }),
  z.object({ kind: z.literal("pending"), count: z.number() }),
  z.object({ kind: z.literal("pong") }),
]);
type FromRunner = z.output<typeof fromRunnerSchema>;

export class Instance {
  /** `<revision>-<random>` once it is a function; before, the random part. */
  get id(): string {
    return this.#spec === undefined ? this.#key : `${this.#spec.revision}-${this.#key}`;
  }
  readonly pid: number;
  /** Resolves when the process is gone. Never rejects. */
  readonly exited: Promise<void>;
  /** `waitUntil` work that goes on after the answers. */
  pending = 0;
  /** Called when `pending` changed. */
  onPending: () => void = () => {};

  readonly #options: InstanceOptions;
  readonly #child: ChildProcess;
  readonly #key: string;
  readonly #dir: string;
  readonly #spawnMs: number;
  readonly #spawnedAt: number;
  readonly #stderrTail: string[] = [];
  #spec: InstanceSpec | undefined;
  #state: InstanceState = { kind: "warm" };
  #bootMs: number | undefined;
  #failure: { message: string; stack: string } | undefined;
  #onReady: (message: FromRunner & { kind: "ready" }) => void = () => {};
  #onBooted: () => void = () => {};
  #onPong: () => void = () => {};

  constructor(options: InstanceOptions) {
    this.#options = options;
    this.#key = randomBytes(4).toString("hex");
    this.#dir = join(options.instancesDir, this.#key);
    const tmp = join(this.#dir, "tmp");
    mkdirSync(tmp, { recursive: true, mode: 0o700 });
    const { clock } = options;
    this.#spawnedAt = clock.monotonic();
    // The runner is TypeScript or built JavaScript, as this file is.
    const runner = fileURLToPath(new URL(`../sdk/server${import.meta.url.slice(-3)}`, import.meta.url));
    this.#child = spawn(process.execPath, [runner, String(process.pid)], {
      detached: true,
      cwd: tmp,
      env: { PATH: runnerPath, NODE_COMPILE_CACHE: options.compileCacheDir },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#spawnMs = clock.monotonic() - this.#spawnedAt;
    this.pid = this.#child.pid ?? 0;
    this.exited = this.#watchProcess();
    if (this.pid !== 0) void recordProcess(this.#dir, this.pid);
  }

  get state(): InstanceState {
    return this.#state;
  }

  /** True once the runner has loaded and waits for orders. */
  get isBooted(): boolean {
    return this.#bootMs !== undefined;
  }

  /** Resolves when the runner waits for orders, or is dead. */
  booted(): Promise<void> {
    const booted = new Promise<void>((resolve) => {
      if (this.#bootMs !== undefined) resolve();
      this.#onBooted = resolve;
    });
    return Promise.race([booted, this.exited]);
  }

  /**
   * Turns the warm process into a function. A failure is a value and leaves the instance dead:
   * `ExitCode<n>`, `Signal<name>`, or `ProgressDeadlineExceeded` after `deadlineMs`.
   */
  async become(spec: InstanceSpec, { deadlineMs }: { deadlineMs: number }): Promise<StartResult> {
    assert(this.#spec === undefined, "an instance becomes a function once");
    const { clock } = this.#options;
    const orderedAt = clock.monotonic();
    this.#spec = spec;
    if (this.#state.kind === "warm") this.#state = { kind: "starting" };
    const token = randomBytes(16).toString("hex");
    const ready = new Promise<FromRunner & { kind: "ready" }>((resolve) => {
      this.#onReady = resolve;
    });
    this.#send({
      kind: "become",
      file: spec.file,
      root: spec.root,
      env: this.#environment(spec),
      identity: {
        namespace: spec.namespace,
        name: spec.service,
        revision: spec.revision,
        instance: this.id,
      },
      token,
      timeoutMs: spec.timeoutMs,
      ingressUrl: spec.ingressUrl,
    });
    let late = false;
    const timer = clock.after(deadlineMs, () => {
      late = true;
      this.kill();
    });
    const message = await Promise.race([ready, this.exited]);
    timer.cancel();
    if (message === undefined || this.#state.kind !== "starting") return this.#startFailure(late, deadlineMs);
    this.#state = {
      kind: "ready",
      url: `http://127.0.0.1:${message.port}`,
      headers: { "weft-instance-token": token },
    };
    const booted = (this.#bootMs ?? 0) + this.#spawnedAt;
    const { importMs, initMs } = message;
    return {
      ok: true,
      timing: {
        spawnMs: this.#spawnMs,
        bootMs: Math.max(0, booted - orderedAt),
        importMs,
        initMs,
        readyMs: clock.monotonic() - orderedAt,
      },
    };
  }

  /** False when the runner's event loop did not answer within `timeoutMs`. */
  ping(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(timeoutMs, () => resolve(false));
      this.#onPong = () => {
        timer.cancel();
        resolve(true);
      };
      this.#send({ kind: "ping" });
    });
  }

  /**
   * Asks the runner to finish what it has and leave; kills it after `graceMs`. Resolves when it is gone.
   * The caller has stopped sending requests and has its answers.
   */
  async drain({ graceMs }: { graceMs: number }): Promise<void> {
    if (this.#state.kind === "dead") return;
    this.#state = { kind: "draining" };
    this.#send({ kind: "drain" });
    const timer = this.#options.clock.after(graceMs, () => this.kill());
    await this.exited;
    timer.cancel();
  }

  /** SIGKILL to the whole group (I2). */
  kill(): void {
    killGroup(this.pid);
  }

  #environment({ service, revision, env }: InstanceSpec): Record<string, string> {
    const tmp = join(this.#dir, "tmp");
    return {
      PATH: runnerPath,
      HOME: tmp,
      ...env,
      TMPDIR: tmp,
      K_SERVICE: service,
      K_CONFIGURATION: service,
      K_REVISION: revision,
    };
  }

  #startFailure(late: boolean, deadlineMs: number): StartResult {
    if (late) {
      const message = `the function was not ready within ${deadlineMs / 1000} s`;
      return { ok: false, reason: "ProgressDeadlineExceeded", message };
    }
    const reason = this.#state.kind === "dead" ? this.#state.reason : "Stopped";
    const message = this.#failure?.stack ?? (this.#stderrTail.join("\n") || `the process ended: ${reason}`);
    return { ok: false, reason, message };
  }

  #watchProcess(): Promise<void> {
    const child = this.#child;
    child.on("message", (message) => this.#receive(fromRunnerSchema.parse(message)));
    if (child.stdout) this.#handOnLines(child.stdout, "stdout");
    if (child.stderr) this.#handOnLines(child.stderr, "stderr");
    return new Promise((resolve) => {
      // "exit" and not "close": something the function started may hold the pipes open.
      child.once("exit", (code, signal) => {
        killGroup(this.pid);
        this.#state = { kind: "dead", reason: code === null ? `Signal${signal}` : `ExitCode${code}` };
      });
      child.once("close", () => this.#finish(resolve));
      child.on("error", (error) => {
        if (this.pid !== 0) return;
        this.#state = { kind: "dead", reason: "SpawnFailed" };
        this.#stderrTail.push(error.message);
        this.#finish(resolve);
      });
    });
  }

  #finish(resolve: () => void): void {
    void rm(this.#dir, { recursive: true, force: true }).then(resolve, resolve);
  }

  #receive(message: FromRunner): void {
    switch (message.kind) {
      case "booted":
        this.#bootMs = this.#options.clock.monotonic() - this.#spawnedAt;
        this.#onBooted();
        break;
      case "ready":
        this.#onReady(message);
        break;
      case "failed":
        this.#failure = message;
        break;
      case "pending":
        this.pending = message.count;
        this.onPending();
        break;
      case "pong":
        this.#onPong();
        break;
    }
  }

  /** A process that is gone hears nothing; `exited` tells. */
  #send(message: object): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #handOnLines(pipe: Readable, stream: "stdout" | "stderr"): void {
    readLines(pipe, (line) => {
      if (stream === "stderr") {
        this.#stderrTail.push(line);
        if (this.#stderrTail.length > stderrLinesKept) this.#stderrTail.shift();
      }
      if (this.#spec === undefined) return;
      const { namespace, service, revision } = this.#spec;
      this.#options.onLine({ namespace, service, revision, instance: this.id, stream, line });
    });
  }
}

/** What a container would have, with the node that runs the function first. */
const runnerPath = [dirname(process.execPath), "/usr/local/bin", "/usr/bin", "/bin"].join(delimiter);

/** Kills what an earlier run, itself killed, left behind. Verified by start time: a pid may be someone else's by now. */
export async function endLeftover(dir: string): Promise<void> {
  const record = recordSchema.safeParse(await readJson(join(dir, recordFile)));
  if (record.success && (await identify(record.data.pid)) === record.data.identity)
    killGroup(record.data.pid);
  await rm(dir, { recursive: true, force: true });
}

const recordFile = "process.json";
const recordSchema = z.object({ pid: z.number().int().positive(), identity: z.string() });

async function recordProcess(dir: string, pid: number): Promise<void> {
  const identity = await identify(pid);
  if (identity === undefined) return;
  try {
    writeFileSync(join(dir, recordFile), JSON.stringify({ pid, identity }));
  } catch {
    // It ended, and its directory with it.
  }
}

/** Boot and start time of a process; undefined when there is none. */
async function identify(pid: number): Promise<string | undefined> {
  try {
    if (process.platform === "linux") {
      const [boot, stat] = await Promise.all([
        readFile("/proc/sys/kernel/random/boot_id", "utf8"),
        readFile(`/proc/${pid}/stat`, "utf8"),
      ]);
      // Field 22; the command in field 2 may itself hold spaces and brackets.
      return `${boot.trim()} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
    }
    const { stdout } = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)]);
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch {
    return undefined;
  }
}

function killGroup(pid: number): void {
  // 0 and 1 would mean our own group, or everything.
  if (pid <= 1) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody left.
  }
}
