/**
 * The whole mesh as a user runs it: `weft up` as a child process in a project folder of its own, on free ports.
 * Nothing here reaches into the product: what a test knows it read from HTTP, from files, from output or from
 * the process table.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import { natsBinary } from "./nats-binary.ts";
import { until } from "./until.ts";

const main = fileURLToPath(new URL("../../src/mesh/main.ts", import.meta.url));
const startDeadlineMs = 30_000;
const stopDeadlineMs = 20_000;

const endpointsSchema = z.object({ events: z.string(), control: z.string(), pid: z.int() });

const rejectedSchema = z.object({
  file: z.string(),
  line: z.int(),
  kind: z.string(),
  name: z.string(),
  message: z.string(),
});

const triggerSchema = z.object({
  namespace: z.string(),
  name: z.string(),
  ready: z.boolean(),
  reason: z.string(),
  pending: z.int(),
  inFlight: z.int(),
  delivered: z.int(),
  filtered: z.int(),
  retried: z.int(),
  dead: z.int(),
});
export type TriggerStatus = z.output<typeof triggerSchema>;

const statusSchema = z.object({
  version: z.string(),
  pid: z.int(),
  ready: z.boolean(),
  stale: z.boolean(),
  nats: z.object({ url: z.string(), version: z.string(), pid: z.int().nullable(), owned: z.boolean() }),
  brokers: z.array(
    z.object({
      namespace: z.string(),
      name: z.string(),
      events: z.int(),
      bytes: z.int(),
      unmatched: z.int(),
    }),
  ),
  triggers: z.array(triggerSchema),
  functions: z.array(
    z.object({
      namespace: z.string(),
      name: z.string(),
      instances: z.array(z.object({ pid: z.int(), state: z.string() })),
    }),
  ),
  rejected: z.array(rejectedSchema),
  /** None when one process does all. */
  workers: z.array(z.object({ pid: z.int(), ready: z.boolean(), connections: z.int() })).default([]),
});
export type MeshStatus = z.output<typeof statusSchema>;

const attemptSchema = z.object({
  at: z.string(),
  ms: z.number(),
  status: z.int().nullable(),
  error: z.string().nullable(),
  body: z.string(),
});

const letterSchema = z.object({
  id: z.string(),
  namespace: z.string(),
  broker: z.string(),
  trigger: z.string(),
  reason: z.string(),
  at: z.string(),
  event: z.looseObject({ id: z.string(), type: z.string(), source: z.string() }),
  attempts: z.array(attemptSchema),
  sinkAttempts: z.array(attemptSchema),
});
export type DeadLetterShown = z.output<typeof letterSchema>;

const pageSchema = z.object({ items: z.array(letterSchema), continue: z.string().optional() });

const appliedSchema = z.object({
  applied: z.array(
    z.object({ kind: z.string(), namespace: z.string(), name: z.string(), result: z.string() }),
  ),
  rejected: z.array(rejectedSchema),
});

/** What a producer was told. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** What a finished command left behind. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Post {
  /** `/<namespace>/<broker>`; the default broker when absent. */
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
}

export interface MeshSetup {
  /** Text by file name, below `knative/` and `functions/` of the project. */
  readonly manifests?: Readonly<Record<string, string>>;
  readonly functions?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  /** One process of a shared mesh (`weft serve`) instead of a whole one. */
  readonly serve?: Part;
}

export interface Part {
  /** Address of the NATS server or cluster. */
  readonly natsUrl: string;
  /** Comma-separated; all when absent. */
  readonly roles?: string;
}

/** Starts a mesh; resolves when it is ready. Whoever starts it closes it. */
export async function startTestMesh(setup: MeshSetup = {}): Promise<TestMesh> {
  const dir = await mkdtemp(join(tmpdir(), "weft-flow-"));
  const mesh = new TestMesh(dir, setup);
  try {
    await mkdir(join(dir, "knative"));
    await mkdir(join(dir, "functions"));
    for (const [name, text] of Object.entries(setup.manifests ?? {})) await mesh.writeManifest(name, text);
    for (const [name, text] of Object.entries(setup.functions ?? {})) await mesh.writeFunction(name, text);
    await mesh.start();
    return mesh;
  } catch (error) {
    await mesh.close();
    throw error;
  }
}

