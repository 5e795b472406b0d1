import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decisiveClauses, explain } from "../../../src/mesh/filter/explain.ts";
import { compileFilters, type FilterSpec } from "../../../src/mesh/filter/filter.ts";
import { attributes, filters } from "./arbitraries.ts";

const event = { specversion: "1.0", id: "1", source: "/a", type: "com.acme.paid", flag: "true" };

describe("explain must show clauses, what was expected and what was found", () => {
  test("exact", () => {
    expect(explain([{ exact: { type: "x", ext: "y" } }], event)).toEqual({
      clause: "exact",
      result: false,
      children: [
        { clause: "exact type", attribute: "type", expected: "x", found: "com.acme.paid", result: false },
        { clause: "exact ext", attribute: "ext", expected: "y", result: false },
      ],
    });
  });

  test("cesql conjunctions", () => {
    expect(explain([{ cesql: "type LIKE 'com.%' AND m > 5" }], event)).toEqual({
      clause: "(type LIKE 'com.%') AND (m > 5)",
      result: false,
      error: "missingAttribute",
      children: [
        { clause: "type LIKE 'com.%'", attribute: "type", found: "com.acme.paid", result: true },
        { clause: "m > 5", attribute: "m", result: false, error: "missingAttribute" },
      ],
    });
  });

  test("a result that is no boolean", () => {
    expect(explain([{ cesql: "flag" }], event)).toEqual({
      clause: "flag",
      attribute: "flag",
      found: "true",
      result: false,
      error: 'result is "true", not a boolean',
    });
  });

  test("an element that cannot be evaluated", () => {
    expect(explain([{ any: [{ cesql: "type =" }] }], event)).toEqual({
      clause: "any",
      result: false,
      error: "any[0].cesql: expected a value, found the end at offset 6",
    });
  });

  test("no filter", () => {
    expect(explain([], event)).toEqual({ clause: "no filter", result: true });
    expect(explain([{ cesql: "" }], event)).toEqual({ clause: "no filter", result: true });
  });
});

describe("decisiveClauses must name what decided", () => {
  test.each<[FilterSpec[], string[]]>([
    [[], ["no filter"]],
    [[{ exact: { type: "x" } }], ['exact type: expected "x", found "com.acme.paid"']],
    [[{ exact: { ext: "x" } }, { prefix: { type: "com" } }], ['exact ext: expected "x", found nothing']],
    [
      [{ any: [{ exact: { source: "/a" } }, { exact: { type: "x" } }] }],
      ['exact source: expected "/a", found "/a"'],
    ],
    [[{ not: { exact: { source: "/a" } } }], ['not: exact source: expected "/a", found "/a"']],
    [[{ cesql: "type = 'x' AND source = '/a'" }], ["type = 'x': found \"com.acme.paid\""]],
    [[{ cesql: "m = 'x'" }], ["m = 'x': missingAttribute"]],
  ])("%j", (spec, lines) => {
    expect(decisiveClauses(explain(spec, event))).toEqual(lines);
  });
});

test("explain must come to the result the compiled filter comes to", () => {
  let matched = 0;
  fc.assert(
    fc.property(filters, attributes, (spec, candidate) => {
      const explanation = explain(spec, candidate);
      expect(explanation.result).toBe(compileFilters(spec)(candidate));
      expect(decisiveClauses(explanation).length).toBeGreaterThan(0);
      matched += Number(explanation.result);
    }),
    { seed: 41, numRuns: 10_000 },
  );
  expect(matched).toBeGreaterThan(1_000);
});
