/**
 * The only place of this folder that starts processes.
 *
 * P1  `run` ends within `timeoutMs` whatever the program does, and keeps at most OUTPUT_BYTES_MAX of its text.
 * P2  a guarded server cannot outlive weft: a shell holds the read end of a pipe whose write end is weft's, and
 *     ends the server when it reads the end of it, so even kill -9 of weft stops the server.
 * P3  guard and server sit in a session of their own: Ctrl-C in the terminal reaches weft alone, which then
 *     stops things in order.
 * P4  a server that wakes up takes no core from who is at work (SCHED_BATCH, sched(7)), where the system lets it be
 *     said: it finds more to do at once then, and who fed it is not held up. With idle cores it makes no difference.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { background } from "../lifecycle.ts";

const OUTPUT_BYTES_MAX = 64 * 1024;

/** How long a server may take over TERM once weft is gone, before the guard kills it. */
const ORPHAN_STOP_S = 10;

/** How long the last words of a server may take after its guard ended. */
const LAST_WORDS_MS = 200;

export interface RunOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly cwd?: string;
  /** Kills the program early. */
  readonly signal?: AbortSignal | undefined;
}

/** What a finished program said; `failure` is undefined when it succeeded. */
export interface RunResult {
  readonly output: string;
  readonly failure: string | undefined;
}

/** Runs a program to its end, standard input closed. Never rejects. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const output = new Tail();
    output.read(child.stdout);
    output.read(child.stderr);
    let killed: string | undefined;
    const kill = (why: string) => {
      killed = why;
      killGroup(child);
    };
    const onAbort = () => kill("stopped");
    const deadline = options.clock.after(options.timeoutMs, () =>
      kill(`no end within ${options.timeoutMs / 1000} s`),
    );
    const finish = (failure: string | undefined) => {
      deadline.cancel();
      options.signal?.removeEventListener("abort", onAbort);
      resolve({ output: output.text(), failure });
    };
    child.once("error", (error) => finish(messageOf(error)));
    // A killed program's own children may keep its output open, so its end must do then.
    child.once("exit", () => {
      if (killed !== undefined) finish(killed);
    });
    child.once("close", (code, signal) => {
      finish(code === 0 ? undefined : `${output.lastLine() || "no output"} (exit ${code ?? signal})`);
    });
    if (options.signal?.aborted) onAbort();
    else options.signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Programs such as pip start children of their own; all of them are in the group. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

/**
 * $1 is the server, $2 its configuration file. Standard input is the pipe of P2; the server's pid is the first
 * line of standard output. Waits for the server and passes its exit code on.
 */
const GUARD = `
exec 3<&0
batch=
chrt -b 0 true </dev/null >/dev/null 2>&1 && batch="chrt -b 0"
$batch "$1" -c "$2" </dev/null >/dev/null 3<&- &
server=$!
echo "$server"
(
  read -r end <&3
  kill -TERM "$server"
  left=${ORPHAN_STOP_S}
  while [ "$left" -gt 0 ] && kill -0 "$server"; do sleep 1; left=$((left - 1)); done
  kill -KILL "$server"
) >/dev/null 2>&1 &
watch=$!
wait "$server"
code=$?
kill "$watch"
exit "$code"
`;

/** One running server under its guard. */
export interface GuardedServer {
  /** The server's own pid, not the guard's. */
  readonly pid: number;
  /** Resolves with the reason once the server has ended, or once its guard was lost. */
  readonly ended: Promise<string>;
}

/** Starts `binary -c configPath` under a guard; rejects when not even the guard could be started. */
export function spawnGuarded(binary: string, configPath: string, clock: Clock): Promise<GuardedServer> {
  return new Promise((resolve, reject) => {
    const guard = spawn("/bin/sh", ["-c", GUARD, "weft-nats-guard", binary, configPath], {
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    const errors = new Tail();
    errors.read(guard.stderr);
    guard.stdin.on("error", () => {});
    const ended = new Promise<string>((end) => {
      guard.once("exit", (code, signal) => {
        const finish = () => end(errors.lastLine() || `exit ${code ?? signal}`);
        // Not "close" alone: a server whose guard was killed keeps the pipe open.
        const timer = clock.after(LAST_WORDS_MS, finish);
        guard.once("close", () => {
          timer.cancel();
          finish();
        });
      });
    });
    guard.once("error", reject);
    background(
      ended.then((reason) => reject(new Error(reason))),
      reject,
    );
    let line = "";
    guard.stdout.on("data", (chunk: Buffer) => {
      line += chunk.toString("latin1");
      const pid = /^(\d+)\n/.exec(line)?.[1];
      if (pid !== undefined) resolve({ pid: Number(pid), ended });
    });
  });
}

/** The last part of what a program wrote. */
class Tail {
  #text = "";

  read(stream: NodeJS.ReadableStream): void {
    stream.on("data", (chunk: Buffer) => {
      this.#text = (this.#text + chunk.toString("utf8")).slice(-OUTPUT_BYTES_MAX);
    });
    stream.on("error", () => {});
  }

  text(): string {
    return this.#text;
  }

  lastLine(): string {
    return this.#text.trim().split("\n").at(-1)?.trim() ?? "";
  }
}
