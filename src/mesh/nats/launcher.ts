/**
 * Gives the mesh its NATS: a cluster somebody else runs (an address is given: nothing is started, it is only
 * checked), or else an embedded server that is found or fetched, started on the data directory, kept running
 * and stopped with weft.
 */
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { connectNats, type NatsTarget } from "./connection.ts";
import type { DataDir } from "./data-dir.ts";
import type { ReleaseSource } from "./fetch.ts";
import { findServer } from "./find.ts";
import { startEmbeddedServer } from "./server.ts";
import type { Durability } from "./server-config.ts";
import { spreadConsumers } from "./spread.ts";
import { redactUrl } from "./url.ts";

export interface NatsOptions {
  /** A server or cluster to use instead of starting one (NATS_URL and its credentials). */
  readonly external?: NatsTarget | undefined;
  /** Locked by the caller, who also closes it after the server. */
  readonly dataDir: DataDir;
  /** The user's cache directory: $XDG_CACHE_HOME or ~/.cache. */
  readonly cacheDir: string;
  /** The value of the PATH variable. */
  readonly path: string;
  readonly durability: Durability;
  /** Forget everything stored, before the start. Refused with an external server. */
  readonly reset: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** One line for the user: what was chosen, progress. Never a secret. */
  readonly say: (line: string) => void;
  /** Ends a start that is still under way. */
  readonly signal?: AbortSignal | undefined;
  /** Where release archives come from; a test has its own. */
  readonly releases?: ReleaseSource;
}

export interface NatsServer extends Closeable {
  /** What connectNats wants; holds secrets. */
  readonly target: NatsTarget;
  /** With the token: for a client, never for a log or an API. */
  readonly url: string;
  /** Without credentials: for people. */
  readonly safeUrl: string;
  readonly version: string;
  /** Whether weft runs this server, and so ends it with `close()`. */
  readonly owned: boolean;
  /** The pid of nats-server now; undefined when it is not ours, or between its death and its restart. */
  pidNow(): number | undefined;
  /** To be called when a stream was made whose consumers may be many; matters to a server on this machine alone. */
  spreadConsumers(stream: string): Promise<void>;
}

/**
 * Resolves when JetStream answers. Rejects with NATS_NOT_FOUND, NATS_TOO_OLD, NATS_START_FAILED,
 * NATS_UNREACHABLE, NATS_JETSTREAM_OFF or CONFIG_INVALID; nothing is left running then.
 */
export async function startNats(options: NatsOptions): Promise<NatsServer> {
  return options.external === undefined ? startOwned(options) : useExternal(options.external, options);
}

async function useExternal(target: NatsTarget, { clock, log, say, reset }: NatsOptions): Promise<NatsServer> {
  const safeUrl = redactUrl(target.url);
  if (reset) {
    throw new MeshError("CONFIG_INVALID", {
      field: "--reset",
      expected: "the embedded NATS server",
      found: `NATS_URL=${safeUrl}`,
      fix: "weft wipes only its own store; delete the streams of that server with its own tools",
    });
  }
  const probe = await connectNats(target, { name: "weft launcher", clock, log });
  const version = probe.serverVersion();
  await probe.close();
  say(`nats: using ${safeUrl} (NATS_URL, version ${version})`);
  return {
    target,
    url: target.url,
    safeUrl,
    version,
    owned: false,
    pidNow: () => undefined,
    spreadConsumers: async () => {},
    close: async () => {},
  };
}

async function startOwned(options: NatsOptions): Promise<NatsServer> {
  const { dataDir, durability, clock, log, reset } = options;
  if (process.platform === "win32") {
    throw new MeshError("NATS_START_FAILED", {
      expected: "Linux or macOS for the embedded NATS server",
      found: "Windows",
      fix: "Run weft in WSL, or set NATS_URL to a running server",
    });
  }
  const { binary } = await findServer(options);
  const server = await startEmbeddedServer({ binary, dataDir, durability, reset, clock, log });
  return {
    target: { url: server.url },
    url: server.url,
    safeUrl: redactUrl(server.url),
    version: server.version,
    owned: true,
    pidNow: () => server.pidNow(),
    spreadConsumers: (stream) => spreadConsumers(dataDir.file("store"), stream, clock),
    close: () => server.close(),
  };
}
