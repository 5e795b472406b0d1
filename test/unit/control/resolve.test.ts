import { describe, expect, test } from "vitest";
import { type Resolution, resolveDestination } from "../../../src/mesh/control/resolve.ts";
import type { Destination } from "../../../src/mesh/resources/destination.ts";
import type { KindId, StoredObject } from "../../../src/mesh/resources/meta.ts";

const SERVING = "serving.knative.dev/v1";
const EVENTING = "eventing.knative.dev/v1";

const statuses: Record<string, unknown> = {
  "services/ns/f": { address: { url: "http://f.ns.localhost:8080" } },
  "services/other/g": { address: { name: "http", url: "http://g.other.localhost:8080/base?x=1" } },
  "services/ns/new": undefined,
  "services/ns/odd": { address: {} },
  "brokers/ns/b": { address: { url: "http://127.0.0.1:8080/ns/b" } },
};

function lookup(kind: KindId, { namespace, name }: { namespace: string | undefined; name: string }) {
  const key = `${kind.resource}/${namespace}/${name}`;
  return key in statuses ? ({ status: statuses[key] } as StoredObject) : undefined;
}

const fn = (name: string, more = {}) => ({ kind: "Service", apiVersion: SERVING, name, ...more });

describe("resolveDestination", () => {
  test.each<[string, Destination, Extract<Resolution, { kind: "resolved" }>["target"]]>([
    ["a uri, letter by letter", { uri: "http://Example.com" }, { kind: "url", uri: "http://Example.com" }],
    [
      "a function",
      { ref: fn("f") },
      { kind: "function", uri: "http://f.ns.localhost:8080", namespace: "ns", name: "f", path: "/" },
    ],
    [
      "a function and a path",
      { ref: fn("f"), uri: "/in?a=b" },
      {
        kind: "function",
        uri: "http://f.ns.localhost:8080/in?a=b",
        namespace: "ns",
        name: "f",
        path: "/in?a=b",
      },
    ],
    [
      "a function elsewhere by its address's name",
      { ref: fn("g", { namespace: "other", address: "http" }) },
      {
        kind: "function",
        uri: "http://g.other.localhost:8080/base?x=1",
        namespace: "other",
        name: "g",
        path: "/base?x=1",
      },
    ],
    [
      "a broker",
      { ref: { kind: "Broker", apiVersion: EVENTING, name: "b" } },
      { kind: "broker", uri: "http://127.0.0.1:8080/ns/b", namespace: "ns", name: "b" },
    ],
    [
      "a broker with another path, which is that broker no more",
      { ref: { kind: "Broker", apiVersion: EVENTING, name: "b" }, uri: "/x" },
      { kind: "url", uri: "http://127.0.0.1:8080/x" },
    ],
  ])("resolves %s", (_what, destination, target) => {
    expect(resolveDestination(destination, { namespace: "ns", lookup })).toEqual({
      kind: "resolved",
      target,
    });
  });

  test.each<[string, Destination, string]>([
    [
      "a missing function",
      { ref: fn("none") },
      'failed to get object ns/none: services.serving.knative.dev "none" not found',
    ],
    ["one without address", { ref: fn("new") }, "address not set for serving.knative.dev/v1 Service ns/new"],
    [
      "one without URL",
      { ref: fn("odd") },
      "URL missing in address of serving.knative.dev/v1 Service ns/odd",
    ],
    [
      "an address of another name",
      { ref: fn("g", { namespace: "other", address: "https" }) },
      'address with name "https" not found',
    ],
    [
      "a Kubernetes Service",
      { ref: { kind: "Service", apiVersion: "v1", name: "f" } },
      "needs a Kubernetes cluster",
    ],
    [
      "an unknown kind",
      { ref: { kind: "Channel", apiVersion: "messaging.knative.dev/v1", name: "c" } },
      "not addressable here",
    ],
    ["nothing", {}, "missing Ref and URI"],
  ])("says why it cannot resolve %s", (_what, destination, text) => {
    expect(resolveDestination(destination, { namespace: "ns", lookup })).toEqual({
      kind: "unresolved",
      message: expect.stringContaining(text),
    });
  });
});
