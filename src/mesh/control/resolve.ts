/**
 * A Destination becomes a Target (sheet knative-eventing §9): a reference is looked up and yields the address in
 * its status, a relative URI is joined to that. What does not resolve says why, in the resolver's usual words.
 */
import { z } from "zod";
import type { Destination, Reference } from "../resources/destination.ts";
import { BROKER, findKind, SERVICE } from "../resources/kinds.ts";
import type { KindId, StoredObject } from "../resources/meta.ts";
import type { Target } from "../routes/route.ts";
import type { ObjectKey } from "../store/store.ts";

export type Resolution =
  | { readonly kind: "resolved"; readonly target: Target }
  | { readonly kind: "unresolved"; readonly message: string };

export interface ResolveContext {
  /** Where references without a namespace point. */
  readonly namespace: string;
  readonly lookup: (kind: KindId, key: ObjectKey) => StoredObject | undefined;
}

const addressableSchema = z.looseObject({
  address: z.looseObject({ name: z.string().optional(), url: z.string().optional() }).optional(),
});

export function resolveDestination(destination: Destination, context: ResolveContext): Resolution {
  const { ref, uri } = destination;
  if (ref !== undefined) return resolveReference(ref, { ...context, uri });
  if (uri === undefined) return unresolved("destination missing Ref and URI, expected at least one");
  return { kind: "resolved", target: { kind: "url", uri } };
}

function resolveReference(
  ref: Reference,
  { namespace: ownNamespace, lookup, uri }: ResolveContext & { uri: string | undefined },
): Resolution {
  const { apiVersion = "", kind = "", name = "" } = ref;
  const namespace = ref.namespace || ownNamespace;
  const id = findKind(apiVersion, kind);
  if (id === undefined) return unresolved(explainKind({ apiVersion, kind, name, namespace }));
  const object = lookup(id, { namespace, name });
  const what = `${apiVersion} ${kind} ${namespace}/${name}`;
  if (object === undefined) {
    return unresolved(
      `failed to get object ${namespace}/${name}: ${id.resource}.${id.group} "${name}" not found`,
    );
  }
  const { address } = addressableSchema.parse(object.status ?? {});
  if (address === undefined) return unresolved(`address not set for ${what}`);
  if (ref.address !== undefined && ref.address !== address.name) {
    return unresolved(`address with name "${ref.address}" not found for ${what}`);
  }
  if (address.url === undefined) return unresolved(`URL missing in address of ${what}`);
  return { kind: "resolved", target: targetOf(id, { base: address.url, uri, namespace, name }) };
}

function targetOf(
  id: KindId,
  { base, uri, namespace, name }: { base: string; uri: string | undefined; namespace: string; name: string },
): Target {
  // Without a relative part the address is kept letter by letter: users compare it (knativeerrordest).
  const joined = uri === undefined ? base : new URL(uri, base).href;
  if (id === SERVICE) {
    const { pathname, search } = new URL(joined);
    return { kind: "function", uri: joined, namespace, name, path: pathname + search };
  }
  if (id === BROKER && joined === base) return { kind: "broker", uri: base, namespace, name };
  return { kind: "url", uri: joined };
}

function explainKind({
  apiVersion,
  kind,
  name,
  namespace,
}: Required<Pick<Reference, "apiVersion" | "kind" | "name" | "namespace">>) {
  const what = `${apiVersion} ${kind} ${namespace}/${name}`;
  if (apiVersion === "v1" && kind === "Service") {
    return (
      `${what} needs a Kubernetes cluster and this mesh runs without one; ` +
      "refer to a Knative Service (serving.knative.dev/v1) or give its address as a uri"
    );
  }
  return `${what} is of a kind that is not addressable here; use a Service (serving.knative.dev/v1), a Broker (eventing.knative.dev/v1), a RequestReply or a uri`;
}

function unresolved(message: string): Resolution {
  return { kind: "unresolved", message };
}
