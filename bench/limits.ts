/**
 * What the machine itself can do, measured in the same run as everything else, so that each result is also a
 * ratio of a limit: a bare node:http server that reads the body and answers 202, JetStream publishes with a
 * window, a bare undici push to the sink. Run as a process: `node bench/limits.ts http` serves until killed.
 */
import { createServer } from "node:http";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Pool } from "undici";
import type { LoadOptions, LoadResult } from "./load.ts";
import { startBenchNats } from "./nats.ts";
import { firstJson, runJson, type Started, startNode } from "./process.ts";
import { startSink } from "./rows.ts";

/** `node bench/limits.ts http`: prints its port. */
function serveBareHttp(): void {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      Buffer.concat(chunks);
      response.writeHead(202, { "content-length": "0" }).end();
    });
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    process.stdout.write(
      `${JSON.stringify({ port: address !== null && typeof address === "object" ? address.port : 0 })}\n`,
    );
  });
}

/** The shape of a request decides what it can cost at most. */
export type Shape = Pick<LoadOptions, "mode" | "size">;

/** Per second. */
export interface Ceiling {
  /** Events that the generator gets rid of when they go to the sink, which does next to nothing. */
  readonly generator: number;
  /** Events into a bare node:http server that reads the body and answers 202. */
  readonly bareHttp: number;
}

/** Measured once per shape; the two servers run only while they are measured. */
export class Ceilings {
  readonly #seconds: number;
  readonly #known = new Map<string, Ceiling>();

  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  async of({ mode = "binary", size = 1024 }: Shape): Promise<Ceiling> {
    const key = `${mode} ${size}`;
    const known = this.#known.get(key) ?? (await this.#measure({ mode, size }));
    this.#known.set(key, known);
    return known;
  }

  async #measure(shape: Shape): Promise<Ceiling> {
    const sink = await startSink({});
    const bare = startNode("./limits.ts", ["http"]);
    try {
      const { port } = await firstJson<{ port: number }>(bare);
      const load = { ...shape, connections: 64, seconds: this.#seconds };
      const generator = await runJson<LoadResult>("./load.ts", { ...load, url: sink.url });
      const bareHttp = await runJson<LoadResult>("./load.ts", { ...load, url: `http://127.0.0.1:${port}/` });
      return { generator: generator.perSecond, bareHttp: bareHttp.perSecond };
    } finally {
      await stopAll([bare, sink.process]);
    }
  }
}

/** Per second, at 1 KiB: what JetStream stores for one client, and what undici pushes into the sink. */
export async function measureStoreAndPush(seconds: number): Promise<{ jetStream: number; barePush: number }> {
  const sink = await startSink({});
  const nats = await startBenchNats();
  try {
    return {
      jetStream: await measureJetStream(nats.url, { seconds, size: 1024, window: 512 }),
      barePush: await measurePush(sink.url, { seconds, size: 1024, connections: 64 }),
    };
  } finally {
    await nats.stop();
    await sink.process.stop();
  }
}

async function stopAll(processes: readonly Started[]): Promise<void> {
  await Promise.all(processes.map((each) => each.stop()));
}

/** Events per second that JetStream stores for one client with `window` publishes under way. */
async function measureJetStream(
  natsUrl: string,
  { seconds, size, window }: { seconds: number; size: number; window: number },
): Promise<number> {
  const url = new URL(natsUrl);
  const nc = await connect({ servers: url.host, token: decodeURIComponent(url.username) });
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: "bench-limit", subjects: ["bench.limit"] });
  const js = jetstream(nc);
  const payload = new Uint8Array(size);
  const end = performance.now() + seconds * 1000;
  const started = performance.now();
  let stored = 0;
  const lane = async () => {
    while (performance.now() < end) {
      await js.publish("bench.limit", payload);
      stored++;
    }
  };
  await Promise.all(Array.from({ length: window }, lane));
  const perSecond = Math.round(stored / ((performance.now() - started) / 1000));
  await jsm.streams.delete("bench-limit");
  await nc.close();
  return perSecond;
}

/** Requests per second that undici pushes into the sink with so many connections. */
async function measurePush(
  sinkUrl: string,
  { seconds, size, connections }: { seconds: number; size: number; connections: number },
): Promise<number> {
  const pool = new Pool(sinkUrl, { connections, pipelining: 1 });
  const body = new Uint8Array(size);
  const end = performance.now() + seconds * 1000;
  const started = performance.now();
  let pushed = 0;
  const lane = async () => {
    while (performance.now() < end) {
      const { body: answer } = await pool.request({ path: "/", method: "POST", body });
      await answer.dump();
      pushed++;
    }
  };
  await Promise.all(Array.from({ length: connections }, lane));
  await pool.close();
  return Math.round(pushed / ((performance.now() - started) / 1000));
}

if (import.meta.main && process.argv[2] === "http") serveBareHttp();
