/** Starts and ends holder processes (holder.ts) and asks the system about processes. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Held {
  readonly pid: number;
  readonly held?: boolean;
  readonly url?: string;
  readonly serverPid?: number;
  readonly refused?: string;
  readonly message?: string;
}

const children: ChildProcess[] = [];

/** Starts a holder and resolves with its first line. */
export async function hold(what: "dir" | "server", dataDir: string, path = ""): Promise<Held> {
  const script = fileURLToPath(new URL("./holder.ts", import.meta.url));
  const child = spawn(process.execPath, [script, what, dataDir, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line);
  throw new Error(`the holder said nothing (exit ${child.exitCode})`);
}

/** Kills every holder of this test file. */
export function endHolders(): void {
  for (const child of children.splice(0)) child.kill("SIGKILL");
}

/** Whether the process runs; a zombie does not. */
export function isRunning(pid: number): boolean {
  return column(pid, "state").match(/^[^ZX]/) !== null;
}

export function processGroup(pid: number): string {
  return column(pid, "pgid");
}

/** The pids of a process group, without zombies. */
export function membersOf(group: string): number[] {
  const lines = execFileSync("ps", ["-A", "-o", "pgid=,pid=,state="], { encoding: "utf8" })
    .trim()
    .split("\n");
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([pgid, , state]) => pgid === group && state !== "Z")
    .map(([, pid]) => Number(pid));
}

function column(pid: number, name: string): string {
  try {
    return execFileSync("ps", ["-o", `${name}=`, "-p", String(pid)], { encoding: "utf8" }).trim();
  } catch {
    return "";
  }
}
