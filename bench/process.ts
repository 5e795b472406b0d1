/** Processes of a run: started, measured (CPU, memory) from outside, ended by pid. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Figure } from "./figure.ts";

/** Linux counts CPU time in these. */
const ticksPerSecond = 100;

export interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface StartOptions {
  /** For Node.js itself. */
  readonly nodeFlags?: readonly string[] | undefined;
  readonly stderr?: "inherit" | "pipe";
}

/** Starts `node FILE ARGUMENTS…`; a relative file is one of this folder's. */
export function startNode(
  file: string,
  args: readonly string[],
  { nodeFlags = [], stderr = "inherit" }: StartOptions = {},
): Started {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [...nodeFlags, path, ...args], {
    stdio: ["ignore", "pipe", stderr],
  });
  return started(child);
}

/** Whoever is interrupted takes along what it has started. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGTERM");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));

function started(child: ChildProcess): Started {
  if (child.pid === undefined) throw new Error("the process did not start");
  running.add(child);
  child.once("exit", () => running.delete(child));
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
  /** Spent so far. */
  readonly cpuMs: number;
  /** The most memory it ever held. */
  readonly peakMb: number;
  /** The memory it holds. */
  readonly residentMb: number;
}

/** Of one process, all its threads (Linux). */
export function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const megabytes = (name: string) =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) / 1024);
  return {
    cpuMs: cpuMsOf(`/proc/${pid}/stat`),
    peakMb: megabytes("VmHWM"),
    residentMb: megabytes("VmRSS"),
  };
}

/** CPU time that the thread which runs JavaScript has spent so far. */
export function mainThreadCpuMs(pid: number): number {
  return cpuMsOf(`/proc/${pid}/task/${pid}/stat`);
}

function cpuMsOf(statFile: string): number {
  const stat = readFileSync(statFile, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  return (ticks / ticksPerSecond) * 1000;
}

/** The processes that this one has started, by what their command line contains. */
export function childrenOf(pid: number, command: string): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  const pids = text.split(" ").filter(Boolean).map(Number);
  return pids.filter((child) => readFileSync(`/proc/${child}/cmdline`, "utf8").includes(command));
}

/** Runs one of this folder's files to its end, its output shown as it comes; the figures it reports. */
export async function runShown(file: string): Promise<Figure[]> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [path], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const figures: Figure[] = [];
  child.on("message", (message) => figures.push(...(message as Figure[])));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${file} failed`);
  return figures;
}
