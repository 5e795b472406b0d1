/** Writing a status, as every reconciler does: separately from the spec, and only if the object is still that one. */
import { MeshError } from "../errors.ts";
import type { KindId, StoredObject } from "../resources/meta.ts";
import type { Store } from "../store/store.ts";

/** Resolves also when the object went meanwhile. An equal status is no write. */
export async function writeStatus(
  store: Store,
  { kind, object, status }: { kind: KindId; object: StoredObject; status: Record<string, unknown> },
): Promise<void> {
  // The version is left out, an edit of metadata meanwhile does no harm; the uid guards against a namesake.
  const { resourceVersion: _latest, ...metadata } = object.metadata;
  try {
    await store.updateStatus(kind, { ...object, metadata, status: withoutUndefined(status) });
  } catch (error) {
    if (error instanceof MeshError && (error.code === "NOT_FOUND" || error.code === "CONFLICT")) return;
    throw error;
  }
}

function withoutUndefined(status: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined));
}
