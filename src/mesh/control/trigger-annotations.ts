/** Sets annotations on a Trigger as an operator would by hand; everything else about it stays. */
import { MeshError } from "../errors.ts";
import { TRIGGER } from "../resources/kinds.ts";
import type { StoredObject } from "../resources/meta.ts";
import type { Store } from "../store/store.ts";

/** Decided anew this often because the object changed meanwhile. */
const ATTEMPTS_MAX = 5;

export interface TriggerName {
  readonly namespace: string;
  readonly name: string;
}

/** Rejects with NOT_FOUND. */
export function requireTrigger(store: Store, key: TriggerName): StoredObject {
  const object = store.get(TRIGGER, key);
  if (object !== undefined) return object;
  throw new MeshError("NOT_FOUND", {
    field: "trigger",
    found: `${key.namespace}/${key.name}`.slice(0, 200),
    fix: "List them with `weft get triggers`",
  });
}

/** Idempotent: what is so already is not written. Rejects with NOT_FOUND. */
export async function annotateTrigger(
  store: Store,
  key: TriggerName,
  annotations: Readonly<Record<string, string>>,
): Promise<StoredObject> {
  for (let attempt = 1; ; attempt++) {
    const object = requireTrigger(store, key);
    const present = object.metadata.annotations ?? {};
    if (Object.entries(annotations).every(([name, value]) => present[name] === value)) return object;
    const metadata = { ...object.metadata, annotations: { ...present, ...annotations } };
    try {
      return await store.update(TRIGGER, { ...object, metadata });
    } catch (error) {
      const raced = error instanceof MeshError && error.code === "CONFLICT";
      if (!raced || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}
