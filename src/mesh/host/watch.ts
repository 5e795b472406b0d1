/**
 * Watches the functions folder: every `<name>.ts` and every folder `<name>/` with an entry file is a function.
 *
 * W1  A change is reported once its outcome differs: another digest, other problems, or gone.
 * W2  Events of the file system only say "look again": what is there is decided by scanning, so nothing is
 *     missed when events are (a slow rescan runs anyway), and a folder that appears later is found.
 * W3  Files a function imports from outside the folder count as its source.
 */
import { type FSWatcher, watch } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve, sep } from "node:path";
import type { Clock, Timer } from "../clock.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { type Bundle, type BundleProblem, bundleFunction, stopBundler } from "./bundle.ts";

const debounceMs = 40;
const rescanMs = 2000;
const extensions = new Set([".ts", ".mts", ".js", ".mjs", ".cjs"]);

export type FunctionChange =
  | { readonly name: string; readonly kind: "bundle"; readonly bundle: Bundle }
  | { readonly name: string; readonly kind: "problems"; readonly problems: readonly BundleProblem[] }
  | { readonly name: string; readonly kind: "removed" };

export interface WatchOptions {
  /** The functions folder; it need not exist yet. */
  readonly dir: string;
  readonly bundleDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called one change at a time, in order. Must not throw. */
  readonly onChange: (change: FunctionChange) => void;
}

interface Known {
  readonly source: string;
  /** What the source looked like when it was bundled; undefined = bundle again at the next look. */
  readonly signature: string | undefined;
  readonly inputs: readonly string[];
  readonly outcome: string;
}

/** Resolves after the first scan: every function that is there has been reported. */
export async function watchFunctions(options: WatchOptions): Promise<FunctionWatcher> {
  const watcher = new FunctionWatcher(options);
  await watcher.start();
  return watcher;
}

export class FunctionWatcher implements Closeable {
  readonly #options: WatchOptions;
  readonly #dir: string;
  readonly #known = new Map<string, Known>();
  readonly #watchers = new Map<string, FSWatcher>();
  #debounce: Timer | undefined;
  #rescan: Timer | undefined;
  #scanning: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#dir = resolve(options.dir);
  }

  async start(): Promise<void> {
    this.#rescan = this.#options.clock.every(rescanMs, () => this.#scanSoon());
    await this.scan();
  }

  /** Looks now; resolves when all that changed was reported. */
  scan(): Promise<void> {
    this.#scanning = this.#scanning.then(() => this.#scan());
    return this.#scanning;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#debounce?.cancel();
    this.#rescan?.cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    await this.#scanning;
    await stopBundler();
  }

  #scanSoon(): void {
    this.#debounce?.cancel();
    this.#debounce = this.#options.clock.after(debounceMs, () => void this.scan());
  }

  async #scan(): Promise<void> {
    if (this.#closed) return;
    try {
      this.#watch(this.#dir, { recursive: true });
      const sources = await listSources(this.#dir);
      for (const name of this.#known.keys()) {
        if (sources.has(name)) continue;
        this.#known.delete(name);
        this.#options.onChange({ name, kind: "removed" });
      }
      for (const [name, source] of sources) if (!this.#closed) await this.#look(name, source);
    } catch (error) {
      this.#options.log.error({ stage: "host", error }, "the functions folder could not be read");
    }
  }

  async #look(name: string, source: string): Promise<void> {
    const known = this.#known.get(name);
    const before = await signaturesOf(known?.inputs ?? []);
    if (known?.source === source && known.signature === joinSignatures(before)) return;
    const nameProblem = problemOfName(name, source);
    if (nameProblem !== undefined) return this.#report(name, source, { problems: [nameProblem], inputs: [] });
    const result = await bundleFunction(source, this.#options.bundleDir);
    if (result.ok) {
      for (const input of result.inputs) {
        if (!input.startsWith(this.#dir + sep)) this.#watch(dirname(input), { recursive: false });
      }
      const after = await signaturesOf(result.inputs);
      // What was written while it was read may or may not be in the bundle: bundle again at the next look.
      const isStable = [...after].every(([file, signature]) => before.get(file) === signature);
      const signature = isStable ? joinSignatures(after) : undefined;
      const outcome = result.bundle.digest;
      this.#known.set(name, { source, signature, inputs: result.inputs, outcome });
      if (known?.outcome !== outcome) this.#options.onChange({ name, kind: "bundle", bundle: result.bundle });
    } else {
      this.#report(name, source, result);
    }
  }

  /** What is broken is bundled again at every look: the cure may be a file nobody knows of yet. */
  #report(
    name: string,
    source: string,
    { problems, inputs }: { problems: readonly BundleProblem[]; inputs: readonly string[] },
  ): void {
    const outcome = JSON.stringify(problems);
    const before = this.#known.get(name)?.outcome;
    this.#known.set(name, { source, signature: undefined, inputs, outcome });
    if (before !== outcome) this.#options.onChange({ name, kind: "problems", problems });
  }

  #watch(folder: string, options: { recursive: boolean }): void {
    if (this.#watchers.has(folder)) return;
    try {
      const watcher = watch(folder, { ...options, persistent: false }, () => this.#scanSoon());
      const forget = () => {
        watcher.close();
        this.#watchers.delete(folder);
      };
      watcher.on("error", forget);
      this.#watchers.set(folder, watcher);
    } catch {
      // Not there (yet), or no watches left: the rescan sees to it.
    }
  }
}

/** By function name. Hidden files, `_` files, tests and declarations are none. */
async function listSources(dir: string): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  const entries = await readdir(dir, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  for (const entry of entries.sort((a, b) => a.name.localeCompare(b.name))) {
    const { name } = entry;
    if (/^[._]/.test(name) || name === "node_modules" || /\.(?:test|spec|d)\.[cm]?[jt]s$/.test(name))
      continue;
    const source = join(dir, name);
    if (entry.isDirectory() ? await isFunctionFolder(source) : extensions.has(extname(name))) {
      sources.set(entry.isDirectory() ? name : basename(name, extname(name)), source);
    }
  }
  return sources;
}

async function isFunctionFolder(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => []);
  return names.some((name) => name === "func.yaml" || /^index\.[cm]?[jt]s$/.test(name));
}

/** Size and times of each file; a file that is gone counts as well. */
async function signaturesOf(files: readonly string[]): Promise<Map<string, string>> {
  const signatures = await Promise.all(
    files.map(async (file): Promise<[string, string]> => {
      const found = await stat(file).catch(() => undefined);
      return [file, found === undefined ? "-" : `${found.size}/${found.mtimeMs}/${found.ino}`];
    }),
  );
  return new Map(signatures);
}

function joinSignatures(signatures: ReadonlyMap<string, string>): string {
  return JSON.stringify([...signatures]);
}

function problemOfName(name: string, file: string): BundleProblem | undefined {
  if (/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return undefined;
  const message = `Expected a function name of a-z, 0-9 and "-" that starts with a letter (it becomes a DNS label), found "${name}". Rename the file`;
  return { file, line: 0, column: 0, message };
}
