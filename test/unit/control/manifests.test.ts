import { describe, expect, test } from "vitest";
import { parseManifest } from "../../../src/mesh/control/manifests.ts";

const parse = (text: string) =>
  parseManifest({ file: "m.yaml", text }, (expression) =>
    expression === "(" ? "unexpected end" : undefined,
  );

const broker = `apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: default
`;

describe("parseManifest", () => {
  test("reads several documents with their lines, in namespace default unless they say more", () => {
    const { documents, rejected } = parse(`# comment\n---\n${broker}---\n${broker}  namespace: other\n---\n`);
    expect(rejected).toEqual([]);
    expect(documents.map(({ line, kind, object }) => [line, kind.kind, object.metadata.namespace])).toEqual([
      [3, "Broker", "default"],
      [8, "Broker", "other"],
    ]);
  });

  test("takes a List apart", () => {
    const { documents } = parse(
      JSON.stringify({
        apiVersion: "v1",
        kind: "List",
        items: ["a", "b"].map((name) => ({
          apiVersion: "eventing.knative.dev/v1",
          kind: "Broker",
          metadata: { name },
        })),
      }),
    );
    expect(documents.map(({ object }) => object.metadata.name)).toEqual(["a", "b"]);
  });

  test("names a bad document by line, field and reason, and keeps the others", () => {
    const { documents, rejected } = parse(`${broker}---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: t
spec:
  broker: default
  filters:
    - exact:
        type: a
    - prefix:
        Source: b
  subscriber:
    uri: http://127.0.0.1:1
---
${broker.replace("default", "second")}`);
    expect(documents.map(({ object }) => object.metadata.name)).toEqual(["default", "second"]);
    expect(rejected).toEqual([
      {
        file: "m.yaml",
        line: 16,
        kind: "Trigger",
        name: "t",
        message: expect.stringContaining('invalid key name "Source": spec.filters[1].prefix[Source]'),
      },
    ]);
  });

  test.each<[string, string, Partial<{ line: number; kind: string; name: string; message: string }>]>([
    [
      "broken YAML",
      "a: [",
      { line: 1, kind: "", name: "", message: expect.stringContaining("not valid YAML") },
    ],
    ["no resource", "a: 1", { message: expect.stringContaining("apiVersion, kind and metadata.name") }],
    [
      "a kind weft has not",
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}",
      {
        line: 2,
        kind: "Deployment",
        name: "d",
        message: expect.stringContaining("weft has no kind Deployment (apps/v1); it knows Broker"),
      },
    ],
    [
      "a kind that only reconcilers write",
      "apiVersion: serving.knative.dev/v1\nkind: Revision\nmetadata: {name: r}\nspec: {}",
      { kind: "Revision" },
    ],
    [
      "an unknown field",
      `${broker}spec:\n  delivery:\n    retries: 3\n`,
      { line: 7, message: "unknown field: spec.delivery.retries" },
    ],
    [
      "a missing field",
      "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  subscriber: {uri: 'http://a'}",
      { line: 5, message: "missing field(s): spec.broker" },
    ],
    [
      "an unparsable expression",
      "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: 'http://a'}\n  filters:\n  - cesql: (\n",
      { line: 8, message: "invalid value: (: spec.filters[0].cesql\nunexpected end" },
    ],
    [
      "an unquoted annotation",
      `${broker}  annotations:\n    weft.dev/max-hops: 3\n`,
      { line: 6, message: expect.stringContaining("metadata.annotations[weft.dev/max-hops]") },
    ],
  ])("rejects %s", (_what, text, expected) => {
    const { documents, rejected } = parse(text);
    expect(documents).toEqual([]);
    expect(rejected).toHaveLength(1);
    expect(rejected[0]).toMatchObject({ file: "m.yaml", ...expected });
  });

  test("finds nothing in an empty file", () => {
    expect(parse("# nothing here\n")).toEqual({ documents: [], rejected: [] });
  });
});
