import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UNUSED_REVISIONS_MAX } from "../../../src/mesh/control/revision.ts";
import { CONFIGURATION, REVISION, ROUTE, SERVICE } from "../../../src/mesh/resources/kinds.ts";
import type { WatchEvent } from "../../../src/mesh/store/store.ts";
import { makeService, startTestControl, type TestControl } from "./fakes.ts";

const broken = { kind: "failed", reason: "ExitCode1", message: "it threw" } as const;

describe("the service reconciler", () => {
  let mesh: TestControl;
  beforeEach(() => {
    mesh = startTestControl();
  });
  afterEach(() => mesh.control.close());

  test("makes a Service Ready with all that kn reads", async () => {
    await mesh.apply(makeService("hello", "a", {}, { env: [{ name: "A", value: "1" }, { name: "B" }] }));
    expect(mesh.conditions(SERVICE, "hello")).toEqual([
      "Ready=True",
      "ConfigurationsReady=True",
      "RoutesReady=True",
    ]);
    const url = "http://hello.default.localhost:8080";
    expect(mesh.status(SERVICE, "hello")).toMatchObject({
      observedGeneration: 1,
      url,
      address: { url },
      latestCreatedRevisionName: "hello-00001",
      latestReadyRevisionName: "hello-00001",
      traffic: [{ latestRevision: true, percent: 100, revisionName: "hello-00001" }],
    });
    expect(mesh.host.applied.get("hello-00001")).toMatchObject({
      namespace: "default",
      name: "hello",
      generation: 1,
      bundle: `sha256:${"a".repeat(64)}`,
      env: { A: "1", B: "" },
      containerConcurrency: 0,
      timeoutSeconds: 300,
    });
    expect(mesh.host.traffic.get("hello")).toEqual([
      { revision: "hello-00001", percent: 100, tag: undefined },
    ]);
    const service = mesh.get(SERVICE, "hello");
    const revision = mesh.get(REVISION, "hello-00001");
    expect(revision.metadata.labels).toMatchObject({
      "serving.knative.dev/service": "hello",
      "serving.knative.dev/serviceUID": service.metadata.uid,
      "serving.knative.dev/configurationGeneration": "1",
      "serving.knative.dev/routingState": "active",
    });
    expect(revision.metadata.annotations).toMatchObject({ "serving.knative.dev/routes": "hello" });
    expect(mesh.condition(REVISION, "hello-00001")).toMatchObject({ status: "True" });
    expect(mesh.condition(CONFIGURATION, "hello")).toMatchObject({ status: "True" });
    expect(mesh.condition(ROUTE, "hello")).toMatchObject({ status: "True" });
    expect(service.metadata.annotations ?? {}).toEqual({});
    expect(service.metadata.labels ?? {}).toEqual({});
  });

  test("comes to rest: the last change of a Service is its Ready status", async () => {
    const events: WatchEvent[] = [];
    mesh.store.watch({ kind: SERVICE }, (event) => events.push(event));
    await mesh.apply(makeService("hello", "a"));
    expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED"]);
    const { resourceVersion } = mesh.store.list(SERVICE);
    mesh.host.changed({ namespace: "default", name: "hello" });
    await mesh.control.settled();
    expect(mesh.store.list(SERVICE).resourceVersion).toBe(resourceVersion);
  });

  test("says how to give a Service code that has none", async () => {
    await mesh.apply(makeService("hello"));
    expect(mesh.condition(SERVICE, "hello")).toMatchObject({
      status: "False",
      reason: "ContainerMissing",
      message: expect.stringContaining("functions/hello.ts"),
    });
    expect(mesh.status(SERVICE, "hello")).toMatchObject({
      address: { url: "http://hello.default.localhost:8080" },
    });
    await mesh.apply(makeService("hello", "a"));
    expect(mesh.condition(SERVICE, "hello")).toMatchObject({ status: "True" });
    expect(mesh.status(SERVICE, "hello")).toMatchObject({ latestReadyRevisionName: "hello-00002" });
  });

  test("says which variable has no value here", async () => {
    const env = [{ name: "KEY", valueFrom: { secretKeyRef: { name: "s", key: "k" } } }];
    await mesh.apply(makeService("hello", "a", {}, { env }));
    expect(mesh.condition(SERVICE, "hello")).toMatchObject({
      reason: "EnvironmentUnresolved",
      message: expect.stringContaining("KEY"),
    });
  });

  test("keeps traffic on the last ready revision when a new one fails", async () => {
    await mesh.apply(makeService("hello", "a"));
    mesh.host.outcomes.set("hello-00002", broken);
    await mesh.apply(makeService("hello", "b"));
    expect(mesh.condition(SERVICE, "hello")).toMatchObject({
      status: "False",
      reason: "ExitCode1",
      message: "it threw",
    });
    expect(mesh.conditions(SERVICE, "hello")).toContain("RoutesReady=True");
    expect(mesh.status(SERVICE, "hello")).toMatchObject({
      latestCreatedRevisionName: "hello-00002",
      latestReadyRevisionName: "hello-00001",
    });
    expect(mesh.host.traffic.get("hello")).toEqual([
      { revision: "hello-00001", percent: 100, tag: undefined },
    ]);
    mesh.host.outcomes.delete("hello-00002");
    mesh.host.changed({ namespace: "default", name: "hello" });
    await mesh.control.settled();
    expect(mesh.status(SERVICE, "hello")).toMatchObject({ latestReadyRevisionName: "hello-00002" });
  });

  test("splits traffic in the order of the spec, with tags", async () => {
    await mesh.apply(makeService("hello", "a"));
    const traffic = [
      { latestRevision: true, percent: 98 },
      { revisionName: "hello-00001", percent: 2, tag: "candidate" },
    ];
    await mesh.apply(makeService("hello", "b", { traffic }));
    expect(mesh.status(SERVICE, "hello").traffic).toEqual([
      { revisionName: "hello-00002", latestRevision: true, percent: 98 },
      {
        revisionName: "hello-00001",
        latestRevision: false,
        percent: 2,
        tag: "candidate",
        url: "http://candidate-hello.default.localhost:8080",
      },
    ]);
    expect(mesh.host.traffic.get("hello")).toEqual([
      { revision: "hello-00002", percent: 98, tag: undefined },
      { revision: "hello-00001", percent: 2, tag: "candidate" },
    ]);
  });

  test("makes no revision for a change of traffic alone", async () => {
    await mesh.apply(makeService("hello", "a"));
    await mesh.apply(makeService("hello", "a", { traffic: [{ revisionName: "hello-00001", percent: 100 }] }));
    expect(mesh.status(SERVICE, "hello")).toMatchObject({
      observedGeneration: 2,
      latestCreatedRevisionName: "hello-00001",
    });
  });

  test("names a revision that traffic wants and nobody made", async () => {
    await mesh.apply(makeService("hello", "a", { traffic: [{ revisionName: "hello-00009", percent: 100 }] }));
    expect(mesh.condition(SERVICE, "hello")).toMatchObject({
      status: "False",
      reason: "RevisionMissing",
      message: 'Revision "hello-00009" referenced in traffic not found.',
    });
  });

  test("takes an explicit revision name, and refuses to give it to another template", async () => {
    const named = (name: string, bundle: string, image: string) => {
      const annotations = { "weft.dev/bundle": `sha256:${bundle.repeat(64)}` };
      return makeService("hello", bundle, {
        template: { metadata: { name, annotations }, spec: { containers: [{ image }] } },
      });
    };
    await mesh.apply(named("hello-one", "a", "i"));
    expect(mesh.status(SERVICE, "hello")).toMatchObject({ latestReadyRevisionName: "hello-one" });
    await mesh.apply(named("hello-two", "b", "j"));
    await mesh.apply(named("hello-one", "c", "k"));
    expect(mesh.condition(SERVICE, "hello")).toMatchObject({ status: "False", reason: "RevisionNameTaken" });
    expect(mesh.host.traffic.get("hello")).toMatchObject([{ revision: "hello-two" }]);
  });

  test("hands all revisions with traffic to a host that starts anew", async () => {
    await mesh.apply(makeService("hello", "a"));
    await mesh.apply(
      makeService("hello", "b", {
        traffic: [
          { latestRevision: true, percent: 50 },
          { revisionName: "hello-00001", percent: 50 },
        ],
      }),
    );
    await mesh.control.close();
    const again = startTestControl(mesh.store);
    await again.control.settled();
    expect([...again.host.applied.keys()].sort()).toEqual(["hello-00001", "hello-00002"]);
    await again.control.close();
  });

  test("keeps a bounded number of revisions nobody uses", async () => {
    const count = UNUSED_REVISIONS_MAX + 5;
    for (let index = 0; index < count; index++) {
      await mesh.apply(makeService("hello", "a", {}, { env: [{ name: "STEP", value: String(index) }] }));
    }
    const names = mesh.store.list(REVISION).items.map(({ metadata }) => metadata.name);
    expect(names).toHaveLength(UNUSED_REVISIONS_MAX + 1);
    expect(names).toContain(`hello-000${count}`);
    expect(names).not.toContain("hello-00001");
  });

  test("leaves nothing behind when the Service goes", async () => {
    await mesh.apply(makeService("hello", "a"));
    await mesh.remove(SERVICE, "hello");
    for (const kind of [CONFIGURATION, ROUTE, REVISION]) expect(mesh.store.list(kind).items).toEqual([]);
    expect(mesh.host.removed).toContain("hello");
  });
});
