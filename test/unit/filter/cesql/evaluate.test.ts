import { describe, expect, test } from "vitest";
import type { Value } from "../../../../src/mesh/filter/cesql/ast.ts";
import type { ErrorKind } from "../../../../src/mesh/filter/cesql/cast.ts";
import { compileCesql, evaluate } from "../../../../src/mesh/filter/cesql/compile.ts";
import { resultLengthMax } from "../../../../src/mesh/filter/cesql/functions.ts";
import type { AttributeValues } from "../../../../src/mesh/filter/cesql/identifiers.ts";

type Row = [expression: string, value: Value, error?: ErrorKind];

const event: AttributeValues = {
  specversion: "1.0",
  id: "42",
  source: "/shop/orders",
  type: "com.acme.order.paid",
  time: "2018-04-26T14:48:09+02:00",
  flag: true,
  count: 7,
  text: "true",
  empty: "",
};

function expectRows(rows: Row[]): void {
  test.each(rows)("%s", (expression, value, error) => {
    expect(evaluate(expression, event)).toEqual({ value, errors: error === undefined ? [] : [error] });
  });
}

describe("evaluate must read literals and attributes", () => {
  expectRows([
    ["TRUE", true],
    ["fAlSe", false],
    ["007", 7],
    ["-0", 0],
    ["+5", 5],
    ["-2147483648", -2147483648],
    ["2147483647", 2147483647],
    ["''", ""],
    ['""', ""],
    ["'ab\\c'", "ab\\c"],
    ["'a\\'b'", "a'b"],
    ['"a\\"b"', 'a"b'],
    ["'a\\\"b'", 'a\\"b'],
    ["'a''b'", "a''b"],
    ["'a\\\\'", "a\\\\"],
    ["flag", true],
    ["count", 7],
    ["id", "42"],
    ["time", "2018-04-26T14:48:09+02:00"],
    ["SOURCE", "/shop/orders"],
    ["EXISTS Source", true],
    ["\t\r\n  id  ", "42"],
  ]);
});

describe("evaluate must group by precedence, from the left", () => {
  expectRows([
    ["1 + 2 * 3", 7],
    ["(1 + 2) * 3", 9],
    ["10 - 3 - 2", 5],
    ["100 / 10 / 5", 2],
    ["7 % 4 * 2", 6],
    ["1 + 1 = 2", true],
    ["1 = 1 = TRUE", true],
    ["false AND false OR true", true],
    ["true OR true AND false", false],
    ["true XOR true OR true", true],
    ["NOT 1 = 2", false],
    ["NOT (1 = 2)", true],
    ["NOT id LIKE 'x'", false, "cast"],
    ["NOT EXISTS nothing", true],
    ["1 + 2 LIKE '3'", 1],
    ["-1 + 2", 1],
    ["-count + 2", -5],
    ["- -5", 5],
    ["--5", 5],
    ["NOT NOT TRUE", true],
    ["2 IN (1, 2) = TRUE", true],
    ["1 IN (TRUE) LIKE 'true'", true],
    ["3 * 2 IN (6)", 0],
  ]);
});

describe("evaluate must take a sign into a literal only where an operand begins", () => {
  expectRows([
    ["4-1", 3],
    ["4 -1", 3],
    ["4--1", 5],
    ["count-1", 6],
    ["(4)-1", 3],
    ["TRUE-1", 0],
    ["1+2*3", 7],
    ["4 = -1", false],
    ["ABS(-1)", 1],
    ["-1 IN (-1)", true],
  ]);
});

