import { describe, expect, test } from "vitest";
import { format, type Node } from "../../../../src/mesh/filter/cesql/ast.ts";
import { checkCesql, evaluate } from "../../../../src/mesh/filter/cesql/compile.ts";
import { parse, parseLimits } from "../../../../src/mesh/filter/cesql/parser.ts";

function parsed(source: string): Node {
  const result = parse(source);
  if (!("node" in result)) throw new Error(`${source}: ${result.message}`);
  return result.node;
}

describe("parse must refuse", () => {
  test.each([
    ["", 0],
    ["   ", 3],
    ["id = 'x' ;", 9],
    ["id # 1", 3],
    ["a_b = 1", 0],
    ["a-_b", 2],
    ["1a_", 0],
    ["id == 'x'", 4],
    ["id && id", 3],
    ["!id", 0],
    ["id = 'x", 5],
    ["id = 'x\\'", 5],
    ["id = '''", 5],
    ["id LIKE id", 8],
    ["id LIKE 5", 8],
    ["id LIKE ('a')", 8],
    ["id NOT 'a'", 3],
    ["id IN ()", 7],
    ["id IN 'a'", 6],
    ["id IN ('a'", 10],
    ["EXISTS 'id'", 7],
    ["EXISTS (id)", 7],
    ["EXISTS 5", 7],
    ["EXISTS and", 7],
    ["EXISTS LENGTH(id)", 13],
    ["2147483648", 0],
    ["-2147483649", 0],
    ["- 2147483648", 2],
    ["+ 5", 0],
    ["+id", 0],
    ["1.5", 1],
    ["data.x = 1", 4],
    ["FOO2(1)", 0],
    ["FOO_", 0],
    ["LENGTH(", 7],
    ["LENGTH(id", 9],
    ["LENGTH(id,)", 10],
    ["AND(id)", 0],
    ["id id", 3],
    ["'a' 'b'", 4],
    ["(id", 3],
    ["id)", 2],
    ["id =", 4],
    ["NOT", 3],
    ["id\u00a0= 1", 2],
    ["id = 1\u000b", 6],
    ["é = 1", 0],
    ["id = 'x' // comment", 10],
  ])("%j at %d", (source, position) => {
    expect(parse(source)).toEqual({ message: expect.any(String), position });
    expect(checkCesql(source)).toContain(`at offset ${position}`);
    expect(evaluate(source, {})).toEqual({ value: false, errors: ["parse"] });
  });
});

describe("parse must build", () => {
  test.each([
    ["NOT a = b", "(NOT a) = b"],
    ["NOT a LIKE 'x'", "(NOT a) LIKE 'x'"],
    ["NOT x IN (1)", "(NOT x) IN (1)"],
    ["a NOT LIKE 'x'", "a NOT LIKE 'x'"],
    ["a <> b", "a != b"],
    ["1 + 2 LIKE '3'", "1 + (2 LIKE '3')"],
    ["a AND b AND c", "a AND b AND c"],
    ["(a AND b) AND c", "a AND b AND c"],
    ["a AND (b AND c)", "a AND (b AND c)"],
    ["a AND b OR c", "(a AND b) OR c"],
    ["a = b < c", "(a = b) < c"],
    ["a - b - c", "(a - b) - c"],
    ["a = NOT b", "a = (NOT b)"],
    ["-a * b", "(-a) * b"],
    ["- (5)", "-(5)"],
    ["LeNgTh(A)", "LENGTH(a)"],
    ["10abc = 1", "10abc = 1"],
    ["likes = 'x'", "likes = 'x'"],
    ["'it''s'", "'it\\'\\'s'"],
    [`"\\'"`, `"\\'"`],
  ])("%j as %j", (source, canonical) => {
    expect(format(parsed(source))).toBe(canonical);
    expect(parsed(canonical)).toEqual(parsed(source));
  });
});

describe("parse must keep its bounds", () => {
  const { depthMax, inSetMax, expressionLengthMax } = parseLimits;
  const nestings: [string, (depth: number) => string][] = [
    ["parentheses", (depth) => `${"(".repeat(depth)}id${")".repeat(depth)}`],
    ["NOT", (depth) => `${"NOT ".repeat(depth)}TRUE`],
    ["minus", (depth) => `${"- ".repeat(depth)}id`],
    ["calls", (depth) => `${"LOWER(".repeat(depth)}id${")".repeat(depth)}`],
    ["sums", (depth) => `id${"+1".repeat(depth)}`],
    ["groups to the right", (depth) => `${"1+(".repeat(depth)}1${")".repeat(depth)}`],
    ["mixed logic", (depth) => `id${" AND id OR id".repeat(depth / 2)}`],
  ];

  test.each(nestings)("depthMax on %s", (_, build) => {
    expect(checkCesql(build(depthMax - 2))).toBeUndefined();
    expect(checkCesql(build(depthMax + 2))).toContain(`at most ${depthMax} levels`);
    expect(checkCesql(build(2_000))).toContain(`at most ${depthMax} levels`);
  });

  test("a long chain of one operator is one level", () => {
    const chain = Array.from({ length: 1_000 }, (_, i) => `id = '${i}'`).join(" OR ");
    expect(evaluate(chain, { id: "999" })).toEqual({ value: true, errors: [] });
  });

  test("inSetMax", () => {
    const set = (size: number) => `id IN (${Array.from({ length: size }, (_, i) => i).join(",")})`;
    expect(checkCesql(set(inSetMax))).toBeUndefined();
    expect(checkCesql(set(inSetMax + 1))).toContain(`at most ${inSetMax} elements`);
  });

  test("expressionLengthMax", () => {
    const text = (length: number) => `'${"x".repeat(length - 2)}'`;
    expect(checkCesql(text(expressionLengthMax))).toBeUndefined();
    expect(checkCesql(text(expressionLengthMax + 1))).toContain(`at most ${expressionLengthMax} characters`);
  });

  test("limits may be narrowed", () => {
    const limits = { ...parseLimits, expressionLengthMax: 3 };
    expect(parse("1 = 1", { limits })).toHaveProperty("message");
    expect(parse("id", { limits })).toHaveProperty("node");
  });
});
