/** The kinds weft stores, declared once: what the store, the reconcilers and the API call them. */
import { apiVersionOf, type KindId } from "./meta.ts";

export const BROKER: KindId = {
  group: "eventing.knative.dev",
  version: "v1",
  kind: "Broker",
  resource: "brokers",
  namespaced: true,
};

export const TRIGGER: KindId = { ...BROKER, kind: "Trigger", resource: "triggers" };

export const REQUEST_REPLY: KindId = {
  ...BROKER,
  version: "v1alpha1",
  kind: "RequestReply",
  resource: "requestreplies",
};

export const SERVICE: KindId = {
  group: "serving.knative.dev",
  version: "v1",
  kind: "Service",
  resource: "services",
  namespaced: true,
};

export const CONFIGURATION: KindId = { ...SERVICE, kind: "Configuration", resource: "configurations" };
export const ROUTE: KindId = { ...SERVICE, kind: "Route", resource: "routes" };
export const REVISION: KindId = { ...SERVICE, kind: "Revision", resource: "revisions" };

/** Every kind the store may hold. */
export const kinds: readonly KindId[] = [
  BROKER,
  TRIGGER,
  REQUEST_REPLY,
  SERVICE,
  CONFIGURATION,
  ROUTE,
  REVISION,
];

/** The kinds a user writes; the others are made by reconcilers. */
export const authoredKinds: readonly KindId[] = [BROKER, SERVICE, TRIGGER, REQUEST_REPLY];

export function findKind(apiVersion: string, kind: string): KindId | undefined {
  return kinds.find((id) => id.kind === kind && apiVersionOf(id) === apiVersion);
}

export function isSameKind(a: KindId, b: KindId): boolean {
  return a.group === b.group && a.resource === b.resource;
}
