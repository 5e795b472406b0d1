/**
 * The Store's rules over any persistence: reads come from memory, a write is decided by change.ts, persisted
 * under the condition that nobody was faster, and has reached memory before it resolves (S4).
 *
 * P1  a write that names a resourceVersion is tried once against exactly that; one that names none is decided
 *     anew on the latest state, WRITE_ATTEMPTS_MAX times.
 * P2  a write is refused because an object exists, or does not, only after asking the persistence itself.
 * P3  when an object is gone, what it owned alone follows; a failure there is logged and made good at the next
 *     start.
 */
import { randomUUID } from "node:crypto";
import { type Clock, rfc3339 } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { KindId, KubeObject, StoredObject } from "../resources/meta.ts";
import {
  alreadyExists,
  atVersion,
  type Change,
  changeObject,
  changeStatus,
  changeToDeleted,
  createdObject,
  notFound,
  type Preconditions,
  versionConflict,
} from "./change.ts";
import { orphans } from "./garbage.ts";
import { keyOf, type ResourceCache, type WatchOptions } from "./resource-cache.ts";
import type { ListResult, ObjectKey, Store, WatchEvent } from "./store.ts";

/** How often an unconditional write is decided anew because someone else was faster. */
export const WRITE_ATTEMPTS_MAX = 20;

/** A write of one object, live or gone. */
export interface Persist {
  readonly kind: KindId;
  readonly object: StoredObject;
  readonly deleted: boolean;
  /** The resourceVersion the live object must still have; undefined: there must be none. */
  readonly expected: string | undefined;
}

export interface Persistence extends Closeable {
  /** Resolves to the write's resourceVersion once the cache has it, or to undefined when `expected` failed. */
  persist(write: Persist): Promise<string | undefined>;
  /** Brings the cache up to the last persisted state of one object. */
  refresh(kind: KindId, key: ObjectKey): Promise<void>;
  /** Resolves when the cache has reached a resourceVersion that a client already saw elsewhere. */
  reached(resourceVersion: string): Promise<void>;
}

export interface CachedStoreParts {
  readonly cache: ResourceCache;
  readonly persistence: Persistence;
  readonly clock: Clock;
  readonly log: Log;
}

export class CachedStore implements Store {
  readonly #cache: ResourceCache;
  readonly #persistence: Persistence;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor({ cache, persistence, clock, log }: CachedStoreParts) {
    this.#cache = cache;
    this.#persistence = persistence;
    this.#clock = clock;
    this.#log = log;
  }

  get(kind: KindId, key: ObjectKey): StoredObject | undefined {
    return this.#cache.get(kind, key);
  }

  list(kind: KindId, namespace?: string): ListResult {
    return this.#cache.list(kind, namespace);
  }

  watch(options: WatchOptions, onEvent: (event: WatchEvent) => void): { close(): void } {
    return this.#cache.watch(options, onEvent);
  }

  async create(kind: KindId, submitted: KubeObject): Promise<StoredObject> {
    const key = keyOf(submitted);
    const object = createdObject(kind, submitted, { uid: randomUUID(), now: this.#now() });
    for (let attempt = 1; attempt <= WRITE_ATTEMPTS_MAX; attempt++) {
      if ((await this.#latest(kind, key, { wanted: false })) !== undefined)
        throw alreadyExists(kind, key.name);
      const version = await this.#persistence.persist({ kind, object, deleted: false, expected: undefined });
      if (version !== undefined) return atVersion(object, version);
      await this.#persistence.refresh(kind, key);
    }
    throw tooContended(kind, key);
  }

  update(kind: KindId, object: KubeObject): Promise<StoredObject> {
    return this.#write(kind, keyOf(object), {
      version: object.metadata.resourceVersion,
      decide: (old) => changeObject(kind, old, object),
    });
  }

  updateStatus(kind: KindId, object: KubeObject): Promise<StoredObject> {
    return this.#write(kind, keyOf(object), {
      version: object.metadata.resourceVersion,
      decide: (old) => changeStatus(kind, old, object),
    });
  }

  delete(kind: KindId, key: ObjectKey, preconditions: Preconditions = {}): Promise<StoredObject> {
    return this.#write(kind, key, {
      version: preconditions.resourceVersion,
      decide: (old) => changeToDeleted(kind, old, { now: this.#now(), preconditions }),
    });
  }

  /** Deletes whatever outlived all of its owners (a crash may have left it). */
  async collectGarbage(): Promise<void> {
    await this.#deleteAll(orphans(this.#cache.all(), undefined));
  }

  async close(): Promise<void> {
    this.#cache.close();
    await this.#persistence.close();
  }

  async #write(
    kind: KindId,
    key: ObjectKey,
    { version, decide }: { version: string | undefined; decide: (old: StoredObject) => Change },
  ): Promise<StoredObject> {
    if (version !== undefined) await this.#persistence.reached(version);
    for (let attempt = 1; attempt <= WRITE_ATTEMPTS_MAX; attempt++) {
      const old = await this.#latest(kind, key, { wanted: true });
      if (old === undefined) throw notFound(kind, key.name);
      const change = decide(old);
      if (change.kind === "unchanged") return change.object;
      const deleted = change.kind === "remove";
      const expected = old.metadata.resourceVersion;
      const written = await this.#persistence.persist({ kind, object: change.object, deleted, expected });
      if (written !== undefined) {
        if (deleted) await this.#deleteAll(orphans(this.#cache.all(), old.metadata.uid));
        return atVersion(change.object, written);
      }
      await this.#persistence.refresh(kind, key);
      if (version !== undefined) throw versionConflict(kind, this.#cache.get(kind, key) ?? old, version);
    }
    throw tooContended(kind, key);
  }

  /** P2: what would refuse the write is looked up again first, the cache may be a moment behind. */
  async #latest(
    kind: KindId,
    key: ObjectKey,
    { wanted }: { wanted: boolean },
  ): Promise<StoredObject | undefined> {
    const cached = this.#cache.get(kind, key);
    if ((cached !== undefined) === wanted) return cached;
    await this.#persistence.refresh(kind, key);
    return this.#cache.get(kind, key);
  }

  async #deleteAll(targets: readonly { kind: KindId; object: StoredObject }[]): Promise<void> {
    for (const { kind, object } of targets) {
      try {
        await this.delete(kind, keyOf(object), { uid: object.metadata.uid });
      } catch (error) {
        if (error instanceof MeshError && (error.code === "NOT_FOUND" || error.code === "CONFLICT")) continue;
        this.#log.warn(
          { stage: "store", kind: kind.kind, name: object.metadata.name, error: messageOf(error) },
          "an object outlived its owner; it goes at the next start",
        );
      }
    }
  }

  #now(): string {
    // Kubernetes times have whole seconds.
    return rfc3339(this.#clock.now()).replace(/\.\d+Z$/, "Z");
  }
}

function tooContended(kind: KindId, key: ObjectKey): MeshError {
  return new MeshError("CONFLICT", {
    field: `${kind.kind} "${key.name}"`,
    found: `other writers were faster ${WRITE_ATTEMPTS_MAX} times in a row`,
    fix: "Try again",
  });
}
