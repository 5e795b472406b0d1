/**
 * The composition root: builds the parts in the order an event meets them and closes them in reverse.
 *
 *   nats/     the server and the connection        filter/   whether a trigger wants an event
 *   event/    what an event is                     routes/   the contract of the two planes
 *   stream/   where events wait                    ingress/  how they enter
 *   dispatch/ how they leave                       journal/  what happened to them
 *   resources/ store/ control/  brokers, triggers, services: read, kept, made real
 *   host/     functions, from zero up              console/  what people and tools ask
 *   workers/  more processes for ingress and dispatch (worker.ts puts one together)
 */
import { mkdir, statfs } from "node:fs/promises";
import type { Socket } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { Clock } from "./clock.ts";
import type { Config, Role } from "./config.ts";
import { createConsole } from "./console/app.ts";
import { type PeerReport, Peers } from "./console/peers.ts";
import { applyYaml, listObjects, triggerConditions } from "./console/resources.ts";
import type { FunctionSummary, Rejected, WorkerSummary } from "./console/status.ts";
import { startControl } from "./control/control.ts";
import type { DataPlane } from "./control/data-plane.ts";
import { ensureDefaultBroker } from "./control/default-broker.ts";
import { followFunctions } from "./control/function-follower.ts";
import { FunctionServices } from "./control/function-services.ts";
import { Leadership } from "./control/leadership.ts";
import { type ManifestWatch, watchManifests } from "./control/watch.ts";
import { type Dispatcher, pullSilenceMs } from "./dispatch/dispatcher.ts";
import { Mover } from "./dispatch/mover.ts";
import { MeshError, messageOf } from "./errors.ts";
import { checkCesql } from "./filter/cesql/compile.ts";
import { checkDataFilter } from "./filter/data-filter.ts";
import { FunctionFolder } from "./function-folder.ts";
import { capacityOf, type HostAdapter, hostForControl, hostOfNone } from "./functions.ts";
import type { BundleProblem } from "./host/bundle.ts";
import { createGateway, type Gateway, isFunctionHost } from "./host/gateway.ts";
import { type FunctionHost, startFunctionHost } from "./host/host.ts";
import type { LogLine } from "./host/instance.ts";
import { isPassedOn, noteUnmatched } from "./ingress/accept.ts";
import { createIngress, type IngressParts } from "./ingress/app.ts";
import { NatsRequests } from "./ingress/nats-requests.ts";
import { createPlainIngress } from "./ingress/plain.ts";
import type { JournalRecord } from "./journal/record.ts";
import { type Closeable, CloseStack } from "./lifecycle.ts";
import { type Listener, listen } from "./listen.ts";
import type { Log } from "./log.ts";
import { connectNats, type MeshConnection } from "./nats/connection.ts";
import { openDataDir } from "./nats/data-dir.ts";
import { type NatsServer, startNats } from "./nats/launcher.ts";
import {
  ingressParts,
  openPlane,
  type Plane,
  requestParts,
  startDispatch,
  unmatchedParts,
  waitBounds,
} from "./plane.ts";
import { admitObject } from "./resources/admission.ts";
import { SERVICE, TRIGGER } from "./resources/kinds.ts";
import { RouteTable } from "./routes/table.ts";
import { openNatsKvStore } from "./store/natskv.ts";
import type { Store } from "./store/store.ts";
import { StreamGuard } from "./stream/guard.ts";
import { defaultBytesMax } from "./stream/guard-decision.ts";
import type { Leases } from "./stream/lease.ts";
import { Provisioner } from "./stream/provision.ts";
import { openRouteBucket } from "./stream/route-bucket.ts";
import { RouteFollower } from "./stream/route-follower.ts";
import { RouteWriter } from "./stream/route-writer.ts";
import { controlLease, eventStream, leaseBucket, resourceBucket, routeBucket } from "./stream/subjects.ts";
import { Crew } from "./workers/crew.ts";
import { startWorkerProcess } from "./workers/worker-process.ts";

