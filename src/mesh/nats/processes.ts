/**
 * WHO a pid is: pids are reused, so a process is told apart by its pid together with the moment it started.
 * Linux answers from /proc, other systems through `ps`. A zombie counts as ended.
 */
import { readFile } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import { run } from "./spawn.ts";

const PS_TIMEOUT_MS = 5000;
const POLL_MS = 5;

/** When the process started, in a form only fit for comparison; undefined when no such process runs. */
export async function startedAt(pid: number, clock: Clock): Promise<string | undefined> {
  if (process.platform !== "linux") return ps(pid, "lstart=", clock);
  const stat = await readProc(pid, "stat");
  // The command name, in parentheses, may hold spaces and parentheses itself: count from the last one.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, started] = [fields?.[0], fields?.[19]];
  if (state === undefined || started === undefined || state === "Z" || state === "X") return undefined;
  // Ticks since boot: only together with the boot do they name a moment.
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return `${boot.trim()}:${started}`;
}

/** The arguments the process was started with, joined by spaces; undefined when no such process runs. */
export async function commandLine(pid: number, clock: Clock): Promise<string | undefined> {
  if (process.platform !== "linux") return ps(pid, "command=", clock);
  return (await readProc(pid, "cmdline"))?.replaceAll("\0", " ").trim();
}

/** False when the process is gone already. */
export function signal(pid: number, name: "SIGTERM" | "SIGKILL"): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

/** Resolves to whether the process ended within `timeoutMs`. */
export async function endsWithin(pid: number, timeoutMs: number, clock: Clock): Promise<boolean> {
  const deadline = clock.monotonic() + timeoutMs;
  while ((await startedAt(pid, clock)) !== undefined) {
    if (clock.monotonic() >= deadline) return false;
    await clock.sleep(POLL_MS);
  }
  return true;
}

async function readProc(pid: number, file: string): Promise<string | undefined> {
  return readFile(`/proc/${pid}/${file}`, "utf8").catch(() => undefined);
}

async function ps(pid: number, column: string, clock: Clock): Promise<string | undefined> {
  // ps prints local time in the local language, and a laptop may travel.
  const args = ["LC_ALL=C", "TZ=UTC", "ps", "-o", "state=", "-o", column, "-p", String(pid)];
  const { output, failure } = await run("/usr/bin/env", args, { clock, timeoutMs: PS_TIMEOUT_MS });
  const match = /^(\S+)\s+(.*)$/s.exec(output.trim());
  if (failure !== undefined || match === null || match[1]?.startsWith("Z")) return undefined;
  return match[2];
}
