import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runTestFixtures, type TestOptions } from "../../../src/mesh/cli/test-fixtures.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-fixtures-"));
  await writeFile(
    join(folder, "manifests.yaml"),
    `apiVersion: v1
kind: ConfigMap
metadata: { name: other }
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: { name: billing }
spec:
  broker: default
  filters:
    - exact: { type: com.acme.order.paid }
    - cesql: amount > 10
---
kind: Trigger
metadata: { name: legacy }
spec: { filter: { attributes: { type: com.acme.order.paid, region: "" } } }
`,
  );
});

afterAll(() => rm(folder, { recursive: true }));

async function run(fixture: string, format: TestOptions["format"] = "human") {
  const file = join(folder, "fixture.yaml");
  await writeFile(file, fixture);
  let text = "";
  let errors = "";
  const code = await runTestFixtures([file], {
    output: { write: (chunk) => (text += chunk) },
    errorOutput: { write: (chunk) => (errors += chunk) },
    format,
  });
  return { code, text: text.replaceAll(folder, "DIR"), errors: errors.replaceAll(folder, "DIR") };
}

const paid = `
name: a paid order
event: { type: com.acme.order.paid, amount: 12, data: { ignored: true } }
triggers:
  - manifests.yaml
  - metadata: { name: audit }
    spec: { filters: [{ prefix: { type: com.acme. } }, { not: { exact: { source: /test } } }] }
`;

describe("runTestFixtures must", () => {
  test("pass, showing what does not match and why", async () => {
    const { code, text } = await run(`${paid}expect: { billing: match, audit: no-match }`);
    expect(text).toMatchInlineSnapshot(`
      "ok   a paid order
             billing: match
             legacy: no-match
               LENGTH(region) > 0: missingAttribute
             audit: no-match
               not: exact source: expected "/test", found "/test"
      1 passed
      "
    `);
    expect(code).toBe(0);
  });

  test("fail on the other outcome", async () => {
    const { code, text } = await run(`${paid}expect: { billing: no-match }
---
event: { type: other }
triggers: [manifests.yaml]
expect: { billing: match }`);
    expect(text).toContain("FAIL a paid order\n       billing: match, expected no-match");
    expect(text).toContain("FAIL DIR/fixture.yaml (document 2)\n       billing: no-match, expected match\n");
    expect(text).toContain('exact type: expected "com.acme.order.paid", found "other"');
    expect(text).toContain("2 of 2 failed");
    expect(code).toBe(1);
  });

  test("fail a trigger whose filter cannot be evaluated, whatever was expected", async () => {
    const { code, text } = await run(`
event: { type: a }
triggers: [{ metadata: { name: broken }, spec: { filters: [{ cesql: "type =" }] } }]
expect: { broken: no-match }`);
    expect(text).toContain("broken: no-match, its filter cannot be evaluated");
    expect(text).toContain("filters[0].cesql: expected a value, found the end at offset 6");
    expect(code).toBe(1);
  });

  test("write JUnit XML", async () => {
    const { code, text } = await run(
      `
name: '<&">'
event: { type: a }
triggers: [{ metadata: { name: exact }, spec: { filters: [{ exact: { type: "<\\u0001>" } }] } }]
expect: { exact: match }`,
      "junit",
    );
    expect(text).toMatchInlineSnapshot(`
      "<?xml version="1.0" encoding="UTF-8"?>
      <testsuites>
        <testsuite name="&lt;&amp;&quot;&gt;" file="DIR/fixture.yaml" tests="1" failures="1">
          <testcase classname="&lt;&amp;&quot;&gt;" name="exact">
            <failure message="no-match, expected match">exact type: expected &quot;&lt;\\u0001&gt;&quot;, found &quot;a&quot;</failure>
          </testcase>
        </testsuite>
      </testsuites>
      "
    `);
    expect(code).toBe(1);
  });

  test("write JSON", async () => {
    const { text } = await run(`${paid}expect: { billing: match }`, "json");
    expect(JSON.parse(text)).toEqual([
      {
        file: "DIR/fixture.yaml",
        name: "a paid order",
        checks: [
          { trigger: "billing", expected: "match", actual: "match", ok: true, why: expect.any(Array) },
          { trigger: "legacy", actual: "no-match", ok: true, why: ["LENGTH(region) > 0: missingAttribute"] },
          { trigger: "audit", actual: "no-match", ok: true, why: expect.any(Array) },
        ],
      },
    ]);
  });

  test.each([
    ["", "at least one fixture"],
    ["a: [", "expected YAML"],
    ["event: {}\ntriggers: [manifests.yaml]\nexpect: {}", "type"],
    ["event: { type: a }\nexpect: {}", "triggers"],
    [`${paid}expect: { stranger: match }`, "found stranger"],
    [`${paid}expect: { billing: maybe }`, "no-match"],
    [`${paid}expect: {}\nextra: 1`, "extra"],
    ["event: { type: a }\ntriggers: [gone.yaml]\nexpect: {}", "a readable file"],
    ["event: { type: a }\ntriggers: [fixture.yaml]\nexpect: {}", "a Trigger manifest"],
    ["event: { type: a }\ntriggers: [manifests.yaml, manifests.yaml]\nexpect: {}", "each name once"],
  ])("call it wrong use: %j", async (fixture, message) => {
    const { code, text, errors } = await run(fixture);
    expect(errors).toContain(message);
    expect(text).toBe("");
    expect(code).toBe(2);
  });

  test("want at least one file", async () => {
    const silent = { write: () => true };
    expect(await runTestFixtures([], { output: silent, errorOutput: silent, format: "human" })).toBe(2);
  });
});
