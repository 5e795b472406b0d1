/** The store of tests and of a mesh that keeps nothing: objects live in this process only. */
import { type Clock, systemClock } from "../clock.ts";
import { type Log, silentLog } from "../log.ts";
import { CachedStore, type Persist, type Persistence } from "./cached-store.ts";
import { atVersion } from "./change.ts";
import { keyOf, ResourceCache } from "./resource-cache.ts";
import type { Store } from "./store.ts";

export function createMemoryStore({
  clock = systemClock,
  log = silentLog,
}: {
  clock?: Clock;
  log?: Log;
} = {}): Store {
  const cache = new ResourceCache((error) => log.error({ stage: "store", error }, "a watcher failed"));
  return new CachedStore({ cache, persistence: new MemoryPersistence(cache), clock, log });
}

class MemoryPersistence implements Persistence {
  readonly #cache: ResourceCache;

  constructor(cache: ResourceCache) {
    this.#cache = cache;
  }

  async persist({ kind, object, deleted, expected }: Persist): Promise<string | undefined> {
    if (this.#cache.get(kind, keyOf(object))?.metadata.resourceVersion !== expected) return undefined;
    const version = String(this.#cache.revision + 1);
    // Callers keep their own object: what is stored must not change with it.
    const stored = atVersion(structuredClone(object), version);
    if (deleted) this.#cache.remove(kind, stored);
    else this.#cache.put(kind, stored);
    return version;
  }

  async refresh(): Promise<void> {}

  async reached(): Promise<void> {}

  async close(): Promise<void> {}
}
