import { describe, expect, test } from "vitest";
import type { FilterSpec } from "../../../src/mesh/filter/filter.ts";
import { admitObject, defaultObject, validateObject } from "../../../src/mesh/resources/admission.ts";
import { formatFieldErrors } from "../../../src/mesh/resources/field-error.ts";
import { filtersOf } from "../../../src/mesh/resources/filters.ts";
import { BROKER, SERVICE, TRIGGER } from "../../../src/mesh/resources/kinds.ts";
import { apiVersionOf, type KindId, type KubeObject } from "../../../src/mesh/resources/meta.ts";
import { triggerSchema } from "../../../src/mesh/resources/trigger.ts";

type Parts = { metadata?: Record<string, unknown>; spec?: unknown };

function object(kind: KindId, { metadata = {}, spec }: Parts = {}): KubeObject {
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata: { name: "x", namespace: "ns", ...metadata },
    ...(spec === undefined ? {} : { spec }),
  };
}

const subscriber = { uri: "http://127.0.0.1:9" };
const trigger = (spec: Record<string, unknown> = {}, metadata = {}) =>
  object(TRIGGER, { metadata, spec: { broker: "default", subscriber, ...spec } });
const broker = (spec?: unknown, metadata = {}) => object(BROKER, { metadata, spec });
const service = (spec: Record<string, unknown> = {}, template: Record<string, unknown> = {}) =>
  object(SERVICE, { spec: { template: { spec: { containers: [{ image: "i" }] }, ...template }, ...spec } });
const podSpec = (fields: Record<string, unknown>) =>
  service({}, { spec: { containers: [{ image: "i" }], ...fields } });

/** The text a client sees after defaulting. */
function faults(kind: KindId, submitted: KubeObject, old?: KubeObject): string {
  const defaulted = defaultObject(kind, submitted, { old });
  const checkCesql = (text: string) => (text === "(" ? "unexpected end" : undefined);
  return formatFieldErrors(validateObject(kind, defaulted, { old, checkCesql }));
}

describe("defaultObject", () => {
  test("gives a Broker its class and the reference broker's delivery", () => {
    expect(defaultObject(BROKER, broker())).toMatchObject({
      metadata: { annotations: { "eventing.knative.dev/broker.class": "Weft" } },
      spec: { delivery: { retry: 10, backoffPolicy: "exponential", backoffDelay: "PT0.2S" } },
    });
  });

  test("leaves a Broker's own class and delivery, and places its references", () => {
    const sink = { ref: { kind: "Service", name: "f", apiVersion: "serving.knative.dev/v1" } };
    const config = { kind: "ConfigMap", name: "c", apiVersion: "v1" };
    const annotations = { "eventing.knative.dev/broker.class": "Other" };
    const defaulted = defaultObject(
      BROKER,
      broker({ config, delivery: { deadLetterSink: sink } }, { annotations }),
    );
    expect(defaulted).toMatchObject({
      metadata: { annotations },
      spec: {
        config: { namespace: "ns" },
        delivery: { deadLetterSink: { ref: { ...sink.ref, namespace: "ns" } } },
      },
    });
    expect(Object.keys((defaulted.spec as { delivery: object }).delivery)).toEqual(["deadLetterSink"]);
  });

  test("gives a Trigger its filter, label and the namespaces of its references", () => {
    const ref = { kind: "Service", name: "f", apiVersion: "serving.knative.dev/v1" };
    expect(defaultObject(TRIGGER, trigger({ subscriber: { ref } }))).toMatchObject({
      metadata: { labels: { "eventing.knative.dev/broker": "default" } },
      spec: { filter: {}, subscriber: { ref: { ...ref, namespace: "ns" } } },
    });
  });

  test("gives a Service what kn reads without asking", () => {
    expect(defaultObject(SERVICE, service()).spec).toEqual({
      template: {
        spec: {
          containerConcurrency: 0,
          timeoutSeconds: 300,
          enableServiceLinks: false,
          containers: [
            {
              name: "user-container",
              image: "i",
              resources: {},
              readinessProbe: { successThreshold: 1, tcpSocket: { port: 0 } },
            },
          ],
        },
      },
      traffic: [{ latestRevision: true, percent: 100 }],
    });
  });

  test("leaves a template alone whose explicit name is the stored one", () => {
    const named = service({}, { metadata: { name: "x-one" } });
    const old = defaultObject(SERVICE, named);
    expect(defaultObject(SERVICE, named, { old }).spec).toMatchObject({
      template: { spec: { containers: [{ image: "i" }] } },
    });
    expect(JSON.stringify(defaultObject(SERVICE, named, { old }))).not.toContain("readinessProbe");
  });

  test.each([
    [BROKER, broker()],
    [TRIGGER, trigger()],
    [SERVICE, service()],
  ])("is idempotent (%#)", (kind, submitted) => {
    const once = defaultObject(kind, submitted, { user: "me" });
    expect(defaultObject(kind, once, { old: once, user: "you" })).toEqual(once);
  });

  test("drops null fields and records who asked", () => {
    const submitted = {
      ...broker(undefined, { creationTimestamp: null }),
      spec: { config: null },
    } as KubeObject;
    const defaulted = defaultObject(BROKER, submitted, { user: "me" });
    expect(defaulted.metadata).not.toHaveProperty("creationTimestamp");
    expect(defaulted.metadata.annotations).toMatchObject({
      "eventing.knative.dev/creator": "me",
      "eventing.knative.dev/lastModifier": "me",
    });
  });
});

