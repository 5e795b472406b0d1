import { describe, expect, test } from "vitest";
import { compileCesql } from "../../../../src/mesh/filter/cesql/compile.ts";

function warnings(expression: string): readonly string[] {
  const compiled = compileCesql(expression);
  if (!compiled.ok) throw new Error(compiled.message);
  return compiled.warnings;
}

describe("compileCesql must warn about", () => {
  test.each([
    ["1 + 1", "found integer"],
    ["LOWER(id)", "found string"],
    ["'true'", "found string"],
    ["myflag", "BOOL(myflag)"],
    ["a = 'x' AND b = 'y' OR c = 'z'", "mixed without parentheses"],
    ["a XOR b AND c", "mixed without parentheses"],
    ["(a AND b) AND c OR d", "mixed without parentheses"],
    ["NOT a = b", "NOT binds tighter"],
    ["NOT a LIKE 'x'", "NOT binds tighter"],
    ["NOT a IN (1)", "NOT binds tighter"],
    ["NOSUCH(a) = 1", "no function NOSUCH"],
    ["LENGTH(a, b) = 1", "does not take 2 arguments"],
    ["EXISTS data", "data is not an attribute"],
    ["data = 'x'", "data is not an attribute"],
    ["time > '2020-01-01T00:00:00Z'", "compares integers only"],
  ])("%s", (expression, text) => {
    expect(warnings(expression).join("\n")).toContain(text);
  });
});

test.each([
  "(a = 'x' AND b = 'y') OR c = 'z'",
  "a = 'x' OR (b = 'y' AND c = 'z')",
  "a AND b AND c",
  "NOT (a = b)",
  "(NOT a) = b",
  "NOT a AND b",
  "NOT EXISTS a",
  "a > '5'",
  "BOOL(a)",
])("compileCesql must not warn about %s", (expression) => {
  expect(warnings(expression)).toEqual([]);
});
