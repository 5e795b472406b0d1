/**
 * The connection to NATS, for the whole process: options that survive a restart of the server, the check that
 * the server is one weft can use, and who is told when it goes and comes.
 *
 * C1  it reconnects for ever; only `close()` ends it. What was on its way when it broke is lost: whoever
 *     published or acked must do so again (onDisconnect).
 * C2  credentials come from files and are read again at each reconnect, so they can be rotated.
 * C3  no secret of the address or the files reaches an error or a log (url.ts U1).
 */
import { readFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import {
  type Authenticator,
  AuthorizationError,
  connect,
  credsAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
  nkeyAuthenticator,
  type Status,
  type TlsOptions,
} from "@nats-io/transport-node";
import type { Clock } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { readFrames } from "./raw.ts";
import { parseNatsUrl, redactUrl } from "./url.ts";
import { isNewEnough, parseVersion, tooOld } from "./version.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const RECONNECT_WAIT_MS = 250;
const PING_INTERVAL_MS = 5000;
const PINGS_UNANSWERED_MAX = 2;
const CLOSE_FLUSH_MS = 2000;
/** A server that takes longer to answer a ping is not one to send events to. */
const ANSWER_WAIT_MS = 1000;

/** Where NATS is and how to log in. */
export interface NatsTarget {
  /** One or several comma-separated addresses; may hold a token or a user and password. */
  readonly url: string;
  /** A credentials file (JWT and seed), as `nsc` writes it. */
  readonly credsFile?: string | undefined;
  /** A file that holds an nkey seed. */
  readonly nkeyFile?: string | undefined;
  readonly tlsCaFile?: string | undefined;
  readonly tlsCertFile?: string | undefined;
  readonly tlsKeyFile?: string | undefined;
}

export interface ConnectOptions {
  /** How the server's monitoring names this client. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface MeshConnection extends Closeable {
  readonly nc: NatsConnection;
  /** The version of the server connected to now. */
  serverVersion(): string;
  isConnected(): boolean;
  /** Asks the server for a sign of life, for at most a second; what is wrong, or undefined. */
  trouble(): Promise<string | undefined>;
  /** Calls back each time the connection is lost; the result takes the listener off. */
  onDisconnect(listener: () => void): () => void;
  /** Calls back each time the connection is there again; the result takes the listener off. */
  onReconnect(listener: () => void): () => void;
  /** Resolves when the connection has ended for good. */
  readonly closed: Promise<void>;
}

/** Rejects with NATS_UNREACHABLE, NATS_TOO_OLD or NATS_JETSTREAM_OFF; nothing is left open then. */
export async function connectNats(target: NatsTarget, options: ConnectOptions): Promise<MeshConnection> {
  const safeUrl = redactUrl(target.url);
  const nc = await connect(clientOptions(target, options.name)).catch((error: unknown) => {
    throw unreachable(safeUrl, error);
  });
  try {
    const version = parseVersion(nc.info?.version ?? "");
    if (version === undefined || !isNewEnough(version)) {
      throw tooOld(nc.info?.version ?? "an unknown version", safeUrl);
    }
    await requireJetStream(nc, safeUrl);
    readFrames(nc);
  } catch (error) {
    await nc.close();
    throw error;
  }
  return new Connection(nc, options);
}

function clientOptions(target: NatsTarget, name: string): NodeConnectionOptions {
  const { servers, token, user, pass, tls } = parseNatsUrl(target.url);
  const authenticator = authenticatorOf(target);
  const tlsOptions = tlsOf(target, tls);
  return {
    servers: [...servers],
    name,
    ...(token === undefined ? {} : { token }),
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(authenticator === undefined ? {} : { authenticator }),
    ...(tlsOptions === undefined ? {} : { tls: tlsOptions }),
    timeout: CONNECT_TIMEOUT_MS,
    maxReconnectAttempts: -1,
    // A rotated secret may be refused for a moment; giving up would take the mesh down with it.
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: PINGS_UNANSWERED_MAX,
    noAsyncTraces: true,
  };
}

function authenticatorOf({ credsFile, nkeyFile }: NatsTarget): Authenticator | undefined {
  if (credsFile !== undefined) return credsAuthenticator(() => readSecret(credsFile));
  if (nkeyFile !== undefined) {
    return nkeyAuthenticator(() => Buffer.from(readSecret(nkeyFile).toString("latin1").trim(), "latin1"));
  }
  return undefined;
}

function readSecret(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`the credentials file cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function tlsOf(
  { tlsCaFile, tlsCertFile, tlsKeyFile }: NatsTarget,
  required: boolean,
): TlsOptions | undefined {
  if (!required && tlsCaFile === undefined && tlsCertFile === undefined) return undefined;
  return {
    ...(tlsCaFile === undefined ? {} : { caFile: tlsCaFile }),
    ...(tlsCertFile === undefined ? {} : { certFile: tlsCertFile }),
    ...(tlsKeyFile === undefined ? {} : { keyFile: tlsKeyFile }),
  };
}

async function requireJetStream(nc: NatsConnection, safeUrl: string): Promise<void> {
  try {
    await (await jetstreamManager(nc, { checkAPI: false })).getAccountInfo();
  } catch (error) {
    throw new MeshError("NATS_JETSTREAM_OFF", {
      expected: "JetStream to be on for this account",
      found: `${messageOf(error)} (${safeUrl})`,
      fix: "Start the server with JetStream (nats-server -js) and enable it for the account",
      cause: error,
    });
  }
}

function unreachable(safeUrl: string, error: unknown): MeshError {
  if (error instanceof MeshError) return error;
  const refused = error instanceof AuthorizationError;
  return new MeshError("NATS_UNREACHABLE", {
    expected: `a NATS server at ${safeUrl}`,
    found: messageOf(error),
    fix: refused
      ? "Check the credentials in NATS_URL or in the credentials file"
      : "Check that the server runs and that NATS_URL is right",
    cause: error,
  });
}

class Connection implements MeshConnection {
  readonly nc: NatsConnection;
  readonly closed: Promise<void>;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #onDisconnect = new Set<() => void>();
  readonly #onReconnect = new Set<() => void>();
  #connected = true;
  #closing: Promise<void> | undefined;

  constructor(nc: NatsConnection, { clock, log }: ConnectOptions) {
    this.nc = nc;
    this.#clock = clock;
    this.#log = log.child({ stage: "nats" });
    this.closed = nc.closed().then(() => {
      this.#connected = false;
    });
    background(this.#follow(), (error) => this.#log.error({ error: messageOf(error) }, "status lost"));
  }

  serverVersion(): string {
    return this.nc.info?.version ?? "unknown";
  }

  isConnected(): boolean {
    return this.#connected;
  }

  /** A frozen server keeps its connections: only an answer proves it alive. */
  async trouble(): Promise<string | undefined> {
    if (!this.#connected) return "NATS is not connected";
    const waiting = new AbortController();
    const silent = this.#clock.sleep(ANSWER_WAIT_MS, waiting.signal).then(() => "NATS does not answer");
    const alive = this.nc.flush().then(
      () => undefined,
      (error: unknown) => messageOf(error),
    );
    const trouble = await Promise.race([alive, silent]);
    waiting.abort();
    return trouble;
  }

  onDisconnect(listener: () => void): () => void {
    return subscribe(this.#onDisconnect, listener);
  }

  onReconnect(listener: () => void): () => void {
    return subscribe(this.#onReconnect, listener);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** What was published last (an ack, say) still goes out. */
  async #close(): Promise<void> {
    if (this.#connected && !this.nc.isClosed()) {
      const waiting = new AbortController();
      const flushed = this.nc.flush().then(
        () => waiting.abort(),
        () => waiting.abort(),
      );
      await Promise.race([flushed, this.#clock.sleep(CLOSE_FLUSH_MS, waiting.signal)]);
    }
    await this.nc.close();
    await this.closed;
  }

  async #follow(): Promise<void> {
    for await (const status of this.nc.status()) this.#note(status);
  }

  #note(status: Status): void {
    switch (status.type) {
      case "disconnect":
        if (!this.#connected) return;
        this.#connected = false;
        this.#log.warn({}, "connection to NATS lost, reconnecting");
        this.#tell(this.#onDisconnect);
        return;
      case "reconnect":
        this.#connected = true;
        this.#log.info({ version: this.serverVersion() }, "connected to NATS again");
        this.#tell(this.#onReconnect);
        return;
      case "error":
        this.#log.warn({ error: status.error.message }, "NATS reported an error");
        return;
      case "slowConsumer":
        this.#log.warn({ pending: status.pending }, "a subscription does not keep up");
        return;
    }
  }

  #tell(listeners: Set<() => void>): void {
    for (const listener of [...listeners]) {
      try {
        listener();
      } catch (error) {
        this.#log.error({ error: messageOf(error) }, "a listener of the connection failed");
      }
    }
  }
}

function subscribe(listeners: Set<() => void>, listener: () => void): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