describe("evaluate must apply operators", () => {
  expectRows([
    ["NOT 10", false],
    ["NOT 0", true],
    ["NOT 'TRUE'", false],
    ["NOT 'x'", false, "cast"],
    ["-TRUE", -1],
    ["-'10'", -10],
    ["-'x'", 0, "cast"],
    ["'true' AND 1", true],
    ["'x' AND TRUE", false, "cast"],
    ["TRUE AND 'x'", false, "cast"],
    ["FALSE AND 'x'", false],
    ["TRUE OR 'x'", true],
    ["FALSE OR 'x'", false, "cast"],
    ["TRUE XOR FALSE", true],
    ["TRUE XOR TRUE", false],
    ["FALSE XOR FALSE XOR TRUE", true],
    ["TRUE XOR 'x'", false, "cast"],
    ["'x' XOR (1 = 1 / 0)", false, "math"],
    ["'a' = 'a'", true],
    ["'a' = 'A'", false],
    ["'a' != 'b'", true],
    ["'a' <> 'a'", false],
    ["true = 'TRUE'", false],
    ["'TRUE' = true", true],
    ["'010' = 10", true],
    ["10 = '010'", false],
    ["'x' = 10", false, "cast"],
    ["'x' != 10", false, "cast"],
    ["'x' = TRUE", false, "cast"],
    ["2 = TRUE", true],
    ["TRUE = 1", true],
    ["1 < 2", true],
    ["2 <= 2", true],
    ["3 > 4", false],
    ["'10' >= 9", true],
    ["TRUE > FALSE", true],
    ["'a' < 'b'", false, "cast"],
    ["time < '2020-01-01T00:00:00Z'", false, "cast"],
    ["2147483647 + 1", -2147483648],
    ["-2147483648 - 1", 2147483647],
    ["65536 * 65536", 0],
    ["-2147483648 * -1", -2147483648],
    ["5 / 2", 2],
    ["-5 / 2", -2],
    ["-5 % 3", -2],
    ["5 % -3", 2],
    ["1 / 0", 0, "math"],
    ["1 % 0", 0, "math"],
    ["-2147483648 / -1", -2147483648],
    ["'1' + TRUE", 2],
    ["'x' + 1", 0, "cast"],
    ["123 LIKE '1%'", true],
    ["TRUE LIKE 't_ue'", true],
    ["'abc' NOT LIKE 'a%'", false],
    ["'a' IN ('b', 'a')", true],
    ["'a' IN ('b')", false],
    ["'a' NOT IN ('b')", true],
    ["'TRUE' IN (TRUE)", false],
    ["TRUE IN ('true')", true],
    ["1 IN ('1')", true],
    ["1 IN ('x', 1)", false, "cast"],
    ["1 IN (1, 'x')", true],
    ["'5' IN (5, 6)", true],
    ["id IN (id)", true],
    ["EXISTS flag", true],
    ["EXISTS empty", true],
  ]);
});

describe("evaluate must call functions", () => {
  expectRows([
    ["LENGTH('abc')", 3],
    ["length(123)", 3],
    ["LENGTH('😀é')", 2],
    ["CONCAT()", ""],
    ["CONCAT('a', 1, TRUE)", "a1true"],
    ["CONCAT_WS(',')", ""],
    ["CONCAT_WS(',', 'a', 'b')", "a,b"],
    ["CONCAT_WS()", false, "missingFunction"],
    ["LOWER('AÉ')", "aé"],
    ["UPPER('aß')", "ASS"],
    ["TRIM('  a b\t')", "a b"],
    ["TRIM('\u0085a\u2003')", "a"],
    ["TRIM('\ufeffa')", "\ufeffa"],
    ["TRIM('   ')", ""],
    ["LEFT('abc', 2)", "ab"],
    ["LEFT('abc', 9)", "abc"],
    ["LEFT('abc', 0)", ""],
    ["LEFT('abc', -2)", "abc", "functionEvaluation"],
    ["LEFT('😀b', 1)", "😀"],
    ["RIGHT('abc', 2)", "bc"],
    ["RIGHT('abc', 9)", "abc"],
    ["RIGHT('abc', 0)", ""],
    ["RIGHT('abc', -2)", "abc", "functionEvaluation"],
    ["RIGHT('a😀', 1)", "😀"],
    ["SUBSTRING('abcdef', 1)", "abcdef"],
    ["SUBSTRING('abcdef', 2)", "bcdef"],
    ["SUBSTRING('abcdef', -2)", "ef"],
    ["SUBSTRING('abcdef', 0)", ""],
    ["SUBSTRING('abcdef', 7)", "", "functionEvaluation"],
    ["SUBSTRING('abcdef', -7)", "", "functionEvaluation"],
    ["SUBSTRING('abcdef', -6)", "abcdef"],
    ["SUBSTRING('abcdef', 2, 2)", "bc"],
    ["SUBSTRING('abcdef', -3, 2)", "de"],
    ["SUBSTRING('abcdef', 5, 2147483647)", "ef"],
    ["SUBSTRING('abcdef', 1, 0)", ""],
    ["SUBSTRING('abcdef', 1, -1)", "", "functionEvaluation"],
    ["SUBSTRING('a😀b', 2, 1)", "😀"],
    ["ABS(-5)", 5],
    ["ABS('-5')", 5],
    ["ABS(-2147483648)", 2147483647, "math"],
    ["ABS('x')", 0, "cast"],
    ["INT('010')", 10],
    ["INT('-0')", 0],
    ["INT('+5')", 5],
    ["INT(' 5')", 0, "cast"],
    ["INT('')", 0, "cast"],
    ["INT('2147483648')", 0, "cast"],
    ["INT(TRUE)", 1],
    ["BOOL('TrUe')", true],
    ["BOOL('x')", false, "cast"],
    ["BOOL(-3)", true],
    ["BOOL(0)", false],
    ["STRING(-7)", "-7"],
    ["STRING(FALSE)", "false"],
    ["IS_INT('12')", true],
    ["IS_INT('x')", false],
    ["IS_BOOL('FALSE')", true],
    ["IS_BOOL('x')", false],
    ["IS_BOOL(3)", true],
    ["LENGTH('a', 'b')", false, "missingFunction"],
    ["NOSUCH(1)", false, "missingFunction"],
    ["NOSUCH(1 / 0)", false, "missingFunction"],
    ["LENGTH (id)", 2],
    ["left", false, "missingAttribute"],
  ]);

  test("CONCAT must refuse to build more than resultLengthMax", () => {
    const big = "x".repeat(resultLengthMax / 2);
    expect(evaluate("LENGTH(CONCAT(a, a))", { a: big })).toEqual({ value: resultLengthMax, errors: [] });
    expect(evaluate("CONCAT(a, a, 'x')", { a: big })).toEqual({ value: "", errors: ["functionEvaluation"] });
  });

  test("TRIM must take linear time on inner blanks", () => {
    const text = `x${" ".repeat(1_000_000)}x`;
    expect(evaluate("TRIM(a) = a", { a: text }).value).toBe(true);
  });
});

