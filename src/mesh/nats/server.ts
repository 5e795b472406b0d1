/**
 * The embedded NATS server: started, kept running, stopped.
 *
 *     starting ──ready──▶ running ──dies──▶ (back-off) ──▶ starting on the same port …   until close()
 *
 * S1  it listens on loopback only and wants a random token; address and token are in `nats.url` (0600) alone.
 * S2  the port is chosen by the server at the first start and kept for as long as this object lives, so clients
 *     simply reconnect.
 * S3  never two servers on one store: a server that an earlier weft left behind is ended first (the server
 *     writes its pid before it opens the store), the data directory is locked by the caller, and a restart
 *     happens only when the last one is gone.
 * S4  it does not outlive weft (spawn.ts P2).
 */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { connectNats } from "./connection.ts";
import type { DataDir } from "./data-dir.ts";
import { commandLine, endsWithin, signal } from "./processes.ts";
import { type Durability, formatServerConfig, storeBytesMax } from "./server-config.ts";
import { type GuardedServer, spawnGuarded } from "./spawn.ts";

/** A store with a hundred million events takes its time to be read. */
const READY_MS_MAX = 120_000;
const READY_POLL_MS = 5;
const STOP_MS_MAX = 10_000;
const KILLED_MS_MAX = 5000;
const RESTART_MS_MIN = 100;
const RESTART_MS_MAX = 5000;
/** A server that ran this long starts the back-off anew. */
const STEADY_MS = 10_000;

export interface ServerOptions {
  readonly binary: string;
  readonly dataDir: DataDir;
  readonly durability: Durability;
  /** Forget everything stored, before the start. */
  readonly reset: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Starts the server and resolves when JetStream answers; rejects with NATS_START_FAILED, nothing left running. */
export async function startEmbeddedServer(options: ServerOptions): Promise<EmbeddedServer> {
  const { dataDir, clock } = options;
  await endLeftServer(dataDir, clock, options.log);
  if (options.reset) await dataDir.wipe();
  const server = new EmbeddedServer(options);
  await server.start();
  return server;
}

/** Ends the server an earlier weft left on this data directory; no other process is touched. */
async function endLeftServer(dataDir: DataDir, clock: Clock, log: Log): Promise<void> {
  const text = await readFile(dataDir.file("pid"), "utf8").catch(() => "");
  const pid = Number.parseInt(text, 10);
  if (!(pid > 1)) return;
  if (await isServerOf(dataDir, pid, clock)) {
    log.warn({ stage: "nats", pid }, "ending the NATS server that an earlier run left behind");
    await endServer(dataDir, pid, clock);
  }
  await rm(dataDir.file("pid"), { force: true });
}

/** A pid alone may be anybody's by now: the command line tells. */
async function isServerOf(dataDir: DataDir, pid: number, clock: Clock): Promise<boolean> {
  return (await commandLine(pid, clock))?.includes(` -c ${dataDir.file("config")}`) ?? false;
}

async function endServer(dataDir: DataDir, pid: number, clock: Clock): Promise<void> {
  if (!(await isServerOf(dataDir, pid, clock))) return;
  signal(pid, "SIGTERM");
  if (await endsWithin(pid, STOP_MS_MAX, clock)) return;
  signal(pid, "SIGKILL");
  if (await endsWithin(pid, KILLED_MS_MAX, clock)) return;
  throw new MeshError("NATS_START_FAILED", {
    expected: "the NATS server to end",
    found: `process ${pid} still there after SIGKILL`,
    fix: `End process ${pid} by hand`,
  });
}

type State =
  | { readonly kind: "down" }
  | { readonly kind: "up"; readonly process: GuardedServer; readonly since: number };

export class EmbeddedServer implements Closeable {
  readonly #options: ServerOptions;
  readonly #log: Log;
  readonly #token = randomBytes(24).toString("base64url");
  readonly #stop = new AbortController();
  #port = -1;
  #version = "";
  #state: State = { kind: "down" };
  #supervision: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#log = options.log.child({ stage: "nats" });
  }

  /** The address with the token. */
  get url(): string {
    return `nats://${this.#token}@127.0.0.1:${this.#port}`;
  }

  get version(): string {
    return this.#version;
  }

  /** The pid of the nats-server itself; undefined between its death and its restart. */
  pidNow(): number | undefined {
    return this.#state.kind === "up" ? this.#state.process.pid : undefined;
  }

