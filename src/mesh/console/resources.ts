/** The stored resources as the control port shows and changes them. */
import { applyDocuments } from "../control/apply.ts";
import { parseManifest } from "../control/manifests.ts";
import type { CheckCesql } from "../resources/filters.ts";
import { authoredKinds, TRIGGER } from "../resources/kinds.ts";
import type { KindId, StoredObject } from "../resources/meta.ts";
import { brokerNameOf, triggerSchema } from "../resources/trigger.ts";
import type { Store } from "../store/store.ts";
import type { AppliedObject } from "./app.ts";
import type { Rejected, TriggerCondition } from "./status.ts";

const defaultNamespace = "default";

/** Applies YAML documents as `kubectl apply` would; what does not apply is named, the rest is applied. */
export async function applyYaml(
  store: Store,
  { yaml, checkCesql }: { yaml: string; checkCesql: CheckCesql },
): Promise<{ applied: readonly AppliedObject[]; rejected: readonly Rejected[] }> {
  const parsed = parseManifest({ file: "(applied)", text: yaml }, checkCesql);
  const results = await applyDocuments(store, parsed.documents, { checkCesql });
  const applied: AppliedObject[] = [];
  const rejected: Rejected[] = [...parsed.rejected];
  for (const result of results) {
    if (result.outcome === "rejected") {
      rejected.push(result.rejected);
      continue;
    }
    const { kind, object } = result.document;
    applied.push({
      kind: kind.kind,
      namespace: object.metadata.namespace ?? defaultNamespace,
      name: object.metadata.name,
      result: result.outcome,
    });
  }
  return { applied, rejected };
}

/** The objects of a kind by its plural or singular name (`ksvc` for Services); undefined when there is no such kind. */
export function listObjects(
  store: Store,
  { kind: name, namespace }: { kind: string; namespace: string | undefined },
): readonly StoredObject[] | undefined {
  const wanted = name.toLowerCase();
  const kind = authoredKinds.find((id) => isNamed(id, wanted));
  return kind === undefined ? undefined : store.list(kind, namespace).items;
}

/** Every trigger, and whether the data plane serves it as it is written now. */
export function triggerConditions(store: Store): TriggerCondition[] {
  return store.list(TRIGGER).items.map((object) => {
    const trigger = triggerSchema.parse(object);
    const ready = trigger.status?.conditions?.find(({ type }) => type === "Ready");
    const observed = trigger.status?.observedGeneration === object.metadata.generation;
    return {
      namespace: object.metadata.namespace ?? defaultNamespace,
      name: object.metadata.name,
      uid: object.metadata.uid,
      broker: brokerNameOf(trigger),
      ready: observed && ready?.status === "True",
      reason: ready?.reason ?? "",
    };
  });
}

function isNamed({ kind, resource }: KindId, name: string): boolean {
  return (
    name === resource ||
    name === kind.toLowerCase() ||
    (kind === "Service" && /^k(?:services?|svc)$/.test(name)) ||
    (kind === "RequestReply" && name === "rr")
  );
}
