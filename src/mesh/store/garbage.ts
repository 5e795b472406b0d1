/** Owner references: an object whose owners are all gone goes too. */
import type { KindId, StoredObject } from "../resources/meta.ts";

interface Entry {
  readonly kind: KindId;
  readonly object: StoredObject;
}

/** What has owners, none of them alive; with `goneUid` only what named that one. */
export function orphans(all: Iterable<Entry>, goneUid: string | undefined): Entry[] {
  const entries = [...all];
  const alive = new Set(entries.map(({ object }) => object.metadata.uid));
  return entries.filter(({ object }) => {
    const owners = object.metadata.ownerReferences ?? [];
    if (owners.length === 0 || owners.some(({ uid }) => alive.has(uid))) return false;
    return goneUid === undefined || owners.some(({ uid }) => uid === goneUid);
  });
}
