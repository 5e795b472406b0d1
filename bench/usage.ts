/** CPU time and memory of processes, measured from outside (Linux). */
import { readdirSync, readFileSync } from "node:fs";

export interface Usage {
  /** Spent so far. */
  readonly cpuMs: number;
  /** The most memory it ever held. */
  readonly peakMb: number;
  /** The memory it holds. */
  readonly residentMb: number;
}

/** Of one of several processes that do something together. */
export interface RoleUsage extends Usage {
  readonly role: string;
  readonly pid: number;
}

/** Of one process, all its threads. */
export function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const megabytes = (name: string) =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) / 1024);
  // Threads of these processes live as long as they do, so that the sum never falls.
  const threads = readdirSync(`/proc/${pid}/task`);
  return {
    cpuMs: threads.reduce((sum, thread) => sum + threadCpuMs(pid, thread), 0),
    peakMb: megabytes("VmHWM"),
    residentMb: megabytes("VmRSS"),
  };
}

/** CPU time that the thread which runs JavaScript has spent so far. */
export function mainThreadCpuMs(pid: number): number {
  return threadCpuMs(pid, String(pid));
}

/** To the nanosecond, where the usual account has ticks of 10 ms. */
function threadCpuMs(pid: number, thread: string): number {
  const [ns] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
  return Number(ns) / 1e6;
}

export interface Child {
  readonly pid: number;
  readonly command: string;
}

/** The processes that this one has started. */
export function childrenOf(pid: number): Child[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  const pids = text.split(" ").filter(Boolean).map(Number);
  return pids.map((child) => ({ pid: child, command: readFileSync(`/proc/${child}/cmdline`, "utf8") }));
}

export function sumOf(usages: readonly Usage[]): Usage {
  const of = (name: keyof Usage) => usages.reduce((total, usage) => total + usage[name], 0);
  return { cpuMs: of("cpuMs"), peakMb: of("peakMb"), residentMb: of("residentMb") };
}

/** What each process did between two looks; one that was not there at the first began with nothing. */
export function between(before: readonly RoleUsage[], after: readonly RoleUsage[]): RoleUsage[] {
  const earlier = new Map(before.map(({ pid, cpuMs }) => [pid, cpuMs]));
  return after.map((usage) => ({ ...usage, cpuMs: usage.cpuMs - (earlier.get(usage.pid) ?? 0) }));
}