  /** The first start; called once, by startEmbeddedServer. */
  async start(): Promise<void> {
    try {
      await this.#launch();
      await this.#options.dataDir.writeSecret("url", `${this.url}\n`);
    } catch (error) {
      const pid = this.pidNow();
      await this.close();
      throw await this.#startFailed(error, pid);
    }
    this.#supervision = this.#supervise();
    background(this.#supervision, (error) =>
      this.#log.error({ error: messageOf(error) }, "the supervision of the NATS server failed"),
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    await this.#supervision.catch(() => {});
    await this.#end();
    for (const name of ["url", "pid", "ports"] as const) {
      await rm(this.#options.dataDir.file(name), { recursive: true, force: true });
    }
  }

  async #end(): Promise<void> {
    if (this.#state.kind === "down") return;
    const { pid } = this.#state.process;
    await endServer(this.#options.dataDir, pid, this.#options.clock);
    await this.#state.process.ended;
    this.#state = { kind: "down" };
  }

  /** Starts one server process and waits until JetStream answers. */
  async #launch(): Promise<void> {
    const { binary, dataDir, clock } = this.#options;
    const ports = dataDir.file("ports");
    await mkdir(dataDir.file("store"), { recursive: true, mode: 0o700 });
    await rm(ports, { recursive: true, force: true });
    await mkdir(ports, { mode: 0o700 });
    await dataDir.writeSecret("config", await this.#config());
    const server = await spawnGuarded(binary, dataDir.file("config"), clock);
    this.#state = { kind: "up", process: server, since: clock.monotonic() };
    const ended = new AbortController();
    const gone = server.ended.then((reason) => {
      ended.abort();
      throw new Error(`the server ended: ${reason}`);
    });
    await Promise.race([gone, this.#untilReady(ports, ended.signal)]);
  }

  async #config(): Promise<string> {
    const { dataDir, durability } = this.#options;
    const disk = await statfs(dataDir.path);
    const used = await storedBytes(dataDir.file("store"));
    return formatServerConfig({
      token: this.#token,
      port: this.#port,
      durability,
      storeBytesMax: storeBytesMax(disk.bavail * disk.bsize, used),
      storeDir: dataDir.file("store"),
      logFile: dataDir.file("log"),
      pidFile: dataDir.file("pid"),
      portsDir: dataDir.file("ports"),
    });
  }

  async #untilReady(portsDir: string, ended: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.monotonic() + READY_MS_MAX;
    const halted = AbortSignal.any([ended, this.#stop.signal]);
    for (;;) {
      const port = await readPort(portsDir);
      if (port !== undefined) {
        this.#port = port;
        break;
      }
      if (halted.aborted) throw new Error("stopped while starting");
      if (clock.monotonic() > deadline) throw new Error(`not ready within ${READY_MS_MAX / 1000} s`);
      await clock.sleep(READY_POLL_MS, halted);
    }
    const probe = await connectNats({ url: this.url }, { name: "weft launcher", clock, log: this.#log });
    this.#version = probe.serverVersion();
    await probe.close();
  }

  async #supervise(): Promise<void> {
    const { clock, dataDir } = this.#options;
    const stopped = new Promise<void>((resolve) => {
      this.#stop.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    let waitMs = RESTART_MS_MIN;
    while (!this.#stop.signal.aborted) {
      if (this.#state.kind === "up") {
        const { process: server, since } = this.#state;
        const reason = await Promise.race([server.ended, stopped]);
        if (reason === undefined) return;
        this.#state = { kind: "down" };
        if (clock.monotonic() - since > STEADY_MS) waitMs = RESTART_MS_MIN;
        this.#log.error({ reason, waitMs }, "the NATS server ended, restarting it");
      }
      await clock.sleep(waitMs, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      waitMs = Math.min(RESTART_MS_MAX, waitMs * 2);
      try {
        // The guard may have been killed and the server not.
        await endLeftServer(dataDir, clock, this.#log);
        await this.#launch();
        this.#log.info({ pid: this.pidNow() }, "the NATS server runs again");
      } catch (error) {
        this.#log.error({ error: messageOf(error), waitMs }, "the NATS server did not start");
      }
    }
  }

  async #startFailed(error: unknown, pid: number | undefined): Promise<MeshError> {
    if (error instanceof MeshError && error.code === "NATS_TOO_OLD") return error;
    const log = this.#options.dataDir.file("log");
    const lines = (await readFile(log, "utf8").catch(() => "")).split("\n");
    const last = lines.findLast((line) => line.startsWith(`[${pid}]`) && line.includes("[FTL]"));
    return new MeshError("NATS_START_FAILED", {
      expected: "the server to become ready",
      found: last?.replace(/^.*\[FTL\]\s*/, "") ?? messageOf(error),
      fix: `See ${log}`,
      cause: error,
    });
  }
}

const portsSchema = z.object({ nats: z.tuple([z.string()], z.string()) });

/** The server writes this file when it accepts clients, though not in one step. */
async function readPort(portsDir: string): Promise<number | undefined> {
  const name = (await readdir(portsDir).catch(() => [])).find((entry) => entry.endsWith(".ports"));
  if (name === undefined) return undefined;
  const text = await readFile(join(portsDir, name), "utf8").catch(() => "");
  try {
    const port = Number(new URL(portsSchema.parse(JSON.parse(text)).nats[0]).port);
    return port > 0 ? port : undefined;
  } catch {
    return undefined;
  }
}

/** What the store takes on disk now. */
async function storedBytes(store: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(store, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    bytes += await stat(join(entry.parentPath, entry.name)).then(
      ({ size }) => size,
      () => 0,
    );
  }
  return bytes;
}
