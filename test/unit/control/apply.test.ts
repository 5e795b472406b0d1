import { beforeEach, describe, expect, test } from "vitest";
import { applyDocuments } from "../../../src/mesh/control/apply.ts";
import { parseManifest } from "../../../src/mesh/control/manifests.ts";
import { BROKER, SERVICE, TRIGGER } from "../../../src/mesh/resources/kinds.ts";
import type { KindId, KubeObject } from "../../../src/mesh/resources/meta.ts";
import { createMemoryStore } from "../../../src/mesh/store/memory.ts";
import type { Store } from "../../../src/mesh/store/store.ts";
import { makeBroker, makeService, makeTrigger } from "./fakes.ts";

describe("applyDocuments", () => {
  let store: Store;
  beforeEach(() => {
    store = createMemoryStore();
  });

  const apply = async (objects: readonly KubeObject[], file = "m.yaml", followsFile = true) => {
    const text = objects.map((object) => JSON.stringify(object)).join("\n---\n");
    const { documents, rejected } = parseManifest({ file, text });
    expect(rejected).toEqual([]);
    const results = await applyDocuments(store, documents, { followsFile });
    return results.map((result) =>
      result.outcome === "rejected" ? result.rejected.message : result.outcome,
    );
  };
  const get = (kind: KindId, name: string) => {
    const object = store.get(kind, { namespace: "default", name });
    if (object === undefined) throw new Error(`no ${name}`);
    return object;
  };

  test("creates with defaults and remembers the file, whatever the order of the documents", async () => {
    expect(await apply([makeTrigger("t"), makeBroker()])).toEqual(["created", "created"]);
    expect(get(TRIGGER, "t")).toMatchObject({ spec: { filter: {} } });
    expect(get(BROKER, "default").metadata.annotations).toMatchObject({
      "eventing.knative.dev/broker.class": "Weft",
      "weft.dev/manifest": "m.yaml",
    });
  });

  test("writes nothing when a document is unchanged, so that a later edit survives", async () => {
    await apply([makeTrigger("t")]);
    const edited = {
      ...get(TRIGGER, "t"),
      spec: { broker: "default", subscriber: { uri: "http://edited" } },
    };
    await store.update(TRIGGER, edited);
    const before = store.list(TRIGGER).resourceVersion;
    expect(await apply([makeTrigger("t")])).toEqual(["unchanged"]);
    expect(store.list(TRIGGER).resourceVersion).toBe(before);
    expect(await apply([makeTrigger("t", { filter: { attributes: { type: "a" } } })])).toEqual([
      "configured",
    ]);
    expect(get(TRIGGER, "t").spec).toMatchObject({ subscriber: { uri: "http://127.0.0.1:9/" } });
  });

  test("keeps what others put on the object, and removes what the document no longer names", async () => {
    await apply([makeTrigger("t", {}, { "weft.dev/paused": "true", "weft.dev/concurrency": "5" })]);
    const { metadata, ...rest } = get(TRIGGER, "t");
    await store.update(TRIGGER, {
      ...rest,
      metadata: {
        ...metadata,
        annotations: { ...metadata.annotations, theirs: "1" },
        labels: { ...metadata.labels, mine: "2" },
      },
    });
    await store.updateStatus(TRIGGER, { ...get(TRIGGER, "t"), status: { ok: true } });
    expect(await apply([makeTrigger("t", {}, { "weft.dev/concurrency": "6" })])).toEqual(["configured"]);
    const after = get(TRIGGER, "t");
    expect(after.metadata.annotations).toMatchObject({ theirs: "1", "weft.dev/concurrency": "6" });
    expect(after.metadata.annotations).not.toHaveProperty("weft.dev/paused");
    expect(after.metadata.labels).toMatchObject({ mine: "2", "eventing.knative.dev/broker": "default" });
    expect(after.status).toEqual({ ok: true });
    expect(after.metadata.uid).toBe(metadata.uid);
  });

  test("takes over an object that was made through the API", async () => {
    await store.create(
      BROKER,
      makeBroker("default", { delivery: { retry: 1 } }, { "eventing.knative.dev/broker.class": "Weft" }),
    );
    expect(await apply([makeBroker("default", { delivery: { retry: 2 } })])).toEqual(["configured"]);
    expect(get(BROKER, "default").spec).toEqual({ delivery: { retry: 2 } });
  });

  test("rejects one document by its reason and applies the others", async () => {
    await apply([makeTrigger("t")]);
    const results = await apply([makeTrigger("t", { broker: "other" }), makeTrigger("u")]);
    expect(results).toEqual([
      expect.stringContaining("Immutable fields changed (-old +new): broker, spec"),
      "created",
    ]);
    expect(get(TRIGGER, "t").spec).toMatchObject({ broker: "default" });
  });

  test("notes that an unchanged document moved to another file", async () => {
    await apply([makeBroker()], "a.yaml");
    const { generation } = get(BROKER, "default").metadata;
    expect(await apply([makeBroker()], "b.yaml")).toEqual(["unchanged"]);
    expect(get(BROKER, "default").metadata).toMatchObject({
      generation,
      annotations: { "weft.dev/manifest": "b.yaml" },
    });
  });

  test("without following a file always counts, and leaves the file's own memory alone", async () => {
    const byHand = (...objects: KubeObject[]) => apply(objects, "(by hand)", false);
    expect(await byHand(makeBroker("b"))).toEqual(["created"]);
    expect(await byHand(makeBroker("b"))).toEqual(["unchanged"]);
    expect(get(BROKER, "b").metadata.annotations).not.toHaveProperty("weft.dev/manifest");
    const edited = { ...get(BROKER, "b"), spec: { delivery: { retry: 1 } } };
    await store.update(BROKER, edited);
    expect(await byHand(makeBroker("b"))).toEqual(["configured"]);
    expect(get(BROKER, "b").spec).toMatchObject({ delivery: { retry: 10 } });

    await apply([makeBroker("c")]);
    expect(await byHand(makeBroker("c", { delivery: { retry: 3 } }))).toEqual(["configured"]);
    expect(get(BROKER, "c").metadata.annotations).toMatchObject({ "weft.dev/manifest": "m.yaml" });
    expect(await apply([makeBroker("c")])).toEqual(["unchanged"]);
    expect(get(BROKER, "c").spec).toEqual({ delivery: { retry: 3 } });
  });

  test("leaves the code of a function to whoever brings it", async () => {
    await apply([makeService("f")]);
    const { metadata, spec } = makeService("f", "a");
    await store.update(SERVICE, {
      ...get(SERVICE, "f"),
      spec,
      metadata: { ...get(SERVICE, "f").metadata, ...metadata },
    });
    await apply([
      makeService("f", undefined, { traffic: [{ latestRevision: true, percent: 100, tag: "x" }] }),
    ]);
    expect(get(SERVICE, "f").spec).toMatchObject({
      template: { metadata: { annotations: { "weft.dev/bundle": `sha256:${"a".repeat(64)}` } } },
      traffic: [{ tag: "x" }],
    });
  });

  test("makes no new generation when only the traffic's file text changes", async () => {
    await apply([makeService("f", "a")]);
    const again = makeService("f", "a");
    expect(await apply([{ ...again, metadata: { ...again.metadata, labels: { l: "1" } } }])).toEqual([
      "configured",
    ]);
    expect(get(SERVICE, "f").metadata.generation).toBe(1);
  });
});
