import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileFilters, type FilterSpec } from "../../../src/mesh/filter/filter.ts";
import { admits, prefixTokensMax, pushdown, type TypeConstraint } from "../../../src/mesh/filter/pushdown.ts";
import { filtersAndEvent } from "./arbitraries.ts";

const any: TypeConstraint = { kind: "any" };
const exact = (type: string): TypeConstraint => ({ kind: "exact", type });
const prefix = (...tokens: string[]): TypeConstraint => ({ kind: "prefix", tokens });
const other: FilterSpec = { exact: { source: "/a" } };
const everything = { isFaithful: () => true };

describe("pushdown must find the narrowest constraint and leave the rest", () => {
  test.each<[FilterSpec[], TypeConstraint, FilterSpec[]]>([
    [[], any, []],
    [[other], any, [other]],
    [[{ exact: { type: "a.b" } }], exact("a.b"), []],
    [[{ exact: { type: "a.b", source: "/a" } }], exact("a.b"), [other]],
    [[{ exact: { type: "a.b" } }, other], exact("a.b"), [other]],
    [[{ exact: { type: "a" } }, { exact: { type: "b" } }], exact("a"), [{ exact: { type: "b" } }]],
    [[{ prefix: { type: "a.b." } }], prefix("a", "b"), []],
    [[{ prefix: { type: "a.b.c" } }], prefix("a", "b"), [{ prefix: { type: "a.b.c" } }]],
    [[{ prefix: { type: "a" } }], any, [{ prefix: { type: "a" } }]],
    [[{ prefix: { type: "." } }], prefix(""), []],
    [[{ prefix: { type: "a.", source: "/" } }], prefix("a"), [{ prefix: { source: "/" } }]],
    [[{ prefix: { type: "a." } }, { prefix: { type: "a.b." } }], prefix("a", "b"), []],
    [[{ prefix: { type: "a." } }, { exact: { type: "a.b" } }], exact("a.b"), []],
    [[{ suffix: { type: ".b" } }, { exact: { type: "a.b" } }], exact("a.b"), []],
    [[{ suffix: { type: ".b" } }], any, [{ suffix: { type: ".b" } }]],
    [[{ not: { exact: { type: "a.b" } } }], any, [{ not: { exact: { type: "a.b" } } }]],
    [[{ all: [{ exact: { type: "a.b" } }, other] }], exact("a.b"), [{ all: [other] }]],
    [[{ all: [{ exact: { type: "a.b" } }] }], exact("a.b"), []],
    [[{ any: [{ exact: { type: "a.b" } }, { exact: { type: "a.b" } }] }], exact("a.b"), []],
    [
      [{ any: [{ exact: { type: "a.b.c" } }, { prefix: { type: "a.b.d." } }] }],
      prefix("a", "b"),
      [{ any: [{ exact: { type: "a.b.c" } }, { prefix: { type: "a.b.d." } }] }],
    ],
    [
      [{ any: [{ exact: { type: "a.b" } }, { exact: { type: "a.b.c" } }] }],
      prefix("a"),
      [{ any: [{ exact: { type: "a.b" } }, { exact: { type: "a.b.c" } }] }],
    ],
    [[{ any: [{ exact: { type: "a.b" } }, other] }], any, [{ any: [{ exact: { type: "a.b" } }, other] }]],
    [[{ cesql: "type = 'a.b'" }], exact("a.b"), []],
    [[{ cesql: "'a.b' = type" }], exact("a.b"), []],
    [[{ cesql: "type LIKE 'a.b.%'" }], prefix("a", "b"), []],
    [[{ cesql: "type LIKE 'a.b'" }], exact("a.b"), []],
    [[{ cesql: "type LIKE 'a.b.%x'" }], prefix("a", "b"), [{ cesql: "type LIKE 'a.b.%x'" }]],
    [[{ cesql: "type LIKE 'a_b.%'" }], any, [{ cesql: "type LIKE 'a_b.%'" }]],
    [[{ cesql: "type LIKE 'a\\_b.c%'" }], prefix("a_b"), [{ cesql: "type LIKE 'a\\_b.c%'" }]],
    [[{ cesql: "type IN ('a.b.c', 'a.b.d')" }], prefix("a", "b"), [{ cesql: "type IN ('a.b.c', 'a.b.d')" }]],
    [[{ cesql: "type NOT IN ('a.b')" }], any, [{ cesql: "type NOT IN ('a.b')" }]],
    [[{ cesql: "type NOT LIKE 'a.b'" }], any, [{ cesql: "type NOT LIKE 'a.b'" }]],
    [[{ cesql: "type != 'a.b'" }], any, [{ cesql: "type != 'a.b'" }]],
    [[{ cesql: "type = 'a.b' AND source = '/a'" }], exact("a.b"), [{ cesql: "source = '/a'" }]],
    [[{ cesql: "type = 'a' AND m > 1 AND m < 3" }], exact("a"), [{ cesql: "(m > 1) AND (m < 3)" }]],
    [[{ cesql: "type = 'a' AND flag" }], exact("a"), [{ cesql: "type = 'a' AND flag" }]],
    [[{ cesql: "type = 'a' OR type = 'a'" }], exact("a"), [{ cesql: "type = 'a' OR type = 'a'" }]],
    [[{ cesql: "type = 'a.x' OR source = 'y'" }], any, [{ cesql: "type = 'a.x' OR source = 'y'" }]],
    [[{ cesql: "(" }, { exact: { type: "a" } }], exact("a"), [{ cesql: "(" }]],
    [
      [{ exact: { type: "a" } }, { any: [{ exact: { type: "a" } }, { cesql: "(" }] }],
      exact("a"),
      [{ any: [{ exact: { type: "a" } }, { cesql: "(" }] }],
    ],
    [
      [{ all: [{ exact: { type: "a" } }, { cesql: "(" }] }],
      any,
      [{ all: [{ exact: { type: "a" } }, { cesql: "(" }] }],
    ],
  ])("%j", (spec, constraint, residual) => {
    expect(pushdown(spec, everything)).toEqual({ constraint, residual });
    expect(pushdown(spec)).toEqual({ constraint, residual: spec });
  });

  test("prefixTokensMax bounds a prefix", () => {
    const pieces = Array.from({ length: 15 }, (_, i) => `p${i}`);
    const spec: FilterSpec = { prefix: { type: `${pieces.join(".")}.` } };
    expect(pushdown([spec], everything)).toEqual({
      constraint: prefix(...pieces.slice(0, prefixTokensMax)),
      residual: [spec],
    });
  });
});

