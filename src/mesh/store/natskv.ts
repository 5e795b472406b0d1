/**
 * The store in one NATS KV bucket (sheets nats-jetstream §5, kubernetes-api-for-kn §17): a revision of the bucket
 * is a resourceVersion, a write is a compare-and-swap on its key, and one watch of everything feeds the cache.
 *
 * N1  the cache changes only through the watch, so every process sees every change in the same order.
 * N2  a write resolves when the watch has brought it back, at most APPLY_WAIT_MS later.
 * N3  a deletion is a tombstone value (the last object), so that watchers elsewhere learn what was deleted; the
 *     tombstone becomes a delete marker after TOMBSTONE_KEEP_MS, and the marker expires after MARKER_TTL.
 * N4  after a reconnect, or when the bucket runs ahead of the watch, the watch starts again where it stopped.
 */
import { JetStreamApiError } from "@nats-io/jetstream";
import { type KV, Kvm, type KvWatchEntry } from "@nats-io/kv";
import type { NatsConnection, QueuedIterator } from "@nats-io/transport-node";
import { z } from "zod";
import type { Clock, Timer } from "../clock.ts";
import { MeshError, messageOf } from "../errors.ts";
import { background } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { KindId, StoredObject } from "../resources/meta.ts";
import { CachedStore, type Persist, type Persistence } from "./cached-store.ts";
import { atVersion } from "./change.ts";
import { formatKvKey } from "./kv-key.ts";
import { keyOf, ResourceCache } from "./resource-cache.ts";
import type { ObjectKey, Store } from "./store.ts";

export interface NatsKvStoreOptions {
  /** Stays open when the store closes. */
  readonly connection: NatsConnection;
  readonly bucket: string;
  /** Copies of the bucket in a cluster; taken only when the bucket is made. */
  readonly replicas?: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Revisions kept per key, so that a watch that was away for a moment misses no step. */
const KEY_HISTORY = 10;
const LOAD_WAIT_MS = 30_000;
const APPLY_WAIT_MS = 5_000;
const WATCH_RETRY_MS = 250;
/** A watch that is being set up while NATS is away ends by itself a little later. */
const CLOSE_WAIT_MS = 1_000;
const LAG_CHECK_MS = 10_000;
const SWEEP_MS = 60_000;
const TOMBSTONE_KEEP_MS = 60_000;
/** Longer than any watch may be cut off without listing again. */
const MARKER_TTL = "24h";
const MARKER_TTL_MS = 24 * 3_600_000;

/** Server codes for "the expected last sequence is not the last": alone, and in a cluster with writes in flight. */
const CAS_FAILED = [10071, 10164];

/** Opens the bucket, making it when it is missing; resolves with everything in memory. */
export async function openNatsKvStore(options: NatsKvStoreOptions): Promise<Store> {
  const { clock, log } = options;
  const cache = new ResourceCache((error) => log.error({ stage: "store", error }, "a watcher failed"));
  const persistence = await KvPersistence.open(cache, options);
  const store = new CachedStore({ cache, persistence, clock, log });
  await store.collectGarbage();
  return store;
}

/** A stored value: the kind travels along, so that a bucket can be read without knowing its kinds. */
const valueSchema = z.object({
  kind: z.object({
    group: z.string(),
    version: z.string(),
    kind: z.string(),
    resource: z.string(),
    namespaced: z.boolean(),
  }),
  object: z.custom<StoredObject>(
    (object) =>
      z.object({ metadata: z.object({ name: z.string(), uid: z.string() }) }).safeParse(object).success,
  ),
  deleted: z.boolean().optional(),
});

interface Tombstone {
  readonly revision: number;
  readonly atMs: number;
}

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
}

class KvPersistence implements Persistence {
  readonly #kv: KV;
  readonly #connection: NatsConnection;
  readonly #cache: ResourceCache;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Live objects by key: what a delete marker, which has no value, refers to. */
  readonly #live = new Map<string, KindId & { at: ObjectKey }>();
  readonly #tombstones = new Map<string, Tombstone>();
  /** Delete markers that stood in the way of a create. */
  readonly #markers = new Map<string, number>();
  readonly #waiters = new Set<Waiter>();
  readonly #timers: Timer[] = [];
  readonly #stopping = new AbortController();
  #loading = true;
  #watch: QueuedIterator<KvWatchEntry> | undefined;
  #following: Promise<void> = Promise.resolve();

