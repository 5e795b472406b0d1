/**
 * The data directory: everything weft keeps on this machine, one weft at a time.
 *
 * D1  mode 0700, and secrets in it 0600: other users of the machine see nothing.
 * D2  `lock` names its holder by pid and start time, and appears with its content in one step (a hard link), so
 *     a half-written lock is never read. A reused pid does not count as the holder.
 * D3  the lock of a dead holder is broken by exactly one contender: the one whose link named after that holder
 *     succeeds, and which still finds that holder in what it linked. Until then the lock stays.
 * D4  `wipe` removes what weft put there and nothing else.
 */
import { createHash, randomBytes } from "node:crypto";
import { linkSync, readFileSync, rmSync, statSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, realpath, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { assert, MeshError, messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import { startedAt } from "./processes.ts";

const LOCK_ATTEMPTS_MAX = 50;
const LOCK_RETRY_MS = 20;
/** Breaking a lock takes microseconds; a breaker that was killed in the middle is overruled after this. */
const BREAKER_MS_MAX = 10_000;

const holderSchema = z.object({ pid: z.int().positive(), started: z.string() });
type Holder = z.output<typeof holderSchema>;

export interface DataDir extends Closeable {
  /** Absolute, symbolic links resolved. */
  readonly path: string;
  /** The absolute path of a file or folder in it. */
  file(name: DataFile): string;
  /** Replaces a file at once, readable by this user alone. */
  writeSecret(name: DataFile, content: string): Promise<void>;
  /** Removes the stored events and everything else NATS keeps here; foreign files stay. */
  wipe(): Promise<void>;
}

const files = {
  lock: "lock",
  /** The JetStream store. */
  store: "nats",
  config: "nats.conf",
  log: "nats.log",
  /** Written by the server itself before it opens the store. */
  pid: "nats.pid",
  /** Folder the server writes its ports into. */
  ports: "nats-ports",
  url: "nats.url",
} as const;

/** What weft keeps in the data directory. */
export type DataFile = keyof typeof files;

/**
 * Creates the directory when missing and locks it. Rejects with DATA_DIR_LOCKED when another weft has it, with
 * CONFIG_INVALID when this user cannot have it.
 */
export async function openDataDir(path: string, clock: Clock): Promise<DataDir> {
  const root = await makePrivate(path).catch((error: unknown) => {
    throw new MeshError("CONFIG_INVALID", {
      field: "--data-dir",
      expected: "a directory that this user owns or may create",
      found: messageOf(error),
      cause: error,
    });
  });
  const started = await startedAt(process.pid, clock);
  assert(started !== undefined, "this process runs");
  await lock(root, { pid: process.pid, started }, clock);
  return new LockedDir(root);
}

async function makePrivate(path: string): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
  return realpath(path);
}

class LockedDir implements DataDir {
  readonly path: string;
  #open = true;

  constructor(path: string) {
    this.path = path;
  }

  file(name: DataFile): string {
    return join(this.path, files[name]);
  }

  async writeSecret(name: DataFile, content: string): Promise<void> {
    const temporary = `${this.file(name)}.${randomBytes(6).toString("hex")}`;
    await writeFile(temporary, content, { mode: 0o600, flag: "wx" });
    await rename(temporary, this.file(name));
  }

  async wipe(): Promise<void> {
    for (const name of ["store", "config", "pid", "ports", "url"] as const) {
      await rm(this.file(name), { recursive: true, force: true });
    }
    for (const entry of await readdir(this.path)) {
      if (entry === files.log || entry.startsWith(`${files.log}.`)) await rm(join(this.path, entry));
    }
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await rm(this.file("lock"), { force: true });
  }
}

async function lock(root: string, self: Holder, clock: Clock): Promise<void> {
  const path = join(root, files.lock);
  const own = `${path}.${randomBytes(6).toString("hex")}`;
  await writeFile(own, `${JSON.stringify(self)}\n`, { mode: 0o600, flag: "wx" });
  try {
    for (let attempt = 0; attempt < LOCK_ATTEMPTS_MAX; attempt++) {
      if (tryLink(own, path)) return;
      const content = await readFile(path, "utf8").catch(() => undefined);
      if (content === undefined) continue;
      const holder = parseHolder(content);
      if (holder !== undefined && (await startedAt(holder.pid, clock)) === holder.started) {
        throw locked(root, holder);
      }
      if (!breakLock(path, content, clock)) await clock.sleep(LOCK_RETRY_MS);
    }
    throw locked(root, undefined);
  } finally {
    await rm(own, { force: true });
  }
}

function parseHolder(content: string): Holder | undefined {
  try {
    return holderSchema.parse(JSON.parse(content));
  } catch {
    return undefined;
  }
}

/** D3. Without an await inside, so that no other task of this process comes between the steps. */
function breakLock(path: string, deadContent: string, clock: Clock): boolean {
  const tombstone = `${path}.dead-${createHash("sha256").update(deadContent).digest("hex")}`;
  if (!tryLink(path, tombstone)) {
    const since = statSync(tombstone, { throwIfNoEntry: false })?.ctimeMs;
    if (since !== undefined && clock.now() - since > BREAKER_MS_MAX) rmSync(tombstone, { force: true });
    return false;
  }
  const isDead = readFileSync(tombstone, "utf8") === deadContent;
  if (isDead) rmSync(path, { force: true });
  rmSync(tombstone, { force: true });
  return isDead;
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "EEXIST" || error.code === "ENOENT")) {
      return false;
    }
    throw error;
  }
}

function locked(root: string, holder: Holder | undefined): MeshError {
  return new MeshError("DATA_DIR_LOCKED", {
    expected: `${root} to be free`,
    found:
      holder === undefined ? "starts and stops of others all the time" : `it in use by process ${holder.pid}`,
    fix: `Stop ${holder === undefined ? "them" : `it (kill ${holder.pid})`}, or use another --data-dir`,
  });
}