export class TestMesh {
  /** The project folder; `weft` runs in it with all folders at their defaults. */
  readonly dir: string;
  readonly #flags: readonly string[];
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;
  #output = "";
  #eventsUrl = "";
  #controlUrl = "";
  /** Everything every run started, so that nothing outlives the test. */
  readonly #started = new Set<number>();

  constructor(dir: string, { flags = [], serve }: Pick<MeshSetup, "flags" | "serve">) {
    this.dir = dir;
    this.#flags = flags;
    this.#command = serve === undefined ? ["up"] : serveCommand(serve);
  }

  get eventsUrl(): string {
    return this.#eventsUrl;
  }

  get controlUrl(): string {
    return this.#controlUrl;
  }

  get dataDir(): string {
    return join(this.dir, ".weft");
  }

  /** Of the `weft up` process. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("the mesh does not run");
    return pid;
  }

  /** Everything `weft up` printed, of all runs. */
  get output(): string {
    return this.#output;
  }

  /** With the token: for a NATS client of the same user. */
  async natsUrl(): Promise<string> {
    return (await readFile(join(this.dataDir, "nats.url"), "utf8")).trim();
  }

  /** Starts it, on the ports of the first run; resolves when it is ready. */
  async start(): Promise<void> {
    await this.begin();
    const state = await until(() => this.#look(), { deadlineMs: startDeadlineMs, what: "the mesh is ready" });
    if (state === "ended") throw new Error(`weft up ended with ${this.#child?.exitCode}:\n${this.#output}`);
    this.#started.add(this.pid);
    for (const pid of await this.descendants()) this.#started.add(pid);
  }

  /** Starts it and does not wait. */
  async begin(): Promise<void> {
    await rm(join(this.dataDir, "mesh.json"), { force: true });
    const { port } = URL.parse(this.#eventsUrl) ?? { port: "0" };
    const control = URL.parse(this.#controlUrl) ?? { port: "0" };
    const ports = ["--port", port, "--control-port", control.port];
    const args = [...this.#command, ...ports, "--warm-pool", "1", ...this.#flags];
    const child = spawn(process.execPath, [main, ...args], {
      cwd: this.dir,
      env: cleanEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    const read = (chunk: Buffer) => {
      this.#output += chunk.toString("utf8");
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
  }

  /** Ctrl-C. Resolves to the exit code once the process has ended. */
  async stop(): Promise<number | null> {
    await this.#noteProcesses();
    return this.#end("SIGINT");
  }

  /** kill -9 of `weft up` itself. */
  async kill9(): Promise<void> {
    await this.#noteProcesses();
    await this.#end("SIGKILL");
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Pids of everything `weft up` runs, itself not included. */
  async descendants(): Promise<number[]> {
    const children = Map.groupBy(await processes(), ({ parent }) => parent);
    const found: number[] = [];
    const visit = (pid: number) => {
      for (const child of children.get(pid) ?? []) {
        found.push(child.pid);
        visit(child.pid);
      }
    };
    visit(this.pid);
    return found;
  }

  /** Stops it if it runs, kills what is left, and removes the project folder. */
  async close(): Promise<void> {
    if (this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null) {
      await this.stop();
    }
    const alive = new Set((await processes()).map(({ pid }) => pid));
    for (const pid of this.#started) if (alive.has(pid)) kill(pid);
    await rm(this.dir, { recursive: true, force: true });
  }

  async status(): Promise<MeshStatus> {
    return statusSchema.parse(await this.#json("/weft/v1/status"));
  }

  /** What the status says of a trigger; rejects when it does not know it. */
  async trigger(name: string, namespace = "default"): Promise<TriggerStatus> {
    const { triggers, stale } = await this.status();
    if (stale) throw new Error("the figures are old: NATS does not answer");
    const found = triggers.find((each) => each.name === name && each.namespace === namespace);
    if (found === undefined) throw new Error(`no trigger ${namespace}/${name}`);
    return found;
  }

  /** Pids of the instances of a function. */
  async instances(name: string): Promise<number[]> {
    const { functions } = await this.status();
    return functions.find((each) => each.name === name)?.instances.map(({ pid }) => pid) ?? [];
  }

  /** All dead letters that match, page by page. */
  async deadLetters(query: Readonly<Record<string, string>> = {}): Promise<DeadLetterShown[]> {
    const letters: DeadLetterShown[] = [];
    let next: string | undefined;
    do {
      const search = new URLSearchParams(next === undefined ? query : { ...query, continue: next });
      const page = pageSchema.parse(await this.#json(`/weft/v1/dead-letters?${search}`));
      letters.push(...page.items);
      next = page.continue;
    } while (next !== undefined);
    return letters;
  }

  /** Waits for the one dead letter of a trigger. */
  async deadLetter(trigger: string): Promise<DeadLetterShown> {
    const letters = await until(
      async () => {
        const found = await this.deadLetters({ trigger });
        return found.length > 0 && found;
      },
      { what: `a dead letter of ${trigger}` },
    );
    if (letters.length !== 1 || letters[0] === undefined) {
      throw new Error(
        `${letters.length} dead letters of ${trigger}: ${letters.map(({ event }) => event.id)}`,
      );
    }
    return letters[0];
  }

  /** Applies objects as a user would with `weft apply`; what is refused is an error. */
  async apply(...objects: readonly Readonly<Record<string, unknown>>[]): Promise<void> {
    const { rejected } = await this.applyText(
      objects.map((object) => JSON.stringify(object)).join("\n---\n"),
    );
    if (rejected.length > 0) throw new Error(`refused: ${JSON.stringify(rejected)}`);
  }

  async applyText(yaml: string): Promise<z.output<typeof appliedSchema>> {
    return appliedSchema.parse(await this.#json("/weft/v1/apply", { method: "POST", body: yaml }));
  }

  /** Applies brokers and triggers and waits until the triggers are ready. */
  async serve(...objects: readonly Manifest[]): Promise<void> {
    await this.apply(...objects);
    const names = objects.filter(({ kind }) => kind === "Trigger").map(({ metadata }) => metadata.name);
    await until(
      async () => {
        const { triggers, brokers } = await this.status();
        return (
          names.every((name) => triggers.some((trigger) => trigger.name === name && trigger.ready)) &&
          objects
            .filter(({ kind }) => kind === "Broker")
            .every(({ metadata }) => brokers.some(({ name }) => name === metadata.name))
        );
      },
      { what: `ready: ${names.join(", ")}` },
    );
  }

  /** The stored objects of a kind, by name. */
  async objects(kind: string): Promise<Map<string, z.output<typeof objectSchema>>> {
    const { items } = z
      .object({ items: z.array(objectSchema) })
      .parse(await this.#json(`/weft/v1/objects/${kind}`));
    return new Map(items.map((item) => [item.metadata.name, item]));
  }

  async redrive(id: string): Promise<void> {
    await this.#json(`/weft/v1/dead-letters/${id}/redrive`, { method: "POST" });
  }

  writeManifest(name: string, text: string): Promise<void> {
    return writeFile(join(this.dir, "knative", name), text);
  }

  removeManifest(name: string): Promise<void> {
    return rm(join(this.dir, "knative", name));
  }

  writeFunction(name: string, text: string): Promise<void> {
    return writeFile(join(this.dir, "functions", name), text);
  }

  /** One request to the events port; rejects when no answer came. */
  async post({ path = "/default/default", method = "POST", headers, body }: Post): Promise<Answer> {
    const response = await fetch(this.#eventsUrl + path, {
      method,
      headers: { ...headers },
      ...(body === undefined ? {} : { body }),
    });
    return { status: response.status, headers: response.headers, body: await response.text() };
  }

  /** A `weft` command in the project folder. */
  weft(...args: readonly string[]): Promise<Finished> {
    return runWeft(args, this.dir);
  }

  async #look(): Promise<"ready" | "ended" | false> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return "ended";
    const recorded = JSON.parse(await readFile(join(this.dataDir, "mesh.json"), "utf8"));
    const { events, control, pid } = endpointsSchema.parse(recorded);
    if (pid !== child.pid) return false;
    this.#eventsUrl = events;
    this.#controlUrl = control;
    return (await fetch(`${control}/readyz`)).status === 200 && "ready";
  }

  async #json(path: string, init: RequestInit = {}): Promise<unknown> {
    const response = await fetch(this.#controlUrl + path, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} answered ${response.status} ${text}`);
    return JSON.parse(text);
  }

  async #noteProcesses(): Promise<void> {
    for (const pid of await this.descendants()) this.#started.add(pid);
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
    child.kill(signal);
    const late = AbortSignal.timeout(stopDeadlineMs);
    late.addEventListener("abort", () => child.kill("SIGKILL"));
    await ended;
    this.#child = undefined;
    if (late.aborted) throw new Error(`no end within ${stopDeadlineMs} ms of ${signal}:\n${this.#output}`);
    return child.exitCode;
  }
}

function serveCommand({ natsUrl, roles }: Part): string[] {
  return ["serve", "--nats-url", natsUrl, ...(roles === undefined ? [] : ["--roles", roles])];
}

const objectSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string() }),
  status: z
    .looseObject({
      conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).optional(),
    })
    .optional(),
});

export interface Manifest extends Readonly<Record<string, unknown>> {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
}

export function brokerManifest(
  name: string,
  { spec = {}, annotations = {} }: { spec?: object; annotations?: Readonly<Record<string, string>> } = {},
): Manifest {
  return { apiVersion: "eventing.knative.dev/v1", kind: "Broker", metadata: { name, annotations }, spec };
}

export interface TriggerSetup {
  readonly broker?: string;
  /** The event type it wants; everything when absent. */
  readonly type?: string;
  readonly filters?: readonly object[];
  /** A URL, or the name of a function. */
  readonly to: string;
  readonly delivery?: object;
  readonly annotations?: Readonly<Record<string, string>>;
}

export function triggerManifest(name: string, setup: TriggerSetup): Manifest {
  const { broker = "default", type, to, delivery, annotations = {} } = setup;
  const filters = setup.filters ?? (type === undefined ? undefined : [{ exact: { type } }]);
  return {
    apiVersion: "eventing.knative.dev/v1",
    kind: "Trigger",
    metadata: { name, annotations },
    spec: {
      broker,
      ...(filters === undefined ? {} : { filters }),
      subscriber: to.includes(":") ? { uri: to } : serviceRef(to),
      ...(delivery === undefined ? {} : { delivery }),
    },
  };
}

export function serviceRef(name: string): object {
  return { ref: { apiVersion: "serving.knative.dev/v1", kind: "Service", name } };
}

/** A `weft` command; resolves whatever its exit code is. */
export async function runWeft(args: readonly string[], cwd: string): Promise<Finished> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...args], {
      cwd,
      env: cleanEnvironment(),
      timeout: startDeadlineMs,
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failed = z.object({ code: z.int(), stdout: z.string(), stderr: z.string() }).safeParse(error);
    if (!failed.success) throw error;
    return failed.data;
  }
}

/** Whether any of these processes still runs (one that only waits to be reaped does not). */
export async function stillRunning(pids: readonly number[]): Promise<number[]> {
  const alive = new Set((await processes()).map(({ pid }) => pid));
  return pids.filter((pid) => alive.has(pid));
}

async function processes(): Promise<{ pid: number; parent: number }[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,stat="]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , state]) => !state?.startsWith("Z"))
    .map(([pid, parent]) => ({ pid: Number(pid), parent: Number(parent) }));
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}

/** The machine's environment without what would steer weft, with the NATS server of this test run first. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:WEFT_|NATS_|NODE_OPTIONS$|VITEST)/.test(name),
  );
  const path = [dirname(natsBinary()), process.env.PATH ?? ""].join(delimiter);
  return { ...Object.fromEntries(kept), PATH: path };
}
