/** The broker that is there from the start, so that the first event needs no manifest. */
import { admitObject } from "../resources/admission.ts";
import { BROKER } from "../resources/kinds.ts";
import { apiVersionOf } from "../resources/meta.ts";
import type { Store } from "../store/store.ts";

const key = { namespace: "default", name: "default" };

/** Makes `default/default` when it is missing; leaves it alone when it is there. */
export async function ensureDefaultBroker(store: Store): Promise<void> {
  if (store.get(BROKER, key) !== undefined) return;
  const object = { apiVersion: apiVersionOf(BROKER), kind: BROKER.kind, metadata: key, spec: {} };
  await store.create(BROKER, admitObject(BROKER, object));
}
