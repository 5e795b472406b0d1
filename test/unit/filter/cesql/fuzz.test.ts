import fc from "fast-check";
import { expect, test } from "vitest";
import { format, type Node } from "../../../../src/mesh/filter/cesql/ast.ts";
import { compileCesql, evaluate } from "../../../../src/mesh/filter/cesql/compile.ts";
import { parse } from "../../../../src/mesh/filter/cesql/parser.ts";
import { attributes, expression } from "../arbitraries.ts";

test("compileCesql must answer any text without throwing", () => {
  const word = fc.constantFrom(
    ..."AND OR XOR NOT LIKE EXISTS IN TRUE FALSE id type m LENGTH CONCAT_WS ( ) , + - * / % = != <> < > <= >=".split(
      " ",
    ),
    "'a'",
    '"b"',
    "'%_\\",
    "\\'",
    "12",
    "-2147483649",
    " ",
    "é",
  );
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.array(word, { maxLength: 25 }).map((w) => w.join(" ")),
  );
  let understood = 0;
  fc.assert(
    fc.property(text, attributes, (source, event) => {
      const compiled = compileCesql(source);
      if (!compiled.ok) {
        expect(compiled.position).toBeLessThanOrEqual(source.length);
        return;
      }
      understood++;
      const { value, errors } = compiled.evaluate(event);
      expect(compiled.match(event)).toBe(value === true && errors.length === 0);
    }),
    { seed: 11, numRuns: 10_000 },
  );
  expect(understood).toBeGreaterThan(100);
});

test("parse must read format's text back to a tree that evaluates the same", () => {
  let withoutErrors = 0;
  fc.assert(
    fc.property(expression, attributes, (node, event) => {
      const text = format(node);
      const again = parse(text);
      expect(again).toHaveProperty("node");
      const expected = evaluate(node, event);
      expect(evaluate(text, event)).toEqual(expected);
      expect(evaluate(format((again as { node: Node }).node), event)).toEqual(expected);
      if (expected.errors.length === 0) withoutErrors++;
    }),
    { seed: 12, numRuns: 10_000 },
  );
  expect(withoutErrors).toBeGreaterThan(1_000);
});