describe("validateObject", () => {
  test.each<[string, KindId, KubeObject]>([
    ["a bare broker", BROKER, broker()],
    ["an empty delivery", TRIGGER, trigger({ delivery: {} })],
    ["an empty list of filters", TRIGGER, trigger({ filters: [] })],
    [
      "empty dialects next to a real one",
      TRIGGER,
      trigger({ filters: [{ exact: {}, prefix: { type: "a" } }] }),
    ],
    [
      "nested filters",
      TRIGGER,
      trigger({ filters: [{ any: [{ not: { cesql: "x" } }, { all: [{ suffix: { a: "b" } }] }] }] }),
    ],
    ["an empty legacy value", TRIGGER, trigger({ filter: { attributes: { type: "" } } })],
    ["valid attribute names", TRIGGER, trigger({ filter: { attributes: { aaa: "1", c1d2e3: "2" } } })],
    [
      "a ref with a relative uri",
      TRIGGER,
      trigger({ subscriber: { ref: { kind: "S", name: "s", apiVersion: "v1" }, uri: "/p" } }),
    ],
    ["an odd scheme", TRIGGER, trigger({ subscriber: { uri: "bad://uri" } })],
    ["zero and negative backoff", TRIGGER, trigger({ delivery: { backoffDelay: "-PT1S" } })],
    [
      "weft annotations",
      TRIGGER,
      trigger({}, { annotations: { "weft.dev/concurrency": "10000", "weft.dev/paused": "true" } }),
    ],
    ["a plain service", SERVICE, service()],
    [
      "a service by bundle",
      SERVICE,
      service({}, { spec: {}, metadata: { annotations: { "weft.dev/bundle": `sha256:${"a".repeat(64)}` } } }),
    ],
    [
      "a traffic split",
      SERVICE,
      service({
        traffic: [
          { revisionName: "x-00001", percent: 40 },
          { latestRevision: true, percent: 60, tag: "next" },
        ],
      }),
    ],
  ])("accepts %s", (_what, kind, submitted) => {
    expect(faults(kind, submitted)).toBe("");
  });

  test.each<[KindId, KubeObject, string]>([
    [TRIGGER, trigger({ broker: undefined }), "missing field(s): spec.broker"],
    [
      TRIGGER,
      trigger({ brokerRef: { kind: "Broker", name: "b", apiVersion: "v1" } }),
      "expected exactly one, got both: spec.broker, spec.brokerRef",
    ],
    [TRIGGER, trigger({ foo: 1 }), "unknown field: spec.foo"],
    [TRIGGER, trigger({ filters: [{ exakt: {} }] }), "unknown field: spec.filters[0].exakt"],
    [
      TRIGGER,
      trigger({ subscriber: {} }),
      "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri",
    ],
    [
      TRIGGER,
      trigger({ subscriber: { uri: "/p" } }),
      "invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent: spec.subscriber.uri\n/p",
    ],
    [
      TRIGGER,
      trigger({ subscriber: { uri: "http://a", ref: { kind: "S", name: "s", apiVersion: "v1" } } }),
      "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present: " +
        "spec.subscriber.[apiVersion, kind, name], spec.subscriber.ref, spec.subscriber.uri",
    ],
    [
      TRIGGER,
      trigger({ subscriber: { ref: { kind: "Service" } } }),
      "missing field(s): spec.subscriber.ref.apiVersion, spec.subscriber.ref.name",
    ],
    [
      TRIGGER,
      trigger({ filters: [{ exact: { type: "a" }, suffix: { type: "b" } }] }),
      "multiple dialects found, filters can have only one dialect set: spec.filters[0]\nfound exact and suffix",
    ],
    [
      TRIGGER,
      trigger({ filter: { attributes: { Source: "a" } } }),
      'invalid key name "Source": spec.filter.attributes[Source]\n' +
        "Attribute name must start with a letter and can only contain lowercase alphanumeric",
    ],
    [
      TRIGGER,
      trigger({ filters: [{ any: [{ prefix: { type: "" } }] }] }),
      'invalid value: "": spec.filters[0].any[0].prefix[type]\n' +
        "expected a non-empty string: an empty one would let every event pass",
    ],
    [
      TRIGGER,
      trigger({ filters: [{ cesql: "(" }] }),
      "invalid value: (: spec.filters[0].cesql\nunexpected end",
    ],
    [TRIGGER, trigger({ delivery: { retry: -1 } }), "invalid value: -1: spec.delivery.retry"],
    [
      TRIGGER,
      trigger({ delivery: { backoffDelay: "5s", timeout: "PT0S" } }),
      'invalid value: 5s: spec.delivery.backoffDelay\nexpected an ISO 8601 duration such as "PT0.5S"\n' +
        'invalid value: PT0S: spec.delivery.timeout\nexpected an ISO 8601 duration such as "PT0.5S", longer than zero',
    ],
    [
      TRIGGER,
      trigger({ delivery: { format: "JSON" } }),
      'invalid value: JSON: spec.delivery.format\nexpected "json" or "binary"',
    ],
    [
      TRIGGER,
      trigger({}, { annotations: { "weft.dev/concurrency": "0" } }),
      "invalid value: 0: metadata.annotations[weft.dev/concurrency]\nexpected a whole number from 1 to 10000",
    ],
    [
      BROKER,
      broker(undefined, { annotations: { "weft.dev/concurrency": "5" } }),
      "must not set the field(s): metadata.annotations[weft.dev/concurrency]\nit belongs on a Trigger",
    ],
    [
      BROKER,
      broker(undefined, { annotations: { "eventing.knative.dev/broker.class": "" } }),
      "missing field(s): eventing.knative.dev/broker.class",
    ],
    [
      BROKER,
      broker({ config: { kind: "ConfigMap" } }),
      "missing field(s): spec.config.apiVersion, spec.config.name",
    ],
    [SERVICE, service({}, { spec: {} }), "missing field(s): spec.template.spec.containers"],
    [SERVICE, podSpec({ containers: [{}] }), "missing field(s): spec.template.spec.containers[0].image"],
    [
      SERVICE,
      podSpec({ timeoutSeconds: 700 }),
      "expected 0 <= 700 <= 600: spec.template.spec.timeoutSeconds",
    ],
    [SERVICE, podSpec({ nodeSelector: {} }), "must not set the field(s): spec.template.spec.nodeSelector"],
    [SERVICE, podSpec({ containerz: [] }), "unknown field: spec.template.spec.containerz"],
    [
      SERVICE,
      service({}, { metadata: { name: "other" } }),
      'invalid value: "other" must have prefix "x-": spec.template.metadata.name',
    ],
    [
      SERVICE,
      service({ traffic: [{ percent: 30 }, { revisionName: "@ltest", percent: 30 }] }),
      "Traffic targets sum to 60, want 100: spec.traffic\ninvalid value: @ltest: spec.traffic[1].revisionName",
    ],
    [
      SERVICE,
      service({
        traffic: [
          { percent: 100, tag: "a" },
          { percent: 0, tag: "a" },
        ],
      }),
      'Multiple definitions for "a": spec.traffic[0].tag, spec.traffic[1].tag',
    ],
  ])("refuses with the text users know (%#)", (kind, submitted, text) => {
    expect(faults(kind, submitted)).toBe(text);
  });

  test.each(["SOURCE", "Source", "souRce", "s pace s", "s_pace_s", "s-pace-s", "123", "😀", "!@#$", "<>?"])(
    "refuses the attribute name %j",
    (name) => {
      expect(faults(TRIGGER, trigger({ filters: [{ exact: { [name]: "v" } }] }))).toContain(
        `invalid key name "${name}"`,
      );
    },
  );

  test.each<[string, KindId, KubeObject, KubeObject, string]>([
    [
      "a trigger's broker",
      TRIGGER,
      trigger(),
      trigger({ broker: "other" }),
      "Immutable fields changed (-old +new): broker, spec",
    ],
    [
      "a broker's config",
      BROKER,
      broker(),
      broker({ config: { kind: "C", name: "c", apiVersion: "v1" } }),
      "Immutable fields changed (-old +new): spec",
    ],
    [
      "a broker's class",
      BROKER,
      broker(),
      broker(undefined, { annotations: { "eventing.knative.dev/broker.class": "Other" } }),
      'Immutable annotations changed (-old +new): annotations\n{string}:\n\t-: "Weft"\n\t+: "Other"',
    ],
    [
      "a template under an explicit name",
      SERVICE,
      service({}, { metadata: { name: "x-one" } }),
      service({}, { metadata: { name: "x-one" }, spec: { containers: [{ image: "j" }] } }),
      "Saw the following changes without a name change (-old +new): spec.template.metadata.name",
    ],
  ])("refuses to change %s", (_what, kind, old, submitted, text) => {
    expect(faults(kind, submitted, defaultObject(kind, old))).toContain(text);
  });

  test("allows to change a broker's delivery and a trigger's filter", () => {
    expect(faults(BROKER, broker({ delivery: { retry: 1 } }), defaultObject(BROKER, broker()))).toBe("");
    const old = defaultObject(TRIGGER, trigger());
    expect(faults(TRIGGER, trigger({ filters: [{ exact: { type: "a" } }] }), old)).toBe("");
  });

  test.each(["", "Up", "a_b", "-a", "a".repeat(254)])("refuses the name %j", (name) => {
    expect(faults(BROKER, broker(undefined, { name }))).toContain("metadata.name");
  });
});

describe("admitObject", () => {
  test("rejects with OBJECT_INVALID and names the object", () => {
    expect(() => admitObject(TRIGGER, trigger({ broker: undefined }))).toThrow(
      expect.objectContaining({ code: "OBJECT_INVALID", message: expect.stringContaining("Trigger x") }),
    );
  });
});

describe("filtersOf", () => {
  test("yields what the filter compiler takes", () => {
    const parsed = triggerSchema.parse(
      trigger({ filters: [{ exact: {}, not: { exact: { type: "a" } } }, { cesql: "x" }] }),
    );
    const specs: readonly FilterSpec[] = filtersOf(parsed.spec.filters ?? []);
    expect(specs).toEqual([{ not: { exact: { type: "a" } } }, { cesql: "x" }]);
  });
});
