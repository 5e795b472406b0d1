import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BACKOFF_MAX_MS } from "../../../src/mesh/control/workqueue.ts";
import { BROKER } from "../../../src/mesh/resources/kinds.ts";
import type { WatchEvent } from "../../../src/mesh/store/store.ts";
import { makeBroker, makeService, startTestControl, type TestControl } from "./fakes.ts";

const sinkRef = { ref: { kind: "Service", apiVersion: "serving.knative.dev/v1", name: "f" } };

describe("the broker reconciler", () => {
  let mesh: TestControl;
  beforeEach(() => {
    mesh = startTestControl();
  });
  afterEach(() => mesh.control.close());

  test("makes a Broker Ready, addressable and routed", async () => {
    await mesh.apply(
      makeBroker("default", undefined, { "weft.dev/max-hops": "7", "weft.dev/journal": "failures" }),
    );
    expect(mesh.conditions(BROKER, "default")).toEqual([
      "Ready=True",
      "Addressable=True",
      "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured",
      "EventPoliciesReady=True OIDCDisabled",
      "FilterReady=True",
      "IngressReady=True",
      "TriggerChannelReady=True",
    ]);
    expect(mesh.status(BROKER, "default")).toMatchObject({
      observedGeneration: 1,
      address: { name: "http", url: "http://127.0.0.1:8080/default/default" },
    });
    const uid = mesh.get(BROKER, "default").metadata.uid;
    expect(mesh.dataPlane.routes.brokers).toEqual([
      { namespace: "default", name: "default", uid, hopsMax: 7, journal: "failures" },
    ]);
    expect(mesh.dataPlane.calls).toEqual(["ensureBroker default", "setRoutes default"]);
  });

  test("writes the status in an update of its own, after the create was answered, and then rests", async () => {
    const events: WatchEvent[] = [];
    mesh.store.watch({ kind: BROKER }, (event) => events.push(event));
    const made = await mesh.store.create(
      BROKER,
      makeBroker("default", {}, { "eventing.knative.dev/broker.class": "Weft" }),
    );
    expect(made.status).toBeUndefined();
    expect(mesh.store.get(BROKER, { namespace: "default", name: "default" })?.status).toBeUndefined();
    await mesh.control.settled();
    expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED"]);
  });

  test("leaves brokers of other classes alone", async () => {
    await mesh.apply(
      makeBroker("other", undefined, { "eventing.knative.dev/broker.class": "MTChannelBasedBroker" }),
    );
    expect(mesh.get(BROKER, "other").status).toBeUndefined();
    expect(mesh.dataPlane.calls).toEqual([]);
  });

  test("resolves the dead-letter sink once it is there, and loses it with it", async () => {
    await mesh.apply(makeBroker("default", { delivery: { deadLetterSink: sinkRef } }));
    expect(mesh.condition(BROKER, "default")).toMatchObject({
      status: "False",
      reason: "Unable to get the dead letter sink's URI",
      message: 'failed to get object default/f: services.serving.knative.dev "f" not found',
    });
    expect(mesh.dataPlane.routes.brokers).toHaveLength(1);
    await mesh.apply(makeService("f", "a"));
    expect(mesh.condition(BROKER, "default")).toMatchObject({ status: "True" });
    expect(mesh.status(BROKER, "default")).toMatchObject({
      deadLetterSinkUri: "http://f.default.localhost:8080",
    });
    await mesh.store.delete(
      { ...BROKER, group: "serving.knative.dev", kind: "Service", resource: "services" },
      { namespace: "default", name: "f" },
    );
    await mesh.control.settled();
    expect(mesh.status(BROKER, "default")).not.toHaveProperty("deadLetterSinkUri");
  });

  test("says what failed, and recovers by itself", async () => {
    mesh.dataPlane.fault = new Error("no space");
    await mesh.apply(makeBroker());
    expect(mesh.condition(BROKER, "default")).toMatchObject({
      status: "False",
      reason: "ChannelFailure",
      message: "no space",
    });
    expect(mesh.dataPlane.routes.brokers).toEqual([]);
    mesh.dataPlane.fault = undefined;
    await mesh.clock.advance(BACKOFF_MAX_MS);
    await mesh.control.settled();
    expect(mesh.condition(BROKER, "default")).toMatchObject({ status: "True" });
  });

  test("is not ready before its route is served", async () => {
    mesh.dataPlane.unserved = new Error("the routes are not written");
    await mesh.apply(makeBroker());
    expect(mesh.condition(BROKER, "default")).toMatchObject({
      status: "False",
      message: "the routes are not written",
    });
    mesh.dataPlane.unserved = undefined;
    await mesh.clock.advance(BACKOFF_MAX_MS);
    await mesh.control.settled();
    expect(mesh.condition(BROKER, "default")).toMatchObject({ status: "True" });
  });

  test("takes the route away before the streams", async () => {
    await mesh.apply(makeBroker());
    mesh.dataPlane.calls.length = 0;
    await mesh.remove(BROKER, "default");
    expect(mesh.dataPlane.calls).toEqual(["setRoutes", "removeBroker default"]);
  });

  test("removes the streams of a broker that was deleted and made again between two looks", async () => {
    await mesh.apply(makeBroker());
    mesh.dataPlane.calls.length = 0;
    await mesh.store.delete(BROKER, { namespace: "default", name: "default" });
    await mesh.apply(makeBroker());
    expect(mesh.dataPlane.calls).toEqual([
      "setRoutes",
      "removeBroker default",
      "ensureBroker default",
      "setRoutes default",
    ]);
  });

  test("tells the data plane once after a start what is alive", async () => {
    await mesh.apply(makeBroker());
    await mesh.control.close();
    const again = startTestControl(mesh.store);
    await again.control.settled();
    expect(again.dataPlane.alive).toEqual({
      brokers: [{ namespace: "default", name: "default" }],
      triggers: [],
    });
    expect(again.dataPlane.routes.brokers).toHaveLength(1);
    await again.control.close();
  });
});
