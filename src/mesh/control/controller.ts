/**
 * The level-based runner of one reconciler: changes of the watched kinds become keys, a key is reconciled by
 * looking at what is, never at what changed. A pass may come at any time, and twice: it must be idempotent.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Closeable } from "../lifecycle.ts";
import type { Log } from "../log.ts";
import type { KindId, StoredObject } from "../resources/meta.ts";
import type { ObjectKey, Store } from "../store/store.ts";
import { type Outcome, WorkQueue } from "./workqueue.ts";

/** The objects of a kind, and whose reconciliation each of them concerns. */
export interface Watched {
  readonly kind: KindId;
  readonly keysOf: (object: StoredObject) => readonly ReconcileKey[];
}

export interface ReconcileKey extends ObjectKey {
  readonly namespace: string;
}

export type Reconcile = (key: ReconcileKey) => Promise<Outcome>;

export interface ControllerOptions {
  readonly name: string;
  readonly store: Store;
  readonly watches: readonly Watched[];
  readonly reconcile: Reconcile;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Controller extends Closeable {
  enqueue(key: ReconcileKey): void;
  readonly isIdle: boolean;
  /** Resolves when every key known by then was reconciled at least once. */
  idle(): Promise<void>;
}

/** Reconciles everything there is, then everything that changes. */
export function startController({
  name,
  store,
  watches,
  reconcile,
  clock,
  log,
}: ControllerOptions): Controller {
  const queue = new WorkQueue({
    process: (key) => reconcile(parseKey(key)),
    onFailure: ({ key, error, failures, retryAfterMs }) => {
      const fields = {
        stage: "control",
        controller: name,
        key,
        failures,
        retryAfterMs,
        error: messageOf(error),
      };
      log.warn(fields, "reconciling failed");
    },
    clock,
  });
  const enqueue = (key: ReconcileKey) => queue.add(formatKey(key));
  const handles = watches.map(({ kind, keysOf }) => {
    const handle = store.watch({ kind }, ({ object }) => keysOf(object).forEach(enqueue));
    for (const object of store.list(kind).items) keysOf(object).forEach(enqueue);
    return handle;
  });
  return {
    enqueue,
    get isIdle() {
      return queue.isIdle;
    },
    idle: () => queue.idle(),
    async close() {
      for (const handle of handles) handle.close();
      await queue.close();
    },
  };
}

/** The key of an object itself. */
export function ownKey({ metadata }: { metadata: StoredObject["metadata"] }): ReconcileKey {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

export function formatKey({ namespace, name }: ReconcileKey): string {
  return `${namespace}/${name}`;
}

function parseKey(key: string): ReconcileKey {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