export interface MeshOptions {
  readonly config: Config;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The value of PATH, and the user's cache directory. */
  readonly path: string;
  readonly cacheDir: string;
  /** One line of progress for the user. */
  readonly say: (line: string) => void;
  /** What functions print. */
  readonly onFunctionLine: (line: LogLine) => void;
  /** A function that does not compile, or does again. */
  readonly onFunctionChange: (change: { name: string; problems: readonly BundleProblem[] }) => void;
  /** What happens to events. */
  readonly onRecord: (record: JournalRecord) => void;
  /** So many records of workers are not going to be told. */
  readonly onRecordsMissed: (count: number) => void;
  /** Ends a start that is still under way. */
  readonly signal: AbortSignal;
  /** What this process does. */
  readonly roles: ReadonlySet<Role>;
  /** Whether other processes do the same on the same NATS: one control plane at a time, routes through NATS. */
  readonly shared: boolean;
  /** Processes that share ingress and dispatch, this one among them; 1 when it does neither. */
  readonly workers: number;
}

export interface Mesh extends Closeable {
  /** Where events go in; empty when this process takes none and knows nobody who does. */
  readonly eventsUrl: string;
  readonly controlUrl: string;
  readonly dataDir: string;
  readonly nats: { readonly safeUrl: string; readonly version: string; readonly owned: boolean };
  readonly rejected: () => readonly Rejected[];
  readonly functions: () => readonly FunctionSummary[];
}

const journalAgeMs = 24 * 3_600_000;
const journalBytesMax = 64 * 1024 * 1024;
/** What a server that is not ours is taken to have for events: its disk cannot be seen from here. */
const foreignStorageBytes = 32 * 1024 ** 3;
/** After this routes that cannot be written are a failure, and workers that do not take them are not waited for. */
const routesWaitMs = 2000;
/** How often it is looked whether the routes have arrived. */
const routesPollMs = 20;
const defaultNamespace = "default";

/** Resolves when the mesh is ready (DESIGN §10). Rejects with a MeshError; nothing is left running then. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const closing = new CloseStack((name, error) =>
    options.log.error({ stage: "mesh", part: name, error: messageOf(error) }, "a part did not close"),
  );
  return closing.start(() => new Starting(options, closing).run());
}

/** The parts as they come up; the ports answer from the beginning and say what is not there yet. */
class Starting {
  readonly #options: MeshOptions;
  readonly #closing: CloseStack;
  readonly #table = new RouteTable();
  readonly #functionFolder: FunctionFolder;
  readonly #followers = new Set<(record: JournalRecord) => void>();
  #phase: "starting" | "ready" | "draining" = "starting";
  #waitingFor = "NATS";
  #eventsUrl = "";
  #nats: NatsServer | undefined;
  #connection: MeshConnection | undefined;
  #jsm: JetStreamManager | undefined;
  #plane: Plane | undefined;
  #dispatcher: Dispatcher | undefined;
  #host: FunctionHost | undefined;
  #gateway: Gateway = () => false;
  #store: Store | undefined;
  #manifests: ManifestWatch | undefined;
  #functionFollower: Closeable | undefined;
  #leadership: Leadership | undefined;
  #peers: Peers | undefined;
  #guard: StreamGuard | undefined;
  #crew: Crew | undefined;
  /** For functions, of requests that came to a worker. */
  #relayedGateway: Gateway = () => false;

  constructor(options: MeshOptions, closing: CloseStack) {
    this.#options = options;
    this.#closing = closing;
    this.#functionFolder = new FunctionFolder(options.config.functions);
  }

