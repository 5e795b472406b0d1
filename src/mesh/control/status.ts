/** Writes of reconcilers to objects that may be gone by now: that is no failure, another pass is on its way. */
import { MeshError } from "../errors.ts";
import type { KindId, StoredObject } from "../resources/meta.ts";
import type { Store } from "../store/store.ts";

/** Writes a status, separately from the spec. An equal status is no write. */
export async function writeStatus(
  store: Store,
  { kind, object, status }: { kind: KindId; object: StoredObject; status: Record<string, unknown> },
): Promise<void> {
  // The version is left out, an edit of metadata meanwhile does no harm; the uid guards against a namesake.
  const { resourceVersion: _latest, ...metadata } = object.metadata;
  await unlessGone(store.updateStatus(kind, { ...object, metadata, status: withoutUndefined(status) }));
}

/** Deletes exactly this object, not a namesake. */
export async function deleteObject(store: Store, kind: KindId, { metadata }: StoredObject): Promise<void> {
  const { namespace, name, uid } = metadata;
  await unlessGone(store.delete(kind, { namespace, name }, { uid }));
}

async function unlessGone(write: Promise<unknown>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (error instanceof MeshError && (error.code === "NOT_FOUND" || error.code === "CONFLICT")) return;
    throw error;
  }
}

function withoutUndefined(status: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined));
}
