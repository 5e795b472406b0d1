/**
 * The composition root of a worker: ingress and dispatch once more, beside the first process of the mesh, which
 * has the ports, the resources and the functions. Routes come through NATS, connections from the first process.
 */
import type { Socket } from "node:net";
import { hostname } from "node:os";
import { jetstreamManager } from "@nats-io/jetstream";
import type { Clock } from "./clock.ts";
import { Peers } from "./console/peers.ts";
import { noCapacity } from "./dispatch/capacity.ts";
import { MeshError, messageOf } from "./errors.ts";
import { isFunctionHost } from "./host/gateway.ts";
import { createRelay } from "./host/relay.ts";
import { createIngress } from "./ingress/app.ts";
import { createPlainIngress } from "./ingress/plain.ts";
import type { JournalRecord } from "./journal/record.ts";
import { type Closeable, CloseStack } from "./lifecycle.ts";
import { serveTaken, type Taker } from "./listen.ts";
import type { Log } from "./log.ts";
import { connectNats, type MeshConnection } from "./nats/connection.ts";
import { ingressParts, openPlane, type Plane, startDispatch } from "./plane.ts";
import { RouteTable } from "./routes/table.ts";
import { openRouteBucket } from "./stream/route-bucket.ts";
import { RouteFollower } from "./stream/route-follower.ts";
import type { BrokerRefusal, WorkerSettings } from "./workers/messages.ts";

export interface WorkerOptions {
  readonly settings: WorkerSettings;
  readonly clock: Clock;
  readonly log: Log;
  /** What happens to events here. Must not throw. */
  readonly onRecord: (record: JournalRecord) => void;
  /** It serves the routes as they are at this revision of their bucket. Must not throw. */
  readonly onRoutes: (revision: number) => void;
}

export interface Worker extends Closeable {
  /** Serves a connection. */
  take(socket: Socket): void;
  /** The brokers that must not take events from now on. */
  refuse(refusals: readonly BrokerRefusal[]): void;
  /** Why events are not taken or not delivered here, for people; undefined when all is well. */
  trouble(): string | undefined;
}

const startingOrStopping = "the worker is starting or stopping";

/** Resolves when the worker has the routes and serves them. Rejects with nothing left running. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const closing = new CloseStack((name, error) =>
    options.log.error({ stage: "worker", part: name, error: messageOf(error) }, "a part did not close"),
  );
  return closing.start(() => new Starting(options, closing).run());
}

class Starting {
  readonly #options: WorkerOptions;
  readonly #closing: CloseStack;
  readonly #table = new RouteTable();
  #refusals: ReadonlyMap<string, MeshError>;
  #isReady = false;

  constructor(options: WorkerOptions, closing: CloseStack) {
    this.#options = options;
    this.#closing = closing;
    this.#refusals = refusalsBy(options.settings.refusals);
  }

  async run(): Promise<Worker> {
    const { settings, clock, log, onRecord } = this.#options;
    const { config, nats, portion, roles } = settings;
    let plane: Plane | undefined;
    // First, for it is closed last: whoever waits for a reply is told before the connection ends.
    const taker = this.#serveConnections(() => {
      if (plane === undefined) throw starting();
      return plane;
    });
    const name = `weft worker ${portion.index}`;
    const connection = this.#closing.use("NATS connection", await connectNats(nats, { name, clock, log }));
    const jsm = await jetstreamManager(connection.nc, { checkAPI: false });
    const table = this.#table;
    plane = await openPlane({
      connection,
      jsm,
      config,
      clock,
      log,
      table,
      portion,
      onRecord,
      closing: this.#closing,
    });
    const dispatch = roles.includes("dispatch") ? startDispatch(plane, { capacity: noCapacity }) : undefined;
    const trouble = () => this.#cannotStore(connection) ?? dispatch?.dispatcher.trouble();
    this.#answerPeers(connection, {
      ready: () => trouble() === undefined,
      inFlight: () => dispatch?.dispatcher.allInFlight() ?? {},
    });
    await this.#followRoutes(connection);
    this.#isReady = true;
    this.#closing.defer("acceptance", () => {
      this.#isReady = false;
      taker.stopAccepting();
    });
    return {
      take: (socket) => taker.take(socket),
      refuse: (refusals) => {
        this.#refusals = refusalsBy(refusals);
      },
      trouble,
      close: () => this.#closing.close(),
    };
  }

  #cannotStore(connection: MeshConnection): string | undefined {
    if (!this.#isReady) return startingOrStopping;
    return connection.isConnected() ? undefined : "NATS is not connected";
  }

  #serveConnections(plane: () => Plane): Taker {
    const { settings, clock } = this.#options;
    const { functionsPort } = settings;
    const gateway = functionsPort === undefined ? () => false : createRelay({ port: functionsPort });
    const parts = ingressParts({ ...this.#options, config: settings.config, table: this.#table }, plane, {
      gateway,
      isFunctionHost,
      refusal: (path) => (this.#isReady ? this.#refusals.get(path) : starting()),
    });
    const { fetch } = createIngress(parts);
    return this.#closing.use("connections", serveTaken({ fetch, plain: createPlainIngress(parts), clock }));
  }

  #answerPeers(
    { nc }: MeshConnection,
    { ready, inFlight }: { ready: () => boolean; inFlight: () => Record<string, number> },
  ): void {
    const { settings, log } = this.#options;
    const report = () => ({
      host: hostname(),
      pid: process.pid,
      roles: settings.roles.filter((role) => role !== "control"),
      leads: false,
      ready: ready(),
      inFlight: inFlight(),
      functions: [],
    });
    this.#closing.use("peers", new Peers({ nc, log, report }));
  }

  /** Resolves when the table has the routes; they were all written before this process was started. */
  async #followRoutes(connection: MeshConnection): Promise<void> {
    const { settings, clock, log, onRoutes } = this.#options;
    const kv = await openRouteBucket(connection.nc, { replicas: settings.config.replicas });
    await new Promise<void>((resolve) => {
      const follower: RouteFollower = new RouteFollower({
        kv,
        clock,
        log,
        onRoutes: (routes) => {
          this.#table.set(routes);
          onRoutes(follower.revision);
          resolve();
        },
      });
      this.#closing.use("routes", follower);
      connection.onReconnect(() => follower.restart());
    });
  }
}

function refusalsBy(refusals: readonly BrokerRefusal[]): ReadonlyMap<string, MeshError> {
  return new Map(
    refusals.map(({ path, field, found, fix }) => [
      path,
      new MeshError("STREAM_FULL", {
        ...(field === undefined ? {} : { field }),
        ...(found === undefined ? {} : { found }),
        ...(fix === undefined ? {} : { fix }),
      }),
    ]),
  );
}

function starting(): MeshError {
  return new MeshError("STORAGE_UNAVAILABLE", {
    found: startingOrStopping,
    fix: "Send it again in a moment",
  });
}
