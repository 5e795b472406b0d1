import { expect, test } from "vitest";
import { REQUEST_REPLY, TRIGGER } from "../../../src/mesh/resources/kinds.ts";
import type { KubeObject } from "../../../src/mesh/resources/meta.ts";
import { makeBroker, makeTrigger, startTestControl } from "./fakes.ts";

function makeRequestReply(name: string, spec: object = {}): KubeObject {
  return {
    apiVersion: "eventing.knative.dev/v1alpha1",
    kind: "RequestReply",
    metadata: { name, namespace: "default" },
    spec: {
      brokerRef: { apiVersion: "eventing.knative.dev/v1", kind: "Broker", name: "default" },
      ...spec,
    },
  };
}

test("a RequestReply becomes ready with a Trigger of its own, and that a route", async () => {
  const mesh = startTestControl();
  await mesh.apply(makeBroker(), makeRequestReply("rr", { timeout: "PT5S" }));
  expect(mesh.conditions(REQUEST_REPLY, "rr")).toEqual([
    "Ready=True",
    "Addressable=True",
    "BrokerReady=True",
    "EventPoliciesReady=True NotImplemented",
    "TriggersReady=True",
  ]);
  const url = "http://127.0.0.1:8080/request-reply/default/rr";
  expect(mesh.status(REQUEST_REPLY, "rr")).toMatchObject({
    address: { name: "http", url },
    annotations: { "knative.dev/brokerAddress": "http://127.0.0.1:8080/default/default" },
  });
  expect(mesh.get(REQUEST_REPLY, "rr")).toMatchObject({
    metadata: { labels: { "eventing.knative.dev/broker": "default" } },
    spec: { correlationAttribute: "correlationid", replyAttribute: "replyid" },
  });
  expect(mesh.dataPlane.routes.triggers).toMatchObject([
    {
      name: "rr-reply",
      filters: [{ prefix: { replyid: "rr:" } }],
      subscriber: { kind: "url", uri: `${url}/reply` },
      requestReply: {
        name: "rr",
        correlationAttribute: "correlationid",
        replyAttribute: "replyid",
        prefix: "rr:",
        timeoutMs: 5000,
      },
    },
  ]);
});

test("a RequestReply that changes changes its route, and one that goes takes its Trigger along", async () => {
  const mesh = startTestControl();
  await mesh.apply(makeBroker(), makeBroker("other"), makeRequestReply("rr"));
  await mesh.apply(makeRequestReply("rr", { replyAttribute: "answerto" }));
  expect(mesh.dataPlane.routes.triggers).toMatchObject([{ filters: [{ prefix: { answerto: "rr:" } }] }]);
  const brokerRef = { apiVersion: "eventing.knative.dev/v1", kind: "Broker", name: "other" };
  await mesh.apply(makeRequestReply("rr", { brokerRef }));
  expect(mesh.dataPlane.routes.triggers).toMatchObject([{ name: "rr-reply", broker: "other" }]);
  await mesh.remove(REQUEST_REPLY, "rr");
  expect(mesh.store.list(TRIGGER).items).toEqual([]);
  expect(mesh.dataPlane.routes.triggers).toEqual([]);
});

test("a RequestReply without its broker says so, and recovers when it comes", async () => {
  const mesh = startTestControl();
  await mesh.apply(makeRequestReply("rr"));
  expect(mesh.conditions(REQUEST_REPLY, "rr")).toEqual([
    "Ready=Unknown NotFound",
    "Addressable=True",
    "BrokerReady=Unknown NotFound",
    "EventPoliciesReady=True NotImplemented",
    "TriggersReady=Unknown TriggersNotReady",
  ]);
  await mesh.apply(makeBroker());
  expect(mesh.condition(REQUEST_REPLY, "rr")?.status).toBe("True");
});

test("a RequestReply leaves a Trigger alone that somebody else made", async () => {
  const mesh = startTestControl();
  await mesh.apply(makeBroker(), makeTrigger("rr-reply"), makeRequestReply("rr"));
  expect(mesh.condition(REQUEST_REPLY, "rr", "TriggersReady")?.reason).toBe("TriggerReconcileError");
  expect(mesh.dataPlane.routes.triggers[0]?.requestReply).toBeUndefined();
});

test("a Trigger may have a RequestReply as its subscriber", async () => {
  const mesh = startTestControl();
  const ref = { apiVersion: "eventing.knative.dev/v1alpha1", kind: "RequestReply", name: "rr" };
  await mesh.apply(makeBroker(), makeTrigger("asks", { subscriber: { ref } }), makeRequestReply("rr"));
  expect(mesh.status(TRIGGER, "asks")).toMatchObject({
    subscriberUri: "http://127.0.0.1:8080/request-reply/default/rr",
  });
});

test.each([
  [{ brokerRef: undefined }, "missing field(s): spec.brokerRef"],
  [{ brokerRef: { apiVersion: "v1", kind: "Service", name: "x" } }, "spec.brokerRef.kind"],
  [
    { brokerRef: { apiVersion: "v1", kind: "broker", name: "x", namespace: "y" } },
    "spec.brokerRef.namespace",
  ],
  [{ correlationAttribute: "type" }, "spec.correlationAttribute"],
  [{ correlationAttribute: "source" }, "spec.correlationAttribute"],
  [{ correlationAttribute: "" }, "spec.correlationAttribute"],
  [{ replyAttribute: "reply-id" }, "spec.replyAttribute"],
  [{ replyAttribute: "correlationid" }, "spec.replyAttribute"],
  [{ timeout: "30s" }, "spec.timeout"],
  [{ timeout: "PT0S" }, "spec.timeout"],
  [{ timeout: "P2D" }, "spec.timeout"],
  [{ delivery: { retry: -1 } }, "spec.delivery.retry"],
])("a RequestReply with %j is refused", async (spec, message) => {
  await expect(startTestControl().apply(makeRequestReply("rr", spec))).rejects.toThrow(message);
});
