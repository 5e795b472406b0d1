/** Processes of a run: started, and ended by pid. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Figure } from "./figure.ts";

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

const stopMs = 15_000;

/** Starts `node FILE ARGUMENTS…`; a relative file is one of this folder's. */
export function startNode(
  file: string,
  args: readonly string[],
  { nodeFlags = [], stderr = "inherit" }: StartOptions = {},
): Started {
  const child = spawn(process.execPath, [...nodeFlags, pathOf(file), ...args], {
    stdio: ["ignore", "pipe", stderr],
  });
  return started(child);
}

function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
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
      const kill = setTimeout(() => child.kill("SIGKILL"), stopMs);
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

/** What `node FILE ARGUMENTS…` prints before it ends. */
export async function outputOf(file: string, args: readonly string[]): Promise<string> {
  const { child } = startNode(file, args);
  let text = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await once(child, "close");
  return text;
}

/** Runs one of this folder's files to its end, its output shown as it comes; the figures it reports. */
export async function runShown(file: string, args: readonly string[]): Promise<Figure[]> {
  const child = spawn(process.execPath, [pathOf(file), ...args], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  started(child);
  const figures: Figure[] = [];
  child.on("message", (message) => figures.push(...(message as Figure[])));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${file} failed`);
  return figures;
}