  private constructor(kv: KV, cache: ResourceCache, { connection, clock, log }: NatsKvStoreOptions) {
    this.#kv = kv;
    this.#connection = connection;
    this.#cache = cache;
    this.#clock = clock;
    this.#log = log;
  }

  static async open(cache: ResourceCache, options: NatsKvStoreOptions): Promise<KvPersistence> {
    const { connection, bucket, replicas = 1, clock } = options;
    const kv = await new Kvm(connection).create(bucket, {
      history: KEY_HISTORY,
      replicas,
      markerTTL: MARKER_TTL_MS,
      // Reads go to the leader: a replica may be behind what this process just wrote.
      allow_direct: false,
    });
    const self = new KvPersistence(kv, cache, options);
    try {
      await self.#load();
    } catch (error) {
      await self.close();
      throw error;
    }
    self.#restartOnReconnect();
    self.#timers.push(
      clock.every(LAG_CHECK_MS, () => self.#inBackground(self.#checkLag(), "the lag check failed")),
      clock.every(SWEEP_MS, () => self.#inBackground(self.#sweep(), "sweeping tombstones failed")),
    );
    return self;
  }

  async persist({ kind, object, deleted, expected }: Persist): Promise<string | undefined> {
    const key = formatKvKey(kind, keyOf(object));
    const previousSeq = expected === undefined ? this.#absentRevision(key) : Number(expected);
    const value = JSON.stringify({ kind, object, ...(deleted ? { deleted } : {}) });
    let revision: number;
    try {
      revision = await this.#kv.put(key, value, { previousSeq });
    } catch (error) {
      if (error instanceof JetStreamApiError && CAS_FAILED.includes(error.code)) return undefined;
      throw unavailable("write", error);
    }
    await this.#applied(revision);
    return String(revision);
  }

  async refresh(kind: KindId, at: ObjectKey): Promise<void> {
    const key = formatKvKey(kind, at);
    const entry = await this.#kv.get(key).catch((error: unknown) => {
      throw unavailable("read", error);
    });
    if (entry === null) {
      // An expired marker leaves nothing behind: the key is as new.
      this.#markers.delete(key);
      this.#tombstones.delete(key);
      return;
    }
    if (entry.operation !== "PUT") this.#markers.set(key, entry.revision);
    await this.#applied(entry.revision);
  }

  async reached(resourceVersion: string): Promise<void> {
    const revision = Number(resourceVersion);
    if (!Number.isSafeInteger(revision) || revision <= this.#cache.revision) return;
    // A version from nowhere must not hold the write: the conflict it leads to says what is wrong.
    const last = await this.#lastRevision();
    if (revision <= last) await this.#applied(revision);
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) timer.cancel();
    this.#watch?.stop();
    await Promise.race([this.#following, this.#clock.sleep(CLOSE_WAIT_MS)]);
    for (const waiter of [...this.#waiters]) waiter.resolve();
  }

  /** Reads the snapshot and keeps following. */
  async #load(): Promise<void> {
    const last = await this.#lastRevision();
    const started = Promise.withResolvers<void>();
    this.#following = this.#follow(started.resolve);
    const timeout = Promise.withResolvers<never>();
    const timer = this.#clock.after(LOAD_WAIT_MS, () =>
      timeout.reject(unavailable("read", new Error(`the bucket was not read within ${LOAD_WAIT_MS} ms`))),
    );
    await Promise.race([started.promise, timeout.promise]).finally(() => timer.cancel());
    this.#loading = false;
    this.#cache.loaded(last);
  }

  async #lastRevision(): Promise<number> {
    try {
      return (await this.#kv.status()).streamInfo.state.last_seq;
    } catch (error) {
      throw unavailable("read", error);
    }
  }

  /** Runs until closed: watches, applies, and watches again from where it stopped. */
  async #follow(onSnapshot: () => void): Promise<void> {
    while (!this.#stopping.signal.aborted && !this.#connection.isClosed()) {
      try {
        await this.#followOnce(onSnapshot);
      } catch (error) {
        this.#log.warn({ stage: "store", error: messageOf(error) }, "the watch of the bucket broke");
      }
      if (!this.#stopping.signal.aborted) await this.#clock.sleep(WATCH_RETRY_MS, this.#stopping.signal);
    }
  }

  async #followOnce(onSnapshot: () => void): Promise<void> {
    const isEmpty = this.#loading && (await this.#kv.status()).values === 0;
    const watch = await this.#kv.watch(
      this.#loading && !isEmpty ? {} : { resumeFromRevision: this.#cache.revision + 1 },
    );
    this.#watch = watch;
    if (this.#stopping.signal.aborted) watch.stop();
    if (isEmpty) onSnapshot();
    for await (const entry of watch) {
      this.#apply(entry);
      if (entry.delta === 0) onSnapshot();
    }
  }

  #apply(entry: KvWatchEntry): void {
    if (entry.revision <= this.#cache.revision && !this.#loading) return;
    if (entry.operation === "PUT") this.#applyValue(entry);
    else this.#applyMarker(entry);
    this.#cache.advance(entry.revision);
    for (const waiter of this.#waiters) {
      if (waiter.revision <= this.#cache.revision) waiter.resolve();
    }
  }

  #applyValue(entry: KvWatchEntry): void {
    const parsed = parseValue(entry);
    if (parsed === undefined) {
      this.#log.error(
        { stage: "store", key: entry.key },
        "a value of the bucket is no object; it is ignored",
      );
      return;
    }
    const { kind, deleted } = parsed;
    const object = atVersion(parsed.object, String(entry.revision));
    this.#markers.delete(entry.key);
    if (deleted) {
      this.#tombstones.set(entry.key, { revision: entry.revision, atMs: entry.created.getTime() });
      this.#live.delete(entry.key);
      this.#cache.remove(kind, object);
      return;
    }
    this.#tombstones.delete(entry.key);
    this.#live.set(entry.key, { ...kind, at: keyOf(object) });
    if (this.#loading) this.#cache.load(kind, object);
    else this.#cache.put(kind, object);
  }

  /** Mostly the end of a tombstone; news only to a watch that was away while the object was deleted. */
  #applyMarker(entry: KvWatchEntry): void {
    this.#tombstones.delete(entry.key);
    const live = this.#live.get(entry.key);
    if (live === undefined) return;
    this.#live.delete(entry.key);
    const { at, ...kind } = live;
    const object = this.#cache.get(kind, at);
    if (object !== undefined) this.#cache.remove(kind, atVersion(object, String(entry.revision)));
  }

  /** The last revision of a key that has no live object; 0 when it has none at all. */
  #absentRevision(key: string): number {
    return this.#tombstones.get(key)?.revision ?? this.#markers.get(key) ?? 0;
  }

  /** N2. */
  async #applied(revision: number): Promise<void> {
    if (revision <= this.#cache.revision) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { revision, resolve };
    this.#waiters.add(waiter);
    const late = () => reject(unavailable("follow", new Error(`revision ${revision} did not come back`)));
    const timer = this.#clock.after(APPLY_WAIT_MS, late);
    await promise.finally(() => {
      timer.cancel();
      this.#waiters.delete(waiter);
    });
  }

  #restartOnReconnect(): void {
    const follow = async () => {
      for await (const status of this.#connection.status()) {
        if (this.#stopping.signal.aborted) return;
        if (status.type === "reconnect") this.#watch?.stop();
      }
    };
    this.#inBackground(follow(), "the connection's status cannot be followed");
  }

  /** N4: the end of what a watch missed shows only in the bucket's last revision. */
  async #checkLag(): Promise<void> {
    const before = this.#cache.revision;
    const last = await this.#lastRevision();
    await this.#clock.sleep(APPLY_WAIT_MS, this.#stopping.signal);
    if (before < last && this.#cache.revision === before) this.#watch?.stop();
  }

  /** N3: conditional on the tombstone still being the last word, so that a new object is never purged. */
  async #sweep(): Promise<void> {
    const before = this.#clock.now() - TOMBSTONE_KEEP_MS;
    for (const [key, { revision, atMs }] of [...this.#tombstones]) {
      if (atMs > before) continue;
      try {
        await this.#kv.purge(key, { previousSeq: revision, ttl: MARKER_TTL });
      } catch (error) {
        if (error instanceof JetStreamApiError && CAS_FAILED.includes(error.code)) continue;
        throw error;
      }
    }
  }

  #inBackground(task: Promise<void>, text: string): void {
    background(task, (error) => {
      if (!this.#stopping.signal.aborted) this.#log.warn({ stage: "store", error: messageOf(error) }, text);
    });
  }
}

function parseValue(entry: KvWatchEntry): z.output<typeof valueSchema> | undefined {
  try {
    return valueSchema.parse(JSON.parse(entry.string()));
  } catch {
    return undefined;
  }
}

function unavailable(what: string, cause: unknown): MeshError {
  return new MeshError("STORE_UNAVAILABLE", {
    found: `${what} failed: ${messageOf(cause)}`,
    fix: "Is NATS up? The next try may succeed",
    cause,
  });
}