test.each([
  [any, "a", true],
  [exact("a"), "a", true],
  [exact("a"), "a.b", false],
  [prefix("a", "b"), "a.b.c", true],
  [prefix("a", "b"), "a.b.", true],
  [prefix("a", "b"), "a.b", false],
  [prefix("a", "b"), "a.bc.d", false],
])("admits must say whether %j holds %s", (constraint, type, expected) => {
  expect(admits(constraint, type)).toBe(expected);
});

test("pushdown must neither lose nor add an event, whatever the subject decides", () => {
  const seen = { match: 0, narrowed: 0, dropped: 0 };
  fc.assert(
    fc.property(filtersAndEvent, fc.constantFrom("any", "exact", "prefix"), ([spec, event], coarse) => {
      const matches = compileFilters(spec)(event);
      const { constraint, residual } = pushdown(spec, { isFaithful: ({ kind }) => kind !== coarse });
      const admitted = admits(constraint, event.type);
      if (matches) expect(admitted).toBe(true);
      expect(admitted && compileFilters(residual)(event)).toBe(matches);
      if (constraint.kind === coarse) expect(residual).toEqual(spec);
      seen.match += Number(matches);
      seen.narrowed += Number(constraint.kind !== "any" && matches);
      seen.dropped += Number(JSON.stringify(residual) !== JSON.stringify(spec) && matches);
    }),
    { seed: 21, numRuns: 20_000 },
  );
  expect(seen.match).toBeGreaterThan(2_000);
  expect(seen.narrowed).toBeGreaterThan(200);
  expect(seen.dropped).toBeGreaterThan(200);
});
