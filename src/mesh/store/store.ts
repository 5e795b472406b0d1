/**
 * WHERE resources live: one interface, Kubernetes' own semantics (sheet kubernetes-api-for-kn §6, §17).
 * The contract suite test/contract/store-contract.ts holds every implementation to it.
 *
 * S1  resourceVersion is a decimal integer from one counter over all kinds, strictly rising; every persisted
 *     change (status and deletion included) takes a new one. An identical write changes nothing.
 * S2  generation is 1 at creation and rises when anything outside metadata and status changes, and when
 *     deletionTimestamp is set.
 * S3  a watch from resourceVersion N delivers every change after N, in order, each once; a deletion carries
 *     the last state with the deletion's resourceVersion.
 * S4  a write has been applied to what this process lists and watches before it resolves.
 */
import type { Closeable } from "../lifecycle.ts";
import type { KindId, KubeObject, StoredObject } from "../resources/meta.ts";

export interface ObjectKey {
  readonly namespace: string | undefined;
  readonly name: string;
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly kind: KindId;
  readonly object: StoredObject;
}

export interface ListResult {
  readonly items: readonly StoredObject[];
  /** The store's resourceVersion this list is a snapshot of. */
  readonly resourceVersion: string;
}

export interface Store extends Closeable {
  get(kind: KindId, key: ObjectKey): StoredObject | undefined;
  /** Ordered by namespace, then name. */
  list(kind: KindId, namespace?: string): ListResult;

  /** Rejects with ALREADY_EXISTS. Server-set metadata is filled in, a submitted status is dropped. */
  create(kind: KindId, object: KubeObject): Promise<StoredObject>;
  /**
   * Replaces all but status. Rejects with NOT_FOUND, or CONFLICT when metadata.resourceVersion is not the
   * stored one (absent = unconditional). Removing the last finalizer of a deleting object deletes it.
   */
  update(kind: KindId, object: KubeObject): Promise<StoredObject>;
  /** Replaces only status; same resourceVersion rules, generation untouched. */
  updateStatus(kind: KindId, object: KubeObject): Promise<StoredObject>;
  /**
   * Deletes, or sets deletionTimestamp when finalizers remain; dependents whose owners are all gone follow.
   * Resolves to the last state. Rejects with NOT_FOUND, or CONFLICT on a failed precondition.
   */
  delete(
    kind: KindId,
    key: ObjectKey,
    preconditions?: { uid?: string; resourceVersion?: string },
  ): Promise<StoredObject>;

  /**
   * Calls back for every change after `resourceVersion` (undefined: from now), of one kind or of all.
   * The callback must not throw. Throws HISTORY_EXPIRED when that history is gone.
   */
  watch(
    options: { kind?: KindId; namespace?: string; resourceVersion?: string },
    onEvent: (event: WatchEvent) => void,
  ): { close(): void };
}
