/**
 * A real NATS cluster on loopback: three servers with JetStream, each of which can be killed, frozen or stopped
 * and brought back on its store.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { systemClock } from "../../src/mesh/clock.ts";
import { silentLog } from "../../src/mesh/log.ts";
import { connectNats } from "../../src/mesh/nats/connection.ts";
import { natsBinary } from "./nats-binary.ts";
import { until } from "./until.ts";

const startDeadlineMs = 60_000;
const nodeCount = 3;

export interface TestCluster {
  /** All three addresses, comma-separated. */
  readonly url: string;
  readonly names: readonly string[];
  /** kill -9. */
  kill9(name: string): Promise<void>;
  /** Starts it again on its store. */
  start(name: string): void;
  /** SIGSTOP, SIGCONT or the like. */
  signal(name: string, signal: NodeJS.Signals): void;
  /** The server that leads a stream. */
  leaderOf(stream: string): Promise<string>;
  /** How many copies of a stream there are to be, and how many servers have all of it. */
  copiesOf(stream: string): Promise<{ wanted: number; current: number }>;
  /** Names of all streams. */
  streams(): Promise<string[]>;
  close(): Promise<void>;
}

interface Node {
  readonly name: string;
  readonly config: string;
  readonly log: string;
  child: ChildProcess | undefined;
}

/** Resolves when the cluster has a leader and answers. */
export async function startTestCluster(): Promise<TestCluster> {
  const dir = await mkdtemp(join(tmpdir(), "weft-cluster-"));
  const ports = await freePorts(nodeCount * 2);
  const client = (i: number) => ports[i] ?? 0;
  const route = (i: number) => ports[nodeCount + i] ?? 0;
  const nodes: Node[] = [];
  for (let i = 0; i < nodeCount; i++) {
    const name = `n${i + 1}`;
    const config = join(dir, `${name}.conf`);
    const log = join(dir, `${name}.log`);
    const routes = Array.from({ length: nodeCount }, (_, to) => `nats://127.0.0.1:${route(to)}`);
    await writeFile(
      config,
      [
        `listen: "127.0.0.1:${client(i)}"`,
        `server_name: ${name}`,
        `log_file: "${log}"`,
        `jetstream { store_dir: "${join(dir, name)}", max_file: 4GB }`,
        `cluster { name: test, listen: "127.0.0.1:${route(i)}", routes: [${routes.join(", ")}] }`,
        "",
      ].join("\n"),
    );
    nodes.push({ name, config, log, child: undefined });
  }
  const url = nodes.map((_, i) => `nats://127.0.0.1:${client(i)}`).join(",");
  const cluster = new LoopbackCluster({ dir, url, nodes });
  for (const { name } of nodes) cluster.start(name);
  try {
    await cluster.ready();
    return cluster;
  } catch (error) {
    const logs = await Promise.all(nodes.map(({ log }) => readFile(log, "utf8").catch(() => "no log")));
    await cluster.close();
    throw new Error(`the cluster did not start:\n${logs.join("\n")}`, { cause: error });
  }
}

class LoopbackCluster implements TestCluster {
  readonly url: string;
  readonly #dir: string;
  readonly #nodes: readonly Node[];

  constructor({ dir, url, nodes }: { dir: string; url: string; nodes: readonly Node[] }) {
    this.#dir = dir;
    this.url = url;
    this.#nodes = nodes;
  }

  get names(): readonly string[] {
    return this.#nodes.map(({ name }) => name);
  }

  start(name: string): void {
    const node = this.#node(name);
    if (node.child !== undefined) throw new Error(`${name} runs`);
    node.child = spawn(natsBinary(), ["-c", node.config], { stdio: "ignore" });
  }

  signal(name: string, signal: NodeJS.Signals): void {
    this.#node(name).child?.kill(signal);
  }

  async kill9(name: string): Promise<void> {
    const node = this.#node(name);
    const { child } = node;
    node.child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async ready(): Promise<void> {
    await until(() => this.#withManager((jsm) => jsm.getAccountInfo()), {
      deadlineMs: startDeadlineMs,
      what: "the cluster answers",
    });
  }

  async leaderOf(stream: string): Promise<string> {
    return until(async () => (await this.#info(stream)).cluster?.leader, {
      what: `${stream} has a leader`,
    });
  }

  async copiesOf(stream: string): Promise<{ wanted: number; current: number }> {
    const { config, cluster } = await this.#info(stream);
    const followers = (cluster?.replicas ?? []).filter(({ current, offline }) => current && !offline);
    return { wanted: config.num_replicas, current: 1 + followers.length };
  }

  async streams(): Promise<string[]> {
    return this.#withManager(async (jsm) => {
      const names: string[] = [];
      for await (const name of jsm.streams.names()) names.push(name);
      return names;
    });
  }

  async close(): Promise<void> {
    for (const { name } of this.#nodes) await this.kill9(name);
    await rm(this.#dir, { recursive: true, force: true });
  }

  #info(stream: string) {
    return this.#withManager((jsm) => jsm.streams.info(stream));
  }

  async #withManager<T>(ask: (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<T>): Promise<T> {
    const options = { name: "test", clock: systemClock, log: silentLog };
    const connection = await connectNats({ url: this.url }, options);
    try {
      return await ask(await jetstreamManager(connection.nc, { checkAPI: false }));
    } finally {
      await connection.close();
    }
  }

  #node(name: string): Node {
    const node = this.#nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`no server ${name}`);
    return node;
  }
}

/** Ports that are free now; the servers of a cluster must know each other's before they start. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    ports.push(address.port);
  }
  for (const server of servers) {
    const closed = once(server, "close");
    server.close();
    await closed;
  }
  return ports;
}
