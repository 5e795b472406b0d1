/** What a trigger waits for besides its broker: annotation `knative.dev/dependency` (sheet knative-eventing §4.4). */
import { z } from "zod";
import { type Because, conditionsSchema, findCondition } from "../resources/conditions.ts";
import { findKind } from "../resources/kinds.ts";
import { dependencyOf, type Trigger } from "../resources/trigger.ts";
import type { Store } from "../store/store.ts";

export type DependencyVerdict =
  | { readonly status: "True" }
  | { readonly status: "False" | "Unknown"; readonly because: Because };

const statusSchema = z.looseObject({
  observedGeneration: z.number().optional(),
  conditions: conditionsSchema.optional(),
});

/** True without the annotation, else the Ready of what it names. */
export function judgeDependency(trigger: Trigger, store: Store): DependencyVerdict {
  const dependency = dependencyOf(trigger);
  if (dependency === undefined) return { status: "True" };
  if (dependency === "malformed") {
    return verdict("False", "ReferenceError", "the dependency annotation is no JSON object");
  }
  const { apiVersion = "", kind = "", name = "", namespace = trigger.metadata.namespace } = dependency;
  const id = findKind(apiVersion, kind);
  const object = id === undefined ? undefined : store.get(id, { namespace, name });
  if (object === undefined) {
    const message = `Dependency does not exist: ${apiVersion} ${kind} ${namespace}/${name}`;
    return verdict("False", "DependencyDoesNotExist", message);
  }
  const { observedGeneration, conditions } = statusSchema.parse(object.status ?? {});
  if (observedGeneration !== object.metadata.generation) {
    const message = "The dependency has not been reconciled in its current generation";
    return verdict("Unknown", "GenerationNotEqual", message);
  }
  const ready = findCondition(conditions);
  if (ready === undefined)
    return verdict("Unknown", "DependencyNotConfigured", "The dependency has no Ready");
  if (ready.status === "True") return { status: "True" };
  return verdict(ready.status, ready.reason ?? "DependencyUnknown", ready.message ?? "");
}

function verdict(status: "False" | "Unknown", reason: string, message: string): DependencyVerdict {
  return { status, because: { reason, message } };
}
