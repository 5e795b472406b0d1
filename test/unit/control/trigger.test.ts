import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BACKOFF_MAX_MS } from "../../../src/mesh/control/workqueue.ts";
import { BROKER, SERVICE, TRIGGER } from "../../../src/mesh/resources/kinds.ts";
import { makeBroker, makeService, makeTrigger, startTestControl, type TestControl } from "./fakes.ts";

const toFunction = (name: string) => ({
  subscriber: { ref: { kind: "Service", apiVersion: "serving.knative.dev/v1", name } },
});
const routeOf = (mesh: TestControl, name: string) =>
  mesh.dataPlane.routes.triggers.find((route) => route.name === name);

describe("the trigger reconciler", () => {
  let mesh: TestControl;
  beforeEach(() => {
    mesh = startTestControl();
  });
  afterEach(() => mesh.control.close());

  test("makes a Trigger Ready only after its consumer and its route are there", async () => {
    const annotations = {
      "weft.dev/concurrency": "3",
      "weft.dev/paused": "true",
      "weft.dev/order": "key",
    };
    const spec = {
      filters: [{ exact: { type: "a" } }],
      delivery: { retry: 2, deadLetterSink: { uri: "http://dls" } },
    };
    await mesh.apply(makeBroker(), makeTrigger("t", spec, annotations));
    expect(mesh.conditions(TRIGGER, "t")).toEqual([
      "Ready=True",
      "BrokerReady=True",
      "DeadLetterSinkResolved=True",
      "DependencyReady=True",
      "OIDCIdentityCreated=True authentication-oidc feature disabled",
      "SubscriberResolved=True",
      "SubscriptionReady=True",
    ]);
    expect(mesh.status(TRIGGER, "t")).toMatchObject({
      observedGeneration: 1,
      subscriberUri: "http://127.0.0.1:9/",
      deadLetterSinkUri: "http://dls",
    });
    expect(routeOf(mesh, "t")).toEqual({
      namespace: "default",
      name: "t",
      uid: mesh.get(TRIGGER, "t").metadata.uid,
      broker: "default",
      filters: [{ exact: { type: "a" } }],
      subscriber: { kind: "url", uri: "http://127.0.0.1:9/" },
      deadLetterSink: { kind: "url", uri: "http://dls" },
      policy: expect.objectContaining({ retryMax: 2, backoffPolicy: "exponential", backoffDelayMs: 200 }),
      concurrency: 3,
      paused: true,
      order: "key",
    });
    const { calls } = mesh.dataPlane;
    expect(calls.indexOf("ensureTrigger t")).toBeLessThan(calls.indexOf("setRoutes default t"));
  });

  test("waits for its broker and recovers when it comes, goes and comes again", async () => {
    await mesh.apply(makeTrigger("t"));
    const missing = {
      status: "False",
      reason: "BrokerDoesNotExist",
      message: 'Broker "default" does not exist',
    };
    expect(mesh.condition(TRIGGER, "t")).toMatchObject(missing);
    expect(mesh.condition(TRIGGER, "t", "BrokerReady")).toMatchObject(missing);
    expect(mesh.dataPlane.calls).toEqual([]);
    await mesh.apply(makeBroker());
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "True" });
    await mesh.remove(BROKER, "default");
    expect(mesh.condition(TRIGGER, "t")).toMatchObject(missing);
    expect(mesh.status(TRIGGER, "t")).not.toHaveProperty("subscriberUri");
    expect(mesh.dataPlane.routes).toEqual({ brokers: [], triggers: [] });
    await mesh.apply(makeBroker());
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "True" });
    expect(routeOf(mesh, "t")).toBeDefined();
  });

  test("keeps the consumer while the subscriber does not resolve, and follows it when it does", async () => {
    await mesh.apply(makeBroker(), makeTrigger("t", toFunction("f")));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({
      status: "False",
      reason: "Unable to get the Subscriber's URI",
      message: 'failed to get object default/f: services.serving.knative.dev "f" not found',
    });
    expect(mesh.dataPlane.calls).toContain("ensureTrigger t");
    expect(routeOf(mesh, "t")).toMatchObject({ subscriber: undefined });
    await mesh.apply(makeService("f", "a"));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "True" });
    expect(mesh.status(TRIGGER, "t")).toMatchObject({ subscriberUri: "http://f.default.localhost:8080" });
    expect(routeOf(mesh, "t")?.subscriber).toEqual({
      kind: "function",
      uri: "http://f.default.localhost:8080",
      namespace: "default",
      name: "f",
      path: "/",
    });
    await mesh.remove(SERVICE, "f");
    expect(mesh.status(TRIGGER, "t")).not.toHaveProperty("subscriberUri");
    expect(routeOf(mesh, "t")).toMatchObject({ subscriber: undefined });
  });

  test("falls back to the broker's delivery, and to its sink alone when it has its own", async () => {
    const deadLetterSink = { uri: "http://broker-dls" };
    await mesh.apply(
      makeBroker("default", { delivery: { retry: 4, deadLetterSink } }),
      makeTrigger("inherits"),
      makeTrigger("own", { delivery: {} }),
    );
    expect(routeOf(mesh, "inherits")).toMatchObject({
      policy: { retryMax: 4 },
      deadLetterSink: { uri: "http://broker-dls" },
    });
    expect(routeOf(mesh, "own")).toMatchObject({
      policy: { retryMax: 0 },
      deadLetterSink: { uri: "http://broker-dls" },
    });
    expect(mesh.status(TRIGGER, "own")).toMatchObject({ deadLetterSinkUri: "http://broker-dls" });
    await mesh.apply(makeBroker("default", { delivery: { retry: 1 } }));
    expect(routeOf(mesh, "inherits")).toMatchObject({ policy: { retryMax: 1 }, deadLetterSink: undefined });
  });

  test("names an unresolvable dead-letter sink but goes on delivering", async () => {
    const deadLetterSink = { ref: { kind: "Service", apiVersion: "v1", name: "x" } };
    await mesh.apply(makeBroker(), makeTrigger("t", { delivery: { deadLetterSink } }));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({
      status: "False",
      reason: "Unable to get the dead letter sink's URI",
    });
    expect(routeOf(mesh, "t")).toMatchObject({ subscriber: { kind: "url" }, deadLetterSink: undefined });
  });

  test("follows a change of the spec with observedGeneration", async () => {
    await mesh.apply(makeBroker(), makeTrigger("t"));
    await mesh.apply(makeTrigger("t", { filter: { attributes: { type: "b" } } }));
    expect(mesh.status(TRIGGER, "t")).toMatchObject({ observedGeneration: 2 });
    expect(routeOf(mesh, "t")?.filters).toEqual([{ exact: { type: "b" } }]);
  });

  test("removes consumer and route of a deleted trigger, also of one made again at once", async () => {
    await mesh.apply(makeBroker(), makeTrigger("t"));
    const { uid } = mesh.get(TRIGGER, "t").metadata;
    mesh.dataPlane.calls.length = 0;
    await mesh.store.delete(TRIGGER, { namespace: "default", name: "t" });
    await mesh.apply(makeTrigger("t"));
    expect(mesh.dataPlane.calls).toEqual([
      "setRoutes default",
      `removeTrigger t ${uid}`,
      "ensureTrigger t",
      "setRoutes default t",
    ]);
    await mesh.remove(TRIGGER, "t");
    expect(mesh.dataPlane.routes.triggers).toEqual([]);
  });

  test("ignores triggers of another class's broker", async () => {
    await mesh.apply(
      makeBroker("default", undefined, { "eventing.knative.dev/broker.class": "Other" }),
      makeTrigger("t"),
    );
    expect(mesh.get(TRIGGER, "t").status).toBeUndefined();
    expect(mesh.dataPlane.calls).toEqual([]);
  });

  test("is not Ready while its consumer cannot be made, and recovers by itself", async () => {
    await mesh.apply(makeBroker());
    mesh.dataPlane.fault = new Error("NATS is away");
    await mesh.apply(makeTrigger("t"));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({
      status: "False",
      reason: "NotSubscribed",
      message: "NATS is away",
    });
    expect(routeOf(mesh, "t")).toBeUndefined();
    mesh.dataPlane.fault = undefined;
    await mesh.clock.advance(BACKOFF_MAX_MS);
    await mesh.control.settled();
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "True" });
  });

  test("is not ready before its route is served", async () => {
    await mesh.apply(makeBroker());
    mesh.dataPlane.unserved = new Error("the routes are not written");
    await mesh.apply(makeTrigger("t"));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({
      status: "False",
      reason: "NotSubscribed",
      message: "the routes are not written",
    });
    mesh.dataPlane.unserved = undefined;
    await mesh.clock.advance(BACKOFF_MAX_MS);
    await mesh.control.settled();
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "True" });
  });

  test("one bad trigger does not disturb a good one", async () => {
    await mesh.apply(makeBroker(), makeTrigger("bad", toFunction("none")), makeTrigger("good"));
    expect(mesh.condition(TRIGGER, "bad")).toMatchObject({ status: "False" });
    expect(mesh.condition(TRIGGER, "good")).toMatchObject({ status: "True" });
  });

  test("waits for what it depends on", async () => {
    const dependency = JSON.stringify({ kind: "Service", apiVersion: "serving.knative.dev/v1", name: "f" });
    await mesh.apply(makeBroker(), makeTrigger("t", {}, { "knative.dev/dependency": dependency }));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "False", reason: "DependencyDoesNotExist" });
    await mesh.apply(makeService("f"));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "False", reason: "ContainerMissing" });
    await mesh.apply(makeService("f", "a"));
    expect(mesh.condition(TRIGGER, "t")).toMatchObject({ status: "True" });
  });

  test("serves everything again after a restart without writing anything", async () => {
    await mesh.apply(makeBroker(), makeService("f", "a"), makeTrigger("t", toFunction("f")));
    await mesh.control.close();
    const before = mesh.store.list(TRIGGER).resourceVersion;
    const again = startTestControl(mesh.store);
    await again.control.settled();
    expect(routeOf(again, "t")).toEqual(routeOf(mesh, "t"));
    expect(mesh.store.list(TRIGGER).resourceVersion).toBe(before);
    await again.control.close();
  });
});