  async run(): Promise<Mesh> {
    const { config, clock, roles, shared } = this.#options;
    const dataDir = this.#closing.use("data directory", await openDataDir(config.dataDir, clock));
    const console_ = await this.#listenConsole();
    const ingress = roles.has("ingress") ? await this.#listenIngress() : undefined;
    const { nats, connection, jsm } = await this.#connect(dataDir);
    const functionsPort = await this.#listenForRelays();
    // They drain while the parts that follow do, and need NATS for it.
    this.#closing.defer("workers", () => this.#crew?.close());
    const { plane, provisioner } = await this.#openPlane(connection, jsm);
    const ownUrl = ingress === undefined ? "" : `http://${printable(config.host)}:${ingress.port}`;
    this.#eventsUrl = config.publicUrl ?? ownUrl;
    const { adapter, host, bundleDir } = await this.#startHost(dataDir.path);
    const store = await this.#openStore(connection);
    await provisioner.ensureBuckets(resourceBucket, leaseBucket);
    if (host !== undefined) this.#startDispatch(plane, host);
    const control = { store, adapter, provisioner };
    const watchFunctions = () => this.#watchFunctions({ adapter, bundleDir });
    if (shared) await this.#share(connection, { ...control, leases: plane.leases, watchFunctions });
    else {
      const routes = await this.#ownRoutes(connection, provisioner);
      const dataPlane = this.#dataPlane(provisioner, routes);
      await this.#startControl({ ...control, dataPlane, closing: this.#closing, watchFunctions });
      await routes.complete();
    }
    if (ingress !== undefined) {
      await this.#startGuard(jsm, nats.owned ? dataDir.path : undefined);
      this.#startNatsRequests(plane);
    }
    await this.#startWorkers(nats, functionsPort);
    this.#phase = "ready";
    this.#closing.defer("acceptance", () => {
      this.#phase = "draining";
      ingress?.stopAccepting();
      this.#crew?.drain();
    });
    return {
      eventsUrl: ownUrl === "" ? this.#eventsUrl : ownUrl,
      controlUrl: `http://${printable(config.host)}:${console_.port}`,
      dataDir: dataDir.path,
      nats: { safeUrl: nats.safeUrl, version: nats.version, owned: nats.owned },
      rejected: () => this.#rejected(),
      functions: () => this.#functions(),
      close: () => {
        this.#phase = "draining";
        return this.#closing.close();
      },
    };
  }

  async #connect(
    dataDir: Awaited<ReturnType<typeof openDataDir>>,
  ): Promise<{ nats: NatsServer; connection: MeshConnection; jsm: JetStreamManager }> {
    const { config, clock, log, path, cacheDir, say, signal } = this.#options;
    const external =
      config.natsUrl === undefined
        ? undefined
        : {
            url: config.natsUrl,
            credsFile: config.natsCreds,
            nkeyFile: config.natsNkey,
            tlsCaFile: config.natsCa,
          };
    const nats = this.#closing.use(
      "NATS server",
      await startNats({
        external,
        dataDir,
        cacheDir,
        path,
        durability: config.durability,
        reset: config.reset,
        clock,
        log,
        say,
        signal,
      }),
    );
    this.#nats = nats;
    const connection = this.#closing.use(
      "NATS connection",
      await connectNats(nats.target, { name: "weft", clock, log }),
    );
    this.#connection = connection;
    this.#jsm = await jetstreamManager(connection.nc, { checkAPI: false });
    return { nats, connection, jsm: this.#jsm };
  }

  async #openPlane(
    connection: MeshConnection,
    jsm: JetStreamManager,
  ): Promise<{ plane: Plane; provisioner: Provisioner }> {
    const { config, clock, log } = this.#options;
    const provisioner = new Provisioner(jsm, {
      replicas: config.replicas,
      eventAgeMs: config.retention,
      eventBytesMax: config.streamBytesMax,
      dedupeMs: config.dedupe,
      journalAgeMs,
      journalBytesMax,
    });
    await provisioner.ensureShared();
    const plane = await openPlane({
      connection,
      jsm,
      config,
      clock,
      log,
      table: this.#table,
      portion: { index: 0, of: this.#options.workers },
      onRecord: (record) => this.#tell(record),
      closing: this.#closing,
    });
    this.#plane = plane;
    return { plane, provisioner };
  }

  async #openStore(connection: MeshConnection): Promise<Store> {
    const { config, clock, log } = this.#options;
    this.#waitingFor = "the stored resources";
    this.#store = this.#closing.use(
      "store",
      await openNatsKvStore({
        connection: connection.nc,
        bucket: resourceBucket,
        replicas: config.replicas,
        clock,
        log,
      }),
    );
    return this.#store;
  }

  async #startHost(
    dataDir: string,
  ): Promise<{ adapter: HostAdapter; host: FunctionHost | undefined; bundleDir: string }> {
    const { config, clock, log, onFunctionLine, roles } = this.#options;
    const bundleDir = join(dataDir, "bundles");
    await mkdir(bundleDir, { recursive: true, mode: 0o700 });
    if (!roles.has("dispatch")) return { adapter: hostOfNone({ bundleDir }), host: undefined, bundleDir };
    const host = await startFunctionHost({
      dataDir,
      clock,
      log,
      onLine: onFunctionLine,
      ingressUrl: this.#eventsUrl === "" ? undefined : this.#eventsUrl,
      poolSize: config.warmPool,
      windowMs: config.idleWindow,
    });
    this.#closing.defer("function host", () => host.close({ deadlineMs: config.drain }));
    this.#host = host;
    this.#gateway = createGateway({ host, clock });
    this.#relayedGateway = createGateway({ host, clock, isRelayed: true });
    return {
      adapter: hostForControl(host, {
        bundleDir,
        rootOf: (digest) => this.#functionFolder.rootOf(digest),
      }),
      host,
      bundleDir,
    };
  }

  #startDispatch(plane: Plane, host: FunctionHost): void {
    const { nc, jsm, clock, log, table, store, connection } = plane;
    const { dispatcher, settler } = startDispatch(plane, { capacity: capacityOf(host) });
    this.#dispatcher = dispatcher;
    const mover = new Mover({
      nc,
      jsm,
      clock,
      log,
      table,
      store,
      settler,
      onEntered: (broker, event) => noteUnmatched(unmatchedParts(plane), broker, event),
    });
    this.#closing.use("mover of delayed events", mover);
    connection.onReconnect(() => mover.restart());
  }

  /**
   * Routes of a control plane that is the only one. Workers read them from the route bucket, where `complete`
   * removes those of an earlier run.
   */
  async #ownRoutes(
    { nc }: MeshConnection,
    provisioner: Provisioner,
  ): Promise<RouteSink & { complete: () => Promise<void> }> {
    const { config, clock, log, workers } = this.#options;
    const table = this.#table;
    if (workers === 1) {
      return { set: (routes) => table.set(routes), served: async () => {}, complete: async () => {} };
    }
    this.#peers = this.#closing.use("peers", new Peers({ nc, log, report: () => this.#report() }));
    const kv = await openRouteBucket(nc, { replicas: config.replicas });
    await provisioner.ensureBuckets(routeBucket);
    const writer = this.#closing.use("routes", new RouteWriter({ kv, clock, log, mayWrite: () => true }));
    return {
      set: (routes) => {
        table.set(routes);
        writer.set(routes);
      },
      served: () => this.#routesServed(writer),
      complete: () => writer.complete({ brokers: [], triggers: [] }),
    };
  }

  async #routesServed(writer: RouteWriter): Promise<void> {
    await writer.settledWithin(routesWaitMs);
    const isOver = new AbortController();
    const timer = this.#options.clock.after(routesWaitMs, () => isOver.abort());
    await this.#crew?.haveRoutes(writer.revision, isOver.signal);
    timer.cancel();
  }

  /** Where workers bring requests for functions; undefined when there are no workers, or no functions here. */
  async #listenForRelays(): Promise<number | undefined> {
    const { clock, roles, workers } = this.#options;
    if (workers === 1 || !roles.has("ingress") || !roles.has("dispatch")) return undefined;
    const { fetch } = createIngress(this.#ingressParts(() => this.#relayedGateway));
    const options = { fetch, host: "127.0.0.1", port: 0, flag: "--workers", clock };
    return this.#closing.use("port for workers", await listen(options)).port;
  }

  /** Resolves when all workers serve. The routes must be written. */
  async #startWorkers(nats: NatsServer, functionsPort: number | undefined): Promise<void> {
    const { config, clock, log, roles, signal, workers, onRecordsMissed } = this.#options;
    if (workers === 1) return;
    this.#waitingFor = "its workers";
    const crew = new Crew({
      count: workers,
      settings: { config, roles: [...roles], nats: nats.target, functionsPort },
      clock,
      log,
      silenceMsMax: pullSilenceMs,
      drainMs: config.drain,
      onRecords: (records, missed) => {
        for (const record of records) this.#tell(record);
        if (missed > 0) onRecordsMissed(missed);
      },
      start: startWorkerProcess,
    });
    this.#crew = crew;
    this.#refuseInWorkers();
    await crew.ready(signal);
    if (signal.aborted) throw new Error("stopped while starting");
  }

  #refuseInWorkers(): void {
    const refusals = [...(this.#guard?.refusals() ?? [])].map(([path, { detail }]) => ({
      path,
      field: detail.field,
      found: detail.found,
      fix: detail.fix,
    }));
    this.#crew?.refuse(refusals);
  }

  #dataPlane(provisioner: Provisioner, { set, served }: RouteSink): DataPlane {
    return {
      ensureBroker: async (route) => {
        await provisioner.ensureBroker(route);
        await this.#nats?.spreadConsumers(eventStream(route));
      },
      removeBroker: (key) => provisioner.removeBroker(key),
      ensureTrigger: (route) => provisioner.ensureTrigger(route),
      removeTrigger: (trigger) => provisioner.removeTrigger(trigger),
      setRoutes: set,
      routesServed: served,
      removeOrphans: (alive) => provisioner.removeOrphans(alive),
    };
  }

  /**
   * The active control plane: the reconcilers, the default broker, the manifests and the functions that are there
   * now, reconciled once when this resolves.
   */
  async #startControl({
    store,
    adapter,
    dataPlane,
    closing,
    watchFunctions,
  }: ControlParts & {
    readonly dataPlane: DataPlane;
    readonly closing: CloseStack;
    readonly watchFunctions: () => Promise<void>;
  }): Promise<void> {
    const { config, clock, log } = this.#options;
    const url = this.#eventsUrl || `http://${printable(config.host)}:${config.port}`;
    const { port } = new URL(url);
    const addresses = {
      broker: ({ namespace, name }: { namespace: string; name: string }) => `${url}/${namespace}/${name}`,
      requestReply: ({ namespace, name }: { namespace: string; name: string }) =>
        `${url}/request-reply/${namespace}/${name}`,
      function: ({ namespace, name }: { namespace: string; name: string }, tag?: string) =>
        `http://${tag === undefined ? "" : `${tag}-`}${name}.${namespace}.localhost:${port}`,
    };
    const control = closing.use(
      "control plane",
      startControl({ store, dataPlane, host: adapter, addresses, clock, log }),
    );
    this.#waitingFor = "functions and manifests";
    await ensureDefaultBroker(store);
    const services = closing.use(
      "function services",
      new FunctionServices({
        store,
        admit: (object, old) => admitObject(SERVICE, object, { old }),
        clock,
        log,
      }),
    );
    closing.defer("function services", this.#functionFolder.follow(services));
    await watchFunctions();
    this.#manifests = closing.use(
      "manifests watcher",
      await watchManifests({ roots: config.manifests, store, checkCesql: checkExpression, clock, log }),
    );
    await services.idle();
    await control.settled();
  }

  /** Resolves when the functions that are there were looked at. */
  async #watchFunctions({ adapter, bundleDir }: { adapter: HostAdapter; bundleDir: string }): Promise<void> {
    const { clock, log, onFunctionChange } = this.#options;
    const watching = await this.#functionFolder.watch({
      bundleDir,
      clock,
      log,
      onChange: (change) => {
        onFunctionChange({
          name: change.name,
          problems: change.kind === "problems" ? change.problems : [],
        });
        adapter.touch({ namespace: defaultNamespace, name: change.name });
      },
    });
    this.#closing.use("functions watcher", watching);
  }

  /**
   * One of several processes: routes come from the active control plane through NATS, and this process runs that
   * control plane when the lease falls to it. Resolves when there are routes to serve.
   */
  async #share(connection: MeshConnection, { leases, watchFunctions, ...parts }: SharedParts): Promise<void> {
    const { config, clock, log, roles, say, signal } = this.#options;
    const { nc } = connection;
    this.#peers = this.#closing.use("peers", new Peers({ nc, log, report: () => this.#report() }));
    const kv = await openRouteBucket(nc, { replicas: config.replicas });
    await parts.provisioner.ensureBuckets(routeBucket);
    const follower = new RouteFollower({ kv, clock, log, onRoutes: (routes) => this.#table.set(routes) });
    this.#closing.use("routes", follower);
    connection.onReconnect(() => follower.restart());
    if (roles.has("dispatch") || roles.has("control")) await watchFunctions();
    this.#closing.defer("functions of this machine", () => this.#functionFollower?.close());
    this.#followFunctions(parts);
    if (roles.has("control")) {
      const leadership: Leadership = new Leadership({
        hold: (listener) => leases.hold(controlLease, listener),
        startTerm: (ending) => this.#startTerm({ ...parts, kv, follower, leadership, ending }),
        clock,
        log,
      });
      this.#leadership = this.#closing.use("leadership", leadership);
      this.#waitingFor = "the active control plane";
      await leadership.decided({ look: () => leases.revision(controlLease), signal });
    }
    if (!follower.isComplete) {
      this.#waitingFor = "routes: no process with the control role has written them yet";
      if (!roles.has("control"))
        say("waiting for a process with the control role (weft serve --roles control)");
    }
    while (!follower.isComplete && !signal.aborted) await clock.sleep(routesPollMs, signal);
    if (signal.aborted) throw new Error("stopped while starting");
  }

  /** One term as the active control plane. Rejects with nothing left running. */
  async #startTerm({
    kv,
    follower,
    leadership,
    ending,
    ...parts
  }: ControlParts & {
    readonly kv: Awaited<ReturnType<typeof openRouteBucket>>;
    readonly follower: RouteFollower;
    readonly leadership: Leadership;
    readonly ending: AbortSignal;
  }): Promise<Closeable> {
    const { clock, log } = this.#options;
    const term = new CloseStack((name, error) =>
      log.error({ stage: "mesh", part: name, error: messageOf(error) }, "a part did not close"),
    );
    const leads = () => leadership.isLeader && !ending.aborted;
    try {
      // The reconcilers hand revisions to this machine's host themselves.
      await this.#functionFollower?.close();
      this.#functionFollower = undefined;
      term.defer("functions of this machine", () => this.#followFunctions(parts));
      const writer = term.use("routes", new RouteWriter({ kv, clock, log, mayWrite: leads }));
      const dataPlane = this.#dataPlane(parts.provisioner, {
        set: (routes) => writer.set(routes),
        served: () => this.#routesServed(writer),
      });
      await this.#startControl({
        ...parts,
        closing: term,
        watchFunctions: async () => {},
        dataPlane: {
          ...dataPlane,
          removeBroker: async (key) => {
            requireLead(leads);
            await dataPlane.removeBroker(key);
          },
          removeTrigger: async (trigger) => {
            requireLead(leads);
            await dataPlane.removeTrigger(trigger);
          },
          removeOrphans: async (alive) => {
            await writer.complete(alive());
            requireLead(leads);
            await dataPlane.removeOrphans(alive);
          },
        },
      });
      await writer.settled();
      while (follower.revision < writer.revision && leads()) await clock.sleep(routesPollMs, ending);
      return term;
    } catch (error) {
      await term.close();
      throw error;
    }
  }

  #followFunctions({ store, adapter }: ControlParts): void {
    const { clock, log, roles } = this.#options;
    if (!roles.has("dispatch") || this.#phase === "draining") return;
    this.#functionFollower = followFunctions({ store, host: adapter, clock, log });
  }

  #report(): PeerReport {
    return {
      host: hostname(),
      pid: process.pid,
      roles: [...this.#options.roles],
      leads: this.#leadership?.isLeader ?? !this.#options.shared,
      ready: this.#trouble() === undefined,
      inFlight: this.#dispatcher?.allInFlight() ?? {},
      functions: this.#functions().map(({ instances, ...each }) => ({ ...each, instances: [...instances] })),
    };
  }

  #listenIngress(): Promise<Listener> {
    const { config, clock, workers } = this.#options;
    const parts = this.#ingressParts(() => this.#gateway);
    const share = workers === 1 ? {} : { share: (socket: Socket) => this.#crew?.share(socket) ?? false };
    return listen({
      fetch: createIngress(parts).fetch,
      plain: createPlainIngress(parts),
      ...{ host: config.host, port: config.port, flag: "--port", clock },
      ...share,
    }).then((listener) => this.#closing.use("events port", listener));
  }

  #ingressParts(gateway: () => Gateway): IngressParts {
    return ingressParts({ ...this.#options, table: this.#table }, () => present(this.#plane), {
      gateway: (request, response) => gateway()(request, response),
      isFunctionHost,
      refusal: (path) => this.#refusal(path),
    });
  }

  /** `storeDir`: where the server keeps its streams, when that is known. */
  async #startGuard(jsm: JetStreamManager, storeDir: string | undefined): Promise<void> {
    const { config, clock, log } = this.#options;
    const storageBytes =
      storeDir === undefined
        ? foreignStorageBytes
        : (await freeBytes(storeDir)) + (await jsm.getAccountInfo()).storage;
    const table = this.#table;
    const guard = new StreamGuard({
      jsm,
      clock,
      log,
      table,
      ageMaxMs: config.retention,
      onChange: () => this.#refuseInWorkers(),
      bytesMax: () => defaultBytesMax({ storageBytes, brokers: table.routes.brokers.length }),
    });
    this.#guard = this.#closing.use("stream guard", guard);
  }

  /** Requests of NATS clients are taken once the mesh is ready. */
  #startNatsRequests(plane: Plane): void {
    const { nc, log, config } = plane;
    const refusal = (path: string) => this.#refusal(path);
    const parts = { ...requestParts(plane), nc, log, waits: waitBounds(config), refusal };
    this.#closing.use("requests over NATS", new NatsRequests(parts));
  }

  async #listenConsole(): Promise<Listener> {
    const { config, clock, log, version } = this.#options;
    const app = createConsole({
      version,
      pid: process.pid,
      log,
      eventsUrl: () => this.#eventsUrl,
      ready: () => this.#notReady() === undefined,
      notReady: () => this.#notReady(),
      nats: () => ({
        url: this.#nats?.safeUrl ?? "",
        version: this.#nats?.version ?? "",
        pid: this.#nats?.pidNow() ?? null,
        owned: this.#nats?.owned ?? false,
      }),
      brokers: () => this.#table.routes.brokers,
      triggers: () => (this.#store === undefined ? [] : triggerConditions(this.#store)),
      inFlight: (uid) => this.#dispatcher?.inFlight(uid) ?? 0,
      functions: () => this.#functions(),
      peers: async () => (await this.#peers?.ask()) ?? [],
      workers: () => this.#workers(),
      rejected: () => this.#rejected(),
      natsTrouble: () => present(this.#connection).trouble(),
      jsm: () => (this.#connection?.isConnected() ? this.#jsm : undefined),
      counters: () => this.#plane?.counters,
      clock,
      triggersOf: ({ namespace, name }) =>
        this.#table.routes.triggers.filter((each) => each.namespace === namespace && each.broker === name),
      deadLetters: () => this.#plane?.deadLetters,
      triggerDesk: () => ({
        store: present(this.#store),
        table: this.#table,
        jsm: present(this.#jsm),
        publisher: present(this.#plane).publisher,
        clock,
        isPassedOn,
      }),
      triggerUid: (namespace, name) => this.#store?.get(TRIGGER, { namespace, name })?.metadata.uid,
      follow: (onRecord) => {
        this.#followers.add(onRecord);
        return { close: () => this.#followers.delete(onRecord) };
      },
      apply: (yaml) => applyYaml(present(this.#store), { yaml, checkCesql: checkExpression }),
      objects: (kind, namespace) => listObjects(present(this.#store), { kind, namespace }),
    });
    const listener = await listen({
      fetch: app.fetch,
      host: config.host,
      port: config.controlPort,
      flag: "--control-port",
      clock,
    });
    return this.#closing.use("control port", listener);
  }

  #functions(): FunctionSummary[] {
    return (this.#host?.status() ?? []).map(({ namespace, name, instances }) => ({
      namespace,
      name,
      instances: instances.map(({ pid, state }) => ({ pid, state })),
    }));
  }

  #workers(): WorkerSummary[] {
    const crew = this.#crew;
    if (crew === undefined) return [];
    const own = { pid: process.pid, ready: this.#trouble() === undefined, connections: crew.kept };
    const others = crew.workers.map(({ pid, isReady, connections }) => ({
      pid,
      ready: isReady,
      connections,
    }));
    return [own, ...others];
  }

  #rejected(): Rejected[] {
    const broken = [...this.#functionFolder.problems].flatMap(([name, problems]) =>
      problems.map(({ file, line, message }) => ({ file, line, kind: "Function", name, message })),
    );
    return [...(this.#manifests?.rejected() ?? []), ...broken];
  }

  /** This process and its workers. */
  #notReady(): string | undefined {
    return this.#trouble() ?? this.#crew?.trouble();
  }

  /** This process alone. */
  #trouble(): string | undefined {
    return this.#cannotStore() ?? this.#dispatcher?.trouble();
  }

  #cannotStore(): string | undefined {
    if (this.#phase === "draining") return "draining";
    if (this.#phase === "starting") return `starting: waiting for ${this.#waitingFor}`;
    return this.#connection?.isConnected() === true ? undefined : "NATS is not connected";
  }

  /** `path` is `<namespace>/<broker>`. */
  #refusal(path: string): MeshError | undefined {
    const reason = this.#cannotStore();
    return reason === undefined
      ? this.#guard?.refusal(path)
      : new MeshError("STORAGE_UNAVAILABLE", { found: reason, fix: "Send it again in a moment" });
  }

  #tell(record: JournalRecord): void {
    this.#options.onRecord(record);
    for (const follower of this.#followers) follower(record);
  }
}

/** What the control plane works with, in every term. */
interface ControlParts {
  readonly store: Store;
  readonly adapter: HostAdapter;
  readonly provisioner: Provisioner;
}

/** Where the control plane's routes go. */
interface RouteSink {
  readonly set: DataPlane["setRoutes"];
  readonly served: DataPlane["routesServed"];
}

interface SharedParts extends ControlParts {
  readonly leases: Leases;
  readonly watchFunctions: () => Promise<void>;
}

/** The lease is no fence: what cannot be taken back is done only while it is held. */
function requireLead(leads: () => boolean): void {
  if (!leads()) throw new Error("another process has taken over");
}

function checkExpression(expression: string, options?: { dataPaths: boolean }): string | undefined {
  return options?.dataPaths ? checkDataFilter(expression) : checkCesql(expression);
}

/** Requests arrive before the part that serves them is there. */
function present<T>(part: T | undefined): T {
  if (part !== undefined) return part;
  throw new MeshError("STORAGE_UNAVAILABLE", {
    found: "the mesh is still starting",
    fix: "Send it again in a moment",
  });
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** An address that can be called: "any address" is reached through loopback. */
function printable(host: string): string {
  return host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
}