describe("evaluate must fail fast with the zero of the failing node's type", () => {
  expectRows([
    ["false OR (1 != 1 / 0)", false, "math"],
    ["true AND (1 != 1 / 0)", false, "math"],
    ["(1 / 0) + 5", 0, "math"],
    ["CONCAT('a', 1 / 0)", "", "math"],
    ["LENGTH(LEFT('abc', -2))", 0, "functionEvaluation"],
    ["LEFT('abc', -2) = 'abc'", false, "functionEvaluation"],
    ["1 / 0 LIKE '0'", 1],
    ["(1 / 0) LIKE '0'", false, "math"],
    ["'x' + missing", 0, "missingAttribute"],
    ["missing + 1 / 0", 0, "missingAttribute"],
    ["1 / 0 + missing", 0, "math"],
    ["NOSUCH() OR TRUE", false, "missingFunction"],
    ["CONCAT_WS('x' + 1, missing)", "", "cast"],
  ]);
});

describe("evaluate must treat missing attributes as errors", () => {
  expectRows([
    ["m", false, "missingAttribute"],
    ["m = 'x'", false, "missingAttribute"],
    ["m != 'x'", false, "missingAttribute"],
    ["m <> 2", false, "missingAttribute"],
    ["m < 5", false, "missingAttribute"],
    ["m LIKE 'x'", false, "missingAttribute"],
    ["m NOT LIKE 'x'", false, "missingAttribute"],
    ["m LIKE 'fal%'", false, "missingAttribute"],
    ["m * 5", 0, "missingAttribute"],
    ["1 / m", 0, "missingAttribute"],
    ["m / 0", 0, "missingAttribute"],
    ["-m", 0, "missingAttribute"],
    ["NOT m", false, "missingAttribute"],
    ["EXISTS m", false],
    ["NOT EXISTS m", true],
    ["true OR m", true],
    ["false AND m", false],
    ["m OR true", false, "missingAttribute"],
    ["true AND m", false, "missingAttribute"],
    ["'a' IN ('a', m)", true],
    ["'a' IN (m, 'a')", false, "missingAttribute"],
    ["m IN ('a')", false, "missingAttribute"],
    ["LENGTH(m)", 0, "missingAttribute"],
    ["LOWER(m)", "", "missingAttribute"],
    ["data", false, "missingAttribute"],
    ["EXISTS data", false],
    ["constructor", false, "missingAttribute"],
    ["EXISTS constructor", false],
  ]);

  test("EXISTS must be true for required attributes even of a partial event", () => {
    for (const name of ["id", "source", "specversion", "type"]) {
      expect(evaluate(`EXISTS ${name}`, {})).toEqual({ value: true, errors: [] });
      expect(evaluate(name, {}).errors).toEqual(["missingAttribute"]);
    }
  });

  test("data must stay unaddressable when an attribute has that name", () => {
    expect(evaluate("EXISTS data OR data = 'x'", { data: "x" }).errors).toEqual(["missingAttribute"]);
  });
});

describe("compileCesql match must be true only for true without errors", () => {
  const attributes = { specversion: "1.0", id: "1", source: "/a", type: "t", flag: "true", n: "1" };
  test.each([
    ["type = 't'", true],
    ["type = 'u'", false],
    ["flag", false],
    ["BOOL(flag)", true],
    ["flag = TRUE", true],
    ["INT(n)", false],
    ["m = 'x'", false],
    ["ABS(-2147483648) > 0", false],
  ])("%s", (expression, expected) => {
    const compiled = compileCesql(expression);
    expect(compiled.ok && compiled.match(attributes)).toBe(expected);
  });
});
