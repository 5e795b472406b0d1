/**
 * All objects in memory, with the recent past for watchers. One writer applies changes in the order of their
 * revisions; reads and watches never wait.
 *
 * R1  revisions only rise; a change at or below what was applied is dropped.
 * R2  every watcher sees every change once, in order, also when a watcher's callback causes the next change.
 * R3  the past is kept for HISTORY_EVENTS_MAX changes; a watch from before that is refused.
 */
import { MeshError } from "../errors.ts";
import type { KindId, StoredObject } from "../resources/meta.ts";
import type { ListResult, ObjectKey, WatchEvent } from "./store.ts";

/** Changes a late watcher can still catch up on. */
export const HISTORY_EVENTS_MAX = 4096;

export interface WatchOptions {
  readonly kind?: KindId;
  readonly namespace?: string;
  readonly resourceVersion?: string;
}

interface Watcher {
  readonly options: WatchOptions;
  readonly onEvent: (event: WatchEvent) => void;
  /** The revision this watcher has seen. */
  seen: number;
}

interface PastEvent {
  readonly revision: number;
  readonly event: WatchEvent;
}

export class ResourceCache {
  readonly #objects = new Map<string, Map<string, { kind: KindId; object: StoredObject }>>();
  readonly #watchers = new Set<Watcher>();
  readonly #onCallbackError: (error: unknown) => void;
  #history: PastEvent[] = [];
  /** Events of which the last revision was not yet handed to all watchers. */
  #undelivered: PastEvent[] = [];
  #delivering = false;
  #revision = 0;
  #floor = 0;

  constructor(onCallbackError: (error: unknown) => void) {
    this.#onCallbackError = onCallbackError;
  }

  get revision(): number {
    return this.#revision;
  }

  get(kind: KindId, key: ObjectKey): StoredObject | undefined {
    return this.#objects.get(kindKey(kind))?.get(objectKey(key))?.object;
  }

  list(kind: KindId, namespace?: string): ListResult {
    const items = [...(this.#objects.get(kindKey(kind))?.values() ?? [])]
      .map(({ object }) => object)
      .filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace)
      .sort(byNamespaceAndName);
    return { items, resourceVersion: String(this.#revision) };
  }

  /** Everything there is, of all kinds. */
  *all(): Iterable<{ kind: KindId; object: StoredObject }> {
    for (const objects of this.#objects.values()) yield* objects.values();
  }

  /** Puts an object of the initial snapshot: no watcher hears of it. */
  load(kind: KindId, object: StoredObject): void {
    this.#set(kind, object);
    this.#revision = Math.max(this.#revision, Number(object.metadata.resourceVersion));
  }

  /** Ends the snapshot: history begins after `revision`. */
  loaded(revision: number): void {
    this.#revision = Math.max(this.#revision, revision);
    this.#floor = this.#revision;
  }

  /** Applies a write; the object carries its revision. */
  put(kind: KindId, object: StoredObject): void {
    const revision = Number(object.metadata.resourceVersion);
    if (revision <= this.#revision) return;
    const known = this.get(kind, keyOf(object)) !== undefined;
    this.#set(kind, object);
    this.#record(revision, { type: known ? "MODIFIED" : "ADDED", kind, object });
  }

  /** Applies a removal; the object is the last state with the removal's revision. */
  remove(kind: KindId, object: StoredObject): void {
    const revision = Number(object.metadata.resourceVersion);
    if (revision <= this.#revision) return;
    const removed = this.#objects.get(kindKey(kind))?.delete(objectKey(keyOf(object)));
    if (removed) this.#record(revision, { type: "DELETED", kind, object });
    else this.advance(revision);
  }

  /** Notes a revision that changed nothing anyone can see. */
  advance(revision: number): void {
    this.#revision = Math.max(this.#revision, revision);
  }

  watch(options: WatchOptions, onEvent: (event: WatchEvent) => void): { close(): void } {
    const from = options.resourceVersion === undefined ? this.#revision : Number(options.resourceVersion);
    if (from < this.#floor) {
      throw new MeshError("HISTORY_EXPIRED", {
        field: "resourceVersion",
        expected: `at least ${this.#floor}`,
        found: String(options.resourceVersion),
        fix: "List again and watch from there",
      });
    }
    const watcher: Watcher = { options, onEvent, seen: from };
    this.#watchers.add(watcher);
    for (const past of [...this.#history]) this.#tell(watcher, past);
    return { close: () => void this.#watchers.delete(watcher) };
  }

  close(): void {
    this.#watchers.clear();
  }

  #set(kind: KindId, object: StoredObject): void {
    const objects = this.#objects.get(kindKey(kind)) ?? new Map();
    this.#objects.set(kindKey(kind), objects);
    objects.set(objectKey(keyOf(object)), { kind, object });
  }

  #record(revision: number, event: WatchEvent): void {
    this.#revision = revision;
    const past = { revision, event };
    this.#history.push(past);
    if (this.#history.length > HISTORY_EVENTS_MAX) {
      this.#floor = this.#history.shift()?.revision ?? this.#floor;
    }
    this.#undelivered.push(past);
    this.#deliver();
  }

  /** R2: a change made inside a callback waits until the current one has reached every watcher. */
  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    for (let past = this.#undelivered.shift(); past !== undefined; past = this.#undelivered.shift()) {
      for (const watcher of [...this.#watchers]) this.#tell(watcher, past);
    }
    this.#delivering = false;
  }

  #tell(watcher: Watcher, { revision, event }: PastEvent): void {
    if (revision <= watcher.seen || !this.#watchers.has(watcher)) return;
    watcher.seen = revision;
    const { kind, namespace } = watcher.options;
    if (kind !== undefined && kindKey(kind) !== kindKey(event.kind)) return;
    if (namespace !== undefined && event.object.metadata.namespace !== namespace) return;
    try {
      watcher.onEvent(event);
    } catch (error) {
      this.#onCallbackError(error);
    }
  }
}

export function keyOf(object: { metadata: { namespace?: string | undefined; name: string } }): ObjectKey {
  return { namespace: object.metadata.namespace, name: object.metadata.name };
}

function kindKey({ group, resource }: KindId): string {
  return `${resource}.${group}`;
}

/** `/` is in no name, so no two keys collide. */
function objectKey({ namespace, name }: ObjectKey): string {
  return `${namespace ?? ""}/${name}`;
}

function byNamespaceAndName(a: StoredObject, b: StoredObject): number {
  const [x, y] = [keyOf(a), keyOf(b)];
  return compare(x.namespace ?? "", y.namespace ?? "") || compare(x.name, y.name);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
