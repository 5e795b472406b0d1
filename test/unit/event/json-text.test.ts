import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { depthOfJsonText, isJsonText } from "../../../src/mesh/event/json-text.ts";

const property = { seed: 11, numRuns: 2000 };

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("isJsonText", () => {
  test("accepts whatever JSON.stringify writes", () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: "binary" }), fc.constantFrom("", " ", "\n\t\r "), (text, space) => {
        expect(isJsonText(Buffer.from(space + text.toWellFormed() + space))).toBe(true);
      }),
      property,
    );
  });

  test("agrees with JSON.parse on long strings with something in them", () => {
    const odd = fc.constantFrom(
      ...[
        "",
        '"',
        "\\",
        "\\n",
        '\\"',
        "\\u00e9",
        "\\u00",
        "\\x",
        "\n",
        "\0",
        "\u001f",
        " ",
        "\u007f",
        "é",
        "€",
        "\u{10ffff}",
      ],
    );
    const plain = fc.integer({ min: 0, max: 400 }).map((length) => "x".repeat(length));
    const part = fc.tuple(plain, odd).map((pair) => pair.join(""));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), fc.nat({ max: 7 }), (parts, offset) => {
        const text = `"${parts.join("")}"`;
        // Words may begin anywhere in memory.
        const bytes = Buffer.from(" ".repeat(offset) + text).subarray(offset);
        expect(isJsonText(bytes)).toBe(parses(text));
      }),
      { ...property, numRuns: 5000 },
    );
  });

  test("agrees with JSON.parse on every byte at every place of a word", () => {
    for (let byte = 0; byte < 0x80; byte++) {
      for (let place = 120; place < 140; place++) {
        const text = `"${"x".repeat(place)}${String.fromCharCode(byte)}${"x".repeat(150 - place)}"`;
        expect([byte, place, isJsonText(Buffer.from(text))]).toEqual([byte, place, parses(text)]);
      }
    }
  });

  test("agrees with JSON.parse on soup of tokens", () => {
    const token = fc.constantFrom(
      ..."{}[],:",
      '"a"',
      '"',
      "\\",
      "1",
      "-",
      "0",
      ".",
      "e",
      "+",
      "true",
      "null",
      " ",
      "\n",
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 10 }), (tokens) => {
        const text = tokens.join("");
        expect(isJsonText(Buffer.from(text))).toBe(parses(text));
      }),
      { ...property, numRuns: 5000 },
    );
  });

  test.each([
    "0",
    "-0",
    "01",
    "-",
    "1.",
    ".5",
    "1e5",
    "1E+5",
    "1e",
    "1e+",
    "-1.5e-10",
    '"\\u00e9\\b\\f\\/"',
    '"\\u00g0"',
    '"\\u00',
    '"\u007f\u2028"',
    '"\u0000"',
    "tru",
    "truex",
    "[1,]",
    "[,1]",
    '{"a":1,}',
    '{"a" 1}',
    "{1:1}",
    "[}",
    "{]",
    "\u00a01",
    "\f1",
  ])("agrees with JSON.parse on %j", (text) => {
    expect(isJsonText(Buffer.from(text))).toBe(parses(text));
  });
});

test.each([
  ["1", 0],
  ["[]", 1],
  ['{"a":[{"[[[[":1}],"b":{}}', 3],
  ['"[["', 0],
])("depthOfJsonText of %s is %i", (text, depth) => {
  expect(depthOfJsonText(Buffer.from(text))).toBe(depth);
});
