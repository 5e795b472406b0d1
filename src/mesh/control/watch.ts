/**
 * Keeps the Store in step with manifest roots: applies them at the start and whenever a file changes.
 *
 * M1  only files that changed are applied again; what the API changed or deleted meanwhile stays as it is.
 * M2  an object whose document vanished is deleted: it carries the name of its file (`weft.dev/manifest`).
 * M3  never because of what is faulty now: not while some file is no valid YAML, not out of a file with a
 *     rejected document, not an object that a rejected document names, not from a root that cannot be read.
 * M4  one scan at a time; a change during a scan leads to another.
 */
import { type FSWatcher, watch } from "node:fs";
import { isAbsolute, normalize, relative, sep } from "node:path";
import type { Clock, Timer } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { background, type Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import { MANIFEST } from "../resources/annotations.ts";
import type { CheckCesql } from "../resources/filters.ts";
import { authoredKinds } from "../resources/kinds.ts";
import type { KindId, KubeObject } from "../resources/meta.ts";
import type { Store } from "../store/store.ts";
import { applyDocuments } from "./apply.ts";
import { readManifestFiles } from "./manifest-files.ts";
import {
  type ManifestDocument,
  type ManifestText,
  type ParsedManifest,
  parseManifest,
  type RejectedDocument,
} from "./manifests.ts";
import { deleteObject } from "./status.ts";

/** Editors write a file in several steps. */
const DEBOUNCE_MS = 50;
/** Finds what the file system did not tell (network drives, roots that appear later). */
const RESCAN_MS = 5_000;

export interface ManifestWatchOptions {
  /** Files or folders, as the user wrote them: messages and annotations repeat that. */
  readonly roots: readonly string[];
  readonly store: Store;
  readonly checkCesql?: CheckCesql;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ManifestWatch extends Closeable {
  /** Everything that does not apply now, by file and line. */
  rejected(): readonly RejectedDocument[];
  /** Looks at the roots now; resolves when what is there is applied. */
  scan(): Promise<void>;
}

/** Resolves when the manifests that are there have been applied. */
export async function watchManifests(options: ManifestWatchOptions): Promise<ManifestWatch> {
  const watching = new ManifestWatcher(options);
  await watching.scan();
  watching.follow();
  return watching;
}

/** One file as it was last seen; while its text stays, so do its documents. */
interface SeenFile {
  readonly text: string;
  readonly parsed: ParsedManifest;
}

class ManifestWatcher implements ManifestWatch {
  readonly #options: ManifestWatchOptions;
  readonly #roots: readonly string[];
  #seen = new Map<string, SeenFile>();
  /** The documents that are in the Store, by the object they declare. */
  #applied = new Map<string, ManifestDocument>();
  #rejected: readonly RejectedDocument[] = [];
  #watchers = new Map<string, FSWatcher>();
  #rescan: Timer | undefined;
  #debounce: Timer | undefined;
  #scanning: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: ManifestWatchOptions) {
    this.#options = options;
    this.#roots = options.roots.map((root) => normalize(root));
  }

  rejected(): readonly RejectedDocument[] {
    return this.#rejected;
  }

  /** M4. */
  scan(): Promise<void> {
    const next = this.#scanning.then(() => this.#scanOnce());
    this.#scanning = next.catch(() => {});
    return next;
  }

  follow(): void {
    this.#watchRoots();
    this.#rescan = this.#options.clock.every(RESCAN_MS, () => {
      this.#watchRoots();
      this.#scanInBackground();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#rescan?.cancel();
    this.#debounce?.cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    await this.#scanning;
  }

  async #scanOnce(): Promise<void> {
    if (this.#closed) return;
    const { store, checkCesql } = this.#options;
    const { files, unreadable } = await readManifestFiles(this.#roots);
    this.#seen = this.#look(files, unreadable);
    const parsed = [...this.#seen.values()].map((seen) => seen.parsed);
    const { declared, repeated } = sortOut(parsed.flatMap(({ documents }) => documents));
    const results = await applyDocuments(
      store,
      [...declared].flatMap(([key, document]) => (this.#applied.get(key) === document ? [] : document)),
      { checkCesql, followsFile: true },
    );
    const refused = results.flatMap((result) => (result.outcome === "rejected" ? result : []));
    // A refused document is tried again with every scan: the reason may lie elsewhere and pass.
    const refusedDocuments = new Set(refused.map(({ document }) => document));
    this.#applied = new Map([...declared].filter(([, document]) => !refusedDocuments.has(document)));
    this.#report([
      ...parsed.flatMap(({ rejected }) => rejected),
      ...repeated,
      ...refused.map(({ rejected }) => rejected),
    ]);
    await this.#deleteVanished(declared, unreadable);
  }

  #look(files: readonly ManifestText[], unreadable: readonly string[]): Map<string, SeenFile> {
    const seen = new Map<string, SeenFile>();
    for (const { file, text } of files) {
      const known = this.#seen.get(file);
      const isKnown = known !== undefined && known.text === text;
      seen.set(
        file,
        isKnown ? known : { text, parsed: parseManifest({ file, text }, this.#options.checkCesql) },
      );
    }
    // M3: what an unreadable root declared is as it was.
    for (const [file, known] of this.#seen) if (isBelow(file, unreadable)) seen.set(file, known);
    return seen;
  }

  #report(rejected: readonly RejectedDocument[]): void {
    const told = new Set(this.#rejected.map((each) => JSON.stringify(each)));
    for (const each of rejected.filter((one) => !told.has(JSON.stringify(one)))) {
      this.#options.log.warn({ stage: "control", ...each }, "a manifest does not apply");
    }
    this.#rejected = rejected;
  }

  /** M2, M3. */
  async #deleteVanished(
    declared: ReadonlyMap<string, ManifestDocument>,
    unreadable: readonly string[],
  ): Promise<void> {
    const { store, log } = this.#options;
    if (this.#rejected.some(({ name }) => name === "")) return;
    const faulty = new Set(this.#rejected.flatMap(({ file, kind, name }) => [file, `${kind} ${name}`]));
    for (const kind of authoredKinds) {
      for (const object of store.list(kind).items) {
        const file = object.metadata.annotations?.[MANIFEST];
        if (file === undefined || declared.has(declarationKey(kind, object))) continue;
        if (faulty.has(file) || faulty.has(`${kind.kind} ${object.metadata.name}`)) continue;
        if (!isBelow(file, this.#roots) || isBelow(file, unreadable)) continue;
        log.info(
          { stage: "control", file, kind: kind.kind, name: object.metadata.name },
          "its manifest is gone",
        );
        await deleteObject(store, kind, object);
      }
    }
  }

  #watchRoots(): void {
    for (const root of this.#roots) {
      if (this.#closed || this.#watchers.has(root)) continue;
      try {
        const watcher = watch(root, { recursive: true, persistent: false }, () => this.#scanSoon());
        const drop = () => {
          watcher.close();
          this.#watchers.delete(root);
        };
        watcher.on("error", drop);
        this.#watchers.set(root, watcher);
      } catch {
        // It is not there yet: the rescan tries again.
      }
    }
  }

  #scanSoon(): void {
    if (this.#closed) return;
    this.#debounce?.cancel();
    this.#debounce = this.#options.clock.after(DEBOUNCE_MS, () => this.#scanInBackground());
  }

  #scanInBackground(): void {
    background(this.scan(), (error) =>
      this.#options.log.warn({ stage: "control", error: messageOf(error) }, "manifests could not be applied"),
    );
  }
}

/** An object that two places declare belongs to the first; the second is told so. */
function sortOut(documents: readonly ManifestDocument[]): {
  declared: Map<string, ManifestDocument>;
  repeated: RejectedDocument[];
} {
  const declared = new Map<string, ManifestDocument>();
  const repeated: RejectedDocument[] = [];
  for (const document of documents) {
    const { file, line, kind, object } = document;
    const key = declarationKey(kind, object);
    const earlier = declared.get(key);
    if (earlier === undefined) declared.set(key, document);
    else {
      const message = `${key} is already declared in ${earlier.file}:${earlier.line}`;
      repeated.push({ file, line, kind: kind.kind, name: object.metadata.name, message });
    }
  }
  return { declared, repeated };
}

function declarationKey(kind: KindId, { metadata }: KubeObject): string {
  return `${kind.kind} ${metadata.namespace}/${metadata.name}`;
}

function isBelow(file: string, roots: readonly string[]): boolean {
  return roots.some((root) => {
    const path = relative(root, file);
    return path !== ".." && !path.startsWith(`..${sep}`) && !isAbsolute(path);
  });
}
