/** What is measured: weft in its production shape, started here, or any broker named by a URL. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { type BenchNats, startBenchNats } from "./nats.ts";
import { outputOf, type Started, startNode } from "./process.ts";
import { childrenOf, type RoleUsage, usageOf } from "./usage.ts";

export interface Target {
  /** Where events go in. */
  readonly url: string;
  /** Triggers as YAML documents; a foreign target has its own. */
  apply(yaml: string): Promise<void>;
  /** Of each of its processes; undefined for a foreign target. */
  usage(): readonly RoleUsage[] | undefined;
  stop(): Promise<void>;
}

export interface Weft extends Target {
  /** With the token. */
  readonly natsUrl: string;
  readonly natsPid: number;
  /** The first one takes the events in. */
  readonly processes: readonly Started[];
  usage(): readonly RoleUsage[];
  status(): Promise<Status>;
}

export interface WeftSetup {
  /** That many processes only dispatch, beside one for the rest, on one NATS; absent: one process does all. */
  readonly dispatchers?: number | undefined;
  /** Text by file name. */
  readonly functions?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  /** For Node.js itself. */
  readonly nodeFlags?: readonly string[];
  /** Called with what the first process writes to stderr; otherwise it is shown. */
  readonly onLog?: (text: string) => void;
}

const statusSchema = z.object({
  nats: z.object({ pid: z.number().nullable() }),
  triggers: z.array(z.object({ ready: z.boolean() })),
  functions: z.array(z.object({ name: z.string(), instances: z.array(z.unknown()) })),
});
export type Status = z.output<typeof statusSchema>;

/** The role of the NATS server among the processes, and of those that wait to become functions. */
export const natsRole = "nats";
export const poolRole = "pool";

const endpointsSchema = z.object({ events: z.string(), control: z.string() });
const readyMs = 60_000;

/** The checkout whose weft is measured: this one, unless `compare.ts` names another. */
const checkout = process.env.WEFT_BENCH_CHECKOUT ?? fileURLToPath(new URL("..", import.meta.url));
const main = join(checkout, "src/weft.js");

/** Whether the weft that is measured has this flag. */
export async function knowsFlag(flag: string): Promise<boolean> {
  return (await outputOf(main, ["up", "--help"])).includes(`${flag} `);
}

export async function startWeft(setup: WeftSetup = {}): Promise<Weft> {
  const dir = await mkdtemp(join(tmpdir(), "weft-bench-"));
  const nats = setup.dispatchers === undefined ? undefined : await startBenchNats();
  const processes: Started[] = [];
  const stop = async () => {
    await Promise.all(processes.map((each) => each.stop()));
    await nats?.stop();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    return await startIn(dir, { setup, nats, processes, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Starting {
  readonly setup: WeftSetup;
  readonly nats: BenchNats | undefined;
  /** Filled here. */
  readonly processes: Started[];
  readonly stop: () => Promise<void>;
}

async function startIn(dir: string, { setup, nats, processes, stop }: Starting): Promise<Weft> {
  const functions = join(dir, "functions");
  await mkdir(functions);
  for (const [name, text] of Object.entries(setup.functions ?? {})) {
    await writeFile(join(functions, name), text);
  }
  const roles = ["ingress,control", ...Array.from({ length: setup.dispatchers ?? 0 }, () => "dispatch")];
  for (const [i, role] of roles.entries()) {
    const dataDir = join(dir, `data-${i}`);
    const onLog = i === 0 ? setup.onLog : undefined;
    const weft = startNode(
      main,
      [
        ...(nats === undefined ? ["up"] : ["serve", "--nats-url", nats.url, "--roles", role]),
        ...["--port", "0", "--control-port", "0", "--log-level", onLog === undefined ? "error" : "info"],
        ...["--data-dir", dataDir, "--manifests", join(dir, "manifests"), "--functions", functions],
        ...(setup.flags ?? []),
      ],
      { nodeFlags: setup.nodeFlags, stderr: onLog === undefined ? "inherit" : "pipe" },
    );
    processes.push(weft);
    // What it prints is read and dropped: a full pipe would stop it.
    weft.child.stdout?.resume();
    weft.child.stderr?.setEncoding("utf8").on("data", (text: string) => onLog?.(text));
  }
  const [first] = await Promise.all(processes.map((_, i) => endpointsOf(join(dir, `data-${i}`))));
  if (first === undefined) throw new Error("no process was started");
  const { events, control } = first;
  const status = async () => statusSchema.parse(await (await fetch(`${control}/weft/v1/status`)).json());
  const natsPid = nats?.pid ?? (await poll(async () => (await status()).nats.pid));
  return {
    url: `${events}/default/default`,
    natsUrl: nats?.url ?? (await readFile(join(dir, "data-0", "nats.url"), "utf8")).trim(),
    natsPid,
    processes,
    status,
    async apply(yaml) {
      const response = await fetch(`${control}/weft/v1/apply`, { method: "POST", body: yaml });
      const { rejected } = (await response.json()) as { rejected: { message: string }[] };
      if (rejected[0] !== undefined) throw new Error(rejected[0].message);
      await poll(async () => {
        const { triggers } = await status();
        return triggers.every(({ ready }) => ready) || undefined;
      });
    },
    usage: () => [
      ...processes.flatMap(({ pid }, i) => familyOf(pid, nats === undefined ? "weft" : (roles[i] ?? "weft"))),
      { role: natsRole, pid: natsPid, ...usageOf(natsPid) },
    ],
    stop,
  };
}

async function endpointsOf(dataDir: string): Promise<z.output<typeof endpointsSchema>> {
  return poll(async () =>
    endpointsSchema.parse(JSON.parse(await readFile(join(dataDir, "mesh.json"), "utf8"))),
  );
}

/** What the processes that wait to become functions have in their command line. */
const runner = "/sdk/server.";

/** A process of weft with those that it has started of its own code. */
function familyOf(pid: number, role: string): RoleUsage[] {
  const own = childrenOf(pid).filter(({ command }) => command.startsWith(process.execPath));
  return [
    { role, pid, ...usageOf(pid) },
    ...own.map((child) => ({
      role: child.command.includes(runner) ? poolRole : `${role} worker`,
      pid: child.pid,
      ...usageOf(child.pid),
    })),
  ];
}

/** A broker that somebody else started; its triggers point at the sink's port already. */
export function foreignTarget(url: string): Target {
  return { url, apply: async () => {}, usage: () => undefined, stop: async () => {} };
}

/** Repeats the attempt until it gives something. */
export async function poll<T>(attempt: () => Promise<T | undefined | null>): Promise<NonNullable<T>> {
  const end = Date.now() + readyMs;
  for (;;) {
    const value = await attempt().catch(() => undefined);
    if (value !== undefined && value !== null) return value;
    if (Date.now() > end) throw new Error("the target did not become ready");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
