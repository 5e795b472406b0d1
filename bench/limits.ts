/**
 * What the machine itself can do, measured in the same run as everything else, so that each result is also a
 * ratio of a limit. Each limit is measured when it is first asked for, and its processes run only meanwhile.
 */
import { arrived, resetSink, startSink } from "./arrival.ts";
import type { PublishOptions } from "./bare-publish.ts";
import type { BareRate, PushOptions } from "./bare-push.ts";
import type { Latency } from "./histogram.ts";
import type { LoadOptions, LoadResult } from "./load.ts";
import { startBenchNats } from "./nats.ts";
import { firstJson, runJson, startNode } from "./process.ts";
import { usageOf } from "./usage.ts";

/** The shape of a request decides what it can cost at least. */
export interface Shape {
  readonly mode: NonNullable<LoadOptions["mode"]>;
  /** Bytes of data per event. */
  readonly size: number;
}

export const usualShape: Shape = { mode: "binary", size: 1024 };

export interface HttpLimit {
  /** Events into a bare node:http server that reads the body and answers 202. */
  readonly bare: BareRate;
  /** Events that the generator gets rid of when they go to the sink, which does next to nothing. */
  readonly generator: BareRate;
}

export interface StoreLimit extends BareRate {
  /** CPU time of nats-server for each. */
  readonly natsCpuUs: number;
}

const connections = 64;
/** As many as weft keeps in flight for one trigger. */
const pushConnections = 100;
const storeWindow = 512;
const warmUpSeconds = 0.5;

export class Limits {
  readonly #seconds: number;
  readonly #latencySeconds: number;
  readonly #known = new Map<string, Promise<unknown>>();

  /** How long each measurement takes; percentiles at a low rate need more time than a throughput. */
  constructor({ seconds, latencySeconds }: { seconds: number; latencySeconds: number }) {
    this.#seconds = seconds;
    this.#latencySeconds = latencySeconds;
  }

  http(shape: Shape): Promise<HttpLimit> {
    return this.#once(`http ${shape.mode} ${shape.size}`, async () => ({
      bare: await this.#withBareHttp(async (url, pid) => {
        const load = { ...shape, url, connections };
        await runJson<LoadResult>("./load.ts", { ...load, seconds: warmUpSeconds });
        const before = usageOf(pid).cpuMs;
        const { events, perSecond } = await this.#load(load);
        return { perSecond, cpuUs: ((usageOf(pid).cpuMs - before) * 1000) / events };
      }),
      generator: await this.#withSink({}, async (url) => {
        const { perSecond, cpuUs, events, latency } = await this.#load({ ...shape, url, connections });
        return { perSecond, cpuUs: (cpuUs * latency.count) / events };
      }),
    }));
  }

  /** Until the 202 of a bare node:http server, at a fixed rate. */
  httpLatency(shape: Shape, rate: number): Promise<Latency> {
    return this.#once(`http latency ${shape.mode} ${shape.size} ${rate}`, () =>
      this.#withBareHttp(async (url) => (await this.#load({ ...shape, url, connections, rate })).latency),
    );
  }

  /** From due time to arrival at the sink, when the generator sends to it directly, at a fixed rate. */
  directLatency(rate: number): Promise<Latency> {
    return this.#once(`direct latency ${rate}`, () =>
      this.#withSink({}, async (url) => {
        await runJson<LoadResult>("./load.ts", { url, connections, seconds: warmUpSeconds });
        await resetSink(url);
        const { events } = await this.#load({ ...usualShape, url, connections, rate });
        return (await arrived(url, events)).latency;
      }),
    );
  }

  /** Requests that undici alone pushes into a sink that takes its time. */
  push(delayMs: number): Promise<BareRate> {
    return this.#once(`push ${delayMs}`, () =>
      this.#withSink({ delayMs }, (url) =>
        runJson<BareRate>("./bare-push.ts", {
          url,
          seconds: this.#seconds,
          size: usualShape.size,
          connections: pushConnections,
        } satisfies PushOptions),
      ),
    );
  }

  /** Events that JetStream stores for one client. */
  store(): Promise<StoreLimit> {
    return this.#once("store", async () => {
      const nats = await startBenchNats();
      try {
        const before = usageOf(nats.pid).cpuMs;
        const rate = await runJson<BareRate>("./bare-publish.ts", {
          url: nats.url,
          seconds: this.#seconds,
          size: usualShape.size,
          window: storeWindow,
        } satisfies PublishOptions);
        const natsCpuMs = usageOf(nats.pid).cpuMs - before;
        return { ...rate, natsCpuUs: (natsCpuMs * 1000) / (rate.perSecond * this.#seconds) };
      } finally {
        await nats.stop();
      }
    });
  }

  #load(options: Omit<LoadOptions, "seconds">): Promise<LoadResult> {
    const seconds = options.rate === undefined ? this.#seconds : this.#latencySeconds;
    return runJson<LoadResult>("./load.ts", { ...options, seconds });
  }

  async #withSink<T>(options: { delayMs?: number }, use: (url: string) => Promise<T>): Promise<T> {
    const sink = await startSink(options);
    try {
      return await use(sink.url);
    } finally {
      await sink.process.stop();
    }
  }

  async #withBareHttp<T>(use: (url: string, pid: number) => Promise<T>): Promise<T> {
    const server = startNode("./bare-http.ts", []);
    try {
      const { port } = await firstJson<{ port: number }>(server);
      return await use(`http://127.0.0.1:${port}/`, server.pid);
    } finally {
      await server.stop();
    }
  }

  #once<T>(key: string, measure: () => Promise<T>): Promise<T> {
    const known = (this.#known.get(key) as Promise<T> | undefined) ?? measure();
    this.#known.set(key, known);
    return known;
  }
}
