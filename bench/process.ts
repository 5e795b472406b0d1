/** Processes of a run: started, measured (CPU, memory) from outside, ended by pid. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Linux counts CPU time in these. */
const ticksPerSecond = 100;

export interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts `node FILE ARGUMENTS…`; the file is one of this folder's. */
export function startNode(
  file: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): Started {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [path, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: environment,
  });
  return started(child);
}

function started(child: ChildProcess): Started {
  if (child.pid === undefined) throw new Error("the process did not start");
  return {
    child,
    pid: child.pid,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const kill = setTimeout(() => child.kill("SIGKILL"), 15_000);
      await ended;
      clearTimeout(kill);
    },
  };
}

/** The first line a process prints, as JSON. */
export async function firstJson<T>({ child }: Started): Promise<T> {
  if (child.stdout === null) throw new Error("no stdout");
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    if (line.startsWith("{")) return JSON.parse(line) as T;
  }
  throw new Error("the process ended before it said anything");
}

/** Runs to the end; its last line of JSON. */
export async function runJson<T>(file: string, argument: unknown): Promise<T> {
  const process_ = startNode(file, [JSON.stringify(argument)]);
  return firstJson<T>(process_);
}

export interface Usage {
  readonly cpuMs: number;
  readonly peakMb: number;
}

/** CPU time spent so far and the most memory held, of one process (Linux). */
export function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return { cpuMs: (ticks / ticksPerSecond) * 1000, peakMb: Math.round(Number(peak ?? 0) / 1024) };
}

/** Runs one of this folder's files to its end, its output shown as it comes. */
export async function runShown(file: string): Promise<void> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  await once(spawn(process.execPath, [path], { stdio: "inherit" }), "exit");
}
